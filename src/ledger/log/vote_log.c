/* Which votes are kept, and how they lie in the file (vote_log.h). */
#include "ledger/log/vote_log.h"

#include "store/checksum.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define MAGIC   "ATLVOTE1"
#define VERSION 1u
#define CRC_AT  (VOTE_HEAD - 4)
/* Each begins with u32 config | u64 view, a certificate goes on with u64 s (view_change.h). */
#define SUBJECT_LEN     12
#define CERTIFICATE_LEN 20

void vote_log_name(uint64_t generation, char name[static LOG_NAME_MAX])
{
    snprintf(name, LOG_NAME_MAX, "votes-%08" PRIu64, generation);
}

bool vote_log_name_read(const char *name, uint64_t *generation)
{
    char again[LOG_NAME_MAX];
    if (sscanf(name, "votes-%8" SCNu64, generation) != 1)
        return false;
    vote_log_name(*generation, again);
    return strcmp(again, name) == 0;
}

void vote_log_head_make(const struct vote_log *v, const uint8_t genesis[static 32],
                        uint8_t head[static VOTE_HEAD])
{
    memset(head, 0, VOTE_HEAD);
    memcpy(head, MAGIC, 8);
    store_u32(head + 8, VERSION);
    memcpy(head + 16, genesis, 32);
    store_u64(head + 48, v->generation);
    store_u64(head + 56, v->salt);
    store_u64(head + 64, v->bytes);
    store_u32(head + CRC_AT, checksum_crc32c(0, head, CRC_AT));
}

int vote_log_head_read(struct vote_log *v, const uint8_t head[static VOTE_HEAD],
                       const uint8_t genesis[static 32], const char *name, struct error *e)
{
    if (memcmp(head, MAGIC, 8) != 0 || load_u32(head + 8) != VERSION ||
        load_u32(head + CRC_AT) != checksum_crc32c(0, head, CRC_AT))
        return error_set(e, ATOLL_ECORRUPT, "the head of %s is damaged", name);
    if (memcmp(head + 16, genesis, 32) != 0)
        return error_set(e, ATOLL_EINVAL, "%s belongs to another service", name);
    v->generation = load_u64(head + 48);
    v->salt = load_u64(head + 56);
    v->bytes = load_u64(head + 64);
    if (v->bytes % VOTE_HEAD != 0)
        return error_set(e, ATOLL_ECORRUPT, "the head of %s makes no sense", name);
    return 0;
}

bool vote_payload_fits(uint16_t kind, size_t len)
{
    return len >= (kind == LEDGER_RECORD_CERTIFICATE ? CERTIFICATE_LEN : SUBJECT_LEN);
}

/* ---- what is kept ---- */

/* By (config, view); certificates also by s. */
static int vote_order(const struct vote *a, const struct vote *b)
{
    if (a->config != b->config)
        return a->config < b->config ? -1 : 1;
    if (a->view != b->view)
        return a->view < b->view ? -1 : 1;
    return (a->s > b->s) - (a->s < b->s);
}

static bool same_view(const struct vote *a, const struct vote *b)
{
    return a->config == b->config && a->view == b->view;
}

/* The greatest of a kind, the later of equals; NULL: none. */
static const struct vote *vote_greatest(const struct vote_log *v, uint16_t kind)
{
    const struct vote *greatest = NULL;
    for (unsigned i = 0; i < v->count; i++) {
        const struct vote *one = &v->votes[i];
        if (one->kind == kind && (!greatest || vote_order(one, greatest) >= 0))
            greatest = one;
    }
    return greatest;
}

/* Certificates of one view for batches that follow each other: of `last` and those before it. */
struct row {
    const struct vote *last; /* NULL: there is none */
    uint64_t len;            /* at most P */
};

static bool certificate_there(const struct vote_log *v, const struct vote *view, uint64_t s)
{
    for (unsigned i = 0; i < v->count; i++)
        if (v->votes[i].kind == LEDGER_RECORD_CERTIFICATE && same_view(&v->votes[i], view) &&
            v->votes[i].s == s)
            return true;
    return false;
}

static struct row row_of(const struct vote_log *v, const struct vote *last)
{
    struct row row = {last, last ? 1 : 0};
    while (last && row.len < v->pipeline && row.len <= last->s &&
           certificate_there(v, last, last->s - row.len))
        row.len++;
    return row;
}

/* The row that the next ViewChange reports, as long as the first one cannot be reported: a replica
 * that caught up writes a new one, record by record, and may stop in the middle. */
static struct row row_below(const struct vote_log *v, const struct row *first)
{
    const struct vote *last = NULL;
    if (!first->last || first->len >= v->pipeline)
        return (struct row){0};
    struct vote lowest = *first->last;
    lowest.s -= first->len - 1;
    for (unsigned i = 0; i < v->count; i++) {
        const struct vote *one = &v->votes[i];
        if (one->kind == LEDGER_RECORD_CERTIFICATE && vote_order(one, &lowest) < 0 &&
            (!last || vote_order(one, last) >= 0))
            last = one;
    }
    return row_of(v, last);
}

static bool in_row(const struct row *row, const struct vote *one)
{
    return row->last && same_view(one, row->last) && one->s <= row->last->s &&
           row->last->s - one->s < row->len;
}

static bool vote_kept(const struct vote_log *v, const struct vote *one, const struct row *first,
                      const struct row *second)
{
    const struct vote *greatest = vote_greatest(v, one->kind);
    if (one == greatest)
        return true;
    for (const struct vote *later = one + 1; later < v->votes + v->count; later++)
        if (later->kind == one->kind && vote_order(later, one) == 0)
            return false;
    if (one->kind == LEDGER_RECORD_CERTIFICATE)
        return (same_view(one, first->last) && first->last->s - one->s < v->pipeline) ||
               in_row(second, one);
    return one->kind == LEDGER_RECORD_NEW_VIEW && ((first->last && same_view(one, first->last)) ||
                                                   (second->last && same_view(one, second->last)));
}

/* Certificates of two rows, a VIEW_CHANGE, three NEW_VIEWs, and the one that was just added. */
#define VOTES_MAX (2 * LEDGER_PIPELINE_MAX + 5)

static void votes_prune(struct vote_log *v)
{
    struct row first = row_of(v, vote_greatest(v, LEDGER_RECORD_CERTIFICATE));
    struct row second = row_below(v, &first);
    bool keep[VOTES_MAX];
    unsigned kept = 0;
    assert(v->count <= VOTES_MAX);
    for (unsigned i = 0; i < v->count; i++)
        keep[i] = vote_kept(v, &v->votes[i], &first, &second);
    for (unsigned i = 0; i < v->count; i++) {
        if (keep[i])
            v->votes[kept++] = v->votes[i];
        else
            free(v->votes[i].payload);
    }
    v->count = kept;
}

bool vote_log_note(struct vote_log *v, uint16_t kind, const uint8_t *payload, size_t len)
{
    if (v->count == v->capacity) {
        unsigned capacity = v->capacity ? 2 * v->capacity : 16;
        struct vote *votes = realloc(v->votes, capacity * sizeof *votes);
        if (!votes)
            return false;
        v->votes = votes;
        v->capacity = capacity;
    }
    struct vote one = {.kind = kind,
                       .config = load_u32(payload),
                       .view = load_u64(payload + 4),
                       .s = kind == LEDGER_RECORD_CERTIFICATE ? load_u64(payload + 12) : 0,
                       .payload = malloc(len),
                       .len = len};
    if (!one.payload)
        return false;
    memcpy(one.payload, payload, len);
    v->votes[v->count++] = one;
    votes_prune(v);
    return true;
}

bool vote_log_half_full(const struct vote_log *v)
{
    return v->bytes > 0 && v->used - VOTE_HEAD > (v->bytes - VOTE_HEAD) / 2;
}

uint64_t vote_log_live(const struct vote_log *v)
{
    uint64_t bytes = 0;
    for (unsigned i = 0; i < v->count; i++)
        bytes += log_record_size(v->votes[i].len);
    return bytes;
}

bool vote_log_write(const struct vote_log *v, struct buffer *out)
{
    for (unsigned i = 0; i < v->count; i++) {
        struct slice payload = {v->votes[i].payload, v->votes[i].len};
        if (!log_record_append(out, v->salt, v->votes[i].kind, 0, 0, &payload, 1))
            return false;
    }
    return true;
}

void vote_log_free(struct vote_log *v)
{
    for (unsigned i = 0; i < v->count; i++)
        free(v->votes[i].payload);
    free(v->votes);
    buffer_free(&v->pending);
    buffer_free(&v->flying);
}
