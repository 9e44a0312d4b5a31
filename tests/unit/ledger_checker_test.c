/*
 * The checker of ledgers: a ledger that correct replicas made passes, and every rule that is broken
 * once, by whoever holds all the keys, is named at its entry.
 */
#define CLUSTER_REAL_SIGNATURES
#include "ledger_cluster.h"

#include "crypto/secret.h"
#include "ledger/check/checker.h"
#include "ledger/check/fragment.h"
#include "ledger/check/lookup.h"
#include "ledger/check/signatures.h"

#include <stdlib.h>
#include <unistd.h>

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

static void entry_set(struct entry *to, uint8_t type, struct slice bytes)
{
    to->type = type;
    to->bytes.len = 0;
    assert_true(buffer_append(&to->bytes, bytes.data, bytes.len));
}

/* Requests of three clients, a checkpoint, the end of the primary, requests again. */
static int story_make(void **state)
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

static int story_drop(void **state)
{
    (void)state;
    for (size_t i = 0; i < made.count; i++)
        buffer_free(&made.entries[i].bytes);
    free(made.entries);
    cluster_destroy(made.cluster);
    return 0;
}

/* ---- breaking rules ---- */

/* A copy of the story that a test may change; feeding it ends behind `stop`. */
struct copy {
    struct entry *entries;
    size_t count, at; /* at: the entry that is changed */
};

static void copy_open(struct copy *c)
{
    *c = (struct copy){calloc(made.count, sizeof(struct entry)), made.count, 0};
    for (size_t i = 0; i < made.count; i++)
        entry_set(&c->entries[i], made.entries[i].type, slice_of_buffer(&made.entries[i].bytes));
}

static void copy_close(struct copy *c)
{
    for (size_t i = 0; i < made.count; i++)
        buffer_free(&c->entries[i].bytes);
    free(c->entries);
}

static void copy_remove(struct copy *c, size_t at)
{
    struct entry gone = c->entries[at];
    memmove(c->entries + at, c->entries + at + 1, (--c->count - at) * sizeof gone);
    c->entries[c->count] = gone;
}

/* The n-th entry of a type from `from` on. */
static size_t entry_find(const struct copy *c, uint8_t type, size_t from, unsigned n)
{
    for (size_t i = from; i < c->count; i++) {
        if (c->entries[i].type == type && n-- == 0)
            return i;
    }
    fail_msg("the story has no such entry of type %u", type);
    return 0;
}

static struct ledger_pp pp_at(const struct copy *c, size_t at)
{
    struct ledger_pp pp;
    struct error e;
    assert_int_equal(ledger_pp_decode_signed(slice_of_buffer(&c->entries[at].bytes), &pp, &e), 0);
    return pp;
}

static size_t pp_find(const struct copy *c, enum ledger_kind kind, uint64_t above)
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
static void pp_put(struct copy *c, size_t at, struct ledger_pp *pp)
{
    uint8_t hash[HASH_LEN], bytes[LEDGER_PP_SIGNED_LEN];
    uint64_t view = pp_at(c, at).view;
    ledger_pp_hash(pp, hash);
    cluster_sign(made.cluster->public_key[view % 4], hash, pp->signature);
    ledger_pp_encode_signed(pp, bytes);
    entry_set(&c->entries[at], LEDGER_ENTRY_PP, slice_of(bytes, sizeof bytes));
}

/* Feeds the first `count` entries; 0 or what was found, in *e. */
static int feed(const struct copy *c, size_t count, struct error *e)
{
    struct ledger_checker *checker;
    assert_int_equal(
        ledger_checker_create(slice_of_buffer(&made.cluster->genesis_bytes), &checker, e), 0);
    int rc = 0;
    for (size_t i = 0; i < count && rc == 0; i++)
        rc = ledger_checker_entry(checker, c->entries[i].type,
                                  slice_of_buffer(&c->entries[i].bytes), e);
    if (rc == 0)
        rc = ledger_checker_finish(checker, e);
    ledger_checker_destroy(checker);
    return rc;
}

/* With all up to the batch or entry at `at`, and no more, the rule is named there. */
static void named(const struct copy *c, size_t at, const char *words)
{
    struct error e = {0};
    size_t count = at + 1;
    while (count < c->count && c->entries[count].type == LEDGER_ENTRY_TX)
        count++;
    int rc = feed(c, count, &e);
    if (rc != -ATOLL_ECORRUPT || !strstr(e.text, words))
        fail_msg("\"%s\" should be named, but %d: %s", words, rc, rc ? e.text : "");
    if (e.offset < at || e.offset >= count)
        fail_msg("\"%s\" at entry %zu is named at %llu", words, at, (unsigned long long)e.offset);
}

static void a_ledger_that_correct_replicas_made_passes(void **state)
{
    (void)state;
    struct copy c;
    struct error e;
    struct ledger_checker *checker;
    struct ledger_checker_counts counts;
    copy_open(&c);
    if (feed(&c, c.count, &e) != 0)
        fail_msg("%s", e.text);
    assert_int_equal(
        ledger_checker_create(slice_of_buffer(&made.cluster->genesis_bytes), &checker, &e), 0);
    for (size_t i = 0; i < c.count; i++)
        assert_int_equal(ledger_checker_entry(checker, c.entries[i].type,
                                              slice_of_buffer(&c.entries[i].bytes), &e),
                         0);
    ledger_checker_counts(checker, &counts);
    uint8_t root[HASH_LEN];
    ledger_root(made.cluster->nodes[1].replica, root);
    assert_memory_equal(counts.root, root, HASH_LEN);
    unsigned new_views = 0;
    bool together = false;
    for (size_t i = 0; i < c.count; i++) {
        new_views += c.entries[i].type == LEDGER_ENTRY_NEW_VIEW;
        together |= c.entries[i].type == LEDGER_ENTRY_PP && pp_at(&c, i).count > 1;
    }
    assert_true(together);
    assert_int_equal(counts.entries, c.count);
    assert_int_equal(counts.transactions, 16);
    assert_true(counts.new_views == new_views && new_views >= 1 && counts.view >= 1);
    assert_true(counts.batches >= counts.seqno && counts.batches < c.count);
    /* Of every batch the primary's, of every transaction its client's, of evidence Q - 1; and those
     * of view changes. */
    uint64_t least = counts.batches + counts.transactions + 2 * counts.proven;
    assert_in_range(counts.signatures, least + 7, least + 200);
    assert_true(counts.proven + CLUSTER_P == counts.seqno && counts.seqno > CLUSTER_C);
    ledger_checker_destroy(checker);
    copy_close(&c);
}

/* ---- of a pp ---- */

static void config_other(struct ledger_pp *pp)
{
    pp->config = 1;
}
static void view_other(struct ledger_pp *pp)
{
    pp->view += 4;
}
static void seqno_skips(struct ledger_pp *pp)
{
    pp->seqno += 1;
}
static void previous_other(struct ledger_pp *pp)
{
    pp->previous[3] ^= 1;
}
static void history_other(struct ledger_pp *pp)
{
    pp->ledger_root[0] ^= 1;
}
static void index_other(struct ledger_pp *pp)
{
    pp->first_index++;
}
static void governed(struct ledger_pp *pp)
{
    pp->gov_index = 1;
}
static void evidence_other(struct ledger_pp *pp)
{
    pp->evidence_bits ^= 8;
}
static void digest_other(struct ledger_pp *pp)
{
    pp->kv_digest[31] ^= 1;
}
static void root_other(struct ledger_pp *pp)
{
    pp->batch_root[HASH_LEN - 1] ^= 1;
}
static void previous_ends_otherwise(struct ledger_pp *pp)
{
    pp->previous[HASH_LEN - 1] ^= 1;
}
static void history_ends_otherwise(struct ledger_pp *pp)
{
    pp->ledger_root[HASH_LEN - 1] ^= 1;
}
static void configuration_begins(struct ledger_pp *pp)
{
    pp->kind = LEDGER_KIND_START_CFG;
    pp->count = 0;
}

static void checkpoint_early(struct ledger_pp *pp)
{
    pp->kind = LEDGER_KIND_CHECKPOINT;
    pp->count = 0;
}

static void checkpoint_left_out(struct ledger_pp *pp)
{
    struct merkle_hash empty = ledger_batch_root_empty();
    pp->kind = LEDGER_KIND_EMPTY;
    memcpy(pp->batch_root, empty.bytes, HASH_LEN);
}

static void configuration_changed(struct ledger_pp *pp)
{
    pp->kind = LEDGER_KIND_END_CFG;
    pp->count = 0;
}

static void too_many(struct ledger_pp *pp)
{
    pp->count = 9;
}

static void every_rule_of_a_pp_is_named(void **state)
{
    (void)state;
    static const struct {
        enum ledger_kind kind;
        uint64_t above;
        void (*change)(struct ledger_pp *);
        const char *words;
    } rules[] = {
        {LEDGER_KIND_NORMAL, 3, config_other, "configuration 1"},
        {LEDGER_KIND_NORMAL, 3, view_other, "of view 4 in view 0"},
        {LEDGER_KIND_NORMAL, 3, seqno_skips, "follows batch"},
        {LEDGER_KIND_NORMAL, 3, previous_other, "another predecessor"},
        {LEDGER_KIND_NORMAL, 0, previous_other, "another predecessor"},
        {LEDGER_KIND_NORMAL, 3, history_other, "another history"},
        {LEDGER_KIND_NORMAL, 3, index_other, "begins at index"},
        {LEDGER_KIND_NORMAL, 3, governed, "governance"},
        {LEDGER_KIND_NORMAL, 3, evidence_other, "other evidence"},
        {LEDGER_KIND_NORMAL, 3, digest_other, "digest of the store changes"},
        {LEDGER_KIND_NORMAL, 3, root_other, "not those that its pp names"},
        {LEDGER_KIND_NORMAL, 3, checkpoint_early, "a checkpoint that is not due"},
        {LEDGER_KIND_CHECKPOINT, 0, checkpoint_left_out, "a checkpoint is due"},
        {LEDGER_KIND_CHECKPOINT, 0, root_other, "not its own"},
        {LEDGER_KIND_EMPTY, 15, root_other, "not its own"},
        {LEDGER_KIND_NORMAL, 3, configuration_changed, "changes the configuration"},
        {LEDGER_KIND_NORMAL, 3, configuration_begins, "changes the configuration"},
        {LEDGER_KIND_NORMAL, 3, previous_ends_otherwise, "another predecessor"},
        {LEDGER_KIND_NORMAL, 3, history_ends_otherwise, "another history"},
        {LEDGER_KIND_NORMAL, 3, too_many, "9 transactions in a batch"},
    };
    for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++) {
        struct copy c;
        copy_open(&c);
        size_t at = pp_find(&c, rules[i].kind, rules[i].above);
        struct ledger_pp pp = pp_at(&c, at);
        rules[i].change(&pp);
        pp_put(&c, at, &pp);
        named(&c, at, rules[i].words);
        copy_close(&c);
    }
}

static void a_pp_that_its_primary_did_not_sign_is_named(void **state)
{
    (void)state;
    struct copy c;
    copy_open(&c);
    size_t at = pp_find(&c, LEDGER_KIND_NORMAL, 3);
    c.entries[at].bytes.data[LEDGER_PP_LEN + 5] ^= 1;
    named(&c, at, "the primary's signature of the pp is not valid");
    copy_close(&c);
}

static void one_empty_batch_too_many_is_named(void **state)
{
    (void)state;
    struct copy c;
    copy_open(&c);
    /* Behind P empty batches of the first view another stands: take a later normal one for it. */
    for (size_t at = 0; at < c.count; at++) {
        if (c.entries[at].type != LEDGER_ENTRY_PP)
            continue;
        struct ledger_pp pp = pp_at(&c, at);
        size_t before = at;
        unsigned empty = 0;
        while (before-- > 0 && empty < CLUSTER_P) {
            if (c.entries[before].type == LEDGER_ENTRY_EVIDENCE)
                continue;
            if (c.entries[before].type != LEDGER_ENTRY_PP ||
                pp_at(&c, before).kind != LEDGER_KIND_EMPTY)
                break;
            empty++;
        }
        if (empty < CLUSTER_P || pp.kind != LEDGER_KIND_NORMAL)
            continue;
        struct merkle_hash root = ledger_batch_root_empty();
        pp.kind = LEDGER_KIND_EMPTY;
        pp.count = 0;
        memcpy(pp.batch_root, root.bytes, HASH_LEN);
        pp_put(&c, at, &pp);
        named(&c, at, "an empty batch too many");
        copy_close(&c);
        return;
    }
    copy_close(&c);
    fail_msg("the story has no normal batch behind empty ones");
}

/* ---- of evidence ---- */

static void missing_and_false_evidence_is_named(void **state)
{
    (void)state;
    struct copy c;
    copy_open(&c);
    size_t at = entry_find(&c, LEDGER_ENTRY_EVIDENCE, 0, 1);
    copy_remove(&c, at);
    named(&c, at, "is missing");
    copy_close(&c);

    copy_open(&c);
    struct entry *first = &c.entries[entry_find(&c, LEDGER_ENTRY_EVIDENCE, 0, 0)];
    entry_set(&c.entries[at], LEDGER_ENTRY_EVIDENCE, slice_of_buffer(&first->bytes));
    named(&c, at, "instead of");
    copy_close(&c);

    copy_open(&c); /* of this batch, but of another view */
    c.entries[at].bytes.data[0] ^= 1;
    named(&c, at, "not for batch");
    copy_close(&c);

    copy_open(&c); /* one bit of its last nonce: the Prepare that it opens is another one */
    c.entries[at].bytes.data[c.entries[at].bytes.len - 1] ^= 1;
    named(&c, at, "a Prepare in the evidence is not valid");
    copy_close(&c);

    copy_open(&c); /* view u64 | seqno u64 | bits u64 | count u32: the first signature */
    c.entries[at].bytes.data[28 + 4] ^= 1;
    named(&c, at, "a Prepare in the evidence is not valid");
    copy_close(&c);

    copy_open(&c); /* the primary is no longer among them: four bits that are three of others */
    c.entries[at].bytes.data[16] = 0x0e;
    named(&c, at, "evidence");
    copy_close(&c);

    copy_open(&c);
    entry_set(&c.entries[1], LEDGER_ENTRY_EVIDENCE, slice_of_buffer(&c.entries[at].bytes));
    named(&c, 1, "where there is none to be");
    copy_close(&c);
}

/* ---- of transactions ---- */

/* Puts another body into the only transaction of a batch, and makes pp and root fit. */
static void tx_put(struct copy *c, size_t at, uint64_t index, struct slice body)
{
    struct ledger_tx tx;
    struct error e;
    struct buffer kept = {0}, bytes = {0};
    size_t pp_at_position = at - 1;
    assert_int_equal(c->entries[pp_at_position].type, LEDGER_ENTRY_PP);
    assert_true(buffer_append(&kept, c->entries[at].bytes.data, c->entries[at].bytes.len));
    assert_int_equal(ledger_tx_decode(slice_of_buffer(&kept), &tx, &e), 0);
    tx.index = index;
    tx.body = body;
    assert_true(ledger_tx_encode(&tx, &bytes));
    entry_set(&c->entries[at], LEDGER_ENTRY_TX, slice_of_buffer(&bytes));
    struct ledger_pp pp = pp_at(c, pp_at_position);
    assert_int_equal(pp.count, 1);
    struct merkle_hash leaf = ledger_entry_leaf(LEDGER_ENTRY_TX, slice_of_buffer(&bytes));
    memcpy(pp.batch_root, leaf.bytes, HASH_LEN); /* the root of one leaf */
    pp_put(c, pp_at_position, &pp);
    buffer_free(&kept);
    buffer_free(&bytes);
}

static void every_rule_of_a_transaction_is_named(void **state)
{
    (void)state;
    struct cluster *cluster = made.cluster;
    uint8_t hash[HASH_LEN], genesis[HASH_LEN];
    struct copy c;
    memcpy(genesis, cluster->genesis.hash, HASH_LEN);
    const struct {
        uint64_t reqno, min_index, index_shift;
        bool foreign, forged;
        const char *words;
    } rules[] = {
        {900, 0, 1, false, false, "stands where"},
        {900, 1000, 0, false, false, "wanted an index above 1000"},
        {900, 6, 0, false, false, "wanted an index above 6 stands at 6"},
        {900, 5, 0, false, false, NULL},
        {1, 0, 0, false, false, "was executed before"},
        {900, 0, 0, true, false, "a request"},
        {900, 0, 0, false, true, "the client's signature is not valid"},
        {900, 0, 0, false, false, NULL}, /* nothing broken: it passes */
    };
    for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++) {
        struct buffer body = {0};
        struct error e;
        copy_open(&c);
        size_t at = entry_find(&c, LEDGER_ENTRY_TX, 0, 5);
        uint64_t index = load_u64(c.entries[at].bytes.data);
        cluster->genesis.hash[0] ^= rules[i].foreign;
        cluster_body(cluster, 0, rules[i].reqno, rules[i].min_index, &body, hash);
        memcpy(cluster->genesis.hash, genesis, HASH_LEN);
        body.data[body.len - 1] ^= rules[i].forged ? 1 : 0; /* S of the signature */
        tx_put(&c, at, index + rules[i].index_shift, slice_of_buffer(&body));
        if (rules[i].words)
            named(&c, at - 1, rules[i].words);
        else if (feed(&c, at + 1, &e) != 0)
            fail_msg("%s", e.text);
        buffer_free(&body);
        copy_close(&c);
    }
    copy_open(&c); /* another output, which nobody signed */
    size_t at = entry_find(&c, LEDGER_ENTRY_TX, 0, 5);
    c.entries[at].bytes.data[c.entries[at].bytes.len - 1] ^= 1;
    named(&c, at, "not those that its pp names");
    copy_close(&c);
}

/* ---- of order ---- */

static void entries_out_of_place_are_named(void **state)
{
    (void)state;
    struct copy c;
    struct error e;
    copy_open(&c);
    c.entries[0].bytes.data[70] ^= 1;
    named(&c, 0, "does not begin with this genesis");
    copy_close(&c);

    copy_open(&c);
    size_t tx = entry_find(&c, LEDGER_ENTRY_TX, 0, 2);
    assert_int_equal(feed(&c, tx, &e), -ATOLL_ECORRUPT);
    assert_non_null(strstr(e.text, "ends in the middle"));
    copy_remove(&c, tx);
    assert_int_equal(feed(&c, c.count, &e), -ATOLL_ECORRUPT);
    assert_non_null(strstr(e.text, "does not belong"));
    copy_close(&c);

    copy_open(&c);
    c.entries[tx].type = 77;
    assert_int_equal(feed(&c, c.count, &e), -ATOLL_ECORRUPT);
    assert_non_null(strstr(e.text, "unknown type, 77"));
    copy_close(&c);
}

static void an_entry_that_is_not_what_its_type_says_is_named(void **state)
{
    (void)state;
    for (uint8_t type = LEDGER_ENTRY_EVIDENCE; type <= LEDGER_ENTRY_NEW_VIEW; type++) {
        struct copy c;
        copy_open(&c);
        size_t at = entry_find(&c, type, 0, 0);
        c.entries[at].bytes.len--;
        if (type != LEDGER_ENTRY_VCSET) /* looked into when its NewView comes */
            named(&c, at, "cannot be read");
        else
            named(&c, at + 1, "another history");
        copy_close(&c);
    }
}

/* A ledger of one batch with a request of client 0, under a genesis with this access list. */
static int listed_feed(const uint8_t *clients, uint32_t count, struct error *e)
{
    struct cluster *cluster = made.cluster;
    struct ledger_genesis genesis = cluster->genesis, kept = cluster->genesis;
    struct buffer bytes = {0}, body = {0}, tx_bytes = {0};
    struct ledger_checker *checker;
    uint8_t hash[HASH_LEN], pp_bytes[LEDGER_PP_SIGNED_LEN];
    genesis.configuration.clients = clients;
    genesis.configuration.client_count = count;
    assert_true(ledger_genesis_encode(&genesis, &bytes));
    assert_int_equal(ledger_genesis_decode(slice_of_buffer(&bytes), &genesis, e), 0);
    memcpy(cluster->genesis.hash, genesis.hash, HASH_LEN);
    cluster_body(cluster, 0, 1, 0, &body, hash);
    cluster->genesis = kept;
    struct ledger_tx tx = {.index = 1, .body = slice_of_buffer(&body)};
    assert_true(ledger_tx_encode(&tx, &tx_bytes));
    struct merkle_hash genesis_leaf =
        ledger_entry_leaf(LEDGER_ENTRY_GENESIS, slice_of_buffer(&bytes));
    struct merkle_hash tx_leaf = ledger_entry_leaf(LEDGER_ENTRY_TX, slice_of_buffer(&tx_bytes));
    struct ledger_pp pp = {.seqno = 1, .kind = LEDGER_KIND_NORMAL, .first_index = 1, .count = 1};
    memcpy(pp.ledger_root, genesis_leaf.bytes, HASH_LEN);
    memcpy(pp.batch_root, tx_leaf.bytes, HASH_LEN);
    memcpy(pp.previous, genesis.hash, HASH_LEN);
    ledger_pp_hash(&pp, hash);
    cluster_sign(cluster->public_key[0], hash, pp.signature);
    ledger_pp_encode_signed(&pp, pp_bytes);
    assert_int_equal(ledger_checker_create(slice_of_buffer(&bytes), &checker, e), 0);
    int rc = ledger_checker_entry(checker, LEDGER_ENTRY_GENESIS, slice_of_buffer(&bytes), e);
    if (rc == 0)
        rc = ledger_checker_entry(checker, LEDGER_ENTRY_PP, slice_of(pp_bytes, sizeof pp_bytes), e);
    if (rc == 0)
        rc = ledger_checker_entry(checker, LEDGER_ENTRY_TX, slice_of_buffer(&tx_bytes), e);
    if (rc == 0)
        rc = ledger_checker_finish(checker, e);
    ledger_checker_destroy(checker);
    buffer_free(&bytes);
    buffer_free(&body);
    buffer_free(&tx_bytes);
    return rc;
}

static void only_clients_on_the_access_list_have_transactions(void **state)
{
    (void)state;
    struct error e;
    struct ledger_tx tx;
    struct ledger_body body;
    struct copy c;
    uint8_t other[ED25519_KEY_LEN] = {5};
    copy_open(&c); /* the key of client 0: that of the first transaction */
    size_t at = entry_find(&c, LEDGER_ENTRY_TX, 0, 0);
    assert_int_equal(ledger_tx_decode(slice_of_buffer(&c.entries[at].bytes), &tx, &e), 0);
    assert_int_equal(ledger_body_decode(tx.body, &body, &e), 0);
    if (listed_feed(NULL, 0, &e) != 0 || listed_feed(body.request.client, 1, &e) != 0)
        fail_msg("%s", e.text);
    assert_int_equal(listed_feed(other, 1, &e), -ATOLL_ECORRUPT);
    assert_non_null(strstr(e.text, "not on the access list"));
    copy_close(&c);
}

static void nothing_is_taken_after_a_broken_rule(void **state)
{
    (void)state;
    struct ledger_checker *checker;
    struct error e;
    struct slice genesis = slice_of_buffer(&made.cluster->genesis_bytes);
    const uint8_t unknown[] = {0, LEDGER_ENTRY_NEW_VIEW + 1};
    for (int i = 0; i < 2; i++) {
        assert_int_equal(ledger_checker_create(genesis, &checker, &e), 0);
        assert_int_equal(ledger_checker_entry(checker, unknown[i], genesis, &e), -ATOLL_ECORRUPT);
        assert_non_null(strstr(e.text, "unknown type"));
        assert_int_equal(ledger_checker_entry(checker, LEDGER_ENTRY_GENESIS, genesis, &e),
                         -ATOLL_EINVAL);
        ledger_checker_destroy(checker);
    }
    assert_int_equal(ledger_checker_create(genesis, &checker, &e), 0); /* nothing is no ledger */
    assert_int_equal(ledger_checker_finish(checker, &e), -ATOLL_ECORRUPT);
    assert_int_equal(ledger_checker_finish(checker, &e), -ATOLL_EINVAL);
    ledger_checker_destroy(checker);
    assert_int_equal(ledger_checker_create(genesis, &checker, &e), 0);
    assert_int_equal(ledger_checker_entry(checker, LEDGER_ENTRY_TX, genesis, &e), -ATOLL_ECORRUPT);
    assert_int_equal(ledger_checker_entry(checker, LEDGER_ENTRY_GENESIS, genesis, &e),
                     -ATOLL_EINVAL);
    assert_int_equal(ledger_checker_finish(checker, &e), -ATOLL_EINVAL);
    ledger_checker_destroy(checker);
}

/* ---- of view changes ---- */

static void nv_put(struct copy *c, size_t at, struct ledger_new_view *nv, uint64_t signer)
{
    uint8_t hash[HASH_LEN];
    struct buffer bytes = {0};
    ledger_new_view_hash(nv, hash);
    cluster_sign(made.cluster->public_key[signer % 4], hash, nv->signature);
    assert_true(ledger_new_view_encode_signed(nv, &bytes));
    entry_set(&c->entries[at], LEDGER_ENTRY_NEW_VIEW, slice_of_buffer(&bytes));
    buffer_free(&bytes);
}

static void nv_view(struct ledger_new_view *nv)
{
    nv->view += 1;
}
static void nv_view_again(struct ledger_new_view *nv)
{
    nv->view = 0;
}
static void nv_root_end(struct ledger_new_view *nv)
{
    nv->ledger_root[HASH_LEN - 1] ^= 1;
}
static void nv_base_end(struct ledger_new_view *nv)
{
    nv->base_pp_hash[HASH_LEN - 1] ^= 1;
}
static void nv_root(struct ledger_new_view *nv)
{
    nv->ledger_root[0] ^= 1;
}
static void nv_base(struct ledger_new_view *nv)
{
    nv->base_pp_hash[0] ^= 1;
}
static void nv_vcset(struct ledger_new_view *nv)
{
    nv->vcset_hash[0] ^= 1;
}
static void nv_plan(struct ledger_new_view *nv)
{
    assert_true(nv->plan_count > 0);
    nv->plan[0].batch_root[0] ^= 1;
}

static void every_rule_of_a_new_view_is_named(void **state)
{
    (void)state;
    static const struct {
        void (*change)(struct ledger_new_view *);
        const char *words;
    } rules[] = {
        {nv_view, "a new view"},          {nv_root, "another history"},
        {nv_base, "not where it stands"}, {nv_vcset, "a new view"},
        {nv_plan, "a new view"},          {nv_view_again, "view 0 follows view 0"},
        {nv_root_end, "another history"}, {nv_base_end, "not where it stands"},
    };
    struct copy c;
    struct error e;
    for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++) {
        struct ledger_new_view nv;
        copy_open(&c);
        size_t at = entry_find(&c, LEDGER_ENTRY_NEW_VIEW, 0, 0);
        assert_int_equal(
            ledger_new_view_decode_signed(slice_of_buffer(&c.entries[at].bytes), &nv, &e), 0);
        rules[i].change(&nv);
        nv_put(&c, at, &nv, nv.view);
        named(&c, at, rules[i].words);
        copy_close(&c);
    }
    copy_open(&c); /* its signature */
    size_t at = entry_find(&c, LEDGER_ENTRY_NEW_VIEW, 0, 0);
    c.entries[at].bytes.data[c.entries[at].bytes.len - 1] ^= 1;
    named(&c, at, "of the view change is not valid");
    copy_close(&c);
    copy_open(&c); /* without the ViewChanges that it rests on */
    copy_remove(&c, at - 1);
    named(&c, at - 1, "does not belong");
    copy_close(&c);
    copy_open(&c); /* with one of them changed */
    struct buffer *vcset = &c.entries[at - 1].bytes;
    vcset->data[vcset->len - 1] ^= 1;
    named(&c, at, "another history");
    copy_close(&c);
    copy_open(&c); /* another batch than the plan says */
    size_t pp_position = entry_find(&c, LEDGER_ENTRY_PP, at, 0);
    struct ledger_pp pp = pp_at(&c, pp_position);
    pp.batch_root[0] ^= 1;
    pp_put(&c, pp_position, &pp);
    named(&c, pp_position, "not what the new view planned");
    copy_close(&c);
}

/* ---- fragments ---- */

static char directory[] = "/tmp/ledger-checker-XXXXXX";

static const char *fragment_path(void)
{
    static char path[128];
    snprintf(path, sizeof path, "%s/some.lfrag", directory);
    return path;
}

static int entry_visit(void *context, uint64_t position, uint8_t type, struct slice payload,
                       struct error *e)
{
    size_t *seen = context;
    (void)e;
    if (position < made.count &&
        (made.entries[position].type != type ||
         !slice_equal(slice_of_buffer(&made.entries[position].bytes), payload)))
        return -ATOLL_ESTALE; /* changed: to be refused in the end */
    ++*seen;
    return 0;
}

static void fragment_make(size_t from, size_t to)
{
    struct merkle_frontier before = {0};
    struct fragment_writer *w;
    struct error e;
    for (size_t i = 0; i < from; i++) {
        struct merkle_hash leaf =
            ledger_entry_leaf(made.entries[i].type, slice_of_buffer(&made.entries[i].bytes));
        assert_int_equal(merkle_frontier_append(&before, &leaf, &e), 0);
    }
    assert_int_equal(fragment_create(fragment_path(), made.cluster->genesis.hash, &before, &w, &e),
                     0);
    for (size_t i = from; i < to; i++)
        assert_int_equal(
            fragment_append(w, made.entries[i].type, slice_of_buffer(&made.entries[i].bytes), &e),
            0);
    assert_int_equal(fragment_close(w, true, &e), 0);
}

static void a_fragment_comes_back_as_it_was(void **state)
{
    (void)state;
    const size_t from[] = {0, 3, 7};
    for (int i = 0; i < 3; i++) {
        struct fragment_head head;
        struct error e;
        size_t seen = 0;
        fragment_make(from[i], made.count);
        assert_int_equal(fragment_read(fragment_path(), &head, entry_visit, &seen, &e), 0);
        assert_int_equal(seen, made.count - from[i]);
        assert_int_equal(head.first, from[i]);
        assert_memory_equal(head.genesis, made.cluster->genesis.hash, HASH_LEN);
    }
    unlink(fragment_path());
}

static void a_fragment_that_is_cut_or_changed_anywhere_is_refused(void **state)
{
    (void)state;
    struct fragment_head head;
    struct error e;
    size_t seen = 0;
    fragment_make(3, 8);
    FILE *f = fopen(fragment_path(), "r+b");
    assert_non_null(f);
    fseek(f, 0, SEEK_END);
    long size = ftell(f);
    for (long at = 0; at < size; at++) {
        int was = (fseek(f, at, SEEK_SET), fgetc(f));
        fseek(f, at, SEEK_SET);
        fputc(was ^ 1 << at % 8, f);
        fflush(f);
        int rc = fragment_read(fragment_path(), &head, entry_visit, &seen, &e);
        if (rc == 0)
            fail_msg("byte %ld of %ld may be changed", at, size);
        fseek(f, at, SEEK_SET);
        fputc(was, f);
        fflush(f);
    }
    assert_int_equal(fragment_read(fragment_path(), &head, entry_visit, &seen, &e), 0);
    for (long len = size - 1; len >= 0; len--) {
        assert_int_equal(ftruncate(fileno(f), len), 0);
        assert_int_equal(fragment_read(fragment_path(), &head, entry_visit, &seen, &e),
                         -ATOLL_ECORRUPT);
    }
    fclose(f);
    unlink(fragment_path());
}

static void a_fragment_that_is_thrown_away_leaves_what_was_there(void **state)
{
    (void)state;
    struct merkle_frontier none = {0};
    struct fragment_writer *w;
    struct fragment_head head;
    struct error e;
    size_t seen = 0;
    fragment_make(0, 4);
    assert_int_equal(fragment_create(fragment_path(), made.cluster->genesis.hash, &none, &w, &e),
                     0);
    assert_int_equal(fragment_close(w, false, &e), 0);
    assert_int_equal(fragment_read(fragment_path(), &head, entry_visit, &seen, &e), 0);
    assert_int_equal(seen, 4);
    unlink(fragment_path());
}

/* ---- looking up ---- */

static int story_read(void *context, uint64_t position, struct buffer *out, uint8_t *type,
                      struct error *e)
{
    const struct copy *c = context;
    assert_true(position < c->count);
    (void)e;
    *type = c->entries[position].type;
    return buffer_append(out, c->entries[position].bytes.data, c->entries[position].bytes.len)
               ? 0
               : -ATOLL_ENOMEM;
}

static void every_transaction_is_found_and_its_receipt_holds(void **state)
{
    (void)state;
    struct copy c;
    struct error e;
    struct ledger_keys keys = ledger_keys_of(&made.cluster->genesis);
    copy_open(&c);
    struct ledger_entry_source source = {&c, story_read, c.count};
    for (uint64_t index = 0; index <= 17; index++) {
        struct ledger_lookup found = {0};
        struct ledger_receipt_info info;
        struct buffer receipt = {0};
        int rc = ledger_lookup_tx(&source, index, &found, &e);
        assert_int_equal(rc, index == 0 || index == 17 ? -ATOLL_ENOENT : 0);
        if (rc == 0) {
            rc = ledger_lookup_receipt(&source, &made.cluster->genesis, &found, &receipt, &e);
            if (rc != 0)
                fail_msg("index %llu: %s", (unsigned long long)index, e.text);
            rc = ledger_receipt_verify(slice_of_buffer(&receipt), &keys, NULL, &info, &e);
            if (rc != 0)
                fail_msg("index %llu: %s", (unsigned long long)index, e.text);
            assert_int_equal(info.receipt.tx.index, index);
            source.end = found.position + 1; /* as long as its evidence has not come */
            receipt.len = 0;
            assert_int_equal(
                ledger_lookup_receipt(&source, &made.cluster->genesis, &found, &receipt, &e),
                -ATOLL_EAGAIN);
            source.end = c.count;
        }
        buffer_free(&receipt);
        ledger_lookup_free(&found);
    }
    copy_close(&c);
}

/* What reading gives instead of an entry. */
struct spoilt {
    struct copy copy;
    size_t at;   /* the entry that cannot be read; SIZE_MAX: none */
    bool failed; /* it was asked for */
};

static int spoilt_read(void *context, uint64_t position, struct buffer *out, uint8_t *type,
                       struct error *e)
{
    struct spoilt *s = context;
    if (position != s->at)
        return story_read(&s->copy, position, out, type, e);
    s->failed = true;
    *type = LEDGER_ENTRY_PP;
    return error_set(e, ATOLL_EIO, "it cannot be read");
}

static int receipt_of(struct spoilt *s, uint64_t index, struct error *e)
{
    struct ledger_entry_source source = {s, spoilt_read, s->copy.count};
    struct ledger_lookup found = {0};
    struct buffer receipt = {0};
    int rc = ledger_lookup_tx(&source, index, &found, e);
    if (rc == 0)
        rc = ledger_lookup_receipt(&source, &made.cluster->genesis, &found, &receipt, e);
    buffer_free(&receipt);
    ledger_lookup_free(&found);
    return rc;
}

static void what_cannot_be_read_or_makes_no_sense_gives_no_receipt(void **state)
{
    (void)state;
    struct error e;
    struct spoilt s = {.at = SIZE_MAX};
    copy_open(&s.copy);
    size_t pp = pp_find(&s.copy, LEDGER_KIND_NORMAL, 3), end = s.copy.count;
    uint64_t index = pp_at(&s.copy, pp).first_index;
    assert_int_equal(receipt_of(&s, index, &e), 0);
    for (s.at = 0; s.at < end; s.at++) { /* whatever is asked for and fails is told */
        s.failed = false;
        int rc = receipt_of(&s, index, &e);
        assert_int_equal(rc, s.failed ? -ATOLL_EIO : 0);
    }
    s.at = SIZE_MAX;
    s.copy.entries[pp + 1].bytes.len = 7; /* a transaction without an index */
    assert_int_equal(receipt_of(&s, index, &e), -ATOLL_ECORRUPT);
    copy_close(&s.copy);

    copy_open(&s.copy); /* a transaction without a batch */
    s.copy.entries[pp].type = LEDGER_ENTRY_VCSET;
    assert_int_equal(receipt_of(&s, index, &e), -ATOLL_ECORRUPT);
    assert_non_null(strstr(e.text, "has no batch"));
    copy_close(&s.copy);

    copy_open(&s.copy); /* evidence of fewer than its bits say */
    size_t evidence = entry_find(&s.copy, LEDGER_ENTRY_EVIDENCE, pp, CLUSTER_P - 1);
    s.copy.entries[evidence].bytes.data[16] ^= 8;
    assert_int_equal(receipt_of(&s, index, &e), -ATOLL_ECORRUPT);
    copy_close(&s.copy);

    copy_open(&s.copy); /* a batch that is said to be longer than it is */
    struct ledger_pp longer = pp_at(&s.copy, pp);
    longer.count++;
    pp_put(&s.copy, pp, &longer);
    assert_true(receipt_of(&s, index, &e) < 0);
    copy_close(&s.copy);
}

/* ---- signatures, many at once ---- */

static void signature_make(uint64_t number, struct secret *secret, struct ledger_signature *out,
                           uint8_t signature[static ED25519_SIGNATURE_LEN])
{
    hash_sha256(&number, sizeof number, out->hash);
    secret_sign(secret, out->hash, HASH_LEN, signature);
    out->public_key = secret_public(secret);
    out->signature = signature;
}

static void a_signature_is_taken_once_only_when_all_of_it_is_the_same(void **state)
{
    (void)state;
    struct check_signatures *gathered;
    struct check_subject subject = {1, 2, "a signature"};
    struct ledger_signature one, changed;
    struct secret *secret, *other;
    uint8_t signature[ED25519_SIGNATURE_LEN], bad[ED25519_SIGNATURE_LEN];
    struct error e;
    assert_int_equal(secret_generate(&secret, &e), 0);
    assert_int_equal(secret_generate(&other, &e), 0);
    assert_int_equal(check_signatures_create(&gathered, &e), 0);
    signature_make(1, secret, &one, signature);
    for (int what = 0; what < 4; what++) {
        changed = one;
        memcpy(bad, signature, sizeof bad);
        bad[what == 3 ? 40 : 0] ^= what == 2 || what == 3;
        changed.signature = bad;
        changed.hash[HASH_LEN - 1] ^= what == 0;
        changed.public_key = what == 1 ? secret_public(other) : one.public_key;
        assert_int_equal(check_signatures_add(gathered, &one, subject, &e), 0);
        assert_int_equal(check_signatures_add(gathered, &one, subject, &e), 0);
        assert_int_equal(check_signatures_flush(gathered, &e), 0);
        assert_int_equal(check_signatures_add(gathered, &one, subject, &e), 0);
        assert_int_equal(check_signatures_add(gathered, &changed, subject, &e), 0);
        assert_int_equal(check_signatures_flush(gathered, &e), -ATOLL_ECORRUPT);
        assert_int_equal(check_signatures_flush(gathered, &e), 0); /* nothing is left */
    }
    check_signatures_destroy(gathered);
    secret_destroy(secret);
    secret_destroy(other);
}

static void thousands_of_signatures_are_checked_on_the_way(void **state)
{
    (void)state;
    struct check_signatures *gathered;
    struct ledger_signature one;
    struct secret *secret;
    uint8_t signature[ED25519_SIGNATURE_LEN];
    struct error e;
    int rc = 0;
    assert_int_equal(secret_generate(&secret, &e), 0);
    assert_int_equal(check_signatures_create(&gathered, &e), 0);
    for (uint64_t i = 0; i < 6000 && rc == 0; i++) {
        signature_make(i, secret, &one, signature);
        signature[7] ^= i == 2500;
        rc = check_signatures_add(gathered, &one, (struct check_subject){i, i, "one"}, &e);
    }
    assert_int_equal(rc, -ATOLL_ECORRUPT);
    assert_int_equal(e.offset, 2500);
    check_signatures_destroy(gathered);
    check_signatures_destroy(NULL);
    secret_destroy(secret);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_ledger_that_correct_replicas_made_passes),
        cmocka_unit_test(every_rule_of_a_pp_is_named),
        cmocka_unit_test(a_pp_that_its_primary_did_not_sign_is_named),
        cmocka_unit_test(one_empty_batch_too_many_is_named),
        cmocka_unit_test(missing_and_false_evidence_is_named),
        cmocka_unit_test(every_rule_of_a_transaction_is_named),
        cmocka_unit_test(entries_out_of_place_are_named),
        cmocka_unit_test(an_entry_that_is_not_what_its_type_says_is_named),
        cmocka_unit_test(only_clients_on_the_access_list_have_transactions),
        cmocka_unit_test(nothing_is_taken_after_a_broken_rule),
        cmocka_unit_test(every_rule_of_a_new_view_is_named),
        cmocka_unit_test(a_fragment_comes_back_as_it_was),
        cmocka_unit_test(a_fragment_that_is_cut_or_changed_anywhere_is_refused),
        cmocka_unit_test(a_fragment_that_is_thrown_away_leaves_what_was_there),
        cmocka_unit_test(every_transaction_is_found_and_its_receipt_holds),
        cmocka_unit_test(what_cannot_be_read_or_makes_no_sense_gives_no_receipt),
        cmocka_unit_test(a_signature_is_taken_once_only_when_all_of_it_is_the_same),
        cmocka_unit_test(thousands_of_signatures_are_checked_on_the_way),
    };
    if (sodium_init() < 0 || mkdtemp(directory) == NULL)
        return 1;
    int failed = cmocka_run_group_tests(tests, story_make, story_drop);
    rmdir(directory);
    return failed;
}
