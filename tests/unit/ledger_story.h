/*
 * A ledger that correct replicas made, for the tests of those who read one: requests of three
 * clients, a checkpoint, a view change; and copies of it that a test may change.
 */
#ifndef TESTS_LEDGER_STORY_H
#define TESTS_LEDGER_STORY_H

#define CLUSTER_REAL_SIGNATURES
#include "ledger_cluster.h"

#include <stdlib.h>

struct entry {
    uint8_t type;
    struct buffer bytes;
};

/* The ledger of one replica, entry by entry. */
struct story {
    struct cluster *cluster;
    struct entry *entries;
    size_t count;
};

static struct story made;

static inline void entry_set(struct entry *to, uint8_t type, struct slice bytes)
{
    to->type = type;
    to->bytes.len = 0;
    assert_true(buffer_append(&to->bytes, bytes.data, bytes.len));
}

/* Requests of three clients, a checkpoint, the end of the primary, requests again. */
static inline int story_make(void **state)
{
    (void)state;
    struct cluster *c = cluster_create(4);
    uint8_t hash[HASH_LEN];
    made.cluster = c;
    for (unsigned i = 0; i < 12; i++)
        cluster_requests(c, i % 3, -1, 1);
    cluster_pass(c, 300000);
    cluster_cut(c, 0, true);
    cluster_request(c, 1, -1, hash);
    cluster_pass(c, 4000000);
    for (unsigned i = 0; i < 3; i++)
        cluster_request(c, 2, -1, hash); /* together: more than one in a batch */
    cluster_run(c);
    cluster_pass(c, 300000);
    struct cluster_node *node = &c->nodes[1];
    made.count = cluster_status(c, 1).next_position;
    made.entries = calloc(made.count, sizeof *made.entries);
    for (size_t i = 0; i < made.count; i++) {
        const struct cluster_record *r = &node->records[node->entry_at[i]];
        entry_set(&made.entries[i], r->type, slice_of_buffer(&r->bytes));
    }
    return 0;
}

static inline int story_drop(void **state)
{
    (void)state;
    for (size_t i = 0; i < made.count; i++)
        buffer_free(&made.entries[i].bytes);
    free(made.entries);
    cluster_destroy(made.cluster);
    return 0;
}

/* A copy of the story that a test may change; feeding it ends behind `stop`. */
struct copy {
    struct entry *entries;
    size_t count, at; /* at: the entry that is changed */
};

static inline void copy_open(struct copy *c)
{
    *c = (struct copy){calloc(made.count, sizeof(struct entry)), made.count, 0};
    for (size_t i = 0; i < made.count; i++)
        entry_set(&c->entries[i], made.entries[i].type, slice_of_buffer(&made.entries[i].bytes));
}

static inline void copy_close(struct copy *c)
{
    for (size_t i = 0; i < made.count; i++)
        buffer_free(&c->entries[i].bytes);
    free(c->entries);
}

static inline void copy_remove(struct copy *c, size_t at)
{
    struct entry gone = c->entries[at];
    memmove(c->entries + at, c->entries + at + 1, (--c->count - at) * sizeof gone);
    c->entries[c->count] = gone;
}

/* The n-th entry of a type from `from` on. */
static inline size_t entry_find(const struct copy *c, uint8_t type, size_t from, unsigned n)
{
    for (size_t i = from; i < c->count; i++) {
        if (c->entries[i].type == type && n-- == 0)
            return i;
    }
    fail_msg("the story has no such entry of type %u", type);
    return 0;
}

static inline struct ledger_pp pp_at(const struct copy *c, size_t at)
{
    struct ledger_pp pp;
    struct error e;
    assert_int_equal(ledger_pp_decode_signed(slice_of_buffer(&c->entries[at].bytes), &pp, &e), 0);
    return pp;
}

static inline size_t pp_find(const struct copy *c, enum ledger_kind kind, uint64_t above)
{
    for (size_t i = 0; i < c->count; i++) {
        if (c->entries[i].type != LEDGER_ENTRY_PP)
            continue;
        struct ledger_pp pp = pp_at(c, i);
        if (pp.kind == kind && pp.seqno > above)
            return i;
    }
    fail_msg("the story has no batch of kind %u", kind);
    return 0;
}

/* Signed by the primary of the view that it really stands in. */
static inline void pp_put(struct copy *c, size_t at, struct ledger_pp *pp)
{
    uint8_t hash[HASH_LEN], bytes[LEDGER_PP_SIGNED_LEN];
    uint64_t view = pp_at(c, at).view;
    ledger_pp_hash(pp, hash);
    cluster_sign(made.cluster->public_key[view % 4], hash, pp->signature);
    ledger_pp_encode_signed(pp, bytes);
    entry_set(&c->entries[at], LEDGER_ENTRY_PP, slice_of(bytes, sizeof bytes));
}

#endif
