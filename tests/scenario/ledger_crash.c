/*
 * kill -9 of one, of f and of all replicas of a ledger under load, in rounds; then every receipt
 * that the clients got must hold by the genesis alone, and its transaction must stand in the ledger
 * of every replica, which must keep to the rules.
 *
 *   ledger-crash ATOLL DIRECTORY [ROUNDS]
 */
#define _GNU_SOURCE
#include "cli/ledger/cluster.h"
#include "cli/ledger/load.h"
#include "cli/ledger/source.h"
#include "ledger/check/checker.h"
#include "ledger/object/receipt_batch.h"
#include "ledger_rest.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define REPLICAS 4u
#define ACCOUNTS 1000u

static int failures;

static void report(bool good, const char *name)
{
    printf("%sok - %s\n", good ? "" : "not ", name);
    fflush(stdout);
    failures += !good;
}

/* All receipts, one after the other, on the load's thread. */
struct held {
    struct buffer bytes;
    size_t *starts;
    size_t count, capacity;
};

static void receipt_hold(void *context, const struct ledger_outcome *o)
{
    struct held *h = context;
    if (h->count == h->capacity) {
        h->capacity = h->capacity ? 2 * h->capacity : 65536;
        h->starts = realloc(h->starts, (h->capacity + 1) * sizeof *h->starts);
    }
    if (h->starts == NULL || !buffer_reserve(&h->bytes, o->receipt.len))
        abort();
    h->starts[h->count++] = h->bytes.len;
    buffer_append(&h->bytes, o->receipt.data, o->receipt.len);
    h->starts[h->count] = h->bytes.len;
}

static void nap_ms(unsigned ms)
{
    nanosleep(&(struct timespec){ms / 1000, (long)(ms % 1000) * 1000000}, NULL);
}

/* Until more calls were answered than `than`. */
static bool progress_wait(struct load *load, uint64_t than)
{
    struct load_counts counts;
    for (int i = 0; i < 600; i++) {
        load_counts(load, &counts);
        if (counts.done > than + 100)
            return true;
        nap_ms(100);
    }
    return false;
}

static bool round_play(struct cluster *c, struct load *load, uint32_t seed, struct error *e)
{
    struct load_counts counts;
    uint32_t kill_count = seed % 3 == 2 ? REPLICAS : 1, first = seed % REPLICAS;
    load_counts(load, &counts);
    nap_ms(100 + seed * 37 % 400);
    for (uint32_t i = 0; i < kill_count; i++)
        cluster_replica_kill(c, (first + i) % REPLICAS);
    nap_ms(seed * 53 % 300);
    /* With one down the others go on. */
    load_counts(load, &counts);
    if (kill_count == 1 && seed % 2 && !progress_wait(load, counts.done))
        return error_set(e, ATOLL_ETIMEDOUT, "three of four replicas do nothing"), false;
    for (uint32_t i = 0; i < kill_count; i++) {
        if (cluster_replica_start(c, (first + i) % REPLICAS, e) != 0)
            return false;
    }
    load_counts(load, &counts);
    if (!progress_wait(load, counts.done))
        return error_set(e, ATOLL_ETIMEDOUT, "four replicas do nothing"), false;
    return true;
}

/* ---- afterwards ---- */

static bool receipts_hold(const struct held *h, const struct ledger_genesis *g, struct error *e)
{
    struct ledger_batch_verifier *verifier;
    struct ledger_keys keys = ledger_keys_of(g);
    struct slice *all = calloc(h->count + 1, sizeof *all);
    enum ledger_rule *failed = calloc(h->count + 1, sizeof *failed);
    bool good = all && failed && ledger_batch_verifier_create(1024, &verifier, e) == 0;
    for (size_t i = 0; good && i < h->count; i++)
        all[i] = slice_of(h->bytes.data + h->starts[i], h->starts[i + 1] - h->starts[i]);
    if (good) {
        good = ledger_receipts_verify(verifier, all, h->count, &keys, failed, e) == 0;
        ledger_batch_verifier_destroy(verifier);
    }
    for (size_t i = 0; good && i < h->count; i++) {
        good = failed[i] == LEDGER_RULE_HOLDS;
        if (!good)
            error_set(e, ATOLL_ESIGNATURE, "receipt %zu breaks rule %s", i,
                      ledger_rule_name(failed[i]));
    }
    free(all);
    free(failed);
    return good;
}

/* The transactions of a ledger by index, and its checker. */
struct walk {
    struct ledger_checker *checker;
    uint8_t (*hashes)[HASH_LEN]; /* of the TxEntry with index i */
    uint64_t count;
};

static int entry_walk(void *context, uint64_t position, uint8_t type, struct slice payload,
                      struct error *e)
{
    struct walk *w = context;
    struct ledger_tx tx;
    (void)position;
    int rc = ledger_checker_entry(w->checker, type, payload, e);
    if (rc != 0 || type != LEDGER_ENTRY_TX)
        return rc;
    rc = ledger_tx_decode(payload, &tx, e);
    if (rc != 0)
        return rc;
    if (tx.index >= w->count) {
        uint64_t grown = 2 * tx.index + 1024;
        w->hashes = realloc(w->hashes, grown * HASH_LEN);
        if (w->hashes == NULL)
            abort();
        memset(w->hashes + w->count, 0, (grown - w->count) * HASH_LEN);
        w->count = grown;
    }
    ledger_tx_hash(payload, w->hashes[tx.index]);
    return 0;
}

static bool ledger_holds(const struct cluster *c, uint32_t replica, const struct held *h,
                         struct error *e)
{
    char path[640];
    struct source source;
    struct walk w = {0};
    snprintf(path, sizeof path, "%s/replica-%u", c->directory, replica);
    int rc = source_open(path, &source, e);
    if (rc == 0)
        rc = ledger_checker_create(slice_of_buffer(&source.genesis_bytes), &w.checker, e);
    if (rc == 0)
        rc = source_visit(&source, 0, UINT64_MAX, NULL, entry_walk, &w, e);
    if (rc == 0)
        rc = ledger_checker_finish(w.checker, e);
    for (size_t i = 0; rc == 0 && i < h->count; i++) {
        struct ledger_receipt r;
        uint8_t hash[HASH_LEN];
        rc = ledger_receipt_decode(
            slice_of(h->bytes.data + h->starts[i], h->starts[i + 1] - h->starts[i]), &r, e);
        if (rc != 0)
            break;
        ledger_tx_hash(r.tx_bytes, hash);
        if (r.tx.index >= w.count || memcmp(hash, w.hashes[r.tx.index], HASH_LEN) != 0)
            rc = error_set(e, ATOLL_ELOST,
                           "transaction %" PRIu64 " has a receipt (view %" PRIu64 ", batch %" PRIu64
                           ") and is not in the ledger of replica %u",
                           r.tx.index, r.pp.view, r.pp.seqno, replica);
    }
    ledger_checker_destroy(w.checker);
    free(w.hashes);
    source_close(&source);
    return rc == 0;
}

int main(int argc, char **argv)
{
    struct ledger_local_settings settings;
    struct ledger_genesis *g = calloc(1, sizeof *g);
    struct cluster c;
    struct load *load;
    struct held held = {0};
    struct buffer genesis = {0}; /* what g points into */
    struct error e = {0};
    unsigned rounds = argc > 3 ? (unsigned)atoi(argv[3]) : 12;
    if (argc < 3 || g == NULL)
        return 2;
    ledger_local_defaults(&settings);
    settings.terms.accounts = ACCOUNTS;
    settings.terms.checkpoint_interval = 100;
    settings.terms.view_timeout_us = 300000;
    bool good = cluster_start(&c, argv[1], argv[2], &settings, LEDGER_LOG_STRICT, &e) == 0;
    report(good, "four replicas start");
    if (!good) {
        printf("# %s\n", e.text);
        return 1;
    }
    const struct load_settings wanted = {.genesis = slice_of_buffer(&c.genesis),
                                         .clients = 4,
                                         .bundle = 1,
                                         .in_flight = 20,
                                         .accounts = ACCOUNTS,
                                         .seed = 1,
                                         .receipt_every = 1,
                                         .receipt = receipt_hold,
                                         .context = &held};
    good = buffer_append(&genesis, c.genesis.data, c.genesis.len) &&
           ledger_genesis_decode(slice_of_buffer(&genesis), g, &e) == 0 &&
           load_start(&wanted, &load, &e) == 0;
    for (unsigned i = 0; good && i < rounds; i++)
        good = round_play(&c, load, i, &e);
    report(good, "the ledger goes on after every kill");
    if (!good)
        printf("# %s\n", e.text);
    uint64_t left = load_stop(load, 20000, NULL);
    report(left == 0, "every call is answered in the end");
    if (left)
        printf("# %" PRIu64 " are not\n", left);
    good = rest_all(&c, &e);
    report(good, "the replicas come to rest, each with all of the ledger");
    if (!good)
        printf("# %s\n", e.text);
    struct cluster directory = c; /* paths; the processes end here */
    cluster_stop(&c, false);
    printf("# %zu receipts after %u rounds\n", held.count, rounds);
    good = receipts_hold(&held, g, &e);
    report(good, "every receipt holds by the genesis alone");
    if (!good)
        printf("# %s\n", e.text);
    for (uint32_t i = 0; i < REPLICAS; i++) {
        char name[96];
        snprintf(name, sizeof name, "replica %u keeps to the rules and has every transaction", i);
        good = ledger_holds(&directory, i, &held, &e);
        report(good, name);
        if (!good)
            printf("# %s\n", e.text);
    }
    buffer_free(&held.bytes);
    free(held.starts);
    buffer_free(&genesis);
    free(g);
    return failures != 0;
}
