/*
 * Chunks of a checkpoint from somebody who lies. The input is a row of steps: a chunk of a real
 * checkpoint is taken, bytes of it are changed, it is cut or made longer, or it is replaced, and
 * sent. Only what the digest vouches for may be taken, and what comes out at the end is the store.
 */
#include "base/bytes.h"
#include "ledger/kv/checkpoint.h"
#include "ledger/object/slice.h"

#include <stdlib.h>

#define CHUNKS_MAX 8

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const uint8_t bucket_key[SIPHASH_KEY_LEN] = "public, as all";
static struct buffer right[CHUNKS_MAX];
static uint32_t chunks;
static uint8_t digest[HASH_LEN];
static struct error e;

/* One bucket, with forks and long values; three chunks and the manifest. */
static void checkpoint_make(void)
{
    static uint8_t value[30000];
    struct kv *kv;
    struct kv_snapshot *s;
    struct kv_checkpoint *checkpoint;
    if (kv_create(0, bucket_key, &kv, &e) < 0)
        abort();
    for (uint32_t i = 0; i < 90; i++) {
        value[0] = (uint8_t)i;
        if (kv_preload(kv, KV_TABLE_USER, &i, 4, value, i % 3 ? 8 : sizeof value, &e) < 0)
            abort();
    }
    if (kv_snapshot_take(kv, &s, &e) < 0 || kv_checkpoint_open(s, NULL, &checkpoint, &e) < 0)
        abort();
    kv_checkpoint_digest(checkpoint, digest);
    chunks = kv_checkpoint_chunks(checkpoint);
    if (chunks > CHUNKS_MAX)
        abort();
    for (uint32_t number = 0; number < chunks; number++)
        if (kv_checkpoint_chunk(checkpoint, number, &right[number], &e) < 0)
            abort();
    kv_checkpoint_close(checkpoint);
    kv_destroy(kv);
}

static void chunk_copy(uint32_t number, struct buffer *out)
{
    out->len = 0;
    if (!buffer_append(out, right[number].data, right[number].len))
        abort();
}

static void chunk_spoil(struct buffer *chunk, uint8_t how, uint32_t at, const struct slice *bytes)
{
    if (how == 1 && chunk->len > 0)
        chunk->len = at % chunk->len;
    else if (how == 2 && !buffer_append(chunk, bytes->data, bytes->len))
        abort();
    else if (how == 3) {
        chunk->len = 0;
        if (!buffer_append(chunk, bytes->data, bytes->len))
            abort();
    } else if (how > 3) {
        for (size_t i = 0; i < bytes->len && at + i < chunk->len; i++)
            chunk->data[at + i] ^= bytes->data[i];
    }
}

static void chunk_send(struct kv_transfer *t, uint32_t number, const struct buffer *chunk)
{
    int rc = kv_transfer_chunk(t, number, chunk->data, chunk->len, &e);
    /* Pairs may come in another order; nothing else may differ. */
    if (rc == 0 && chunk->len != right[number].len)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct kv_transfer *t;
    struct buffer chunk = {0};
    if (chunks == 0)
        checkpoint_make();
    if (kv_transfer_open(digest, 0, bucket_key, &t, &e) < 0)
        abort();
    while (size >= 4) {
        uint32_t number = data[0] % (chunks + 1);
        struct slice bytes = {data + 4, data[1] / 8u < size - 4 ? data[1] / 8u : size - 4};
        chunk_copy(number % chunks, &chunk);
        chunk_spoil(&chunk, data[1] % 8, load_u16(data + 2), &bytes);
        chunk_send(t, number, &chunk);
        data += 4 + bytes.len;
        size -= 4 + bytes.len;
    }
    /* However it was lied to, the truth is taken. */
    for (uint32_t number = 0; number < chunks; number++) {
        chunk_copy(number, &chunk);
        chunk_send(t, number, &chunk);
    }
    struct kv *kv;
    struct kv_snapshot *s;
    uint8_t now[HASH_LEN];
    if (kv_transfer_finish(t, &kv, &e) < 0 || kv_snapshot_take(kv, &s, &e) < 0)
        abort();
    kv_snapshot_digest(s, now);
    kv_snapshot_release(s);
    if (!hash_equal(now, digest))
        abort();
    kv_destroy(kv);
    kv_transfer_close(t);
    buffer_free(&chunk);
    return 0;
}
