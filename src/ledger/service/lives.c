/* See lives.h. */
#include "ledger/service/lives.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/random.h"
#include "ledger/object/read.h"
#include "ledger/object/sealed_file.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LIFE_LEN (8 + LEDGER_LIFE_MARK_LEN)
#define FILE_MAX (LEDGER_FILE_OVERHEAD + 5 + LEDGER_REPLICAS_MAX * LIFE_LEN)
/* So long after the file was written a replica that starts again has it written again; but for its
 * first message, which is written down at once. One that starts without end costs no more. */
#define SAVE_NS INT64_C(1000000000)

static const char magic[LEDGER_FILE_MAGIC_LEN] = "atollliv";

struct lives {
    char path[PATH_MAX];
    const struct ledger_genesis *genesis;
    uint16_t own;
    struct ledger_life known[LEDGER_REPLICAS_MAX]; /* that of `own` is ours */
    bool heard[LEDGER_REPLICAS_MAX];               /* something from it, since we started */
    bool later[LEDGER_REPLICAS_MAX];               /* it knows a later life of ours */
    bool outlived;
    bool dirty;
    int64_t save_after_ns;
    char lost[sizeof(struct error)];
};

static uint32_t count_of(const struct lives *l)
{
    return l->genesis->configuration.replica_count;
}

/* ---- the file ---- */

static int file_decode(struct lives *l, struct slice object, struct error *e)
{
    struct ledger_reader r = ledger_reader_of(object, "lives");
    unsigned outlived = ledger_read_u8(&r);
    if (outlived > 1)
        ledger_read_fail(&r, ATOLL_ECORRUPT, "it neither was outlived nor was not");
    l->outlived = outlived;
    if (ledger_read_u32(&r) != count_of(l))
        ledger_read_fail(&r, ATOLL_ECORRUPT, "it is of another number of replicas");
    for (uint32_t i = 0; i < count_of(l); i++) {
        l->known[i].starts = ledger_read_u64(&r);
        ledger_read_copy(&r, l->known[i].mark, LEDGER_LIFE_MARK_LEN);
    }
    return ledger_read_end(&r, e);
}

static int file_load(struct lives *l, struct error *e)
{
    struct buffer file = {0};
    struct slice object;
    uint8_t genesis[HASH_LEN];
    int rc = file_read(l->path, FILE_MAX, &file, e);
    if (rc == 0)
        rc = ledger_file_decode(magic, "lives", slice_of_buffer(&file), &object, genesis, e);
    if (rc == 0 && !hash_equal(genesis, l->genesis->hash))
        rc = error_set(e, ATOLL_EINVAL, "it is of another ledger");
    if (rc == 0)
        rc = file_decode(l, object, e);
    if (rc != 0) {
        memset(l->known, 0, sizeof l->known);
        l->outlived = false;
    }
    buffer_free(&file);
    return rc;
}

static void file_save(struct lives *l)
{
    struct buffer object = {0}, file = {0};
    struct error e;
    uint8_t outlived = l->outlived;
    bool whole = buffer_append(&object, &outlived, 1) && buffer_append_u32(&object, count_of(l));
    for (uint32_t i = 0; i < count_of(l); i++)
        whole = whole && buffer_append_u64(&object, l->known[i].starts) &&
                buffer_append(&object, l->known[i].mark, LEDGER_LIFE_MARK_LEN);
    whole = whole && ledger_file_encode(magic, slice_of_buffer(&object), l->genesis->hash, &file);
    /* Where it fails it is tried again: it is only a help. */
    l->dirty = !whole || file_replace(l->path, file.data, file.len, 0600, &e) != 0;
    l->save_after_ns = clock_monotonic_ns() + SAVE_NS;
    buffer_free(&object);
    buffer_free(&file);
}

static int refuse(struct error *e)
{
    return error_set(
        e, ATOLL_ESTALE,
        "other replicas know a later start of this one: this is an old image of its "
        "disk, or a copy, and it would sign again what it signed since; it must return "
        "under a new key");
}

/* ---- beginning and end ---- */

int lives_open(const char *directory, const struct ledger_genesis *g, uint16_t own, uint64_t starts,
               struct lives **out, struct error *e)
{
    struct lives *l = calloc(1, sizeof *l);
    *out = NULL;
    if (l == NULL)
        return error_set(e, ATOLL_ENOMEM, "no memory for the lives of replicas");
    l->genesis = g;
    l->own = own;
    snprintf(l->path, sizeof l->path, "%s/lives", directory);
    int rc = file_load(l, e);
    if (rc != 0 && rc != -ATOLL_ENOENT)
        snprintf(l->lost, sizeof l->lost, "%s", e->text);
    if (rc == 0 && l->outlived) {
        free(l);
        return refuse(e);
    }
    l->known[own].starts = starts;
    if (random_bytes(l->known[own].mark, LEDGER_LIFE_MARK_LEN) != 0) {
        free(l);
        return error_set(e, ATOLL_EUNAVAIL, "the kernel gives no random bytes");
    }
    *out = l;
    return 0;
}

void lives_close(struct lives *l)
{
    if (l == NULL)
        return;
    if (l->dirty)
        file_save(l);
    free(l);
}

const char *lives_lost(const struct lives *l)
{
    return l->lost[0] ? l->lost : NULL;
}

/* ---- what is said ---- */

bool lives_write(const struct lives *l, uint16_t to, struct buffer *out)
{
    struct ledger_life_message m = {.sender = l->known[l->own], .receiver = l->known[to]};
    return ledger_life_write(out, &m);
}

static bool is_same(const struct ledger_life *a, const struct ledger_life *b)
{
    return a->starts == b->starts && memcmp(a->mark, b->mark, sizeof a->mark) == 0;
}

int lives_hear(struct lives *l, uint16_t from, struct slice message, struct error *e)
{
    struct ledger_life_message m;
    const struct ledger_life *own = &l->known[l->own];
    int rc = ledger_life_decode(message, &m, e);
    if (rc != 0)
        return rc;
    l->later[from] = m.receiver.starts >= own->starts && !is_same(&m.receiver, own);
    if (m.sender.starts > l->known[from].starts) {
        l->known[from] = m.sender;
        l->dirty = true;
    }
    if (l->dirty && (!l->heard[from] || clock_monotonic_ns() >= l->save_after_ns))
        file_save(l);
    l->heard[from] = true;
    return 0;
}

bool lives_outlived(struct lives *l, struct error *e)
{
    unsigned count = 0;
    for (uint32_t i = 0; i < count_of(l); i++)
        count += i != l->own && l->later[i];
    if (count <= ledger_faulty_max(&l->genesis->configuration))
        return false;
    if (!l->outlived) {
        l->outlived = true;
        file_save(l);
    }
    refuse(e);
    return true;
}
