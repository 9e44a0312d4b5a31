/* The file of receipts; see receipt_store.h. */
#include "ledger/client/receipt_store.h"

#include "base/file.h"
#include "store/checksum.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define HEAD_LEN        48
#define VERSION         1
#define RECORD_HEAD_LEN 9
#define RESERVE_LEN     (ED25519_KEY_LEN + 8)
#define SCAN_BYTES      (1u << 20) /* read at a time when opening */

static const uint8_t magic[8] = {'a', 't', 'o', 'l', 'l', 'r', 's', 't'};

enum record_type { RECORD_RECEIPT = 1, RECORD_RESERVED = 2 };

struct entry {
    uint64_t index;
    uint64_t at;      /* of the record */
    uint64_t request; /* the first eight bytes of its hash */
};

struct reservation {
    uint8_t key[ED25519_KEY_LEN];
    uint64_t end;
};

struct ledger_receipt_store {
    int fd;
    bool broken; /* takes nothing more */
    uint64_t size;
    uint64_t damaged;
    struct entry *entries; /* ascending indices while sorted */
    size_t entry_count, entry_capacity;
    bool sorted;
    struct reservation *keys;
    size_t key_count;
    uint64_t highest;
    struct buffer record; /* reused */
};

/* ---- the index ---- */

static int entry_add(struct ledger_receipt_store *s, const struct ledger_receipt *receipt,
                     uint64_t at, struct error *e)
{
    uint64_t index = receipt->tx.index;
    uint8_t req_hash[HASH_LEN];
    if (s->entry_count == s->entry_capacity) {
        size_t capacity = s->entry_capacity ? 2 * s->entry_capacity : 256;
        struct entry *entries = realloc(s->entries, capacity * sizeof *entries);
        if (!entries)
            return error_set(e, ATOLL_ENOMEM, "no memory for the index of receipts");
        s->entries = entries;
        s->entry_capacity = capacity;
    }
    if (s->entry_count > 0 && s->entries[s->entry_count - 1].index > index)
        s->sorted = false;
    ledger_request_hash(receipt->body.fields, req_hash);
    s->entries[s->entry_count++] = (struct entry){index, at, load_u64(req_hash)};
    s->highest = index > s->highest ? index : s->highest;
    return 0;
}

static int entry_compare(const void *a, const void *b)
{
    const struct entry *x = a, *y = b;
    if (x->index != y->index)
        return x->index < y->index ? -1 : 1;
    return (x->at > y->at) - (x->at < y->at);
}

static void entries_sort(struct ledger_receipt_store *s)
{
    if (!s->sorted)
        qsort(s->entries, s->entry_count, sizeof *s->entries, entry_compare);
    s->sorted = true;
}

static const struct entry *entry_find(struct ledger_receipt_store *s, uint64_t index)
{
    entries_sort(s);
    size_t low = 0, high = s->entry_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (s->entries[middle].index < index)
            low = middle + 1;
        else
            high = middle;
    }
    return low < s->entry_count && s->entries[low].index == index ? &s->entries[low] : NULL;
}

static struct reservation *key_find(const struct ledger_receipt_store *s, const uint8_t *key)
{
    for (size_t i = 0; i < s->key_count; i++)
        if (memcmp(s->keys[i].key, key, ED25519_KEY_LEN) == 0)
            return &s->keys[i];
    return NULL;
}

/* Numbers of the key below `end` are used. */
static int key_raise(struct ledger_receipt_store *s, const uint8_t *key, uint64_t end,
                     struct error *e)
{
    struct reservation *found = key_find(s, key);
    if (found) {
        found->end = end > found->end ? end : found->end;
        return 0;
    }
    if (s->key_count == LEDGER_RECEIPT_STORE_KEYS_MAX)
        return error_set(e, ATOLL_ELIMIT, "a file of receipts serves at most %d keys",
                         LEDGER_RECEIPT_STORE_KEYS_MAX);
    struct reservation *keys = realloc(s->keys, (s->key_count + 1) * sizeof *keys);
    if (!keys)
        return error_set(e, ATOLL_ENOMEM, "no memory for the keys of a file of receipts");
    s->keys = keys;
    memcpy(keys[s->key_count].key, key, ED25519_KEY_LEN);
    keys[s->key_count++].end = end;
    return 0;
}

/* ---- opening ---- */

/* Takes a whole record into the index; a payload that is not what its type says is passed over. */
static int record_take(struct ledger_receipt_store *s, unsigned type, struct slice payload,
                       uint64_t at, struct error *e)
{
    struct ledger_receipt receipt;
    if (type == RECORD_RESERVED && payload.len == RESERVE_LEN)
        return key_raise(s, payload.data, load_u64(payload.data + ED25519_KEY_LEN), e);
    if (type == RECORD_RECEIPT && ledger_receipt_decode(payload, &receipt, e) == 0 &&
        receipt.of_transaction)
        return entry_add(s, &receipt, at, e);
    return 0;
}

/* The length of the whole record at the start of these bytes, 0 when there is none. */
static size_t record_len(struct slice bytes)
{
    if (bytes.len < RECORD_HEAD_LEN)
        return 0;
    uint32_t len = load_u32(bytes.data);
    if (len == 0 || len > LEDGER_RECEIPT_MAX || len > bytes.len - RECORD_HEAD_LEN)
        return 0;
    uint32_t sum = checksum_crc32c(0, bytes.data + 8, 1 + (size_t)len);
    return sum == load_u32(bytes.data + 4) ? RECORD_HEAD_LEN + len : 0;
}

/* Reads on until the window holds a largest record, or the file ends. */
static int window_fill(struct ledger_receipt_store *s, struct buffer *window, uint64_t file_size,
                       uint64_t *read_at, struct error *e)
{
    while (window->len < RECORD_HEAD_LEN + LEDGER_RECEIPT_MAX && *read_at < file_size) {
        if (!buffer_reserve(window, SCAN_BYTES))
            return error_set(e, ATOLL_ENOMEM, "no memory to read a file of receipts");
        ssize_t got = pread(s->fd, window->data + window->len, SCAN_BYTES, (off_t)*read_at);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return error_set_errno(e, ATOLL_EIO, "cannot read the file of receipts");
        if (got == 0)
            return 0;
        window->len += (size_t)got;
        *read_at += (uint64_t)got;
    }
    return 0;
}

static void window_drop(struct buffer *window, size_t len)
{
    if (len == 0)
        return;
    memmove(window->data, window->data + len, window->len - len);
    window->len -= len;
}

/* Walks all records; s->size becomes the end of the last whole one. */
static int file_scan(struct ledger_receipt_store *s, uint64_t file_size, struct error *e)
{
    struct buffer window = {0};
    uint64_t at = HEAD_LEN, read_at = HEAD_LEN, good = HEAD_LEN;
    int result = 0;
    size_t used = 0; /* of the window: dropped in one go when it runs low */
    while (result == 0 && at < file_size) {
        if (window.len - used < RECORD_HEAD_LEN + LEDGER_RECEIPT_MAX && read_at < file_size) {
            window_drop(&window, used);
            used = 0;
            result = window_fill(s, &window, file_size, &read_at, e);
            if (result < 0 || window.len == 0)
                break;
        }
        struct slice rest = slice_of(window.data + used, window.len - used);
        size_t len = record_len(rest);
        if (len == 0) {
            at++;
            used++;
            continue;
        }
        s->damaged += at - good;
        result = record_take(s, rest.data[8],
                             slice_of(rest.data + RECORD_HEAD_LEN, len - RECORD_HEAD_LEN), at, e);
        at += len;
        used += len;
        good = at;
    }
    buffer_free(&window);
    s->size = good;
    return result;
}

/* Damage before whole records may have been a reservation. */
static void damage_skip(struct ledger_receipt_store *s)
{
    for (size_t i = 0; s->damaged && i < s->key_count; i++) {
        uint64_t *end = &s->keys[i].end;
        *end = *end > UINT64_MAX - LEDGER_RECEIPT_STORE_SKIP ? UINT64_MAX
                                                             : *end + LEDGER_RECEIPT_STORE_SKIP;
    }
}

static void head_encode(const uint8_t *genesis, uint8_t head[static HEAD_LEN])
{
    memcpy(head, magic, sizeof magic);
    store_u32(head + 8, VERSION);
    store_u32(head + 12, checksum_crc32c(0, genesis, HASH_LEN));
    memcpy(head + 16, genesis, HASH_LEN);
}

static int head_make(struct ledger_receipt_store *s, const uint8_t *genesis, struct error *e)
{
    uint8_t head[HEAD_LEN];
    head_encode(genesis, head);
    if (ftruncate(s->fd, 0) < 0)
        return error_set_errno(e, ATOLL_EIO, "cannot begin the file of receipts");
    int result = file_write_all(s->fd, head, sizeof head, e);
    if (result == 0 && fsync(s->fd) < 0)
        result = error_set_errno(e, ATOLL_EIO, "cannot begin the file of receipts");
    s->size = HEAD_LEN;
    return result;
}

static int head_check(struct ledger_receipt_store *s, const uint8_t *genesis, const char *path,
                      struct error *e)
{
    uint8_t head[HEAD_LEN], wanted[HEAD_LEN];
    head_encode(genesis, wanted);
    ssize_t got = pread(s->fd, head, sizeof head, 0);
    if (got < 0)
        return error_set_errno(e, ATOLL_EIO, "cannot read %s", path);
    if (got != HEAD_LEN || memcmp(head, wanted, 12) != 0 ||
        load_u32(head + 12) != checksum_crc32c(0, head + 16, HASH_LEN))
        return error_set(e, ATOLL_ECORRUPT, "%s is not a file of receipts of version %d", path,
                         VERSION);
    if (memcmp(head, wanted, HEAD_LEN) != 0)
        return error_set(e, ATOLL_EINVAL, "%s has the receipts of another ledger", path);
    return 0;
}

static int file_take(struct ledger_receipt_store *s, const uint8_t *genesis, const char *path,
                     struct error *e)
{
    struct stat status;
    if (flock(s->fd, LOCK_EX | LOCK_NB) < 0)
        return error_set(e, ATOLL_EBUSY, "%s is in use by another process", path);
    if (fstat(s->fd, &status) < 0)
        return error_set_errno(e, 0, "cannot look at %s", path);
    /* A file that ends in its head was being made when the system stopped. */
    if (status.st_size < HEAD_LEN) {
        int result = head_make(s, genesis, e);
        return result < 0 ? result : file_name_sync(path, e); /* its name must survive, too */
    }
    int result = head_check(s, genesis, path, e);
    if (result == 0)
        result = file_scan(s, (uint64_t)status.st_size, e);
    if (result < 0)
        return result;
    damage_skip(s);
    if (s->size < (uint64_t)status.st_size && ftruncate(s->fd, (off_t)s->size) < 0)
        return error_set_errno(e, ATOLL_EIO, "cannot cut %s back to its last whole record", path);
    if (lseek(s->fd, (off_t)s->size, SEEK_SET) < 0)
        return error_set_errno(e, ATOLL_EIO, "cannot find the end of %s", path);
    return 0;
}

int ledger_receipt_store_open(const char *path, const uint8_t genesis[static HASH_LEN],
                              struct ledger_receipt_store **out, struct error *e)
{
    struct ledger_receipt_store *s = calloc(1, sizeof *s);
    if (!s)
        return error_set(e, ATOLL_ENOMEM, "no memory for a store of receipts");
    s->sorted = true;
    s->fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    int result =
        s->fd < 0 ? error_set_errno(e, 0, "cannot open %s", path) : file_take(s, genesis, path, e);
    if (result < 0) {
        ledger_receipt_store_close(s);
        return result;
    }
    *out = s;
    return 0;
}

void ledger_receipt_store_close(struct ledger_receipt_store *s)
{
    if (!s)
        return;
    if (s->fd >= 0)
        close(s->fd);
    free(s->entries);
    free(s->keys);
    buffer_free(&s->record);
    free(s);
}

/* ---- writing ---- */

/* Appends a record; *at is where it begins. What was written of a failed one is taken back. */
static int record_append(struct ledger_receipt_store *s, uint8_t type, struct slice payload,
                         uint64_t *at, struct error *e)
{
    if (s->broken)
        return error_set(e, ATOLL_EIO, "the file of receipts failed before: open it again");
    uint8_t head[RECORD_HEAD_LEN] = {0};
    head[8] = type;
    uint32_t sum = checksum_crc32c(checksum_crc32c(0, &type, 1), payload.data, payload.len);
    store_u32(head, (uint32_t)payload.len);
    store_u32(head + 4, sum);
    s->record.len = 0;
    if (!buffer_append(&s->record, head, sizeof head) ||
        !buffer_append(&s->record, payload.data, payload.len))
        return error_set(e, ATOLL_ENOMEM, "no memory for a receipt");
    int result = file_write_all(s->fd, s->record.data, s->record.len, e);
    if (result < 0) {
        s->broken =
            ftruncate(s->fd, (off_t)s->size) < 0 || lseek(s->fd, (off_t)s->size, SEEK_SET) < 0;
        return error_prefix(e, "cannot keep a receipt");
    }
    *at = s->size;
    s->size += s->record.len;
    return 0;
}

int ledger_receipt_store_add(struct ledger_receipt_store *s, struct slice bytes, struct error *e)
{
    struct ledger_receipt receipt;
    uint64_t at;
    int result = ledger_receipt_decode(bytes, &receipt, e);
    if (result == 0 && !receipt.of_transaction)
        result = error_set(e, ATOLL_ECORRUPT, "the receipt is of a batch, not of a transaction");
    if (result == 0)
        result = record_append(s, RECORD_RECEIPT, bytes, &at, e);
    return result < 0 ? result : entry_add(s, &receipt, at, e);
}

int ledger_receipt_store_sync(struct ledger_receipt_store *s, struct error *e)
{
    if (s->broken)
        return error_set(e, ATOLL_EIO, "the file of receipts failed before: open it again");
    if (fdatasync(s->fd) == 0)
        return 0;
    /* The pages may be gone: no second try would bring them back. */
    s->broken = true;
    return error_set_errno(e, ATOLL_EIO, "the receipts could not be made durable");
}

int ledger_receipt_store_reserve(struct ledger_receipt_store *s,
                                 const uint8_t key[static ED25519_KEY_LEN], uint64_t end,
                                 struct error *e)
{
    uint8_t payload[RESERVE_LEN];
    uint64_t at;
    memcpy(payload, key, ED25519_KEY_LEN);
    store_u64(payload + ED25519_KEY_LEN, end);
    int result = key_raise(s, key, 0, e); /* room for it first */
    if (result == 0)
        result = record_append(s, RECORD_RESERVED, slice_of(payload, sizeof payload), &at, e);
    if (result == 0)
        result = ledger_receipt_store_sync(s, e);
    return result < 0 ? result : key_raise(s, key, end, e);
}

/* ---- looking ---- */

uint64_t ledger_receipt_store_next(const struct ledger_receipt_store *s,
                                   const uint8_t key[static ED25519_KEY_LEN])
{
    const struct reservation *found = key_find(s, key);
    return found && found->end > 1 ? found->end : 1;
}

void ledger_receipt_store_status(const struct ledger_receipt_store *s,
                                 struct ledger_receipt_store_status *status)
{
    *status = (struct ledger_receipt_store_status){.receipts = s->entry_count,
                                                   .bytes = s->size,
                                                   .highest_index = s->highest,
                                                   .damaged_bytes = s->damaged};
}

static int bytes_read(int fd, uint64_t at, void *to, size_t len, struct error *e)
{
    for (size_t done = 0; done < len;) {
        ssize_t got = pread(fd, (uint8_t *)to + done, len - done, (off_t)(at + done));
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return error_set_errno(e, ATOLL_EIO, "cannot read a receipt");
        if (got == 0)
            return error_set(e, ATOLL_ECORRUPT, "the file of receipts was cut while it was open");
        done += (size_t)got;
    }
    return 0;
}

/* Reads the receipt of an entry, checking that it is undamaged. */
static int entry_read(struct ledger_receipt_store *s, const struct entry *entry, struct buffer *out,
                      struct error *e)
{
    uint8_t head[RECORD_HEAD_LEN];
    out->len = 0;
    int result = bytes_read(s->fd, entry->at, head, sizeof head, e);
    if (result < 0)
        return result;
    uint32_t len = load_u32(head);
    if (len > LEDGER_RECEIPT_MAX)
        return error_set(e, ATOLL_ECORRUPT, "the receipt of transaction %llu is damaged",
                         (unsigned long long)entry->index);
    if (!buffer_append(out, NULL, len))
        return error_set(e, ATOLL_ENOMEM, "no memory for a receipt");
    result = bytes_read(s->fd, entry->at + RECORD_HEAD_LEN, out->data, len, e);
    if (result < 0)
        return result;
    uint32_t sum = checksum_crc32c(checksum_crc32c(0, head + 8, 1), out->data, len);
    if (sum != load_u32(head + 4))
        return error_set(e, ATOLL_ECORRUPT, "the receipt of transaction %llu is damaged",
                         (unsigned long long)entry->index);
    return 0;
}

int ledger_receipt_store_find(struct ledger_receipt_store *s, uint64_t index, struct buffer *out,
                              struct error *e)
{
    const struct entry *entry = entry_find(s, index);
    if (!entry)
        return error_set(e, ATOLL_ENOENT, "there is no receipt of transaction %llu",
                         (unsigned long long)index);
    return entry_read(s, entry, out, e);
}

int ledger_receipt_store_find_request(struct ledger_receipt_store *s,
                                      const uint8_t req_hash[static HASH_LEN], struct buffer *out,
                                      struct error *e)
{
    for (size_t i = 0; i < s->entry_count; i++) {
        struct ledger_receipt receipt;
        uint8_t found[HASH_LEN];
        if (s->entries[i].request != load_u64(req_hash))
            continue;
        int result = entry_read(s, &s->entries[i], out, e);
        if (result == 0)
            result = ledger_receipt_decode(slice_of_buffer(out), &receipt, e);
        if (result < 0)
            return result;
        ledger_request_hash(receipt.body.fields, found);
        if (memcmp(found, req_hash, HASH_LEN) == 0)
            return 0;
    }
    out->len = 0;
    return error_set(e, ATOLL_ENOENT, "there is no receipt of that request");
}

int ledger_receipt_store_visit(struct ledger_receipt_store *s,
                               int (*visit)(void *context, uint64_t index, struct slice receipt,
                                            const struct error *damaged),
                               void *context, struct error *e)
{
    struct buffer receipt = {0};
    int result = 0;
    entries_sort(s);
    for (size_t i = 0; result == 0 && i < s->entry_count; i++) {
        struct error damage;
        result = entry_read(s, &s->entries[i], &receipt, &damage);
        if (result == 0)
            result = visit(context, s->entries[i].index, slice_of_buffer(&receipt), NULL);
        else if (result == -ATOLL_ECORRUPT)
            result = visit(context, s->entries[i].index, slice_of(NULL, 0), &damage);
        else
            *e = damage;
    }
    buffer_free(&receipt);
    return result;
}
