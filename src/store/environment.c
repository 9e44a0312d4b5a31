/*
 * The LMDB environment; see environment.h.
 *
 * Crash argument. LMDB writes a transaction's pages to places no older tree uses, synchronises,
 * then writes one of two alternating head pages and synchronises again; after a crash the newer
 * head that is whole counts. Neither MDB_WRITEMAP nor MDB_NOSYNC is set, so that holds on power
 * loss too.
 *
 * One process at a time: DIRECTORY/owner is locked (flock) while the store is open.
 */
#define _GNU_SOURCE
#include "store/environment.h"

#include "base/file.h"
#include "store/checksum.h"
#include "store/structure.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define FORMAT_MAGIC    0x3174676c6c6f7461ull /* "atollgt1" */
#define READERS_SPARE   8                     /* beside one for each reader thread */
#define MAP_BYTES_MAX   (1ull << 46)
#define DISK_FULL_BYTES (1ull << 20)
#define FORMAT_KEY      "format"
#define SEQUENCE_KEY    "sequence"
#define OPEN_FLAGS      (MDB_NOTLS | MDB_NORDAHEAD)

enum log_kind { LOG_PUT = 1, LOG_DELETE = 2 };
#define LOG_HEAD 8u

static const char *const table_names[ENVIRONMENT_TABLES] = {
    [TABLE_ATOLL] = "atoll",   [TABLE_META] = "meta",        [TABLE_VAL] = "val",
    [TABLE_ENT] = "ent",       [TABLE_OBJ] = "obj",          [TABLE_ITEM] = "item",
    [TABLE_GONE] = "gone",     [TABLE_FUNCTION] = "fn",      [TABLE_ALIAS] = "alias",
    [TABLE_CALL] = "call",     [TABLE_IDEMPOTENCY] = "idem", [TABLE_TOKEN] = "token",
    [TABLE_TENANT] = "tenant", [TABLE_FILE] = "file",
};

int environment_error(struct error *e, int number, const char *doing)
{
    switch (number) {
    case MDB_MAP_FULL:
        return error_set(e, ATOLL_ENOMEM, "%s: the store's map is full and cannot grow", doing);
    case MDB_TXN_FULL: return error_set(e, ATOLL_ELIMIT, "%s: too much for one transaction", doing);
    case MDB_CORRUPTED:
    case MDB_PAGE_NOTFOUND:
    case MDB_INVALID:
        return error_set(e, ATOLL_ECORRUPT,
                         "%s: the store's file is damaged (%s); restore it from a copy", doing,
                         mdb_strerror(number));
    case MDB_VERSION_MISMATCH:
        return error_set(e, ATOLL_EUNSUPPORTED, "%s: written by another version of LMDB", doing);
    case MDB_PANIC:
        return error_set(e, ATOLL_EIO,
                         "%s: an earlier write of the store's head failed; restart "
                         "the node when the disk is sound",
                         doing);
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
        return error_set(e, ATOLL_EIO, "%s: the disk is full (%s); make room", doing,
                         mdb_strerror(number));
    case ENOMEM: return error_set(e, ATOLL_ENOMEM, "%s: memory is exhausted", doing);
    default:
        errno = number > 0 ? number : EIO;
        return error_set(e, number == EACCES || number == EPERM ? ATOLL_EPERM : ATOLL_EIO, "%s: %s",
                         doing, mdb_strerror(number));
    }
}

/* ---- opening ---- */

static int owner_lock(const char *directory, int *fd, struct error *e)
{
    char path[PATH_MAX];
    if (snprintf(path, sizeof path, "%s/owner", directory) >= (int)sizeof path)
        return error_set(e, ATOLL_ESIZE, "the path of the store is too long");
    *fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (*fd < 0)
        return error_set_errno(e, 0, "cannot open %s", path);
    if (flock(*fd, LOCK_EX | LOCK_NB) == 0)
        return 0;
    int number = errno;
    close(*fd);
    *fd = -1;
    errno = number;
    if (number == EWOULDBLOCK)
        return error_set(e, ATOLL_EBUSY, "another process has the store %s open", directory);
    return error_set_errno(e, 0, "cannot lock %s", path);
}

/* Length of the file; 0 when there is none. */
static int data_length(const char *directory, uint64_t *out, struct error *e)
{
    char path[PATH_MAX];
    struct stat status;
    snprintf(path, sizeof path, "%s/data.mdb", directory);
    *out = 0;
    if (lstat(path, &status) < 0)
        return errno == ENOENT ? 0 : error_set_errno(e, 0, "cannot examine %s", path);
    if (!S_ISREG(status.st_mode))
        return error_set(e, ATOLL_ETYPE, "%s is not a regular file", path);
    *out = (uint64_t)status.st_size;
    return 0;
}

/* Room for what is there and as much again. */
static uint64_t map_size(uint64_t wanted, uint64_t length)
{
    uint64_t size = align_up(wanted, 1u << 20);
    while (size < length + length / 2 && size < MAP_BYTES_MAX)
        size *= 2;
    return size;
}

static int format_check(struct environment *v, MDB_txn *txn, struct error *e)
{
    struct record r;
    int rc = record_get(v, txn, TABLE_ATOLL, FORMAT_KEY, sizeof FORMAT_KEY - 1, &r, e);
    if (rc == -ATOLL_ENOENT || (rc == 0 && r.len != 12))
        return error_set(e, ATOLL_ECORRUPT, "the record of its format is missing");
    if (rc < 0)
        return rc;
    if (load_u64(r.body) != FORMAT_MAGIC)
        return error_set(e, ATOLL_ETYPE, "it is not a store of Atoll");
    if (load_u32(r.body + 8) > ENVIRONMENT_FORMAT)
        return error_set(e, ATOLL_EUNSUPPORTED,
                         "it has format %u and this release knows %u: use a newer release",
                         load_u32(r.body + 8), ENVIRONMENT_FORMAT);
    rc = record_get(v, txn, TABLE_ATOLL, SEQUENCE_KEY, sizeof SEQUENCE_KEY - 1, &r, e);
    if (rc == -ATOLL_ENOENT || (rc == 0 && r.len != 8))
        return error_set(e, ATOLL_ECORRUPT, "the record of its sequence is missing");
    if (rc == 0)
        v->sequence_limit = load_u64(r.body);
    return rc;
}

static int format_make(struct batch *b, struct error *e)
{
    uint8_t format[12], sequence[8];
    store_u64(format, FORMAT_MAGIC);
    store_u32(format + 8, ENVIRONMENT_FORMAT);
    store_u64(sequence, 1);
    b->environment->sequence_limit = 1;
    int rc = batch_put(b, TABLE_ATOLL, FORMAT_KEY, sizeof FORMAT_KEY - 1, format, sizeof format, e);
    if (rc == 0)
        rc = batch_put(b, TABLE_ATOLL, SEQUENCE_KEY, sizeof SEQUENCE_KEY - 1, sequence,
                       sizeof sequence, e);
    return rc;
}

/* Of the main database's entries, so that another program's file is told from an empty one. */
static int entries_count(MDB_txn *txn, size_t *out)
{
    MDB_dbi dbi;
    MDB_stat stat;
    int number = mdb_dbi_open(txn, NULL, 0, &dbi);
    if (number == 0)
        number = mdb_stat(txn, dbi, &stat);
    *out = number == 0 ? stat.ms_entries : 0;
    return number;
}

static int tables_open(struct batch *b, struct error *e)
{
    struct environment *v = b->environment;
    size_t entries;
    int number = entries_count(b->txn, &entries);
    if (number == 0 && entries > 0) {
        number = mdb_dbi_open(b->txn, table_names[TABLE_ATOLL], 0, &v->tables[TABLE_ATOLL]);
        if (number == MDB_NOTFOUND || number == MDB_INCOMPATIBLE)
            return error_set(e, ATOLL_ETYPE, "it is not a store of Atoll");
        int rc =
            number ? environment_error(e, number, "opening a table") : format_check(v, b->txn, e);
        if (rc < 0)
            return rc;
    }
    for (int table = 0; number == 0 && table < ENVIRONMENT_TABLES; table++)
        number = mdb_dbi_open(b->txn, table_names[table], MDB_CREATE, &v->tables[table]);
    if (number)
        return environment_error(e, number, "opening a table");
    return entries == 0 ? format_make(b, e) : 0;
}

static int environment_map(struct environment *v, const char *directory, uint64_t map_bytes,
                           unsigned readers, struct error *e)
{
    int number = mdb_env_create(&v->env);
    if (number)
        return environment_error(e, number, "opening");
    v->map_bytes = map_bytes;
    number = mdb_env_set_mapsize(v->env, map_bytes);
    if (number == 0)
        number = mdb_env_set_maxdbs(v->env, ENVIRONMENT_TABLES);
    if (number == 0)
        number = mdb_env_set_maxreaders(v->env, readers + READERS_SPARE);
    if (number == 0)
        number = mdb_env_open(v->env, directory, OPEN_FLAGS, 0600);
    if (number)
        return environment_error(e, number, "opening");
    assert(mdb_env_get_maxkeysize(v->env) == ENVIRONMENT_KEY_MAX);
    struct batch b = {.environment = v, .unlogged = true};
    int rc = batch_begin(&b, e);
    if (rc == 0)
        rc = tables_open(&b, e);
    if (rc == 0)
        rc = batch_commit(&b, e);
    batch_abort(&b);
    return rc;
}

static int gate_make(struct environment *v, struct error *e)
{
    pthread_rwlockattr_t attributes;
    pthread_rwlockattr_init(&attributes);
    /* Growing must not wait for readers that keep coming. */
    pthread_rwlockattr_setkind_np(&attributes, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    int number = pthread_rwlock_init(&v->gate, &attributes);
    pthread_rwlockattr_destroy(&attributes);
    return number ? environment_error(e, number, "making a lock") : 0;
}

int environment_open(const char *directory, uint64_t map_bytes, unsigned readers, bool check,
                     struct environment *v, struct error *e)
{
    uint64_t length = 0;
    *v = (struct environment){.lock_fd = -1};
    int rc = directory_make(directory, 0700, e);
    if (rc < 0)
        return rc;
    rc = owner_lock(directory, &v->lock_fd, e);
    if (rc < 0)
        return rc;
    rc = data_length(directory, &length, e);
    if (rc == 0 && check && length > 0)
        rc = structure_check(directory, e);
    if (rc == 0)
        rc = gate_make(v, e);
    if (rc < 0) {
        close(v->lock_fd);
        return error_prefix(e, "the store %s", directory);
    }
    rc = environment_map(v, directory, map_size(map_bytes, length), readers, e);
    if (rc < 0) {
        environment_close(v);
        return error_prefix(e, "the store %s", directory);
    }
    return 0;
}

void environment_close(struct environment *v)
{
    if (v->env && !v->lost)
        mdb_env_close(v->env);
    pthread_rwlock_destroy(&v->gate);
    close(v->lock_fd);
    *v = (struct environment){.lock_fd = -1};
}

uint64_t environment_room(const struct environment *v)
{
    MDB_envinfo info;
    MDB_stat stat;
    mdb_env_info(v->env, &info);
    mdb_env_stat(v->env, &stat);
    uint64_t used = (info.me_last_pgno + 1) * (uint64_t)stat.ms_psize;
    return used < v->map_bytes ? v->map_bytes - used : 0;
}

/* LMDB unmaps before it maps again, so find out first whether there is room. */
int environment_grow(struct environment *v, struct error *e)
{
    uint64_t size = v->map_bytes * 2;
    if (size > MAP_BYTES_MAX)
        return error_set(e, ATOLL_ENOMEM, "the store's map has reached its largest size");
    pthread_rwlock_wrlock(&v->gate);
    void *probe = mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    int number = probe == MAP_FAILED ? errno : 0;
    if (number == 0) {
        munmap(probe, size);
        number = mdb_env_set_mapsize(v->env, size);
        v->lost = number != 0;
    }
    if (number == 0)
        v->map_bytes = size;
    pthread_rwlock_unlock(&v->gate);
    return number ? environment_error(e, number, "making the store's map larger") : 0;
}

/* ---- records ---- */

static uint32_t record_sum(enum environment_table table, const void *key, size_t key_len,
                           const void *body, size_t len)
{
    uint8_t number = (uint8_t)table;
    uint32_t sum = checksum_crc32c(0, &number, 1);
    sum = checksum_crc32c(sum, key, key_len);
    return checksum_crc32c(sum, body, len);
}

int record_check(enum environment_table table, const MDB_val *key, const MDB_val *value,
                 struct record *out, struct error *e)
{
    const uint8_t *data = value->mv_data;
    if (value->mv_size < RECORD_HEAD ||
        load_u32(data) != record_sum(table, key->mv_data, key->mv_size, data + RECORD_HEAD,
                                     value->mv_size - RECORD_HEAD))
        return error_set(e, ATOLL_ECORRUPT,
                         "a record of the store's table %s is damaged; restore it from a copy",
                         table_names[table]);
    *out = (struct record){data + RECORD_HEAD, value->mv_size - RECORD_HEAD};
    return 0;
}

int record_get(const struct environment *v, MDB_txn *txn, enum environment_table table,
               const void *key, size_t key_len, struct record *out, struct error *e)
{
    MDB_val k = {key_len, (void *)(uintptr_t)key}, value;
    int number = mdb_get(txn, v->tables[table], &k, &value);
    if (number == MDB_NOTFOUND)
        return -ATOLL_ENOENT;
    if (number)
        return environment_error(e, number, "reading a record");
    return record_check(table, &k, &value, out, e);
}

static int bytes_compare(const void *a, size_t a_len, const void *b, size_t b_len)
{
    int order = memcmp(a, b, a_len < b_len ? a_len : b_len);
    return order ? order : (a_len > b_len) - (a_len < b_len);
}

int range_begin(const struct environment *v, MDB_txn *txn, enum environment_table table,
                const void *prefix, size_t prefix_len, const void *after, size_t after_len,
                struct record_range *r, struct error *e)
{
    *r = (struct record_range){.table = table, .prefix = prefix, .prefix_len = prefix_len};
    int number = mdb_cursor_open(txn, v->tables[table], &r->cursor);
    if (number)
        return environment_error(e, number, "listing records");
    bool go_on = after_len > 0 && bytes_compare(after, after_len, prefix, prefix_len) >= 0;
    const void *start = go_on ? after : prefix;
    size_t start_len = go_on ? after_len : prefix_len;
    r->key = (MDB_val){start_len, (void *)(uintptr_t)start};
    /* LMDB looks for no empty key. */
    r->number =
        mdb_cursor_get(r->cursor, &r->key, &r->value, start_len > 0 ? MDB_SET_RANGE : MDB_FIRST);
    if (r->number == 0 && go_on &&
        bytes_compare(r->key.mv_data, r->key.mv_size, after, after_len) == 0)
        r->number = mdb_cursor_get(r->cursor, &r->key, &r->value, MDB_NEXT);
    return 0;
}

int range_next(struct record_range *r, MDB_val *key, struct record *out, struct error *e)
{
    if (r->number == MDB_NOTFOUND)
        return 0;
    if (r->number)
        return environment_error(e, r->number, "listing records");
    if (r->key.mv_size < r->prefix_len || memcmp(r->key.mv_data, r->prefix, r->prefix_len) != 0)
        return 0;
    int rc = record_check(r->table, &r->key, &r->value, out, e);
    if (rc < 0)
        return rc;
    *key = r->key;
    r->number = mdb_cursor_get(r->cursor, &r->key, &r->value, MDB_NEXT);
    return 1;
}

void range_end(struct record_range *r)
{
    mdb_cursor_close(r->cursor);
}

/* ---- writing ---- */

int batch_begin(struct batch *b, struct error *e)
{
    if (b->txn)
        return 0;
    if (b->environment->lost)
        return error_set(e, ATOLL_EIO, "the store lost its map: restart the node");
    int number = mdb_txn_begin(b->environment->env, NULL, 0, &b->txn);
    if (number) {
        b->txn = NULL;
        return environment_error(e, number, "beginning a transaction");
    }
    b->writes = 0;
    b->broken = 0;
    return 0;
}

/* What LMDB refused while writing leaves the transaction in no known state. */
static int batch_break(struct batch *b, int number, struct error *e)
{
    b->broken = number;
    return environment_error(e, number, "writing a record");
}

static int log_add(struct batch *b, enum environment_table table, enum log_kind kind,
                   const void *key, size_t key_len, const void *body, size_t len, struct error *e)
{
    if (b->unlogged)
        return 0;
    if (!buffer_reserve(&b->log, LOG_HEAD + key_len + len))
        return batch_break(b, ENOMEM, e);
    uint8_t head[LOG_HEAD] = {(uint8_t)table, (uint8_t)kind, (uint8_t)key_len,
                              (uint8_t)(key_len >> 8)};
    store_u32(head + 4, (uint32_t)len);
    buffer_append(&b->log, head, sizeof head);
    buffer_append(&b->log, key, key_len);
    if (len > 0)
        buffer_append(&b->log, body, len);
    return 0;
}

static int put_apply(struct batch *b, enum environment_table table, const void *key, size_t key_len,
                     const void *body, size_t len, struct error *e)
{
    MDB_val k = {key_len, (void *)(uintptr_t)key}, value = {RECORD_HEAD + len, NULL};
    int number = mdb_put(b->txn, b->environment->tables[table], &k, &value, MDB_RESERVE);
    if (number)
        return batch_break(b, number, e);
    uint8_t *at = value.mv_data;
    store_u32(at, record_sum(table, key, key_len, body, len));
    if (len > 0)
        memcpy(at + RECORD_HEAD, body, len);
    b->writes++;
    return 0;
}

static int delete_apply(struct batch *b, enum environment_table table, const void *key,
                        size_t key_len, struct error *e)
{
    MDB_val k = {key_len, (void *)(uintptr_t)key};
    int number = mdb_del(b->txn, b->environment->tables[table], &k, NULL);
    if (number == MDB_NOTFOUND)
        return 0;
    b->writes++;
    return number ? batch_break(b, number, e) : 0;
}

int batch_put(struct batch *b, enum environment_table table, const void *key, size_t key_len,
              const void *body, size_t len, struct error *e)
{
    assert(key_len > 0 && key_len <= ENVIRONMENT_KEY_MAX);
    int rc = put_apply(b, table, key, key_len, body, len, e);
    return rc < 0 ? rc : log_add(b, table, LOG_PUT, key, key_len, body, len, e);
}

int batch_delete(struct batch *b, enum environment_table table, const void *key, size_t key_len,
                 struct error *e)
{
    int rc = delete_apply(b, table, key, key_len, e);
    return rc < 0 ? rc : log_add(b, table, LOG_DELETE, key, key_len, NULL, 0, e);
}

int batch_get(struct batch *b, enum environment_table table, const void *key, size_t key_len,
              struct record *out, struct error *e)
{
    return record_get(b->environment, b->txn, table, key, key_len, out, e);
}

int batch_delete_range(struct batch *b, enum environment_table table, const void *from,
                       size_t from_len, size_t prefix_len, uint32_t most, struct error *e)
{
    MDB_cursor *cursor;
    uint8_t key[ENVIRONMENT_KEY_MAX];
    uint32_t done = 0;
    int rc = 0;
    int number = mdb_cursor_open(b->txn, b->environment->tables[table], &cursor);
    if (number)
        return batch_break(b, number, e);
    MDB_val k = {from_len, (void *)(uintptr_t)from}, value;
    number = mdb_cursor_get(cursor, &k, &value, MDB_SET_RANGE);
    while (number == 0 && rc == 0 && done < most && k.mv_size >= prefix_len &&
           memcmp(k.mv_data, from, prefix_len) == 0) {
        size_t key_len = k.mv_size; /* the key's bytes go with the record */
        memcpy(key, k.mv_data, key_len);
        number = mdb_cursor_del(cursor, 0);
        if (number)
            break;
        done++;
        b->writes++;
        rc = log_add(b, table, LOG_DELETE, key, key_len, NULL, 0, e);
        /* After a deletion the cursor stands before its successor. */
        number = mdb_cursor_get(cursor, &k, &value, MDB_NEXT);
    }
    mdb_cursor_close(cursor);
    if (rc == 0 && number && number != MDB_NOTFOUND)
        rc = batch_break(b, number, e);
    return rc < 0 ? rc : (int)done;
}

void batch_abort(struct batch *b)
{
    if (b->txn)
        mdb_txn_abort(b->txn);
    b->txn = NULL;
    b->writes = 0;
    b->broken = 0;
}

/* LMDB tells of a write that the disk had room for half of as of a broken disk. */
static bool disk_full(MDB_env *env)
{
    const char *path;
    struct statvfs disk;
    return mdb_env_get_path(env, &path) == 0 && statvfs(path, &disk) == 0 &&
           disk.f_bavail * disk.f_frsize < DISK_FULL_BYTES;
}

int batch_commit(struct batch *b, struct error *e)
{
    assert(!b->broken);
    if (b->txn) {
        MDB_txn *txn = b->txn;
        b->txn = NULL;
        int number = mdb_txn_commit(txn);
        if (number) {
            b->broken = number;
            if (number == EIO && disk_full(b->environment->env))
                number = ENOSPC;
            return environment_error(e, number, "writing the store to disk");
        }
    }
    b->writes = 0;
    b->log.len = 0;
    return 0;
}

int batch_replay(struct batch *b, size_t len, struct error *e)
{
    batch_abort(b);
    int rc = batch_begin(b, e);
    for (size_t at = 0; rc == 0 && at < len;) {
        const uint8_t *head = b->log.data + at, *key = head + LOG_HEAD;
        size_t key_len = load_u16(head + 2), body_len = load_u32(head + 4);
        if (head[1] == LOG_PUT)
            rc = put_apply(b, head[0], key, key_len, key + key_len, body_len, e);
        else
            rc = delete_apply(b, head[0], key, key_len, e);
        at += LOG_HEAD + key_len + body_len;
    }
    b->log.len = len;
    return rc;
}
