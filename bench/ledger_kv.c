/*
 * bench-ledger-kv: what the ledger's store costs, on one core: SmallBank's uniform mix over half a
 * million accounts as a replica runs it (a batch of 300 with its undo log, the client's window, the
 * hash of every write set; four batches open, a snapshot and its digest every 1,000 batches), the
 * same without the ledger's share, the initial state, digests and checkpoints. Beside it the
 * physical limit: SHA-256 of as many bytes as a digest covers. All in processor time of the thread.
 */
#include "cli/bench/measure.h"

#include "base/clock.h"
#include "ledger/kv/checkpoint.h"
#include "ledger/kv/client_table.h"
#include "ledger/kv/smallbank.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ROUNDS   5
#define ACCOUNTS 500000
#define BATCH    300
#define BATCHES  400 /* of a round */
#define OPEN     4
#define CLIENTS  64

static const uint8_t bucket_key[SIPHASH_KEY_LEN] = "a public key !!";
static uint64_t batch;

static void check(int rc, const struct error *e)
{
    if (rc < 0)
        bench_fail(1, "%s", e->text);
}

static double seconds_since(int64_t start)
{
    return (double)(clock_ns(CLOCK_THREAD_CPUTIME_ID) - start) / 1e9;
}

static struct kv *bank_make(double *seconds)
{
    struct error e;
    struct kv *kv;
    uint8_t state[SMALLBANK_STATE_LEN];
    smallbank_state_encode(ACCOUNTS, 100000, 100000, state);
    int64_t start = clock_ns(CLOCK_THREAD_CPUTIME_ID);
    check(kv_create(16, bucket_key, &kv, &e), &e);
    check(procedure_preload(PROCEDURE_FAMILY_SMALLBANK, state, sizeof state, kv, &e), &e);
    *seconds = seconds_since(start);
    return kv;
}

static void transaction_run(struct kv *kv, struct procedure_table *table, struct smallbank_mix *mix,
                            bool clients)
{
    static uint64_t numbers[CLIENTS];
    struct error e;
    uint8_t args[SMALLBANK_ARGS_MAX];
    struct smallbank_call call = smallbank_mix_next(mix);
    struct procedure_call p = {.proc = call.proc, .args = args};
    struct procedure_result result;
    uint8_t client[CLIENT_KEY_LEN] = {(uint8_t)(call.customer % CLIENTS)};
    p.args_len = smallbank_args_encode(&call, args);
    p.client = client;
    if (clients) {
        uint64_t number = ++numbers[client[0]];
        if (client_table_check(kv, client, number) != CLIENT_NEW)
            bench_fail(1, "a request is not new");
        check(client_table_insert(kv, client, number, &e), &e);
    }
    check(procedure_execute(table, &p, kv, &result, &e), &e);
}

/* Transactions per second. */
static double mix_run(struct kv *kv, struct procedure_table *table, struct smallbank_mix *mix,
                      bool clients)
{
    struct error e;
    int64_t start = clock_ns(CLOCK_THREAD_CPUTIME_ID);
    for (int i = 0; i < BATCHES; i++) {
        check(kv_batch_begin(kv, ++batch, &e), &e);
        for (int k = 0; k < BATCH; k++)
            transaction_run(kv, table, mix, clients);
        if (batch > OPEN)
            kv_commit(kv, batch - OPEN);
    }
    return BATCH * BATCHES / seconds_since(start);
}

static double digest_run(struct kv *kv, uint8_t digest[static HASH_LEN])
{
    struct error e;
    struct kv_snapshot *snapshot;
    int64_t start = clock_ns(CLOCK_THREAD_CPUTIME_ID);
    check(kv_snapshot_take(kv, &snapshot, &e), &e);
    kv_snapshot_digest(snapshot, digest);
    double seconds = seconds_since(start);
    kv_snapshot_release(snapshot);
    return seconds;
}

static double hash_limit(size_t len)
{
    uint8_t *bytes = calloc(1, len), out[HASH_LEN];
    if (!bytes)
        bench_fail(1, "out of memory");
    int64_t start = clock_ns(CLOCK_THREAD_CPUTIME_ID);
    hash_sha256(bytes, len, out);
    double seconds = seconds_since(start);
    free(bytes);
    return seconds;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void row(const char *what, double *values, const char *unit, double scale)
{
    qsort(values, ROUNDS, sizeof *values, by_value);
    printf("%-52s %10.1f %-6s  (%.1f to %.1f)\n", what, values[ROUNDS / 2] * scale, unit,
           values[0] * scale, values[ROUNDS - 1] * scale);
}

int main(void)
{
    struct error e;
    struct procedure_table *table;
    double build[ROUNDS], full[ROUNDS], bare[ROUNDS], whole[ROUNDS], again[ROUNDS], limit[ROUNDS];
    uint8_t digest[HASH_LEN];
    check(procedure_table_create(PROCEDURE_FAMILY_SMALLBANK, &table, &e), &e);
    struct smallbank_mix mix;
    smallbank_mix_start(&mix, 1, ACCOUNTS);
    for (int round = 0; round < ROUNDS; round++) {
        struct kv *kv = bank_make(&build[round]);
        batch = 0;
        whole[round] = digest_run(kv, digest);
        limit[round] = hash_limit((size_t)kv_bytes(kv) + 6 * (size_t)kv_pairs(kv));
        mix_run(kv, table, &mix, true);
        full[round] = mix_run(kv, table, &mix, true);
        bare[round] = mix_run(kv, table, &mix, false);
        digest_run(kv, digest);
        check(kv_batch_begin(kv, ++batch, &e), &e);
        for (int k = 0; k < BATCH; k++)
            transaction_run(kv, table, &mix, true);
        again[round] = digest_run(kv, digest);
        kv_destroy(kv);
    }
    procedure_table_destroy(table);
    printf("%d accounts, batches of %d, medians of %d rounds (and their range)\n", ACCOUNTS, BATCH,
           ROUNDS);
    row("initial state", build, "ms", 1e3);
    row("SmallBank with undo, clients, write-set hashes", full, "kTx/s", 1e-3);
    row("the same without the clients' windows", bare, "kTx/s", 1e-3);
    row("digest of everything", whole, "ms", 1e3);
    row("  SHA-256 of as many bytes in one run", limit, "ms", 1e3);
    row("digest after one batch", again, "ms", 1e3);
    return 0;
}
