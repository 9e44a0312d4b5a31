/* What a replica's process does beside its loop: signatures and checkpoints. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "crypto/secret.h"
#include "ledger/kv/procedure.h"
#include "ledger/kv/smallbank.h"
#include "ledger/object/signature.h"
#include "ledger/service/checkpoints.h"
#include "ledger/service/verifier.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static uv_loop_t loop;

/* ---- signatures ---- */

#define KEYS       3
#define SIGNATURES 64
#define JOBS       400

static uint8_t signature[SIGNATURES][ED25519_SIGNATURE_LEN];
static struct ledger_signature known[SIGNATURES];
static bool good[SIGNATURES];

struct job {
    struct ledger_verify_job job;
    struct ledger_signature *items;
    bool *valid;
    unsigned done;
};

static struct job jobs[JOBS];
static unsigned jobs_done;

static void job_done(void *context, struct ledger_verify_job *job)
{
    struct job *j = job->purpose;
    (void)context;
    j->done++;
    jobs_done++;
}

static void signatures_make(struct secret *keys[static KEYS])
{
    for (unsigned i = 0; i < SIGNATURES; i++) {
        struct ledger_signature *s = &known[i];
        memset(s->hash, (int)i, sizeof s->hash);
        secret_sign(keys[i % KEYS], s->hash, sizeof s->hash, signature[i]);
        s->public_key = secret_public(keys[i % KEYS]);
        s->signature = signature[i];
        good[i] = i % 11 != 5;
        if (!good[i])
            signature[i][i % 64] ^= 1;
    }
}

/* Job i has i mod 37 signatures, one has more than are ever put together. */
static void job_make(struct job *j, unsigned i)
{
    size_t count = i == 200 ? 2500 : i % 37;
    j->items = calloc(count + 1, sizeof *j->items);
    j->valid = calloc(count + 1, sizeof *j->valid);
    assert_true(j->items && j->valid);
    for (size_t k = 0; k < count; k++)
        j->items[k] = known[(i * 7 + k) % SIGNATURES];
    j->job = (struct ledger_verify_job){
        .items = j->items, .valid = j->valid, .count = count, .suspect = i % 5 == 0, .purpose = j};
}

static void every_signature_gets_its_own_verdict_in_any_grouping(void **state)
{
    (void)state;
    for (unsigned threads = 1; threads <= 3; threads += 2) {
        struct verifier *v;
        struct secret *keys[KEYS];
        struct error e;
        for (unsigned i = 0; i < KEYS; i++)
            assert_int_equal(secret_generate(&keys[i], &e), 0);
        signatures_make(keys);
        memset(jobs, 0, sizeof jobs);
        jobs_done = 0;
        assert_int_equal(verifier_open(&loop, threads, job_done, NULL, &v, &e), 0);
        for (unsigned i = 0; i < JOBS; i++) {
            job_make(&jobs[i], i);
            verifier_submit(v, &jobs[i].job);
        }
        while (jobs_done < JOBS)
            uv_run(&loop, UV_RUN_ONCE);
        for (unsigned i = 0; i < JOBS; i++) {
            assert_int_equal(jobs[i].done, 1);
            for (size_t k = 0; k < jobs[i].job.count; k++)
                assert_int_equal(jobs[i].valid[k], good[(i * 7 + k) % SIGNATURES]);
            free(jobs[i].items);
            free(jobs[i].valid);
        }
        verifier_close(v, NULL, NULL);
        uv_run(&loop, UV_RUN_DEFAULT);
        for (unsigned i = 0; i < KEYS; i++)
            secret_destroy(keys[i]);
    }
}

static void jobs_that_are_out_when_it_closes_are_dropped(void **state)
{
    (void)state;
    struct verifier *v;
    struct error e;
    struct secret *keys[KEYS];
    for (unsigned i = 0; i < KEYS; i++)
        assert_int_equal(secret_generate(&keys[i], &e), 0);
    signatures_make(keys);
    memset(jobs, 0, sizeof jobs);
    jobs_done = 0;
    assert_int_equal(verifier_open(&loop, 1, job_done, NULL, &v, &e), 0);
    for (unsigned i = 0; i < 50; i++) {
        job_make(&jobs[i], i);
        verifier_submit(v, &jobs[i].job);
    }
    verifier_close(v, NULL, NULL);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(jobs_done, 0); /* the loop has not run before */
    for (unsigned i = 0; i < 50; i++) {
        free(jobs[i].items);
        free(jobs[i].valid);
    }
    for (unsigned i = 0; i < KEYS; i++)
        secret_destroy(keys[i]);
}

/* ---- checkpoints ---- */

static char directory[] = "/tmp/ledger-service-XXXXXX";
static struct ledger_genesis genesis = {.bucket_bits = 8, .hash = {7}};
static unsigned digests_done, told;
static uint8_t last_digest[HASH_LEN];

static void digest_done(void *context, const struct ledger_checkpoint *at,
                        const uint8_t digest[static HASH_LEN])
{
    (void)context;
    (void)at;
    memcpy(last_digest, digest, HASH_LEN);
    digests_done++;
}

static void damage_told(void *context, const struct error *e)
{
    (void)context;
    assert_true(e->text[0]);
    told++;
}

static struct ledger_checkpoint checkpoint_of(uint64_t s)
{
    struct ledger_checkpoint c = {.s = s,
                                  .position = 5 * s,
                                  .needed = 4 * s,
                                  .next_index = 3 * s,
                                  .view = 2,
                                  .before_s = s - 1,
                                  .frontier.size = 5};
    struct merkle_hash a = merkle_leaf("a", 1), b = merkle_leaf("b", 1);
    memset(c.pp_hash, (int)s, sizeof c.pp_hash);
    c.frontier.subtree[0] = a;
    c.frontier.subtree[2] = b;
    return c;
}

static void path_of(uint64_t s, char out[static 128])
{
    snprintf(out, 128, "%s/ckpt_%" PRIu64, directory, s);
}

/* Submits checkpoint s, of a store in which one more account was made in batch s. */
static void checkpoint_submit(struct checkpoints *c, struct kv *kv, uint64_t s,
                              uint8_t digest[static HASH_LEN])
{
    struct ledger_checkpoint at = checkpoint_of(s);
    struct kv_snapshot *snapshot;
    struct error e;
    uint8_t hash[HASH_LEN];
    assert_int_equal(kv_batch_begin(kv, s, &e), 0);
    kv_transaction_begin(kv);
    assert_int_equal(kv_transaction_put(kv, KV_TABLE_USER, &s, sizeof s, "value", 5, &e), 0);
    assert_int_equal(kv_transaction_commit(kv, hash, &e), 0);
    kv_commit(kv, s);
    assert_int_equal(kv_snapshot_take(kv, &snapshot, &e), 0);
    unsigned before = digests_done;
    checkpoints_submit(c, &at, snapshot);
    while (digests_done == before)
        uv_run(&loop, UV_RUN_ONCE);
    memcpy(digest, last_digest, HASH_LEN);
}

static void digest_of(struct kv *kv, uint8_t digest[static HASH_LEN])
{
    struct kv_snapshot *snapshot;
    struct error e;
    assert_int_equal(kv_snapshot_take(kv, &snapshot, &e), 0);
    kv_snapshot_digest(snapshot, digest);
    kv_snapshot_release(snapshot);
}

/* The one that is loaded is that of batch s, whole. */
static void loads(uint64_t below, uint64_t s, const uint8_t digest[static HASH_LEN])
{
    struct ledger_checkpoint at, wanted = checkpoint_of(s);
    struct kv *kv;
    struct error e;
    uint8_t is[HASH_LEN];
    int rc = checkpoints_load(directory, &genesis, below, damage_told, NULL, &at, &kv, &e);
    if (rc != 0)
        fail_msg("%s", e.text);
    assert_int_equal(at.s, s);
    assert_int_equal(at.position, wanted.position);
    assert_int_equal(at.needed, wanted.needed);
    assert_int_equal(at.next_index, wanted.next_index);
    assert_memory_equal(at.pp_hash, wanted.pp_hash, HASH_LEN);
    assert_int_equal(at.frontier.size, 5);
    assert_memory_equal(&at.frontier.subtree[2], &wanted.frontier.subtree[2], HASH_LEN);
    digest_of(kv, is);
    assert_memory_equal(is, digest, HASH_LEN);
    kv_destroy(kv);
}

static void byte_flip(uint64_t s, long at)
{
    char path[128];
    path_of(s, path);
    FILE *f = fopen(path, "r+b");
    assert_non_null(f);
    if (at < 0)
        fseek(f, 0, SEEK_END), at = ftell(f) / 2;
    fseek(f, at, SEEK_SET);
    int was = fgetc(f);
    fseek(f, at, SEEK_SET);
    fputc(was ^ 1, f);
    fclose(f);
}

static void the_last_two_checkpoints_are_kept_and_damaged_ones_passed_over(void **state)
{
    (void)state;
    struct checkpoints *c;
    struct kv *kv;
    struct error e;
    struct ledger_checkpoint at;
    uint8_t digest[5][HASH_LEN];
    char path[128];
    assert_int_equal(kv_create(genesis.bucket_bits, genesis.bucket_key, &kv, &e), 0);
    assert_int_equal(checkpoints_open(&loop, directory, &genesis, digest_done, NULL, &c, &e), 0);
    struct kv *none;
    assert_int_equal(checkpoints_load(directory, &genesis, UINT64_MAX, NULL, NULL, &at, &none, &e),
                     -ATOLL_ENOENT);
    for (uint64_t s = 1; s <= 4; s++) {
        checkpoint_submit(c, kv, s, digest[s]);
        path_of(s, path);
        while (access(path, F_OK) != 0) /* it comes after the digest */
            uv_sleep(1);
    }
    path_of(2, path);
    while (access(path, F_OK) == 0)
        uv_sleep(1);
    path_of(3, path);
    assert_int_equal(access(path, F_OK), 0);

    /* Chunks are of those in memory. */
    struct buffer chunk = {0};
    uint32_t chunks = 0;
    assert_int_equal(checkpoints_chunk(c, 4, 0, &chunk, &chunks, &e), 0);
    assert_true(chunks >= 1 && chunk.len > 0);
    assert_int_equal(checkpoints_chunk(c, 4, chunks, &chunk, &chunks, &e), -ATOLL_ERANGE);
    assert_int_equal(checkpoints_chunk(c, 2, 0, &chunk, &chunks, &e), -ATOLL_ENOENT);
    buffer_free(&chunk);
    checkpoints_close(c, NULL, NULL);
    uv_run(&loop, UV_RUN_DEFAULT);
    kv_destroy(kv);

    loads(UINT64_MAX, 4, digest[4]);
    loads(4, 3, digest[3]);
    assert_int_equal(told, 0);
    byte_flip(4, -1);
    loads(UINT64_MAX, 3, digest[3]);
    assert_int_equal(told, 1);
    byte_flip(4, -1);
    byte_flip(4, 20);
    loads(UINT64_MAX, 3, digest[3]);
    assert_int_equal(told, 2);
    path_of(3, path);
    assert_int_equal(truncate(path, 100), 0);
    assert_int_equal(
        checkpoints_load(directory, &genesis, UINT64_MAX, damage_told, NULL, &at, &none, &e),
        -ATOLL_ENOENT);
    assert_int_equal(told, 4);
    /* Under another genesis, the whole one is foreign, too. */
    byte_flip(4, 20);
    loads(UINT64_MAX, 4, digest[4]);
    genesis.hash[0] ^= 1;
    assert_int_equal(
        checkpoints_load(directory, &genesis, UINT64_MAX, damage_told, NULL, &at, &none, &e),
        -ATOLL_ENOENT);
    genesis.hash[0] ^= 1;
}

/* Chunk 1 of checkpoint s, or why there is none. */
static int chunk_ask(struct checkpoints *c, uint64_t s)
{
    struct buffer chunk = {0};
    struct error e;
    uint32_t chunks;
    int rc = checkpoints_chunk(c, s, 1, &chunk, &chunks, &e);
    assert_true(rc != 0 || (chunks >= 2 && chunk.len > 0));
    buffer_free(&chunk);
    return rc;
}

static void a_file_that_cannot_be_written_is_told_of_once_until_one_can(void **state)
{
    (void)state;
    struct checkpoints *c;
    struct kv *kv;
    struct error e;
    uint8_t digest[HASH_LEN];
    char path[128], aside[128];
    snprintf(aside, sizeof aside, "%s-aside", directory);
    assert_int_equal(kv_create(genesis.bucket_bits, genesis.bucket_key, &kv, &e), 0);
    assert_int_equal(checkpoints_open(&loop, directory, &genesis, digest_done, NULL, &c, &e), 0);
    told = 0;
    checkpoints_watch(c, damage_told);
    assert_int_equal(rename(directory, aside), 0); /* nowhere to write */
    checkpoint_submit(c, kv, 31, digest);
    while (told == 0)
        uv_run(&loop, UV_RUN_NOWAIT);
    checkpoint_submit(c, kv, 32, digest);
    for (int i = 0; i < 100; i++) {
        uv_run(&loop, UV_RUN_NOWAIT);
        uv_sleep(1);
    }
    assert_int_equal(told, 1);
    assert_int_equal(rename(aside, directory), 0);
    checkpoint_submit(c, kv, 33, digest);
    path_of(33, path);
    while (access(path, F_OK) != 0)
        uv_sleep(1);
    checkpoints_close(c, NULL, NULL);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(told, 1);
    assert_int_equal(unlink(path), 0);
    path_of(32, path);
    unlink(path); /* it came behind the return of its directory, perhaps */
    kv_destroy(kv);
}

static void after_a_start_checkpoints_are_given_from_their_files(void **state)
{
    (void)state;
    struct checkpoints *c;
    struct kv *kv;
    struct error e;
    uint8_t digest[15][HASH_LEN];
    char path[128];
    struct merkle_frontier origin;
    assert_int_equal(kv_create(genesis.bucket_bits, genesis.bucket_key, &kv, &e), 0);
    assert_int_equal(checkpoints_open(&loop, directory, &genesis, digest_done, NULL, &c, &e), 0);
    for (uint64_t s = 11; s <= 12; s++) {
        checkpoint_submit(c, kv, s, digest[s]);
        path_of(s, path);
        while (access(path, F_OK) != 0) /* it comes after the digest */
            uv_sleep(1);
    }
    checkpoints_close(c, NULL, NULL);
    uv_run(&loop, UV_RUN_DEFAULT);

    assert_int_equal(checkpoints_open(&loop, directory, &genesis, digest_done, NULL, &c, &e), 0);
    assert_int_equal(chunk_ask(c, 12), -ATOLL_ENOENT);
    struct ledger_checkpoint at = checkpoint_of(12);
    told = 0;
    checkpoints_offer(c, &genesis, &at, damage_told, NULL); /* which names another 11 */
    assert_int_equal(told, 1);
    assert_int_equal(chunk_ask(c, 11), -ATOLL_ENOENT);
    assert_int_equal(chunk_ask(c, 12), 0);
    memcpy(at.before_digest, digest[11], HASH_LEN);
    checkpoints_offer(c, &genesis, &at, damage_told, NULL);
    assert_int_equal(told, 1);
    assert_int_equal(chunk_ask(c, 11), 0);
    assert_int_equal(chunk_ask(c, 12), 0);
    assert_int_equal(checkpoints_origin(c, 11, &origin), 0);
    assert_int_equal(checkpoints_origin(c, 10, &origin), -ATOLL_ENOENT);

    /* New ones take the places of the oldest. */
    checkpoint_submit(c, kv, 13, digest[13]);
    assert_int_equal(chunk_ask(c, 11), -ATOLL_ENOENT);
    assert_int_equal(checkpoints_origin(c, 11, &origin), -ATOLL_ENOENT);
    assert_int_equal(chunk_ask(c, 12), 0);

    /* What was damaged meanwhile is not given, then or later. */
    path_of(12, path);
    struct stat file;
    assert_int_equal(stat(path, &file), 0);
    byte_flip(12, file.st_size - 1);
    int rc = chunk_ask(c, 12);
    byte_flip(12, file.st_size - 1);
    assert_int_equal(rc, -ATOLL_ECORRUPT);
    assert_int_equal(chunk_ask(c, 12), -ATOLL_ENOENT);
    checkpoints_close(c, NULL, NULL);
    uv_run(&loop, UV_RUN_DEFAULT);
    kv_destroy(kv);
}

/* A disk that stands still: FIFOs that are full lie where files are to be made. */
struct stuck {
    int fifos[5];
    atomic_bool reading, ended;
};

static void *stuck_run(void *context)
{
    struct stuck *d = context;
    uint8_t drain[4096];
    while (!atomic_load(&d->ended)) {
        for (int s = 1; atomic_load(&d->reading) && s <= 4; s++)
            while (read(d->fifos[s], drain, sizeof drain) > 0)
                continue;
        uv_sleep(1);
    }
    return NULL;
}

static void stuck_fill(struct stuck *d, uint64_t s)
{
    static const uint8_t zeros[4096];
    char path[128], temporary[160];
    path_of(s, path);
    snprintf(temporary, sizeof temporary, "%s.new", path);
    assert_int_equal(mkfifo(temporary, 0600), 0);
    d->fifos[s] = open(temporary, O_RDWR | O_NONBLOCK | O_CLOEXEC);
    assert_true(d->fifos[s] >= 0);
    while (write(d->fifos[s], zeros, sizeof zeros) > 0)
        continue;
}

static void digests_do_not_wait_for_a_disk(void **state)
{
    (void)state;
    static struct stuck disk;
    struct checkpoints *c;
    struct kv *kv;
    struct error e;
    uint8_t digest[HASH_LEN], is[HASH_LEN];
    char path[128];
    pthread_t reader;
    for (uint64_t s = 1; s <= 4; s++)
        stuck_fill(&disk, s);
    assert_int_equal(pthread_create(&reader, NULL, stuck_run, &disk), 0);
    assert_int_equal(kv_create(genesis.bucket_bits, genesis.bucket_key, &kv, &e), 0);
    assert_int_equal(checkpoints_open(&loop, directory, &genesis, digest_done, NULL, &c, &e), 0);
    for (uint64_t s = 1; s <= 4; s++) {
        checkpoint_submit(c, kv, s, digest);
        digest_of(kv, is);
        assert_memory_equal(digest, is, HASH_LEN);
    }
    atomic_store(&disk.reading, true);
    checkpoints_close(c, NULL, NULL);
    uv_run(&loop, UV_RUN_DEFAULT);
    atomic_store(&disk.ended, true);
    pthread_join(reader, NULL);
    kv_destroy(kv);
    path_of(1, path); /* what cannot be synchronised is no file */
    assert_int_not_equal(access(path, F_OK), 0);
    for (int s = 1; s <= 4; s++)
        close(disk.fifos[s]);
}

static void what_a_replica_must_know_comes_back_and_nothing_else_does(void **state)
{
    (void)state;
    struct ledger_checkpoint at = checkpoint_of(9), back;
    struct buffer meta = {0};
    struct error e;
    assert_true(checkpoint_meta_encode(&at, &meta));
    assert_int_equal(checkpoint_meta_decode(slice_of_buffer(&meta), &back, &e), 0);
    assert_memory_equal(&at, &back, sizeof at);
    for (size_t len = 0; len < meta.len; len++)
        assert_int_equal(checkpoint_meta_decode(slice_of(meta.data, len), &back, &e),
                         -ATOLL_ECORRUPT);
    assert_true(buffer_append(&meta, "", 1));
    assert_int_equal(checkpoint_meta_decode(slice_of_buffer(&meta), &back, &e), -ATOLL_ECORRUPT);
    buffer_free(&meta);
}

static void files_remove(void)
{
    DIR *d = opendir(directory);
    for (struct dirent *entry; d && (entry = readdir(d)) != NULL;) {
        char path[512];
        snprintf(path, sizeof path, "%s/%s", directory, entry->d_name);
        unlink(path);
    }
    if (d)
        closedir(d);
    rmdir(directory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_signature_gets_its_own_verdict_in_any_grouping),
        cmocka_unit_test(jobs_that_are_out_when_it_closes_are_dropped),
        cmocka_unit_test(the_last_two_checkpoints_are_kept_and_damaged_ones_passed_over),
        cmocka_unit_test(what_a_replica_must_know_comes_back_and_nothing_else_does),
        cmocka_unit_test(digests_do_not_wait_for_a_disk),
        cmocka_unit_test(a_file_that_cannot_be_written_is_told_of_once_until_one_can),
        cmocka_unit_test(after_a_start_checkpoints_are_given_from_their_files),
    };
    if (mkdtemp(directory) == NULL || uv_loop_init(&loop) != 0)
        return 1;
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    files_remove();
    return failed + (uv_loop_close(&loop) != 0);
}
