/*
 * bench-ledger-receipt: what checking receipts costs, on one core (spec/ledger §15, L6 and L7): one
 * at a time, also with the replicas' keys known beforehand, and many with the batch verifier.
 * Receipts of N = 4, each of another batch of 300, of four clients; four signatures each. Beside it
 * the physical limit: the signatures alone, checked one by one and in batches; and what libsodium
 * takes for one of them. All in processor time of the thread.
 */
#include "../tests/unit/ledger_objects.h"

#include "cli/bench/measure.h"
#include "crypto/ed25519_batch.h"
#include "ledger/object/known_verifier.h"
#include "ledger/object/receipt_batch.h"

#include <sodium.h>
#include <stdlib.h>

#define ROUNDS     7
#define RECEIPTS   512
#define SIGNATURES (4 * RECEIPTS)

static struct service service;
static struct buffer receipts[RECEIPTS], files[RECEIPTS];
static struct slice slices[RECEIPTS];
static size_t fixed_len; /* of a receipt without its TxEntry */

static double seconds_since(int64_t start)
{
    return (double)(measure_thread_ns() - start) / 1e9;
}

/* One receipt of a batch of its own. */
static void receipt_make(unsigned i)
{
    static struct batch b;
    struct buffer body = {0};
    struct ledger_request request = service_request(&service, i % CLIENT_KEYS, i + 1, "arguments");
    service_body(&service, i % CLIENT_KEYS, &request, &body);
    batch_make(&service, &b, i, i + 1, 0);
    for (b.pp.count = 0; b.pp.count < BATCH_TXS; b.pp.count++)
        batch_tx_add(&b, slice_of_buffer(&body), b.pp.first_index + b.pp.count);
    struct merkle_hash root = merkle_tree_root(b.tree);
    memcpy(b.pp.batch_root, root.bytes, HASH_LEN);
    batch_sign(&service, &b);
    batch_receipt(&service, &b, i % BATCH_TXS, batch_bits(&service, &b), &receipts[i]);
    slices[i] = slice_of_buffer(&receipts[i]);
    if (!ledger_receipt_file_encode(slices[i], service.keys.genesis, &files[i]))
        bench_fail(1, "no memory");
    fixed_len = receipts[i].len - b.txs[i % BATCH_TXS].len;
    batch_free(&b);
    buffer_free(&body);
}

static double single_run(const struct ledger_verifier *verifier)
{
    struct ledger_receipt_info info;
    struct error e;
    int64_t start = measure_thread_ns();
    for (unsigned i = 0; i < RECEIPTS; i++)
        if (ledger_receipt_verify(slices[i], &service.keys, verifier, &info, &e) < 0)
            bench_fail(1, "%s", e.text);
    return seconds_since(start);
}

/* What `atoll ledger receipt verify` does with the bytes of each file. */
static double command_run(const struct ledger_verifier *verifier)
{
    struct ledger_receipt_info info;
    struct slice receipt;
    uint8_t genesis[HASH_LEN];
    struct error e;
    int64_t start = measure_thread_ns();
    for (unsigned i = 0; i < RECEIPTS; i++)
        if (ledger_receipt_file_decode(slice_of_buffer(&files[i]), &receipt, genesis, &e) < 0 ||
            ledger_receipt_verify(receipt, &service.keys, verifier, &info, &e) < 0)
            bench_fail(1, "%s", e.text);
    return seconds_since(start);
}

static double batch_run(struct ledger_batch_verifier *verifier)
{
    static enum ledger_rule failed[RECEIPTS];
    struct error e;
    int64_t start = measure_thread_ns();
    if (ledger_receipts_verify(verifier, slices, RECEIPTS, &service.keys, failed, &e) < 0)
        bench_fail(1, "%s", e.text);
    double seconds = seconds_since(start);
    for (unsigned i = 0; i < RECEIPTS; i++)
        if (failed[i] != LEDGER_RULE_HOLDS)
            bench_fail(1, "receipt %u: %s", i, ledger_rule_name(failed[i]));
    return seconds;
}

/* Only the signatures of the same receipts. */
static double signatures_run(const struct ledger_verifier *verifier)
{
    static struct ledger_signature work[SIGNATURES + LEDGER_RECEIPT_SIGNATURES_MAX];
    static struct ledger_receipt opened[RECEIPTS];
    static bool valid[SIGNATURES];
    enum ledger_rule failed;
    struct error e;
    for (unsigned i = 0; i < RECEIPTS; i++)
        if (ledger_receipt_decode(slices[i], &opened[i], &e) < 0 ||
            ledger_receipt_check(&opened[i], &service.keys, work + (size_t)4 * i, &failed, &e) != 4)
            bench_fail(1, "%s", e.text);
    int64_t start = measure_thread_ns();
    if (verifier->verify(verifier->context, work, SIGNATURES, valid, &e) < 0)
        bench_fail(1, "%s", e.text);
    return seconds_since(start);
}

static int libsodium_verify(void *context, const struct ledger_signature *work, size_t count,
                            bool *valid, struct error *e)
{
    (void)context;
    (void)e;
    for (size_t i = 0; i < count; i++)
        valid[i] = crypto_sign_verify_detached(work[i].signature, work[i].hash, HASH_LEN,
                                               work[i].public_key) == 0;
    return 0;
}

static void row(const char *what, struct samples *seconds, double count, double scale,
                const char *unit)
{
    double slowest = samples_quantile(seconds, 1), fastest = samples_quantile(seconds, 0);
    bool rate = scale == 0;
    double median = samples_median(seconds);
    if (rate)
        printf("%-44s %10.0f %-4s (%.0f to %.0f)\n", what, count / median, unit, count / slowest,
               count / fastest);
    else
        printf("%-44s %10.1f %-4s (%.1f to %.1f)\n", what, median / count * scale, unit,
               fastest / count * scale, slowest / count * scale);
    samples_free(seconds);
}

int main(void)
{
    struct ledger_batch_verifier *verifier;
    struct ledger_known_verifier *known;
    struct samples single = {0}, prepared = {0}, joined = {0}, command = {0}, batch = {0},
                   one_by_one = {0}, together = {0}, libsodium = {0};
    const struct ledger_verifier libsodium_verifier = {libsodium_verify, NULL};
    struct error e;
    service_make(&service, 4);
    for (unsigned i = 0; i < RECEIPTS; i++)
        receipt_make(i);
    if (ledger_batch_verifier_create(SIGNATURES + LEDGER_RECEIPT_SIGNATURES_MAX, &verifier, &e) < 0)
        bench_fail(1, "%s", e.text);
    if (ledger_known_verifier_create(&service.genesis.configuration, &known, &e) < 0)
        bench_fail(1, "%s", e.text);
    struct ledger_verifier together_verifier = ledger_batch_verifier_of(verifier),
                           known_verifier = ledger_known_verifier_of(known);
    for (int round = 0; round < ROUNDS; round++) {
        samples_add(&single, single_run(NULL));
        samples_add(&prepared, single_run(&known_verifier));
        samples_add(&joined, single_run(&together_verifier));
        samples_add(&command, command_run(&together_verifier));
        samples_add(&batch, batch_run(verifier));
        samples_add(&one_by_one, signatures_run(&LEDGER_VERIFIER_SINGLE));
        samples_add(&together, signatures_run(&together_verifier));
        samples_add(&libsodium, signatures_run(&libsodium_verifier));
    }
    environment_print();
    printf("a receipt of N = 4, batch 300: %zu bytes and the transaction\n", fixed_len);
    printf("%d receipts of 4 signatures, medians of %d rounds (and their range), one core\n",
           RECEIPTS, ROUNDS);
    row("one check", &single, RECEIPTS, 1e6, "us");
    row("one check, the replicas' keys known", &prepared, RECEIPTS, 1e6, "us");
    row("one check with the batch verifier", &joined, RECEIPTS, 1e6, "us");
    row("  of a file, as receipt verify does it", &command, RECEIPTS, 1e6, "us");
    row("  its 4 signatures alone, one by one", &one_by_one, RECEIPTS, 1e6, "us");
    row("  one of them, by libsodium", &libsodium, SIGNATURES, 1e6, "us");
    row("many checks with the batch verifier", &batch, RECEIPTS, 0, "/s");
    row("  their signatures alone", &together, RECEIPTS, 0, "/s");
    environment_verdict();
    ledger_batch_verifier_destroy(verifier);
    ledger_known_verifier_destroy(known);
    for (unsigned i = 0; i < RECEIPTS; i++)
        buffer_free(&receipts[i]), buffer_free(&files[i]);
    service_free(&service);
    return 0;
}
