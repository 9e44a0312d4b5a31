/*
 * Hashes of the trie's objects (trie.h draws what is hashed). An object that was hashed once and
 * has not changed is not hashed again, so a digest costs what changed since the one before.
 */
#include "base/bytes.h"
#include "crypto/merkle.h"
#include "ledger/kv/trie.h"

#include <string.h>

#define TAG_LEN 16

static const uint8_t page_tag[TAG_LEN] = "atoll.kvpage.v1";
static const uint8_t fork_tag[TAG_LEN] = "atoll.kvfork.v1";
static const uint8_t store_tag[TAG_LEN] = "atoll.kv.v1";

static void node_hash(const uint8_t *left, const uint8_t *right, uint8_t out[static HASH_LEN])
{
    struct merkle_hash l, r, node;
    memcpy(l.bytes, left, HASH_LEN);
    memcpy(r.bytes, right, HASH_LEN);
    node = merkle_node(&l, &r);
    memcpy(out, node.bytes, HASH_LEN);
}

void kv_hash_empty(uint8_t empty[static KV_BUCKET_BITS_MAX + 1][HASH_LEN])
{
    uint32_t count = 0;
    struct hash_part parts[2] = {{page_tag, TAG_LEN}, {&count, sizeof count}};
    hash_sha256_parts(parts, 2, empty[0]);
    for (unsigned i = 0; i < KV_BUCKET_BITS_MAX; i++)
        node_hash(empty[i], empty[i], empty[i + 1]);
}

void kv_store_hash(uint32_t bits, uint64_t pairs, const uint8_t root[static HASH_LEN],
                   uint8_t digest[static HASH_LEN])
{
    struct hash_part parts[4] = {
        {store_tag, TAG_LEN}, {&bits, sizeof bits}, {&pairs, sizeof pairs}, {root, HASH_LEN}};
    hash_sha256_parts(parts, 4, digest);
}

void kv_branch_hash(const uint8_t empty[static KV_BUCKET_BITS_MAX + 1][HASH_LEN], uint32_t bits,
                    uint32_t height, const uint8_t *const children[static 16],
                    uint8_t digest[static HASH_LEN])
{
    const uint8_t *row[16]; /* NULL: empty */
    uint8_t room[16][HASH_LEN];
    memcpy(row, children, (sizeof row[0]) << bits);
    for (uint32_t step = 0; step < bits; step++) {
        unsigned nodes = 1u << (bits - step - 1);
        for (unsigned i = 0; i < nodes; i++) {
            const uint8_t *left = row[2 * i], *right = row[2 * i + 1];
            row[i] = NULL;
            if (!left && !right)
                continue;
            const uint8_t *none = empty[height + step];
            /* room[i] may be what left or right points to: the hash is made aside. */
            uint8_t made[HASH_LEN];
            node_hash(left ? left : none, right ? right : none, made);
            memcpy(room[i], made, HASH_LEN);
            row[i] = room[i];
        }
    }
    memcpy(digest, row[0] ? row[0] : empty[height + bits], HASH_LEN);
}

void kv_fork_hash(const uint8_t sides[static 2][HASH_LEN], uint8_t digest[static HASH_LEN])
{
    struct hash_part parts[2] = {{fork_tag, TAG_LEN}, {sides, 2 * HASH_LEN}};
    hash_sha256_parts(parts, 2, digest);
}

static void blob_hash(struct kv_blob *blob)
{
    if (blob->object.hashed)
        return;
    hash_sha256(blob->data, blob->len, blob->object.digest);
    blob->object.hashed = true;
}

/* In memory a page without blobs is, byte for byte, what is hashed of it. */
static void page_hash(struct kv_page *p)
{
    uint32_t count = p->count;
    struct hash_part parts[2 + 2 * KV_PAGE_PAIRS] = {{page_tag, TAG_LEN}, {&count, sizeof count}};
    size_t used = 2;
    if (p->blobs == 0)
        parts[used++] = (struct hash_part){p->data, p->used};
    for (unsigned i = 0; i < count && p->blobs > 0; i++) {
        const uint8_t *record = p->data + p->slot[i].offset;
        size_t head = KV_RECORD_HEAD + load_u16(record);
        uint32_t value_len = load_u32(record + 2);
        parts[used++] = (struct hash_part){record, head};
        parts[used++] = (struct hash_part){record + head, value_len};
        if (value_len > KV_INLINE_MAX) {
            struct kv_blob *blob;
            memcpy(&blob, record + head, sizeof blob);
            blob_hash(blob);
            parts[used - 1] = (struct hash_part){blob->object.digest, HASH_LEN};
        }
    }
    hash_sha256_parts(parts, used, p->object.digest);
}

void kv_object_hash(const struct kv_trie *t, struct kv_object *object, uint32_t level,
                    uint8_t digest[static HASH_LEN])
{
    uint32_t height = 4 * (t->levels - level); /* in bits of the bucket, below this object */
    if (level == 0)
        height = t->bits;
    if (!object) {
        memcpy(digest, t->empty[height], HASH_LEN);
        return;
    }
    if (!object->hashed && object->kind == KV_BRANCH) {
        struct kv_branch *b = (struct kv_branch *)object;
        uint32_t bits = kv_level_bits(t->bits, level);
        uint8_t hashes[16][HASH_LEN];
        const uint8_t *children[16] = {NULL};
        b->pairs = b->bytes = 0;
        for (unsigned i = 0; i < 1u << bits; i++) {
            uint64_t pairs, bytes;
            if (!b->child[i])
                continue;
            kv_object_hash(t, b->child[i], level + 1, hashes[i]);
            children[i] = hashes[i];
            kv_object_size(b->child[i], &pairs, &bytes);
            b->pairs += pairs;
            b->bytes += bytes;
        }
        kv_branch_hash(t->empty, bits, height - bits, children, object->digest);
    } else if (!object->hashed && object->kind == KV_FORK) {
        uint8_t sides[2][HASH_LEN];
        for (unsigned i = 0; i < 2; i++)
            kv_object_hash(t, ((struct kv_fork *)object)->side[i], t->levels, sides[i]);
        kv_fork_hash(sides, object->digest);
    } else if (!object->hashed) {
        page_hash((struct kv_page *)object);
    }
    object->hashed = true;
    memcpy(digest, object->digest, HASH_LEN);
}
