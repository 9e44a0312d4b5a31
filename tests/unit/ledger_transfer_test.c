/* Replicas that missed much: they take over a checkpoint of others, go on behind it, and fetch what
 * they left out in the background. */
#include "ledger_cluster.h"

#define SECOND 1000000

static struct cluster *cluster_with_transfers(unsigned n)
{
    struct cluster *c = cluster_create(n);
    for (unsigned i = 0; i < n; i++) {
        cluster_stop_node(c, i);
        cluster_forget_disk(c, i);
    }
    c->transfers = true;
    for (unsigned i = 0; i < n; i++)
        cluster_start_node(c, i);
    return c;
}

/* A cluster that executed so many requests while its replica 3 was down, and is. */
static struct cluster *cluster_without_one(unsigned requests)
{
    struct cluster *c = cluster_with_transfers(4);
    cluster_stop_node(c, 3);
    cluster_requests(c, 0, 0, requests);
    cluster_pass(c, SECOND);
    return c;
}

/* The same when replica 3 has just started: it hears all from now on. */
static struct cluster *cluster_left_behind(unsigned requests)
{
    struct cluster *c = cluster_without_one(requests);
    cluster_start_node(c, 3);
    return c;
}

static void assert_caught_up(struct cluster *c, unsigned i)
{
    struct ledger_status others = cluster_status(c, 0), own = cluster_status(c, i);
    uint8_t root[2][32];
    if (own.s_committed != others.s_committed)
        fail_msg("replica %u has committed %llu of %llu: %s, phase %u", i,
                 (unsigned long long)own.s_committed, (unsigned long long)others.s_committed,
                 own.why, own.phase);
    ledger_root(c->nodes[0].replica, root[0]);
    ledger_root(c->nodes[i].replica, root[1]);
    assert_memory_equal(root[0], root[1], 32);
}

static void assert_history_whole(struct cluster *c, unsigned i)
{
    struct merkle_frontier from, goal;
    assert_false(cluster_gap(&c->nodes[i], &from, &goal));
    cluster_assert_agree(c, cluster_status(c, 0).s_committed);
    for (uint64_t p = 0; p < cluster_status(c, 0).next_position; p++) {
        struct buffer a = {0}, b = {0};
        struct error e;
        uint8_t type[2];
        assert_int_equal(cluster_read(&c->nodes[0], p, &a, &type[0], &e), 0);
        assert_int_equal(cluster_read(&c->nodes[i], p, &b, &type[1], &e), 0);
        assert_int_equal(type[0], type[1]);
        assert_true(slice_equal(slice_of_buffer(&a), slice_of_buffer(&b)));
        buffer_free(&a);
        buffer_free(&b);
    }
}

static void an_empty_replica_takes_over_a_checkpoint(void **state)
{
    (void)state;
    struct cluster *c = cluster_left_behind(60);
    cluster_pass(c, SECOND / 4);
    assert_int_equal(c->nodes[3].jumps, 1);
    assert_int_equal(cluster_status(c, 3).phase, LEDGER_NORMAL);
    assert_caught_up(c, 3);
    cluster_pass(c, 3 * SECOND);
    assert_history_whole(c, 3);
    /* It votes again: without it there is no quorum. */
    cluster_cut(c, 1, true);
    cluster_requests(c, 0, 0, 3);
    assert_caught_up(c, 3);
    assert_true(cluster_status(c, 3).s_committed > 66);
    cluster_destroy(c);
}

/* Of the batches up to its checkpoint it has no more than the pps. */
static void it_can_be_asked_for_batches_that_it_never_had(void **state)
{
    (void)state;
    struct cluster *c = cluster_left_behind(60);
    struct buffer message = {0};
    unsigned asked = 0;
    cluster_pass(c, SECOND / 4);
    assert_int_equal(c->nodes[3].jumps, 1);
    for (uint64_t s = 1; s <= cluster_status(c, 0).s_committed; s++) {
        const struct slot *had = slot_find(c->nodes[0].replica, s);
        if (!had || !had->pp.count)
            continue;
        struct ledger_fetch batch = {.type = LEDGER_MESSAGE_FETCH_BATCH, .seqno = s};
        struct ledger_fetch content = {.type = LEDGER_MESSAGE_FETCH_CONTENT};
        memcpy(content.batch_root, had->pp.batch_root, HASH_LEN);
        message.len = 0;
        assert_true(ledger_fetch_write(&message, &batch));
        ledger_on_message(c->nodes[3].replica, 1, message.data, message.len);
        message.len = 0;
        assert_true(ledger_fetch_write(&message, &content));
        ledger_on_message(c->nodes[3].replica, 1, message.data, message.len);
        asked++;
    }
    assert_true(asked > 3);
    cluster_pass(c, SECOND);
    assert_caught_up(c, 3);
    buffer_free(&message);
    cluster_destroy(c);
}

static void one_that_missed_little_executes_it(void **state)
{
    (void)state;
    struct cluster *c = cluster_with_transfers(4);
    cluster_requests(c, 0, 0, 15);
    cluster_stop_node(c, 3);
    cluster_requests(c, 0, 0, 12);
    cluster_pass(c, SECOND);
    cluster_start_node(c, 3);
    cluster_pass(c, SECOND);
    assert_int_equal(c->nodes[3].jumps, 0);
    assert_caught_up(c, 3);
    cluster_destroy(c);
}

static void one_that_was_away_keeps_what_it_had(void **state)
{
    (void)state;
    struct cluster *c = cluster_with_transfers(4);
    cluster_requests(c, 0, 0, 15);
    cluster_pass(c, SECOND);
    cluster_stop_node(c, 3);
    cluster_requests(c, 0, 0, 60);
    cluster_pass(c, SECOND);
    cluster_start_node(c, 3);
    cluster_pass(c, SECOND / 4);
    assert_int_equal(c->nodes[3].jumps, 1);
    assert_true(c->nodes[3].gaps[0].from.size > 15);
    assert_caught_up(c, 3);
    cluster_pass(c, 3 * SECOND);
    assert_history_whole(c, 3);
    /* What it signed before stands in the history that came: it may sign again in this view. */
    assert_int_equal(cluster_status(c, 3).phase, LEDGER_NORMAL);
    cluster_cut(c, 2, true);
    cluster_requests(c, 0, 0, 3);
    cluster_pass(c, SECOND / 10);
    assert_int_equal(cluster_status(c, 0).view, 0);
    assert_caught_up(c, 3);
    cluster_destroy(c);
}

static void it_restarts_from_the_checkpoint_that_it_took(void **state)
{
    (void)state;
    struct cluster *c = cluster_left_behind(60);
    cluster_pass(c, SECOND / 4);
    cluster_stop_node(c, 3);
    cluster_start_node(c, 3);
    assert_int_equal(c->nodes[3].started_at, 50);
    cluster_pass(c, 4 * SECOND);
    assert_caught_up(c, 3);
    assert_int_equal(c->nodes[3].jumps, 1);
    assert_history_whole(c, 3);
    cluster_destroy(c);
}

static void one_that_lost_the_checkpoint_goes_back_before_the_gap(void **state)
{
    (void)state;
    struct cluster *c = cluster_left_behind(60);
    cluster_pass(c, SECOND / 4);
    cluster_stop_node(c, 3);
    while (c->nodes[3].kept_count)
        cluster_checkpoint_drop(&c->nodes[3].kept[--c->nodes[3].kept_count]);
    cluster_start_node(c, 3);
    assert_int_equal(c->nodes[3].started_at, 0);
    cluster_pass(c, 4 * SECOND);
    assert_int_equal(c->nodes[3].jumps, 2);
    assert_caught_up(c, 3);
    assert_history_whole(c, 3);
    cluster_destroy(c);
}

static void nothing_is_signed_up_to_the_batch_that_vouched(void **state)
{
    (void)state;
    struct cluster *c = cluster_left_behind(60);
    cluster_pass(c, SECOND / 4);
    for (size_t k = 0; k < c->nodes[3].record_count; k++) {
        struct ledger_signed mark;
        struct error e;
        const struct cluster_record *record = &c->nodes[3].records[k];
        if (record->kind == LEDGER_RECORD_SIGNED &&
            !ledger_signed_decode(slice_of_buffer(&record->bytes), &mark, &e))
            assert_true(mark.seqno > 60);
    }
    cluster_destroy(c);
}

static void what_a_later_view_proposes_again_is_signed(void **state)
{
    (void)state;
    struct cluster *c = cluster_left_behind(60);
    uint8_t req_hash[HASH_LEN];
    cluster_pass(c, SECOND / 4);
    assert_int_equal(c->nodes[3].jumps, 1);
    uint64_t last = cluster_status(c, 1).s_last;
    /* The three that are left change the view: batches are planned again that need its vote. */
    cluster_cut(c, 0, true);
    cluster_request(c, 0, -1, req_hash);
    cluster_pass(c, 5 * SECOND);
    assert_true(cluster_status(c, 1).view >= 1);
    assert_true(cluster_status(c, 1).s_committed > last);
    assert_int_equal(cluster_status(c, 3).s_committed, cluster_status(c, 1).s_committed);
    cluster_destroy(c);
}

/* ---- requests of long ago ---- */

/* The receipt of a request that client 0 sends again to replica i; false: refused, or nothing. */
static bool asked_again(struct cluster *c, unsigned i, uint64_t reqno, uint64_t min_index,
                        struct ledger_receipt_info *info)
{
    struct buffer body = {0};
    uint8_t req_hash[HASH_LEN];
    struct error e;
    struct ledger_keys keys = ledger_keys_of(&c->genesis);
    struct ledger_verifier verifier = {cluster_verify, NULL};
    c->receipt.len = 0;
    cluster_body(c, 0, reqno, min_index, &body, req_hash);
    cluster_submit_body(c, 0, (int)i, slice_of_buffer(&body));
    cluster_pass(c, SECOND);
    buffer_free(&body);
    return c->receipt.len &&
           !ledger_receipt_verify(slice_of_buffer(&c->receipt), &keys, &verifier, info, &e);
}

static void a_request_of_long_ago_is_answered_from_the_ledger(void **state)
{
    (void)state;
    struct cluster *c = cluster_with_transfers(4);
    struct ledger_receipt_info info;
    struct error e;
    cluster_requests(c, 0, 0, 60);
    cluster_pass(c, SECOND);
    cluster_stop_node(c, 3);
    cluster_start_node(c, 3);
    assert_true(c->nodes[3].started_at >= 40); /* what was before is in no index */
    cluster_pass(c, SECOND);
    for (uint64_t reqno = 1; reqno < 60; reqno += 9) {
        assert_true(asked_again(c, 3, reqno, 0, &info));
        assert_int_equal(info.receipt.tx.index, reqno);
    }
    /* Another request with a number that was used has none. */
    unsigned before = c->refusals[LEDGER_REFUSAL_DUPLICATE];
    assert_false(asked_again(c, 3, 7, 6, &info));
    assert_int_equal(c->refusals[LEDGER_REFUSAL_DUPLICATE], before + 1);
    assert_int_equal(ledger_batch_at(c->nodes[3].replica, 3, &(struct ledger_batch_info){0}, &e),
                     0);
    cluster_destroy(c);
}

static void it_is_searched_from_its_min_index_on(void **state)
{
    (void)state;
    struct cluster *c = cluster_with_transfers(4);
    struct ledger_receipt_info info;
    struct buffer body = {0};
    uint8_t req_hash[HASH_LEN];
    cluster_requests(c, 1, 0, 20);
    cluster_hello(c, 0);
    cluster_body(c, 0, 1, 20, &body, req_hash);
    cluster_submit_body(c, 0, 0, slice_of_buffer(&body));
    cluster_requests(c, 1, 0, 40);
    cluster_pass(c, SECOND);
    cluster_stop_node(c, 3);
    cluster_start_node(c, 3);
    cluster_pass(c, SECOND);
    assert_true(asked_again(c, 3, 1, 20, &info));
    assert_int_equal(info.receipt.tx.index, 21);
    assert_true(index_locate(c->nodes[3].replica, 21) > 20);
    buffer_free(&body);
    cluster_destroy(c);
}

static void an_old_request_is_answered_when_the_backlog_has_come(void **state)
{
    (void)state;
    struct cluster *c = cluster_left_behind(60);
    struct ledger_receipt_info info;
    cluster_pass(c, 4 * SECOND);
    assert_int_equal(c->nodes[3].jumps, 1);
    assert_history_whole(c, 3);
    assert_true(asked_again(c, 3, 5, 0, &info));
    assert_int_equal(info.receipt.tx.index, 5);
    cluster_destroy(c);
}

/* ---- liars ---- */

struct lie {
    int who;
    uint32_t chunk; /* on the wire: 0 the origin, 1 the manifest, then the store */
    unsigned told;
};

static bool lie_about_chunks(struct cluster *c, int from, int to, struct buffer *message)
{
    struct lie *lie = c->tamper_context;
    struct ledger_chunk chunk;
    struct error e;
    (void)to;
    if (from != lie->who || ledger_chunk_decode(slice_of_buffer(message), &chunk, &e) ||
        (chunk.chunk != lie->chunk && (chunk.chunk < 2 || lie->chunk < 2)))
        return true;
    message->data[message->len - 1] ^= 1;
    lie->told++;
    return true;
}

static void a_liar_is_named_and_left(uint32_t chunk)
{
    struct lie lie = {.who = 0, .chunk = chunk}; /* he is the first to be asked */
    struct cluster *c = cluster_without_one(60);
    char named[64];
    c->tamper = lie_about_chunks;
    c->tamper_context = &lie;
    cluster_start_node(c, 3);
    cluster_pass(c, 4 * SECOND);
    assert_true(lie.told > 0);
    assert_caught_up(c, 3);
    if (chunk > 0) {
        snprintf(named, sizeof named, "replica %d sent a false piece", lie.who);
        assert_non_null(strstr(cluster_status(c, 3).why, named));
    }
    assert_history_whole(c, 3);
    cluster_destroy(c);
}

static void whoever_sends_a_false_manifest_is_named_and_left(void **state)
{
    (void)state;
    a_liar_is_named_and_left(1);
}

static void whoever_sends_a_false_chunk_is_named_and_left(void **state)
{
    (void)state;
    a_liar_is_named_and_left(2);
}

static void one_who_says_another_origin_is_not_believed(void **state)
{
    (void)state;
    a_liar_is_named_and_left(0);
}

/* Replica 1 changes a transaction in all history that it sends. */
static bool lie_about_history(struct cluster *c, int from, int to, struct buffer *message)
{
    struct lie *lie = c->tamper_context;
    (void)to;
    if (from == lie->who &&
        ledger_message_type(slice_of_buffer(message)) == LEDGER_MESSAGE_LEDGER) {
        message->data[message->len - 1] ^= 1;
        lie->told++;
    }
    return true;
}

static void false_history_is_left_out(void **state)
{
    (void)state;
    for (int who = 0; who < 3; who++) {
        struct lie lie = {.who = who};
        struct cluster *c = cluster_without_one(60);
        c->tamper = lie_about_history;
        c->tamper_context = &lie;
        cluster_start_node(c, 3);
        cluster_pass(c, 20 * SECOND);
        assert_caught_up(c, 3);
        assert_history_whole(c, 3);
        cluster_destroy(c);
    }
}

static bool drop_checkpoints(struct cluster *c, int from, int to, struct buffer *message)
{
    (void)c, (void)from, (void)to;
    return ledger_message_type(slice_of_buffer(message)) != LEDGER_MESSAGE_CHECKPOINT;
}

struct loss {
    int who; /* is not heard by replica 3 any more once it has given it a piece */
    bool lost;
    unsigned given[64]; /* by number on the wire: how often it came */
};

static bool lose_after_a_piece(struct cluster *c, int from, int to, struct buffer *message)
{
    struct loss *loss = c->tamper_context;
    struct ledger_chunk chunk;
    struct error e;
    if (to != 3 || (loss->lost && from == loss->who))
        return !(to == 3 && from == loss->who);
    if (ledger_chunk_decode(slice_of_buffer(message), &chunk, &e) || chunk.chunk == 0)
        return true;
    assert_true(chunk.chunk < 64);
    loss->given[chunk.chunk]++;
    loss->lost = loss->lost || from == loss->who;
    return true;
}

static void what_a_lost_peer_has_given_is_kept(void **state)
{
    (void)state;
    struct loss loss = {.who = 0}; /* he is the first to be asked */
    struct cluster *c = cluster_without_one(60);
    c->tamper = lose_after_a_piece;
    c->tamper_context = &loss;
    cluster_start_node(c, 3);
    cluster_pass(c, 4 * SECOND);
    assert_true(loss.lost);
    assert_int_equal(c->nodes[3].jumps, 1);
    assert_caught_up(c, 3);
    assert_int_equal(loss.given[1], 1);
    assert_int_equal(loss.given[2], 1);
    for (unsigned i = 3; i < 64; i++)
        assert_true(loss.given[i] <= 1);
    cluster_destroy(c);
}

static void a_checkpoint_that_nobody_has_is_given_up_for_a_newer_one(void **state)
{
    (void)state;
    struct cluster *c = cluster_without_one(60);
    c->tamper = drop_checkpoints;
    cluster_start_node(c, 3);
    cluster_pass(c, SECOND);
    cluster_requests(c, 0, 0, 60); /* those of before are not kept any more */
    assert_true(cluster_status(c, 3).s_committed == 0);
    c->tamper = NULL;
    cluster_pass(c, 30 * SECOND);
    cluster_requests(c, 0, 0, 3);
    cluster_pass(c, 10 * SECOND);
    assert_int_equal(c->nodes[3].jumps, 1);
    assert_caught_up(c, 3);
    assert_history_whole(c, 3);
    cluster_destroy(c);
}

static void when_nobody_keeps_a_checkpoint_history_is_executed(void **state)
{
    (void)state;
    struct cluster *c = cluster_without_one(60);
    c->tamper = drop_checkpoints;
    cluster_start_node(c, 3);
    cluster_pass(c, 30 * SECOND);
    assert_int_equal(c->nodes[3].jumps, 0);
    assert_caught_up(c, 3);
    cluster_destroy(c);
}

/* Replicas that were restarted before the file was written lack the checkpoint: these do. */
struct lacking {
    unsigned who; /* bit r: replica r */
    unsigned asked[8];
};

static bool some_lack_it(struct cluster *c, int from, int to, struct buffer *message)
{
    struct lacking *l = c->tamper_context;
    enum ledger_message_type type = ledger_message_type(slice_of_buffer(message));
    if (from == 3 && type == LEDGER_MESSAGE_FETCH_CHECKPOINT)
        l->asked[to]++;
    return to != 3 || type != LEDGER_MESSAGE_CHECKPOINT || !(l->who >> from & 1);
}

static void whoever_lacks_the_checkpoint_holds_nobody_up(void **state)
{
    (void)state;
    for (unsigned who = 0; who < 8; who++) {
        struct lacking lacking = {.who = who};
        struct cluster *c = cluster_without_one(60);
        c->tamper = some_lack_it;
        c->tamper_context = &lacking;
        cluster_start_node(c, 3);
        cluster_pass(c, 30 * SECOND);
        /* f + 1 of them say where the ledger goes on: fewer do not make a takeover, and history is
         * executed instead. */
        assert_int_equal(c->nodes[3].jumps, __builtin_popcount(who) <= 1);
        assert_caught_up(c, 3);
        for (unsigned peer = 0; peer < 3; peer++)
            assert_true(lacking.asked[peer] > 0);
        cluster_destroy(c);
    }
}

static void it_is_fetched_across_a_change_of_views(void **state)
{
    (void)state;
    struct cluster *c = cluster_with_transfers(7);
    cluster_stop_node(c, 6);
    cluster_requests(c, 0, 0, 25);
    cluster_stop_node(c, 0);
    uint8_t req_hash[HASH_LEN];
    cluster_request(c, 0, -1, req_hash);
    cluster_pass(c, 5 * SECOND);
    assert_true(cluster_status(c, 1).view >= 1);
    cluster_requests(c, 0, 1, 40);
    cluster_start_node(c, 0);
    cluster_pass(c, SECOND);
    cluster_start_node(c, 6);
    cluster_pass(c, 10 * SECOND);
    assert_true(c->nodes[6].jumps > 0);
    assert_caught_up(c, 6);
    assert_history_whole(c, 6);
    cluster_destroy(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_replica_takes_over_a_checkpoint),
        cmocka_unit_test(it_can_be_asked_for_batches_that_it_never_had),
        cmocka_unit_test(one_that_missed_little_executes_it),
        cmocka_unit_test(one_that_was_away_keeps_what_it_had),
        cmocka_unit_test(it_restarts_from_the_checkpoint_that_it_took),
        cmocka_unit_test(one_that_lost_the_checkpoint_goes_back_before_the_gap),
        cmocka_unit_test(nothing_is_signed_up_to_the_batch_that_vouched),
        cmocka_unit_test(what_a_later_view_proposes_again_is_signed),
        cmocka_unit_test(a_request_of_long_ago_is_answered_from_the_ledger),
        cmocka_unit_test(it_is_searched_from_its_min_index_on),
        cmocka_unit_test(an_old_request_is_answered_when_the_backlog_has_come),
        cmocka_unit_test(whoever_sends_a_false_manifest_is_named_and_left),
        cmocka_unit_test(whoever_sends_a_false_chunk_is_named_and_left),
        cmocka_unit_test(one_who_says_another_origin_is_not_believed),
        cmocka_unit_test(false_history_is_left_out),
        cmocka_unit_test(what_a_lost_peer_has_given_is_kept),
        cmocka_unit_test(a_checkpoint_that_nobody_has_is_given_up_for_a_newer_one),
        cmocka_unit_test(when_nobody_keeps_a_checkpoint_history_is_executed),
        cmocka_unit_test(whoever_lacks_the_checkpoint_holds_nobody_up),
        cmocka_unit_test(it_is_fetched_across_a_change_of_views),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
