/* Checkpoints of the ledger's store: chunks for state transfer, and files. */
#define _GNU_SOURCE
#include "ledger/kv/checkpoint.h"

#include "base/file.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static const uint8_t bucket_key[SIPHASH_KEY_LEN] = "public, as all";
static const uint8_t genesis[HASH_LEN] = "a service";
static struct error e;
static char directory[] = "/tmp/atoll-checkpoint-XXXXXX";
static char path[64];

static struct kv *filled(uint32_t bits, uint32_t pairs, uint32_t value_len)
{
    static uint8_t value[KV_VALUE_MAX];
    struct kv *kv;
    assert_int_equal(kv_create(bits, bucket_key, &kv, &e), 0);
    for (uint32_t i = 0; i < pairs; i++) {
        memset(value, (int)i, value_len);
        assert_int_equal(kv_preload(kv, KV_TABLE_USER + i % 3, &i, 4, value, value_len, &e), 0);
    }
    return kv;
}

static struct kv_checkpoint *opened(struct kv *kv, uint8_t digest[static HASH_LEN])
{
    struct kv_snapshot *s;
    struct kv_checkpoint *c;
    assert_int_equal(kv_snapshot_take(kv, &s, &e), 0);
    assert_int_equal(kv_checkpoint_open(s, NULL, &c, &e), 0);
    kv_checkpoint_digest(c, digest);
    return c;
}

static void assert_digest(struct kv *kv, const uint8_t digest[static HASH_LEN])
{
    uint8_t now[HASH_LEN];
    struct kv_snapshot *s;
    assert_int_equal(kv_snapshot_take(kv, &s, &e), 0);
    kv_snapshot_digest(s, now);
    kv_snapshot_release(s);
    assert_memory_equal(now, digest, HASH_LEN);
}

static const struct shape {
    uint32_t bits, pairs, value_len;
    uint32_t chunks_min;
} shapes[] = {
    {16, 0, 0, 1},       {16, 5, 8, 2},     {4, 4000, 30, 2},
    {16, 90000, 30, 3},  {0, 60000, 40, 3}, /* one bucket, cut within its forks */
    {2, 300, 30000, 10}, {0, 40, 65536, 4}, {7, 20000, 300, 4},
};

static void a_store_is_moved_in_chunks_in_any_order(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        const struct shape *shape = &shapes[i];
        uint8_t digest[HASH_LEN];
        struct kv *from = filled(shape->bits, shape->pairs, shape->value_len), *to;
        struct kv_checkpoint *c = opened(from, digest);
        struct kv_transfer *t;
        struct buffer chunk = {0};
        assert_int_equal(kv_transfer_open(digest, shape->bits, bucket_key, &t, &e), 0);
        assert_int_equal(kv_transfer_chunks(t), 0);
        uint32_t chunks = kv_checkpoint_chunks(c);
        assert_true(chunks >= shape->chunks_min);
        assert_int_equal(kv_transfer_chunk(t, 1, "", 0, &e), -ATOLL_EAGAIN);
        for (uint32_t k = 0; k < chunks; k++) {
            uint32_t number = k == 0 ? 0 : chunks - k; /* from the last on */
            assert_int_equal(kv_checkpoint_chunk(c, number, &chunk, &e), 0);
            assert_true(chunk.len <= KV_CHUNK_MAX);
            assert_int_equal(kv_transfer_finish(t, &to, &e), -ATOLL_EAGAIN);
            assert_int_equal(kv_transfer_chunk(t, number, chunk.data, chunk.len, &e), 0);
            assert_int_equal(kv_transfer_chunk(t, number, chunk.data, chunk.len, &e),
                             -ATOLL_EEXIST);
            assert_int_equal(kv_transfer_chunks(t), chunks);
            assert_int_equal(kv_transfer_missing(t, 0), k + 1 == chunks ? chunks : 1);
        }
        assert_int_equal(kv_checkpoint_chunk(c, chunks, &chunk, &e), -ATOLL_ERANGE);
        assert_int_equal(kv_transfer_chunk(t, chunks, "", 0, &e), -ATOLL_ERANGE);
        assert_int_equal(kv_transfer_finish(t, &to, &e), 0);
        kv_transfer_close(t);
        assert_int_equal(kv_pairs(to), shape->pairs);
        assert_digest(to, digest);
        buffer_free(&chunk);
        kv_checkpoint_close(c);
        kv_destroy(from);
        kv_destroy(to);
    }
}

/* Sends every chunk with one byte changed first. */
static void a_chunk_that_lies_changes_nothing(void **state)
{
    (void)state;
    uint8_t digest[HASH_LEN];
    struct kv *from = filled(0, 30000, 60), *to;
    struct kv_checkpoint *c = opened(from, digest);
    struct kv_transfer *t;
    struct buffer chunk = {0};
    assert_int_equal(kv_transfer_open(digest, 0, bucket_key, &t, &e), 0);
    for (uint32_t number = 0; number < kv_checkpoint_chunks(c); number++) {
        assert_int_equal(kv_checkpoint_chunk(c, number, &chunk, &e), 0);
        size_t step = number == 0 ? 1 : chunk.len / 7 + 1;
        for (size_t at = 0; at < chunk.len; at += step) {
            chunk.data[at] ^= 1;
            assert_int_equal(kv_transfer_chunk(t, number, chunk.data, chunk.len, &e),
                             -ATOLL_ECORRUPT);
            chunk.data[at] ^= 1;
        }
        for (size_t cut = 0; cut < chunk.len; cut += step)
            assert_int_equal(kv_transfer_chunk(t, number, chunk.data, cut, &e), -ATOLL_ECORRUPT);
        assert_true(buffer_append(&chunk, "", 1));
        assert_int_equal(kv_transfer_chunk(t, number, chunk.data, chunk.len, &e), -ATOLL_ECORRUPT);
        assert_int_equal(kv_transfer_chunk(t, number, chunk.data, chunk.len - 1, &e), 0);
    }
    assert_int_equal(kv_transfer_finish(t, &to, &e), 0);
    assert_digest(to, digest);
    kv_transfer_close(t);
    buffer_free(&chunk);
    kv_checkpoint_close(c);
    kv_destroy(from);
    kv_destroy(to);
}

static void a_right_chunk_in_another_s_place_is_refused(void **state)
{
    (void)state;
    uint8_t digest[HASH_LEN];
    struct kv *from = filled(0, 60000, 40);
    struct kv_checkpoint *c = opened(from, digest);
    struct kv_transfer *t;
    struct buffer chunk = {0};
    assert_int_equal(kv_transfer_open(digest, 0, bucket_key, &t, &e), 0);
    assert_int_equal(kv_checkpoint_chunk(c, 0, &chunk, &e), 0);
    assert_int_equal(kv_transfer_chunk(t, 0, chunk.data, chunk.len, &e), 0);
    assert_int_equal(kv_checkpoint_chunk(c, 1, &chunk, &e), 0);
    assert_int_equal(kv_transfer_chunk(t, 2, chunk.data, chunk.len, &e), -ATOLL_ECORRUPT);
    assert_int_equal(kv_transfer_chunk(t, 1, chunk.data, chunk.len, &e), 0);
    kv_transfer_close(t);
    buffer_free(&chunk);
    kv_checkpoint_close(c);
    kv_destroy(from);
}

static void a_file_brings_the_store_back(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        uint8_t digest[HASH_LEN];
        struct kv *from = filled(shapes[i].bits, shapes[i].pairs, shapes[i].value_len), *to;
        struct kv_checkpoint *c = opened(from, digest);
        struct kv_checkpoint_file file;
        assert_int_equal(kv_checkpoint_write(c, path, genesis, 77, "the owner's", 11, NULL, &e), 0);
        assert_int_equal(
            kv_checkpoint_read(path, genesis, shapes[i].bits, bucket_key, digest, &file, &to, &e),
            0);
        assert_int_equal(file.s, 77);
        assert_memory_equal(file.digest, digest, HASH_LEN);
        assert_int_equal(file.meta.len, 11);
        assert_memory_equal(file.meta.data, "the owner's", 11);
        assert_digest(to, digest);
        buffer_free(&file.meta);
        kv_checkpoint_close(c);
        kv_destroy(from);
        kv_destroy(to);
    }
}

static void file_put(const void *bytes, size_t len)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(file_write_all(fd, bytes, len, &e), 0);
    close(fd);
}

static void a_damaged_file_is_refused(void **state)
{
    (void)state;
    uint8_t digest[HASH_LEN], other[HASH_LEN] = {1};
    struct kv *from = filled(4, 200, 20), *to;
    struct kv_checkpoint *c = opened(from, digest);
    struct kv_checkpoint_file file;
    struct buffer bytes = {0};
    assert_int_equal(kv_checkpoint_write(c, path, genesis, 77, "own", 3, NULL, &e), 0);
    assert_int_equal(kv_checkpoint_read(path, genesis, 4, bucket_key, other, &file, &to, &e),
                     -ATOLL_ECORRUPT);
    assert_int_equal(kv_checkpoint_read(path, other, 4, bucket_key, NULL, &file, &to, &e),
                     -ATOLL_EINVAL);
    assert_int_equal(kv_checkpoint_read(path, genesis, 5, bucket_key, NULL, &file, &to, &e),
                     -ATOLL_ECORRUPT);
    assert_int_equal(file_read(path, 1u << 20, &bytes, &e), 0);
    for (size_t at = 0; at < bytes.len; at += 3) {
        bytes.data[at] ^= 0x10;
        file_put(bytes.data, bytes.len);
        assert_int_equal(kv_checkpoint_read(path, genesis, 4, bucket_key, NULL, &file, &to, &e),
                         -ATOLL_ECORRUPT);
        bytes.data[at] ^= 0x10;
    }
    for (size_t len = 0; len < bytes.len; len += 37) {
        file_put(bytes.data, len);
        assert_int_equal(kv_checkpoint_read(path, genesis, 4, bucket_key, NULL, &file, &to, &e),
                         -ATOLL_ECORRUPT);
    }
    assert_int_equal(unlink(path), 0);
    assert_int_equal(kv_checkpoint_read(path, genesis, 4, bucket_key, NULL, &file, &to, &e),
                     -ATOLL_ENOENT);
    buffer_free(&bytes);
    kv_checkpoint_close(c);
    kv_destroy(from);
}

/* Every chunk that a file gives is the one that the store in memory gave. */
static void chunks_are_given_from_a_file(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        uint8_t digest[HASH_LEN];
        struct kv *from = filled(shapes[i].bits, shapes[i].pairs, shapes[i].value_len);
        struct kv_checkpoint *c = opened(from, digest);
        struct kv_checkpoint_file file;
        struct kv_checkpoint_reader *r;
        struct buffer wanted = {0}, given = {0};
        assert_int_equal(kv_checkpoint_write(c, path, genesis, 77, "own", 3, NULL, &e), 0);
        assert_int_equal(kv_checkpoint_reader_open(path, genesis, shapes[i].bits, bucket_key,
                                                   digest, &file, &r, &e),
                         0);
        assert_int_equal(file.s, 77);
        assert_memory_equal(file.meta.data, "own", 3);
        uint32_t chunks = kv_checkpoint_chunks(c);
        assert_int_equal(kv_checkpoint_reader_chunks(r), chunks);
        for (uint32_t k = 0; k < chunks; k++) {
            uint32_t number = chunks - 1 - k;
            assert_int_equal(kv_checkpoint_chunk(c, number, &wanted, &e), 0);
            assert_int_equal(kv_checkpoint_reader_chunk(r, number, &given, &e), 0);
            assert_int_equal(given.len, wanted.len);
            assert_memory_equal(given.data, wanted.data, wanted.len);
        }
        assert_int_equal(kv_checkpoint_reader_chunk(r, chunks, &given, &e), -ATOLL_ERANGE);
        kv_checkpoint_reader_close(r);
        buffer_free(&file.meta);
        buffer_free(&wanted);
        buffer_free(&given);
        kv_checkpoint_close(c);
        kv_destroy(from);
    }
}

/* Damage before it is opened, and damage since: either it does not open, or what is given is right.
 */
static void a_damaged_file_gives_nothing_false(void **state)
{
    (void)state;
    uint8_t digest[HASH_LEN], other[HASH_LEN] = {1};
    struct kv *from = filled(4, 200, 20);
    struct kv_checkpoint *c = opened(from, digest);
    struct kv_checkpoint_file file;
    struct kv_checkpoint_reader *r;
    struct buffer bytes = {0}, chunk = {0};
    assert_int_equal(kv_checkpoint_write(c, path, genesis, 77, "own", 3, NULL, &e), 0);
    assert_int_equal(file_read(path, 1u << 20, &bytes, &e), 0);
    assert_int_equal(kv_checkpoint_reader_open(path, genesis, 4, bucket_key, other, &file, &r, &e),
                     -ATOLL_ECORRUPT);
    assert_int_equal(kv_checkpoint_reader_open(path, other, 4, bucket_key, NULL, &file, &r, &e),
                     -ATOLL_EINVAL);
    unsigned refused = 0;
    for (size_t at = 0; at < bytes.len; at += 3) {
        bytes.data[at] ^= 0x10;
        file_put(bytes.data, bytes.len);
        int rc = kv_checkpoint_reader_open(path, genesis, 4, bucket_key, NULL, &file, &r, &e);
        bytes.data[at] ^= 0x10;
        if (rc == 0) {
            rc = kv_checkpoint_reader_chunk(r, 1, &chunk, &e);
            kv_checkpoint_reader_close(r);
            buffer_free(&file.meta);
        }
        assert_int_equal(rc, -ATOLL_ECORRUPT);
        refused++;
    }
    assert_true(refused > 100);
    file_put(bytes.data, bytes.len);
    assert_int_equal(kv_checkpoint_reader_open(path, genesis, 4, bucket_key, NULL, &file, &r, &e),
                     0);
    assert_int_equal(kv_checkpoint_reader_chunk(r, 1, &chunk, &e), 0);
    file_put(bytes.data, bytes.len - 1); /* the same file, shorter now */
    assert_int_equal(kv_checkpoint_reader_chunk(r, 1, &chunk, &e), -ATOLL_ECORRUPT);
    kv_checkpoint_reader_close(r);
    buffer_free(&file.meta);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(kv_checkpoint_reader_open(path, genesis, 4, bucket_key, NULL, &file, &r, &e),
                     -ATOLL_ENOENT);
    buffer_free(&bytes);
    buffer_free(&chunk);
    kv_checkpoint_close(c);
    kv_destroy(from);
}

static int setup(void **state)
{
    (void)state;
    if (!mkdtemp(directory))
        return -1;
    snprintf(path, sizeof path, "%s/ckpt_77", directory);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    unlink(path);
    return rmdir(directory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_store_is_moved_in_chunks_in_any_order),
        cmocka_unit_test(a_chunk_that_lies_changes_nothing),
        cmocka_unit_test(a_right_chunk_in_another_s_place_is_refused),
        cmocka_unit_test(a_file_brings_the_store_back),
        cmocka_unit_test(a_damaged_file_is_refused),
        cmocka_unit_test(chunks_are_given_from_a_file),
        cmocka_unit_test(a_damaged_file_gives_nothing_false),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
