/*
 * bench-signature: how fast are signatures made and checked, and Merkle trees built?
 *
 * 120-byte messages under 8 keys, as the ledger's requests are. Signing and single checks of ours
 * beside those of libsodium and OpenSSL; batches of both kernels, in rows of the same run. Every
 * round takes each contestant once, so that a neighbour's load meets them all; figures are medians
 * over the rounds of CPU time of the thread, the spread is that of the quarter and three-quarter
 * points.
 *
 *   bench-signature [ROUNDS]        (9)
 */
#include "cli/bench/measure.h"

#include "crypto/ed25519_batch.h"
#include "crypto/ed25519_known.h"
#include "crypto/ed25519_sign.h"
#include "crypto/merkle.h"

#include <openssl/evp.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ROUNDS       9
#define KEYS         8
#define MESSAGES     4096
#define MESSAGE_LEN  120
#define SINGLES      256 /* of one round */
#define MERKLE_COUNT 100000

static uint8_t public_keys[KEYS][ED25519_KEY_LEN];
static uint8_t signatures[MESSAGES][ED25519_SIGNATURE_LEN], messages[MESSAGES][MESSAGE_LEN];
static struct ed25519_item items[MESSAGES];
static uint8_t secret[KEYS][crypto_sign_SECRETKEYBYTES]; /* libsodium's: seed and public key */
static struct ed25519_signer signers[KEYS];
static struct ed25519_known *known_keys[KEYS];
static EVP_PKEY *openssl_keys[KEYS];

static void messages_sign(void)
{
    for (size_t i = 0; i < KEYS; i++) {
        crypto_sign_keypair(public_keys[i], secret[i]);
        ed25519_signer_init(&signers[i], secret[i]);
        struct error e;
        if (ed25519_known_create(public_keys[i], &known_keys[i], &e) != 0)
            bench_fail(1, "%s", e.text);
        openssl_keys[i] =
            EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, secret[i], ED25519_SEED_LEN);
        if (!openssl_keys[i])
            bench_fail(1, "OpenSSL takes no Ed25519 key");
    }
    for (size_t i = 0; i < MESSAGES; i++) {
        randombytes_buf(messages[i], MESSAGE_LEN);
        crypto_sign_detached(signatures[i], NULL, messages[i], MESSAGE_LEN, secret[i % KEYS]);
        items[i] =
            (struct ed25519_item){public_keys[i % KEYS], signatures[i], messages[i], MESSAGE_LEN};
    }
}

/* ---- signing: the same signature by all ---- */

static bool sign_ours(size_t i)
{
    uint8_t out[ED25519_SIGNATURE_LEN];
    ed25519_sign(&signers[i % KEYS], messages[i], MESSAGE_LEN, out);
    return memcmp(out, signatures[i], sizeof out) == 0;
}

static bool sign_sodium(size_t i)
{
    uint8_t out[ED25519_SIGNATURE_LEN];
    crypto_sign_detached(out, NULL, messages[i], MESSAGE_LEN, secret[i % KEYS]);
    return memcmp(out, signatures[i], sizeof out) == 0;
}

static bool sign_openssl(size_t i)
{
    uint8_t out[ED25519_SIGNATURE_LEN];
    size_t len = sizeof out;
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    bool good = EVP_DigestSignInit(context, NULL, NULL, NULL, openssl_keys[i % KEYS]) == 1 &&
                EVP_DigestSign(context, out, &len, messages[i], MESSAGE_LEN) == 1;
    EVP_MD_CTX_free(context);
    return good && memcmp(out, signatures[i], sizeof out) == 0;
}

/* ---- single checks ---- */

static bool check_ours(size_t i)
{
    return ed25519_verify(items[i].public_key, messages[i], MESSAGE_LEN, signatures[i]);
}

static bool check_known(size_t i)
{
    return ed25519_known_verify(known_keys[i % KEYS], messages[i], MESSAGE_LEN, signatures[i]);
}

static bool check_sodium(size_t i)
{
    return crypto_sign_verify_detached(signatures[i], messages[i], MESSAGE_LEN,
                                       items[i].public_key) == 0;
}

static bool check_openssl(size_t i)
{
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    bool good = EVP_DigestVerifyInit(context, NULL, NULL, NULL, openssl_keys[i % KEYS]) == 1 &&
                EVP_DigestVerify(context, signatures[i], ED25519_SIGNATURE_LEN, messages[i],
                                 MESSAGE_LEN) == 1;
    EVP_MD_CTX_free(context);
    return good;
}

struct contestant {
    const char *name;
    bool (*one)(size_t); /* signs or checks one message */
    enum ed25519_kernel kernel;
    size_t batch;
    struct ed25519_batch *room;
    struct samples each_ns;
};

static void singles_run(struct contestant *c)
{
    int64_t start = measure_thread_ns();
    for (size_t i = 0; i < SINGLES; i++)
        if (!c->one(i))
            bench_fail(1, "%s: a wrong signature, or a good one refused", c->name);
    samples_add(&c->each_ns, (double)(measure_thread_ns() - start) / SINGLES);
}

static void batch_run(struct contestant *c)
{
    static bool valid[MESSAGES];
    struct error e;
    size_t total = c->batch < 1024 ? 1024 : c->batch;
    int64_t start = measure_thread_ns();
    for (size_t at = 0; at < total; at += c->batch)
        if (ed25519_batch_verify(c->room, items + at, c->batch, valid + at, &e) < 0)
            bench_fail(1, "%s", e.text);
    samples_add(&c->each_ns, (double)(measure_thread_ns() - start) / (double)total);
    for (size_t i = 0; i < total; i++)
        if (!valid[i])
            bench_fail(1, "%s refuses a good signature", c->name);
}

static void contestant_print(struct contestant *c, double libsodium_ns)
{
    double median = samples_median(&c->each_ns);
    char batch[16] = "1";
    if (c->room)
        snprintf(batch, sizeof batch, "%zu", c->batch);
    printf("%-16s %6s %10.0f %9.2f %10.2f   %.2f .. %.2f\n", c->name, batch, 1e9 / median,
           median / 1e3, libsodium_ns / median, samples_quantile(&c->each_ns, 0.25) / 1e3,
           samples_quantile(&c->each_ns, 0.75) / 1e3);
}

static void contestants_print(const char *title, struct contestant *list, size_t count)
{
    double libsodium_ns = samples_median(&list[0].each_ns);
    printf("%-16s %6s %10s %9s %10s   %s\n", title, "batch", "per s", "us each", "libsodium/",
           "quartiles us");
    for (size_t i = 0; i < count; i++) {
        contestant_print(&list[i], libsodium_ns);
        ed25519_batch_destroy(list[i].room);
        samples_free(&list[i].each_ns);
    }
}

static void signing_measure(int rounds)
{
    struct contestant list[] = {{.name = "libsodium", .one = sign_sodium},
                                {.name = "OpenSSL", .one = sign_openssl},
                                {.name = "ours", .one = sign_ours}};
    size_t count = sizeof list / sizeof *list;
    for (int round = 0; round < rounds; round++)
        for (size_t i = 0; i < count; i++)
            singles_run(&list[i]);
    contestants_print("signer", list, count);
    printf("\n");
}

static void signatures_measure(int rounds)
{
    struct contestant list[32] = {{.name = "libsodium", .one = check_sodium},
                                  {.name = "OpenSSL", .one = check_openssl},
                                  {.name = "single", .one = check_ours},
                                  {.name = "known key", .one = check_known}};
    size_t count = 4;
    static const enum ed25519_kernel kernels[] = {ED25519_KERNEL_PORTABLE, ED25519_KERNEL_IFMA};
    static const char *const names[] = {"batch, portable", "batch, IFMA"};
    static const size_t sizes[] = {4, 16, 64, 128, 512, 1024, 4096};
    for (size_t k = 0; k < 2; k++) {
        for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
            struct error e;
            struct contestant *c = &list[count];
            *c = (struct contestant){.name = names[k], .kernel = kernels[k], .batch = sizes[s]};
            int result = ed25519_batch_create(c->batch, c->kernel, &c->room, &e);
            if (result == -ATOLL_ECPU) {
                printf("# %s\n", e.text);
                break;
            }
            if (result < 0)
                bench_fail(1, "%s", e.text);
            count++;
        }
    }
    for (int round = 0; round < rounds; round++)
        for (size_t i = 0; i < count; i++)
            list[i].one ? singles_run(&list[i]) : batch_run(&list[i]);
    contestants_print("verifier", list, count);
}

/* ---- trees ---- */

static void row_print(const char *what, struct samples *each_ns)
{
    printf("%-36s %10.0f %9.3f   %.3f .. %.3f\n", what, 1e9 / samples_median(each_ns),
           samples_median(each_ns) / 1e3, samples_quantile(each_ns, 0.25) / 1e3,
           samples_quantile(each_ns, 0.75) / 1e3);
    samples_free(each_ns);
}

static double each_ns(int64_t start)
{
    return (double)(measure_thread_ns() - start) / MERKLE_COUNT;
}

static void trees_measure(int rounds)
{
    struct samples hash = {0}, frontier = {0}, tree = {0}, path = {0};
    struct merkle_hash *leaves = calloc(MERKLE_COUNT, sizeof *leaves), found[MERKLE_LEVELS];
    if (!leaves)
        bench_fail(1, "out of memory");
    for (int round = 0; round < rounds; round++) {
        struct error e;
        struct merkle_frontier f = {0};
        struct merkle_tree *t;
        uint8_t pair[2 * HASH_LEN + 1] = {1};
        int64_t start = measure_thread_ns();
        for (uint32_t i = 0; i < MERKLE_COUNT; i++)
            hash_sha256(pair, sizeof pair, pair + 1);
        samples_add(&hash, each_ns(start));
        start = measure_thread_ns();
        int bad = 0;
        for (uint32_t i = 0; i < MERKLE_COUNT; i++) {
            leaves[i] = merkle_leaf(messages[i % MESSAGES], HASH_LEN);
            bad |= merkle_frontier_append(&f, &leaves[i], &e);
        }
        samples_add(&frontier, each_ns(start));
        bad |= merkle_tree_create(&t, &e);
        start = measure_thread_ns();
        for (uint32_t i = 0; i < MERKLE_COUNT && !bad; i++)
            bad |= merkle_tree_append(t, &leaves[i], &e);
        samples_add(&tree, each_ns(start));
        if (bad)
            bench_fail(1, "%s", e.text);
        struct merkle_hash root = merkle_tree_root(t);
        start = measure_thread_ns();
        for (uint32_t i = 0; i < MERKLE_COUNT; i++)
            bad |= merkle_tree_path(t, i, MERKLE_COUNT, found, &e) <= 0;
        samples_add(&path, each_ns(start));
        struct merkle_hash same = merkle_frontier_root(&f);
        if (bad || memcmp(&root, &same, sizeof root) != 0)
            bench_fail(1, "the tree and its frontier differ");
        merkle_tree_destroy(t);
    }
    free(leaves);
    printf("\n%-36s %10s %9s   %s\n", "Merkle tree of 100000 leaves", "per s", "us each",
           "quartiles us");
    row_print("SHA-256 of 65 bytes (the limit)", &hash);
    row_print("leaf hashed, appended to a frontier", &frontier);
    row_print("leaf appended to a whole tree", &tree);
    row_print("inclusion path", &path);
}

int main(int count, char **arguments)
{
    int rounds = count > 1 ? atoi(arguments[1]) : ROUNDS;
    if (rounds < 1)
        bench_fail(2, "usage: bench-signature [ROUNDS]");
    if (sodium_init() < 0)
        bench_fail(1, "libsodium cannot start");
    environment_print();
    messages_sign();
    signing_measure(rounds);
    signatures_measure(rounds);
    trees_measure(rounds);
    for (size_t i = 0; i < KEYS; i++) {
        EVP_PKEY_free(openssl_keys[i]);
        ed25519_known_destroy(known_keys[i]);
    }
    environment_verdict();
    return 0;
}
