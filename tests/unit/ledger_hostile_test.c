/* What one lying replica sends, and what it must not do to a correct one. */
#include "ledger_cluster.h"

#define LIAR 3

static void deliver(struct cluster *c, unsigned from, unsigned to, const struct buffer *message)
{
    ledger_on_message(c->nodes[to].replica, (uint16_t)from, message->data, message->len);
    ledger_settle(c->nodes[to].replica);
}

/* ---- questions ---- */

static void questions_about_batches_that_cannot_be_are_not_answered(void **state)
{
    (void)state;
    struct cluster *c = cluster_create(4);
    struct buffer message = {0};
    cluster_requests(c, 0, 0, 80); /* the first ones are not in memory any more */
    cluster_run(c);
    for (unsigned type = LEDGER_MESSAGE_FETCH_BATCH; type <= LEDGER_MESSAGE_FETCH_LEDGER; type++) {
        for (uint64_t back = 1; back <= 2 * CLUSTER_P + 2; back++) {
            struct ledger_fetch f = {.type = type,
                                     .seqno = UINT64_MAX - back + 1,
                                     .view = UINT64_MAX - back + 1,
                                     .from = UINT64_MAX - back,
                                     .until = UINT64_MAX,
                                     .max_bytes = UINT32_MAX,
                                     .batch_root = {0xee},
                                     .link = {(uint8_t)back}};
            message.len = 0;
            assert_true(ledger_fetch_write(&message, &f));
            deliver(c, LIAR, 0, &message);
            assert_int_equal(c->queue_count, 0);
        }
    }
    struct ledger_fetch old = {.type = LEDGER_MESSAGE_FETCH_EVIDENCE, .seqno = 1};
    message.len = 0;
    assert_true(ledger_fetch_write(&message, &old));
    deliver(c, LIAR, 0, &message);
    assert_int_equal(c->queue_count, 1); /* one that can be is, from the log */
    buffer_free(&message);
    cluster_destroy(c);
}

static void a_view_change_that_is_late_does_not_make_us_send_new_views_without_end(void **state)
{
    (void)state;
    struct cluster *c = cluster_create(4);
    struct buffer late = {0};
    cluster_requests(c, 0, 0, 3);
    cluster_leave(c, 0, 1);
    cluster_run(c);
    assert_int_equal(cluster_status(c, 0).view, 1);
    const struct buffer *own = &c->nodes[LIAR].replica->own_view_change;
    assert_true(ledger_view_change_write(&late, slice_of_buffer(own)));
    deliver(c, LIAR, 0, &late);
    assert_int_equal(c->queue_count, 1); /* it is told of the view */
    size_t most = ANSWERS_BURST / ANSWER_COST_MIN;
    for (size_t i = 0; i < 2 * most; i++)
        deliver(c, LIAR, 0, &late);
    assert_true(c->queue_count <= most);
    buffer_free(&late);
    cluster_destroy(c);
}

static void a_replica_in_quarantine_is_not_let_out_by_a_number_that_wraps(void **state)
{
    (void)state;
    struct cluster *c = cluster_create(4);
    cluster_requests(c, 0, 0, 8);
    struct ledger_replica *r = c->nodes[1].replica;
    r->quarantine = true;
    r->quarantine_view = r->tip.view;
    for (unsigned i = 0; i < 4; i++)
        r->peers[i] = (struct peer){.heard = true};
    r->peers[LIAR].first_last = UINT64_MAX;
    rule_leave_quarantine(r);
    assert_true(r->quarantine);
    r->peers[LIAR].first_last = r->tip.s - CLUSTER_P;
    rule_leave_quarantine(r);
    assert_true(r->quarantine);
    r->peers[LIAR].first_last--;
    rule_leave_quarantine(r);
    assert_false(r->quarantine);
    cluster_destroy(c);
}

/* ---- history ---- */

struct stuff {
    uint8_t type;   /* of the entries that do not belong */
    unsigned count; /* of messages with such */
};

/* The liar's history has an entry too many behind every pp that has transactions. */
static bool stuff_history(struct cluster *c, int from, int to, struct buffer *m)
{
    struct error e;
    struct ledger_entries entries;
    struct ledger_list_entry entry;
    struct ledger_message_writer w;
    struct ledger_pp pp;
    struct buffer stuffed = {0}, junk = {0};
    struct stuff *stuff = c->tamper_context;
    if (to == 0 && ledger_message_type(slice_of_buffer(m)) == LEDGER_MESSAGE_PRE_PREPARE)
        return false; /* it has only history to catch up by */
    if (from != LIAR || ledger_entries_decode(slice_of_buffer(m), &entries, &e))
        return true;
    assert_true(ledger_entries_begin(&w, &stuffed, entries.from, entries.end));
    while (ledger_list_next_entry(&entries.entries, &entry)) {
        assert_true(ledger_entries_entry(&w, entry.type, entry.payload));
        if (entry.type == stuff->type) {
            junk.len = 0;
            assert_true(buffer_append(&junk, entry.payload.data, entry.payload.len));
        }
        if (entry.type == LEDGER_ENTRY_PP && !ledger_pp_decode_signed(entry.payload, &pp, &e) &&
            pp.count && junk.len)
            assert_true(ledger_entries_entry(&w, stuff->type, slice_of_buffer(&junk)));
    }
    ledger_message_end(&w);
    buffer_free(&junk);
    buffer_free(m);
    *m = stuffed;
    stuff->count++;
    return true;
}

static void entries_between_a_pp_and_its_transactions_stop_nobody(void **state)
{
    (void)state;
    static const uint8_t types[] = {LEDGER_ENTRY_EVIDENCE, LEDGER_ENTRY_VCSET,
                                    LEDGER_ENTRY_NEW_VIEW};
    for (unsigned i = 0; i < 3; i++) {
        struct cluster *c = cluster_create(4);
        struct stuff stuff = {.type = types[i]};
        cluster_cut(c, 0, true);
        cluster_leave(c, 1, 1);
        cluster_run(c);
        cluster_requests(c, 0, 1, 30);
        c->tamper = stuff_history;
        c->tamper_context = &stuff;
        cluster_cut(c, 0, false);
        c->cut[1][0] = c->cut[2][0] = true; /* it hears the liar alone */
        cluster_pass(c, 1000000);
        assert_true(stuff.count > 0);
        assert_null(c->nodes[0].stopped);
        c->cut[1][0] = c->cut[2][0] = false;
        cluster_requests(c, 0, 1, 1);
        cluster_pass(c, 5000000);
        assert_null(c->nodes[0].stopped);
        cluster_assert_agree(c, 30);
        cluster_destroy(c);
    }
}

/*
 * Three of four name a false digest of checkpoint 10. Replica 3 was away, before it had the digest
 * or after: it does not follow them, nor does it sign any of it when it starts again.
 */
static void history_that_names_a_false_digest_of_a_checkpoint_is_not_followed(void **state)
{
    (void)state;
    for (unsigned away_from = 5; away_from <= 15; away_from += 10) {
        struct cluster *c = cluster_create(4);
        cluster_requests(c, 0, 0, away_from);
        cluster_cut(c, 3, true);
        cluster_requests(c, 0, 0, 16 - away_from);
        for (unsigned i = 0; i < 3; i++)
            c->nodes[i].replica->digests[1].digest[0] ^= 1;
        cluster_requests(c, 0, 0, 8);
        assert_true(cluster_status(c, 0).s_committed > 2 * CLUSTER_C + 1);
        cluster_cut(c, 3, false);
        cluster_pass(c, 3000000);
        assert_non_null(c->nodes[3].stopped);
        cluster_stop_node(c, 3);
        cluster_start_node(c, 3);
        cluster_pass(c, 3000000);
        assert_non_null(c->nodes[3].stopped);
        assert_true(c->nodes[3].replica->signed_s < 2 * CLUSTER_C);
        cluster_destroy(c);
    }
}

/* ---- votes ---- */

/* What the liar makes of replica 1's Prepares. */
struct forgery {
    bool true_signature; /* it has heard the Prepare, and passes on a false copy of it */
    unsigned count;
};

/* Before replica 1's Prepares reach replica 2, the liar tells of others in its name. */
static bool forge_prepare(struct cluster *c, int from, int to, struct buffer *m)
{
    struct error e;
    struct ledger_prepare p;
    struct buffer forged = {0};
    struct forgery *forgery = c->tamper_context;
    if (from == LIAR)
        return false; /* it says nothing else */
    if (from != 1 || to != 2 || ledger_prepare_message_decode(slice_of_buffer(m), &p, &e))
        return true;
    p.nonce_commit[0] ^= 1;
    p.signature[0] ^= !forgery->true_signature;
    assert_true(ledger_prepare_write(&forged, &p));
    deliver(c, LIAR, 2, &forged);
    buffer_free(&forged);
    forgery->count++;
    return true;
}

static void a_prepare_in_anothers_name_does_not_keep_the_true_one_out(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 2; i++) {
        struct cluster *c = cluster_create(4);
        struct forgery forgery = {.true_signature = i};
        c->tamper = forge_prepare;
        c->tamper_context = &forgery;
        cluster_requests(c, 0, 0, 3); /* no time passes: nothing is sent again */
        assert_true(cluster_status(c, 2).s_committed >= 3);
        assert_true(forgery.count >= 3);
        cluster_destroy(c);
    }
}

/* ---- view changes ---- */

/* A NEW_VIEW message for a later view out of a true one: well formed, signed by nobody. */
static void forge_new_view(const struct ledger_replica *r, uint64_t view, struct buffer *out)
{
    struct error e;
    struct ledger_new_view nv;
    struct ledger_vcset set;
    struct ledger_view_change *vc = calloc(1, sizeof *vc);
    struct buffer vcs[CLUSTER_MAX] = {{0}}, vcset = {0}, signed_bytes = {0};
    assert_non_null(vc);
    assert_int_equal(ledger_vcset_decode(slice_of_buffer(&r->new_view_vcset), &set, &e), 0);
    for (unsigned i = 0; i < set.count; i++) {
        assert_int_equal(ledger_view_change_decode_signed(set.view_changes[i], vc, &e), 0);
        vc->new_view = view;
        assert_true(ledger_view_change_encode_signed(vc, &vcs[i]));
    }
    for (unsigned i = 0; i < set.count; i++)
        set.view_changes[i] = slice_of_buffer(&vcs[i]);
    set.view = view;
    assert_true(ledger_vcset_encode(&set, &vcset));
    assert_int_equal(ledger_new_view_decode_signed(slice_of_buffer(&r->new_view), &nv, &e), 0);
    nv.view = view;
    ledger_vcset_hash(slice_of_buffer(&vcset), nv.vcset_hash);
    assert_true(ledger_new_view_encode_signed(&nv, &signed_bytes));
    assert_true(
        ledger_new_view_write(out, slice_of_buffer(&signed_bytes), slice_of_buffer(&vcset)));
    for (unsigned i = 0; i < set.count; i++)
        buffer_free(&vcs[i]);
    buffer_free(&vcset);
    buffer_free(&signed_bytes);
    free(vc);
}

static bool keep_history_back(struct cluster *c, int from, int to, struct buffer *m)
{
    (void)c;
    (void)from;
    unsigned type = ledger_message_type(slice_of_buffer(m));
    return to != 0 || (type != LEDGER_MESSAGE_LEDGER && type != LEDGER_MESSAGE_EVIDENCE &&
                       type != LEDGER_MESSAGE_PRE_PREPARE);
}

static void a_forged_new_view_does_not_drop_the_one_that_is_being_followed(void **state)
{
    (void)state;
    struct cluster *c = cluster_create(4);
    struct buffer forged = {0};
    cluster_requests(c, 0, 0, 3);
    cluster_cut(c, 0, true);
    cluster_leave(c, 1, 1);
    cluster_run(c);
    cluster_requests(c, 0, 1, 10);
    cluster_leave(c, 1, 2);
    cluster_run(c);
    /* Replica 0 has heard of NewView(2), and lacks the history behind which it stands. */
    c->tamper = keep_history_back;
    cluster_cut(c, 0, false);
    const struct ledger_replica *r = c->nodes[0].replica;
    cluster_pass(c, 300000);
    assert_int_equal(r->pending.state, PENDING_FETCHING);
    assert_int_equal(r->pending.view, 2);
    uint64_t bad = cluster_status(c, 0).signatures_bad;
    forge_new_view(c->nodes[1].replica, 3, &forged);
    deliver(c, LIAR, 0, &forged);
    assert_int_equal(r->pending.view, 2); /* also while it is being checked */
    cluster_run(c);
    assert_true(cluster_status(c, 0).signatures_bad > bad);
    assert_true(r->peers[LIAR].suspect); /* what it sends is checked apart and last from now on */
    assert_false(r->peers[1].suspect);
    assert_int_equal(r->pending.state, PENDING_FETCHING);
    assert_int_equal(r->pending.view, 2);
    c->tamper = NULL;
    cluster_pass(c, 1000000);
    assert_int_equal(cluster_status(c, 0).view, 2);
    assert_true(cluster_status(c, 0).s_committed >= 10);
    buffer_free(&forged);
    cluster_destroy(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(questions_about_batches_that_cannot_be_are_not_answered),
        cmocka_unit_test(a_view_change_that_is_late_does_not_make_us_send_new_views_without_end),
        cmocka_unit_test(a_replica_in_quarantine_is_not_let_out_by_a_number_that_wraps),
        cmocka_unit_test(entries_between_a_pp_and_its_transactions_stop_nobody),
        cmocka_unit_test(history_that_names_a_false_digest_of_a_checkpoint_is_not_followed),
        cmocka_unit_test(a_prepare_in_anothers_name_does_not_keep_the_true_one_out),
        cmocka_unit_test(a_forged_new_view_does_not_drop_the_one_that_is_being_followed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
