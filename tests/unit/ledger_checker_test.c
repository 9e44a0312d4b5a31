/*
 * The checker of ledgers: a ledger that correct replicas made passes, and every rule that is broken
 * once, by whoever holds all the keys, is named at its entry.
 */
#include "ledger_story.h"

#include "ledger/check/checker.h"

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
    };
    if (sodium_init() < 0)
        return 1;
    return cmocka_run_group_tests(tests, story_make, story_drop);
}
