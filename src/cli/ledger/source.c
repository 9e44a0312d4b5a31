/* See source.h. */
#include "cli/ledger/source.h"

#include "base/file.h"
#include "cli/ledger/ledger.h"
#include "ledger/log/log.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int source_open(const char *path, struct source *s, struct error *e)
{
    struct stat st;
    char name[PATH_MAX];
    *s = (struct source){.path = path};
    if (stat(path, &st) != 0)
        return error_set_errno(e, 0, "there is no ledger at %s", path);
    s->directory = S_ISDIR(st.st_mode);
    if (!s->directory && !S_ISREG(st.st_mode))
        return error_set(e, ATOLL_ETYPE,
                         "%s is neither a replica's directory nor a file of `atoll ledger export`",
                         path);
    if (!s->directory)
        return 0;
    snprintf(name, sizeof name, "%s/genesis", path);
    int rc = file_read(name, LEDGER_ENTRY_MAX, &s->genesis_bytes, e);
    return rc == 0 ? 0 : error_prefix(e, "%s is no replica's directory", path);
}

void source_close(struct source *s)
{
    buffer_free(&s->genesis_bytes);
}

/* ---- a directory ---- */

static int entries_visit(struct ledger_log *log, uint64_t from, uint64_t to,
                         struct fragment_head *head, fragment_visit *visit, void *context,
                         struct error *e)
{
    struct buffer payload = {0};
    uint8_t type;
    uint64_t end = ledger_log_end(log);
    int rc = 0;
    for (uint64_t at = 0; rc == 0 && at < to && at < end; at++) {
        rc = ledger_log_read(log, at, &payload, &type, e);
        if (rc != 0)
            break;
        if (at >= from) {
            rc = visit(context, at, type, slice_of_buffer(&payload), e);
        } else if (head) {
            struct merkle_hash leaf =
                ledger_entry_leaf((enum ledger_entry_type)type, slice_of_buffer(&payload));
            rc = merkle_frontier_append(&head->before, &leaf, e);
        }
    }
    buffer_free(&payload);
    return rc;
}

static int directory_visit(const struct source *s, uint64_t from, uint64_t to,
                           struct fragment_head *head, fragment_visit *visit, void *context,
                           struct error *e)
{
    char path[PATH_MAX];
    struct log_files files;
    struct ledger_log *log;
    struct ledger_log_found found;
    struct ledger_genesis *g = malloc(sizeof *g);
    int rc = g ? ledger_genesis_decode(slice_of_buffer(&s->genesis_bytes), g, e)
               : error_set(e, ATOLL_ENOMEM, "no memory for a genesis");
    if (rc != 0) {
        free(g);
        return rc;
    }
    struct ledger_log_config config = {
        .files = &files, .pipeline = g->pipeline, .threadless = true, .read_only = true};
    memcpy(config.genesis, g->hash, HASH_LEN);
    if (head) {
        *head = (struct fragment_head){.first = from};
        memcpy(head->genesis, g->hash, HASH_LEN);
    }
    free(g);
    snprintf(path, sizeof path, "%s/log", s->path);
    rc = log_directory_open(path, true, &files, e);
    if (rc != 0)
        return rc;
    rc = ledger_log_open(&config, &log, &found, e);
    if (rc == 0) {
        struct error ignored;
        rc = entries_visit(log, from, to, head, visit, context, e);
        ledger_log_close(log, false, &ignored);
    }
    log_directory_close(&files);
    return rc;
}

/* ---- a fragment ---- */

struct range {
    uint64_t from, to;
    fragment_visit *visit;
    void *context;
};

static int range_visit(void *context, uint64_t position, uint8_t type, struct slice payload,
                       struct error *e)
{
    const struct range *r = context;
    if (position < r->from || position >= r->to)
        return 0;
    return r->visit(r->context, position, type, payload, e);
}

int source_visit(const struct source *s, uint64_t from, uint64_t to, struct fragment_head *head,
                 fragment_visit *visit, void *context, struct error *e)
{
    struct range range = {from, to, visit, context};
    struct fragment_head own;
    return s->directory ? directory_visit(s, from, to, head, visit, context, e)
                        : fragment_read(s->path, head ? head : &own, range_visit, &range, e);
}
