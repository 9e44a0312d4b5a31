/* Replicas that change the view: what survives, what is refused, and how the left behind catch up.
 */
#include "ledger_cluster.h"

/* Works on until the condition holds for replica i's status; messages one at a time. */
#define STEP_UNTIL(c, condition)                      \
    for (unsigned step_ = 0; !(condition); step_++) { \
        assert_true(step_ < 100000);                  \
        for (unsigned i_ = 0; i_ < (c)->n; i_++)      \
            cluster_node_works(&(c)->nodes[i_]);      \
        if ((c)->queue_count)                         \
            cluster_deliver(c);                       \
    }

static void a_silent_primary_is_replaced_and_work_goes_on(void **state)
{
    (void)state;
    struct cluster *c = cluster_create(4);
    cluster_requests(c, 0, 0, 5);
    cluster_cut(c, 0, true);
    uint8_t req_hash[HASH_LEN];
    cluster_request(c, 0, -1, req_hash);
    cluster_pass(c, 3000000);
    for (unsigned i = 1; i < 4; i++) {
        assert_int_equal(cluster_status(c, i).view, 1);
        assert_true(cluster_status(c, i).s_committed >= 6);
    }
    cluster_requests(c, 0, 1, 5);
    struct ledger_receipt_info info;
    assert_true(cluster_receipt(c, 2, req_hash, &info));
    assert_int_equal(info.receipt.pp.view, 1);
    cluster_destroy(c);
}

static void the_primary_that_was_cut_off_comes_back(void **state)
{
    (void)state;
    struct cluster *c = cluster_create(4);
    cluster_requests(c, 0, 0, 5);
    cluster_cut(c, 0, true);
    uint8_t req_hash[HASH_LEN];
    cluster_request(c, 0, -1, req_hash);
    cluster_pass(c, 3000000);
    cluster_requests(c, 0, 1, 30);
    cluster_cut(c, 0, false);
    cluster_pass(c, 5000000);
    cluster_requests(c, 0, 1, 3);
    cluster_pass(c, 5000000);
    cluster_assert_agree(c, cluster_status(c, 1).s_committed);
    assert_true(cluster_status(c, 0).view >= 1);
    cluster_destroy(c);
}

static void prepared_batches_are_proposed_again_with_the_same_contents(void **state)
{
    (void)state;
    struct cluster *c = cluster_create(4);
    struct ledger_batch_info before[3], after;
    struct error e;
    uint8_t req_hash[HASH_LEN];
    cluster_requests(c, 0, 0, 3);
    cluster_request(c, 1, -1, req_hash);
    STEP_UNTIL(c, cluster_status(c, 2).s_prepared == 4);
    for (uint64_t s = 2; s <= 4; s++)
        assert_int_equal(ledger_batch_at(c->nodes[2].replica, s, &before[s - 2], &e), 0);
    cluster_cut(c, 0, true);
    cluster_pass(c, 5000000);
    assert_true(cluster_status(c, 1).view >= 1);
    for (uint64_t s = 2; s <= 4; s++) {
        for (unsigned i = 1; i < 4; i++) {
            assert_int_equal(ledger_batch_at(c->nodes[i].replica, s, &after, &e), 0);
            assert_memory_equal(after.g, before[s - 2].g, HASH_LEN);
            assert_int_equal(after.first_index, before[s - 2].first_index);
            assert_int_equal(after.kind, before[s - 2].kind);
            /* Of 4 batches the last two (P) were proposed again, the first two are final. */
            assert_int_equal(after.view >= 1, s > 2);
        }
    }
    struct ledger_receipt_info info;
    assert_true(cluster_receipt(c, 3, req_hash, &info));
    assert_int_equal(info.receipt.tx.index, 4);
    cluster_destroy(c);
}

static void view_changes_in_a_row_reach_a_living_primary(void **state)
{
    (void)state;
    struct cluster *c = cluster_create(7);
    cluster_requests(c, 0, 0, 3);
    cluster_cut(c, 0, true);
    cluster_cut(c, 1, true);
    uint8_t req_hash[HASH_LEN];
    cluster_request(c, 0, -1, req_hash);
    cluster_pass(c, 20000000);
    for (unsigned i = 2; i < 7; i++) {
        assert_int_equal(cluster_status(c, i).view, 2);
        assert_true(cluster_status(c, i).s_committed >= 4);
    }
    cluster_cut(c, 0, false);
    cluster_cut(c, 1, false);
    cluster_requests(c, 0, 2, 3);
    cluster_pass(c, 10000000);
    cluster_assert_agree(c, cluster_status(c, 2).s_committed);
    cluster_destroy(c);
}

static void all_restart_in_the_middle_of_a_view_change(void **state)
{
    (void)state;
    struct cluster *c = cluster_create(4);
    cluster_requests(c, 0, 0, 4);
    cluster_cut(c, 0, true);
    uint8_t req_hash[HASH_LEN];
    cluster_request(c, 0, -1, req_hash);
    cluster_run(c);
    for (unsigned i = 1; i < 4; i++)
        ledger_on_timer(c->nodes[i].replica, LEDGER_TIMER_VIEW);
    STEP_UNTIL(c, cluster_status(c, 1).view_change_sent == 1);
    for (unsigned i = 0; i < 4; i++) {
        cluster_stop_node(c, i);
        cluster_start_node(c, i);
    }
    cluster_cut(c, 0, false);
    cluster_pass(c, 20000000);
    cluster_request(c, 0, -1, req_hash);
    cluster_pass(c, 20000000);
    cluster_assert_agree(c, 5);
    struct ledger_receipt_info info;
    assert_true(cluster_receipt(c, 3, req_hash, &info));
    cluster_destroy(c);
}

static void a_replica_that_missed_batches_catches_up(void **state)
{
    (void)state;
    struct cluster *c = cluster_create(4);
    cluster_requests(c, 0, 0, 3);
    cluster_cut(c, 3, true);
    cluster_requests(c, 0, 0, 40);
    cluster_cut(c, 3, false);
    assert_true(cluster_status(c, 3).s_last < 10);
    cluster_requests(c, 0, 0, 1);
    cluster_pass(c, 5000000);
    cluster_assert_agree(c, cluster_status(c, 0).s_committed);
    /* and votes again */
    cluster_cut(c, 2, true);
    cluster_requests(c, 0, 0, 3);
    cluster_pass(c, 200000);
    assert_int_equal(cluster_status(c, 3).s_committed, cluster_status(c, 0).s_committed);
    assert_int_equal(cluster_status(c, 0).view, 0);
    cluster_destroy(c);
}

static void an_empty_replica_takes_over_the_whole_history(void **state)
{
    (void)state;
    struct cluster *c = cluster_create(4);
    cluster_requests(c, 0, 0, 30);
    cluster_cut(c, 0, true);
    uint8_t req_hash[HASH_LEN];
    cluster_request(c, 0, -1, req_hash);
    cluster_pass(c, 5000000); /* there is a view change in the history, too */
    cluster_cut(c, 0, false);
    cluster_requests(c, 0, 1, 30);
    cluster_stop_node(c, 3);
    cluster_forget_disk(c, 3);
    cluster_start_node(c, 3);
    cluster_pass(c, 10000000);
    cluster_requests(c, 0, 1, 1);
    cluster_pass(c, 10000000);
    cluster_assert_agree(c, cluster_status(c, 1).s_committed);
    cluster_destroy(c);
}

/* ---- the trap of §6 ---- */

static bool drop_prepares_of_batch_five(struct cluster *c, int from, int to, struct buffer *m)
{
    struct slice bytes = slice_of_buffer(m);
    struct ledger_prepare p;
    struct ledger_pre_prepare_message pp;
    struct error e;
    (void)c;
    (void)from;
    (void)to;
    if (!ledger_prepare_message_decode(bytes, &p, &e))
        return !(p.view == 1 && p.seqno >= 5);
    if (!ledger_pre_prepare_decode(bytes, &pp, &e))
        return !(pp.pp.view == 1 && pp.pp.seqno >= 5);
    return true;
}

static void a_partly_prepared_plan_loses_nothing_in_the_next_view(void **state)
{
    (void)state;
    struct cluster *c = cluster_create(4);
    uint8_t req_hash[HASH_LEN];
    struct ledger_receipt_info info;
    struct ledger_batch_info before, after;
    struct error e;
    /* Batches 1-5 are committed in view 0. */
    cluster_requests(c, 0, 0, 4);
    cluster_request(c, 1, 0, req_hash);
    cluster_run(c);
    cluster_assert_agree(c, 5);
    assert_true(cluster_receipt(c, 2, req_hash, &info));
    assert_int_equal(ledger_batch_at(c->nodes[2].replica, 5, &before, &e), 0);
    /* View 1 proposes 4 and 5 again; only 4 becomes prepared in it. */
    c->tamper = drop_prepares_of_batch_five;
    cluster_leave(c, 0, 1);
    STEP_UNTIL(c, cluster_status(c, 2).view == 1 && cluster_status(c, 2).s_prepared >= 4);
    cluster_run(c);
    assert_int_equal(cluster_status(c, 2).s_prepared, 4);
    /* View 2: the tips are (1, 4); batch 5, for which a client holds a receipt, is kept. */
    cluster_cut(c, 1, true);
    cluster_pass(c, 5000000);
    for (unsigned i = 0; i < 4; i++) {
        if (i == 1)
            continue;
        assert_int_equal(cluster_status(c, i).view, 2);
        assert_int_equal(ledger_batch_at(c->nodes[i].replica, 5, &after, &e), 0);
        assert_memory_equal(after.g, before.g, HASH_LEN);
        assert_true(cluster_status(c, i).s_committed >= 5);
    }
    cluster_destroy(c);
}

/* ---- what is refused ---- */

static bool cut_new_view_out(struct cluster *c, int from, int to, struct buffer *m)
{
    struct error e;
    struct slice bytes = slice_of_buffer(m);
    struct ledger_view_change *vc = calloc(1, sizeof *vc);
    struct buffer signed_bytes = {0};
    uint8_t hash[HASH_LEN];
    (void)to;
    if (from == 3 && ledger_message_type(bytes) == LEDGER_MESSAGE_VIEW_CHANGE &&
        !ledger_view_change_message_decode(bytes, vc, NULL, &e) && vc->has_new_view) {
        vc->has_new_view = false;
        assert_true(ledger_view_change_hash(vc, hash));
        cluster_sign(c->public_key[3], hash, vc->signature);
        assert_true(ledger_view_change_encode_signed(vc, &signed_bytes));
        struct buffer forged = {0};
        assert_true(ledger_view_change_write(&forged, slice_of_buffer(&signed_bytes)));
        buffer_free(m);
        *m = forged;
        ++*(unsigned *)c->tamper_context;
    }
    buffer_free(&signed_bytes);
    free(vc);
    return true;
}

static void a_view_change_without_its_new_view_is_not_held(void **state)
{
    (void)state;
    struct cluster *c = cluster_create(4);
    unsigned forged = 0;
    cluster_requests(c, 0, 0, 5);
    cluster_leave(c, 0, 1);
    c->tamper = drop_prepares_of_batch_five;
    cluster_run(c);
    assert_int_equal(cluster_status(c, 2).s_prepared, 4);
    c->tamper = cut_new_view_out;
    c->tamper_context = &forged;
    cluster_cut(c, 1, true);
    for (unsigned i = 2; i < 4; i++)
        view_leave(c->nodes[i].replica, 2);
    view_leave(c->nodes[0].replica, 2);
    for (unsigned i = 0; i < 4; i++)
        ledger_settle(c->nodes[i].replica);
    cluster_run(c);
    assert_true(forged > 0);
    /* Only two valid ViewChanges are there: nobody enters view 2. */
    assert_int_equal(view_changes_at_least(c->nodes[2].replica, 2), 2);
    assert_int_equal(cluster_status(c, 2).view, 1);
    c->tamper = NULL;
    cluster_pass(c, 3000000);
    assert_true(cluster_status(c, 2).view >= 2);
    assert_true(cluster_status(c, 2).s_committed >= 5);
    cluster_destroy(c);
}

/* The primary sends another batch to replica 3 than to the others: both signed. */
static bool equivocate(struct cluster *c, int from, int to, struct buffer *m)
{
    struct error e;
    struct ledger_pre_prepare_message pp;
    if (from != 0 || to != 3 || ledger_pre_prepare_decode(slice_of_buffer(m), &pp, &e) ||
        pp.pp.seqno != 2)
        return true;
    uint8_t hash[HASH_LEN];
    struct ledger_message_writer w;
    struct buffer forged = {0};
    pp.pp.kind = LEDGER_KIND_EMPTY;
    pp.pp.count = 0;
    struct merkle_hash g = ledger_batch_root_empty();
    memcpy(pp.pp.batch_root, g.bytes, HASH_LEN);
    ledger_pp_hash(&pp.pp, hash);
    cluster_sign(c->public_key[0], hash, pp.pp.signature);
    assert_true(ledger_pre_prepare_begin(&w, &forged, &pp.pp, pp.evidence));
    ledger_message_end(&w);
    buffer_free(m);
    *m = forged;
    return true;
}

static void an_equivocating_primary_cannot_split_the_replicas(void **state)
{
    (void)state;
    struct cluster *c = cluster_create(4);
    c->tamper = equivocate;
    cluster_requests(c, 0, 0, 2);
    assert_int_equal(cluster_status(c, 3).s_last, 2);
    cluster_requests(c, 0, 0, 10);
    cluster_pass(c, 500000);
    /* It takes over the others' history, and signs nothing more in this view: that would contradict
     * what it signed before. */
    cluster_assert_agree(c, 12);
    assert_int_equal(cluster_status(c, 3).view, 0);
    assert_int_equal(cluster_status(c, 3).phase, LEDGER_ABSTAINING);
    c->tamper = NULL;
    cluster_leave(c, 1, 1);
    cluster_pass(c, 1000000);
    assert_int_equal(cluster_status(c, 3).phase, LEDGER_NORMAL);
    cluster_cut(c, 2, true);
    cluster_requests(c, 0, 1, 4);
    cluster_pass(c, 300000);
    assert_true(cluster_status(c, 3).s_committed >= 16);
    cluster_destroy(c);
}

/* ---- several signatures of one statement ---- */

/* Replica 3 gets the primary's pps and NewViews under other signatures than everyone else. */
static bool sign_again(struct cluster *c, int from, int to, struct buffer *m)
{
    (void)c;
    (void)from;
    unsigned type = ledger_message_type(slice_of_buffer(m));
    if (to != 3)
        return true;
    if (type == LEDGER_MESSAGE_PRE_PREPARE) /* signed pp 273 */
        cluster_sign_again(m->data + 1 + LEDGER_PP_SIGNED_LEN - ED25519_SIGNATURE_LEN);
    if (type == LEDGER_MESSAGE_NEW_VIEW) /* signed NewView bytes */
        cluster_sign_again(m->data + 1 + 4 + load_u32(m->data + 1) - ED25519_SIGNATURE_LEN);
    return true;
}

static void a_primary_that_signs_the_same_twice_splits_nobody(void **state)
{
    (void)state;
    struct cluster *c = cluster_create(4);
    uint8_t here[HASH_LEN], there[HASH_LEN];
    c->tamper = sign_again;
    cluster_requests(c, 0, 0, 5);
    cluster_leave(c, 0, 1);
    cluster_run(c);
    cluster_requests(c, 0, 1, 5);
    /* All four are needed from now on, or one of them would be left behind. */
    cluster_cut(c, 2, true);
    cluster_requests(c, 0, 1, 5);
    assert_int_equal(cluster_status(c, 3).phase, LEDGER_NORMAL);
    assert_int_equal(cluster_status(c, 3).view, 1);
    assert_true(cluster_status(c, 3).s_committed >= 15);
    assert_int_equal(cluster_status(c, 3).next_position, cluster_status(c, 1).next_position);
    ledger_root(c->nodes[1].replica, here);
    ledger_root(c->nodes[3].replica, there);
    assert_memory_equal(here, there, HASH_LEN);
    cluster_destroy(c);
}

/* Replica 0 hands out its history with pps and NewViews that nobody signed. */
static bool unsign_history(struct cluster *c, int from, int to, struct buffer *m)
{
    struct error e;
    struct ledger_entries entries;
    struct ledger_list_entry entry;
    if (to == 3 && ledger_message_type(slice_of_buffer(m)) == LEDGER_MESSAGE_PRE_PREPARE)
        return false; /* it has only history to catch up by */
    if (from != 0 || ledger_entries_decode(slice_of_buffer(m), &entries, &e))
        return true;
    while (ledger_list_next_entry(&entries.entries, &entry))
        if (entry.type == LEDGER_ENTRY_PP || entry.type == LEDGER_ENTRY_NEW_VIEW)
            m->data[entry.payload.data + entry.payload.len - 1 - m->data] ^= 1;
    ++*(unsigned *)c->tamper_context;
    return true;
}

static void signatures_in_history_are_checked_before_it_is_taken_over(void **state)
{
    (void)state;
    struct cluster *c = cluster_create(4);
    unsigned spoilt = 0;
    struct ledger_pp pp;
    struct error e;
    cluster_cut(c, 3, true);
    cluster_requests(c, 0, 0, 30);
    c->tamper = unsign_history;
    c->tamper_context = &spoilt;
    cluster_cut(c, 3, false);
    for (unsigned i = 1; i < 3; i++)
        c->cut[i][3] = true;
    cluster_pass(c, 2000000); /* it hears the liar alone, and takes nothing from it */
    assert_true(spoilt > 0);
    assert_int_equal(cluster_status(c, 3).s_committed, 0);
    for (unsigned i = 1; i < 3; i++)
        c->cut[i][3] = false;
    cluster_requests(c, 0, 0, 1);
    cluster_pass(c, 5000000);
    cluster_assert_agree(c, 30);
    for (size_t i = 0; i < c->nodes[3].record_count; i++) {
        const struct cluster_record *record = &c->nodes[3].records[i];
        uint8_t hash[HASH_LEN], expected[ED25519_SIGNATURE_LEN];
        if (record->kind != LEDGER_RECORD_ENTRY || record->type != LEDGER_ENTRY_PP)
            continue;
        assert_int_equal(ledger_pp_decode_signed(slice_of_buffer(&record->bytes), &pp, &e), 0);
        ledger_pp_hash(&pp, hash);
        cluster_sign(c->public_key[0], hash, expected);
        assert_memory_equal(pp.signature, expected, sizeof expected);
    }
    cluster_destroy(c);
}

/* ---- a client that speaks with one replica alone ---- */

static void a_replica_that_asked_for_a_view_alone_still_serves_its_clients(void **state)
{
    (void)state;
    struct cluster *c = cluster_create(4);
    uint8_t req_hash[HASH_LEN];
    struct ledger_receipt_info info;
    cluster_requests(c, 0, 0, 3);
    view_leave(c->nodes[3].replica, 1);
    cluster_run(c);
    cluster_request(c, 1, 3, req_hash);
    cluster_run(c); /* the others are content with their primary */
    cluster_pass(c, 500000);
    assert_int_equal(cluster_status(c, 0).view, 0);
    assert_true(cluster_receipt(c, 0, req_hash, &info));
    /* Now the primary does nothing, and only replica 3 has heard that there is something to do. */
    c->nodes[0].replica->abstain_view = 0;
    cluster_request(c, 1, 3, req_hash);
    cluster_pass(c, 5000000);
    assert_true(cluster_receipt(c, 3, req_hash, &info));
    assert_true(info.receipt.pp.view > 0);
    cluster_destroy(c);
}

static void a_primary_that_abstains_makes_room_for_another(void **state)
{
    (void)state;
    struct cluster *c = cluster_create(4);
    uint8_t req_hash[HASH_LEN];
    struct ledger_receipt_info info;
    cluster_requests(c, 0, 0, 3);
    c->nodes[0].replica->abstain_view = 0;
    cluster_request(c, 1, 0, req_hash); /* nobody else hears of it */
    cluster_pass(c, 10000000);
    assert_true(cluster_receipt(c, 0, req_hash, &info));
    assert_true(info.receipt.pp.view > 0);
    cluster_destroy(c);
}

/* ---- a damaged log ---- */

/* Loses the entries of its log from this position on; marks and votes survive. */
static void lose_entries(struct cluster_node *node, uint64_t position)
{
    size_t kept = 0;
    for (size_t i = 0; i < node->record_count; i++) {
        struct cluster_record *record = &node->records[i];
        bool lost = record->kind == LEDGER_RECORD_ENTRY && record->position >= position;
        if (lost || record->kind == LEDGER_RECORD_ROLLBACK) {
            buffer_free(&record->bytes);
            continue;
        }
        if (record->kind == LEDGER_RECORD_ENTRY)
            node->entry_at[record->position] = kept;
        node->records[kept++] = *record;
    }
    node->record_count = kept;
}

static void a_replica_that_lost_what_it_signed_signs_nothing_else_in_that_view(void **state)
{
    (void)state;
    struct cluster *c = cluster_create(4);
    cluster_requests(c, 0, 0, 3);
    cluster_leave(c, 0, 1);
    cluster_run(c);
    cluster_requests(c, 0, 1, 3);
    assert_int_equal(c->nodes[3].replica->signed_view, 1);
    uint64_t signed_s = c->nodes[3].replica->signed_s;
    uint64_t position = view_entry_find(c->nodes[3].replica, 1)->start;
    cluster_stop_node(c, 3);
    lose_entries(&c->nodes[3], position);
    cluster_start_node(c, 3);
    assert_true(cluster_status(c, 3).s_last < signed_s);
    /* It enters the view again, and hears of the batches that it signed once, and of new ones. */
    cluster_requests(c, 0, 1, 3);
    cluster_pass(c, 3000000);
    cluster_requests(c, 0, 1, 3);
    cluster_pass(c, 3000000);
    cluster_assert_agree(c, signed_s + 6);
    assert_null(c->nodes[3].stopped);
    cluster_destroy(c);
}

/* Whether the votes, or the evidence, of its last batches are all here. */
static bool evidence_is_here(struct cluster *c, unsigned i)
{
    uint64_t last = cluster_status(c, i).s_last;
    for (uint64_t s = last - CLUSTER_P + 1; s <= last; s++)
        if (!slot_in_ledger(c->nodes[i].replica, s)->evidence.len)
            return false;
    return true;
}

/* History brings the evidence of a batch P batches later only; nobody asks for more batches. */
static void who_caught_up_with_a_service_at_rest_leaves_its_view_to_it(void **state)
{
    (void)state;
    for (unsigned missed = 1; missed <= 6; missed++) {
        struct cluster *c = cluster_create(4);
        cluster_requests(c, 0, 0, 2);
        cluster_cut(c, 3, true);
        cluster_requests(c, 0, 0, missed);
        cluster_pass(c, 500000);
        cluster_cut(c, 3, false);
        cluster_pass(c, 10000000);
        assert_int_equal(cluster_status(c, 3).s_committed, cluster_status(c, 0).s_last);
        assert_true(evidence_is_here(c, 3));
        assert_int_equal(cluster_status(c, 3).phase, LEDGER_NORMAL);
        assert_int_equal(cluster_status(c, 3).view_change_sent, 0);
        cluster_stop_node(c, 3);
        lose_entries(&c->nodes[3], 2);
        cluster_start_node(c, 3);
        cluster_pass(c, 10000000);
        assert_int_equal(cluster_status(c, 3).s_committed, cluster_status(c, 0).s_last);
        assert_true(evidence_is_here(c, 3));
        assert_int_equal(cluster_status(c, 3).view_change_sent, 0);
        cluster_destroy(c);
    }
}

/*
 * A primary lost its newest batches, of which marks say that it signed them, and has them back from
 * the others. Its clients reach nobody else: nobody misses an answer, and ends its view.
 */
static void a_primary_that_lost_its_batches_still_serves_its_clients(void **state)
{
    (void)state;
    for (uint64_t lost = 1; lost <= 4; lost++) {
        struct error e;
        struct ledger_batch_info batch;
        struct cluster *c = cluster_create(4);
        cluster_requests(c, 0, 0, 8);
        uint64_t last = cluster_status(c, 0).s_last;
        assert_int_equal(ledger_batch_at(c->nodes[0].replica, last + 1 - lost, &batch, &e), 0);
        cluster_stop_node(c, 0);
        lose_entries(&c->nodes[0], batch.position - 1); /* with its Evidence */
        cluster_start_node(c, 0);
        assert_int_equal(cluster_status(c, 0).s_last, last - lost);
        cluster_pass(c, 3000000);
        assert_int_equal(cluster_status(c, 0).s_last, last);
        assert_true(evidence_is_here(c, 0));
        cluster_requests(c, 0, 0, 1);
        cluster_pass(c, 3000000); /* it abstains in its view, and asks for the next */
        cluster_requests(c, 0, 0, 2);
        cluster_pass(c, 3000000);
        cluster_assert_agree(c, last + 3);
        cluster_destroy(c);
    }
}

static void one_that_is_astray_says_so_until_a_later_view(void **state)
{
    (void)state;
    struct cluster *c = cluster_create(4);
    cluster_requests(c, 0, 0, 3);
    cluster_leave(c, 1, 1);
    cluster_run(c);
    assert_int_equal(cluster_status(c, 3).phase, LEDGER_NORMAL);
    /* What its ledger stands on is another NewView(1), as it were: it signs nothing in that view.
     */
    c->nodes[3].replica->astray = true;
    c->nodes[3].replica->abstain_view = 1;
    assert_int_equal(cluster_status(c, 3).phase, LEDGER_ASTRAY);
    cluster_requests(c, 0, 1, 3);
    assert_true(cluster_status(c, 0).s_committed > cluster_status(c, 3).s_committed);
    cluster_leave(c, 1, 2);
    cluster_run(c);
    cluster_pass(c, 500000);
    assert_int_equal(cluster_status(c, 3).view, 2);
    assert_int_equal(cluster_status(c, 3).phase, LEDGER_NORMAL);
    cluster_destroy(c);
}

/* Of the last list of certificates that was made anew only the first one reached the disk; its s.
 */
static uint64_t tear_list(struct cluster_node *node)
{
    uint64_t first = 0, before = 0;
    size_t from = 0;
    for (size_t i = 0; i < node->record_count; i++) {
        struct error e;
        struct ledger_certificate certificate;
        const struct cluster_record *record = &node->records[i];
        if (record->kind != LEDGER_RECORD_CERTIFICATE)
            continue;
        assert_int_equal(
            ledger_certificate_decode(slice_of_buffer(&record->bytes), &certificate, &e), 0);
        if (certificate.pp.seqno > before + 1) {
            first = certificate.pp.seqno;
            from = i + 1;
        }
        before = certificate.pp.seqno;
    }
    for (size_t i = from; i < node->record_count; i++)
        if (node->records[i].kind == LEDGER_RECORD_CERTIFICATE)
            node->records[i].kind = 0;
    return first;
}

/* Replica 3 makes its list of certificates anew from evidence, and the power fails meanwhile. */
static void a_torn_list_of_certificates_is_not_reported(void **state)
{
    (void)state;
    struct cluster *c = cluster_create(4);
    cluster_requests(c, 0, 0, 3);
    cluster_cut(c, 3, true);
    cluster_requests(c, 0, 0, 8);
    cluster_cut(c, 3, false);
    cluster_pass(c, 500000);
    cluster_requests(c, 0, 0, 4);
    cluster_stop_node(c, 3);
    uint64_t torn = tear_list(&c->nodes[3]);
    assert_true(torn > 4); /* there was such a list */
    cluster_start_node(c, 3);
    const struct tip *tip = &c->nodes[3].replica->tip;
    assert_int_equal(tip->count, CLUSTER_P); /* the one before, which is whole */
    assert_true(tip->s < torn);
    cluster_leave(c, 1, 1);
    cluster_run(c);
    cluster_requests(c, 0, 1, 3);
    cluster_assert_agree(c, torn + 3);
    cluster_destroy(c);
}

/* The log of the primary of view 1 keeps its NewView in the vote log alone: entries and mark went
 * with the power. */
static void a_new_view_that_only_the_vote_log_remembers_was_signed(void **state)
{
    (void)state;
    struct cluster *c = cluster_create(4);
    cluster_requests(c, 0, 0, 3);
    cluster_cut(c, 1, true);
    c->cut[0][1] = c->cut[2][1] = c->cut[3][1] = false; /* it hears, and is not heard */
    cluster_leave(c, 0, 1);
    cluster_run(c);
    assert_int_equal(cluster_status(c, 1).view, 1);
    struct cluster_node *node = &c->nodes[1];
    uint64_t position = view_entry_find(node->replica, 1)->start;
    cluster_stop_node(c, 1);
    lose_entries(node, position);
    for (size_t i = 0; i < node->record_count; i++) {
        struct ledger_signed mark;
        struct error e;
        struct cluster_record *record = &node->records[i];
        if (record->kind != LEDGER_RECORD_SIGNED)
            continue;
        assert_int_equal(ledger_signed_decode(slice_of_buffer(&record->bytes), &mark, &e), 0);
        if (mark.what != LEDGER_SIGNED_NEW_VIEW)
            continue;
        buffer_free(&record->bytes);
        node->record_count--;
        memmove(record, record + 1, (node->record_count - i) * sizeof *record);
        break;
    }
    cluster_start_node(c, 1);
    assert_int_equal(node->replica->signed_new_view, 2);
    cluster_cut(c, 1, false);
    cluster_requests(c, 0, -1, 1);
    cluster_pass(c, 20000000);
    assert_true(cluster_status(c, 2).view > 1); /* it makes no other NewView of view 1 */
    cluster_assert_agree(c, 4);
    cluster_destroy(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_silent_primary_is_replaced_and_work_goes_on),
        cmocka_unit_test(the_primary_that_was_cut_off_comes_back),
        cmocka_unit_test(prepared_batches_are_proposed_again_with_the_same_contents),
        cmocka_unit_test(view_changes_in_a_row_reach_a_living_primary),
        cmocka_unit_test(all_restart_in_the_middle_of_a_view_change),
        cmocka_unit_test(a_replica_that_missed_batches_catches_up),
        cmocka_unit_test(an_empty_replica_takes_over_the_whole_history),
        cmocka_unit_test(a_partly_prepared_plan_loses_nothing_in_the_next_view),
        cmocka_unit_test(a_view_change_without_its_new_view_is_not_held),
        cmocka_unit_test(an_equivocating_primary_cannot_split_the_replicas),
        cmocka_unit_test(a_primary_that_signs_the_same_twice_splits_nobody),
        cmocka_unit_test(signatures_in_history_are_checked_before_it_is_taken_over),
        cmocka_unit_test(a_replica_that_asked_for_a_view_alone_still_serves_its_clients),
        cmocka_unit_test(a_primary_that_abstains_makes_room_for_another),
        cmocka_unit_test(a_replica_that_lost_what_it_signed_signs_nothing_else_in_that_view),
        cmocka_unit_test(who_caught_up_with_a_service_at_rest_leaves_its_view_to_it),
        cmocka_unit_test(a_primary_that_lost_its_batches_still_serves_its_clients),
        cmocka_unit_test(one_that_is_astray_says_so_until_a_later_view),
        cmocka_unit_test(a_torn_list_of_certificates_is_not_reported),
        cmocka_unit_test(a_new_view_that_only_the_vote_log_remembers_was_signed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
