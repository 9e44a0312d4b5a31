/*
 * Transactions (kv.h). The writes of the open one lie in an arena, each as it will be hashed, and
 * in a list in the order in which it will be hashed.
 */
#include "ledger/kv/kv.h"
#include "ledger/kv/store.h"

#include <assert.h>
#include <string.h>

#define TAG_LEN    16
#define WRITE_HEAD 10 /* u8 table | u8 put | u32 key length | u32 value length */

static const uint8_t writeset_tag[TAG_LEN] = "atoll.ws.v1";

void kv_transaction_begin(struct kv *kv)
{
    assert(!kv->in_transaction && kv->batch_count > 0);
    kv->in_transaction = true;
    kv->arena.len = 0;
    kv->write_count = kv->write_bytes = 0;
}

/* Where the key is, or would be, among the writes. */
static uint32_t write_search(const struct kv *kv, uint8_t table, const void *key, size_t key_len,
                             bool *found)
{
    uint32_t low = 0, high = kv->write_count;
    *found = false;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        const uint8_t *w = kv->arena.data + kv->writes[middle].at;
        size_t other = load_u32(w + 2);
        int order = (w[0] > table) - (w[0] < table);
        if (order == 0)
            order = memcmp(w + WRITE_HEAD, key, other < key_len ? other : key_len);
        if (order == 0)
            order = (other > key_len) - (other < key_len);
        if (order == 0) {
            *found = true;
            return middle;
        }
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

bool kv_transaction_get(struct kv *kv, uint8_t table, const void *key, size_t key_len,
                        struct kv_value *out)
{
    assert(kv->in_transaction && table >= KV_TABLE_USER);
    bool found;
    uint32_t index = write_search(kv, table, key, key_len, &found);
    if (!found)
        return kv_get(kv, table, key, key_len, out);
    const uint8_t *w = kv->arena.data + kv->writes[index].at;
    *out = (struct kv_value){w + WRITE_HEAD + key_len, load_u32(w + 6)};
    return w[1] != 0;
}

static int transaction_write(struct kv *kv, uint8_t table, const void *key, size_t key_len,
                             const void *value, size_t value_len, struct error *e)
{
    assert(kv->in_transaction && table >= KV_TABLE_USER);
    if (key_len > KV_KEY_MAX || value_len > KV_VALUE_MAX)
        return error_set(e, ATOLL_EINVAL, "a pair of %zu and %zu bytes is larger than %d and %d",
                         key_len, value_len, KV_KEY_MAX, KV_VALUE_MAX);
    bool found;
    uint32_t index = write_search(kv, table, key, key_len, &found);
    if (!found && kv->write_count == KV_WRITES_MAX)
        return error_set(e, ATOLL_ELIMIT, "a transaction writes at most %d keys", KV_WRITES_MAX);
    /* What is written over counts again: so the arena is bounded, too, where it has to grow. */
    if (key_len + value_len > KV_TRANSACTION_BYTES_MAX - kv->write_bytes)
        return error_set(e, ATOLL_ELIMIT, "a transaction writes at most %u bytes",
                         KV_TRANSACTION_BYTES_MAX);
    uint8_t head[WRITE_HEAD] = {table, value != NULL};
    store_u32(head + 2, (uint32_t)key_len);
    store_u32(head + 6, (uint32_t)value_len);
    size_t len = WRITE_HEAD + key_len + value_len;
    /* In the place of the one before where it fits: otherwise empty ones would fill the arena. */
    bool fits = found && kv->writes[index].len >= len;
    size_t at = fits ? kv->writes[index].at : kv->arena.len;
    if (!fits && !buffer_append(&kv->arena, NULL, len))
        return error_set(e, ATOLL_ENOMEM, "no memory for the writes of a transaction");
    uint8_t *to = kv->arena.data + at;
    memcpy(to, head, sizeof head);
    if (key_len > 0)
        memcpy(to + WRITE_HEAD, key, key_len);
    if (value_len > 0)
        memcpy(to + WRITE_HEAD + key_len, value, value_len);
    if (!found) {
        memmove(kv->writes + index + 1, kv->writes + index,
                (kv->write_count - index) * sizeof kv->writes[0]);
        kv->write_count++;
    }
    kv->writes[index] = (struct kv_write){at, (uint32_t)len};
    kv->write_bytes += (uint32_t)(key_len + value_len);
    return 0;
}

int kv_transaction_put(struct kv *kv, uint8_t table, const void *key, size_t key_len,
                       const void *value, size_t value_len, struct error *e)
{
    assert(value);
    return transaction_write(kv, table, key, key_len, value, value_len, e);
}

int kv_transaction_remove(struct kv *kv, uint8_t table, const void *key, size_t key_len,
                          struct error *e)
{
    return transaction_write(kv, table, key, key_len, NULL, 0, e);
}

static void writeset_hash_make(struct kv *kv, uint8_t out[static HASH_LEN])
{
    uint32_t count = kv->write_count;
    kv->parts[0] = (struct hash_part){writeset_tag, TAG_LEN};
    kv->parts[1] = (struct hash_part){&count, sizeof count};
    for (uint32_t i = 0; i < count; i++)
        kv->parts[2 + i] = (struct hash_part){kv->arena.data + kv->writes[i].at, kv->writes[i].len};
    hash_sha256_parts(kv->parts, count + 2, out);
}

int kv_transaction_commit(struct kv *kv, uint8_t writeset_hash[static HASH_LEN], struct error *e)
{
    assert(kv->in_transaction);
    kv->in_transaction = false;
    writeset_hash_make(kv, writeset_hash);
    for (uint32_t i = 0; i < kv->write_count; i++) {
        const uint8_t *w = kv->arena.data + kv->writes[i].at;
        size_t key_len = load_u32(w + 2);
        struct kv_name name;
        kv_name_make(&kv->trie, w[0], w + WRITE_HEAD, key_len, &name);
        int rc = kv_change(kv, &name, w[1] ? w + WRITE_HEAD + key_len : NULL, load_u32(w + 6), e);
        if (rc < 0)
            return rc;
    }
    return 0;
}

void kv_transaction_abort(struct kv *kv, uint8_t writeset_hash[static HASH_LEN])
{
    assert(kv->in_transaction);
    kv->in_transaction = false;
    kv->write_count = 0;
    writeset_hash_make(kv, writeset_hash);
}
