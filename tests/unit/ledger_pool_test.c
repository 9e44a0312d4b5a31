/* Requests on their way into a batch: who may hold up whose. */
#include "ledger_cluster.h"

/* The same request under a signature that is not its client's; another one for every `number`. */
static void false_body(struct cluster *c, unsigned k, uint64_t reqno, uint8_t number,
                       struct buffer *body)
{
    uint8_t req_hash[HASH_LEN];
    body->len = 0;
    cluster_body(c, k, reqno, 0, body, req_hash);
    body->data[body->len - 1] ^= number;
}

static void submit(struct cluster *c, unsigned k, unsigned to, const struct buffer *body)
{
    cluster_submit_body(c, k, (int)to, slice_of_buffer(body));
}

static void a_request_is_not_refused_for_the_false_signatures_of_others(void **state)
{
    (void)state;
    struct cluster *c = cluster_create(4);
    struct buffer body = {0}, honest = {0};
    uint8_t req_hash[HASH_LEN];
    struct ledger_receipt_info info;
    cluster_body(c, 0, 1, 0, &honest, req_hash);
    cluster_hello(c, 0);
    /* Nothing is checked before all have come: two false ones before the true one, one behind. */
    false_body(c, 0, 1, 1, &body);
    submit(c, 1, 0, &body);
    false_body(c, 0, 1, 2, &body);
    submit(c, 2, 0, &body);
    submit(c, 0, 0, &honest);
    false_body(c, 0, 1, 3, &body);
    submit(c, 3, 0, &body);
    cluster_run(c);
    assert_int_equal(c->refusals[LEDGER_REFUSAL_SIGNATURE], 3);
    for (unsigned k = 1; k <= 3; k++)
        assert_int_equal(c->refused[k], 1);
    assert_int_equal(c->refused[0], 0);
    assert_true(cluster_receipt(c, 0, req_hash, &info));
    assert_int_equal(cluster_status(c, 0).transactions, 1);
    buffer_free(&body);
    buffer_free(&honest);
    cluster_destroy(c);
}

static void one_body_from_several_connections_is_one_request(void **state)
{
    (void)state;
    struct cluster *c = cluster_create(4);
    struct buffer body = {0};
    uint8_t req_hash[HASH_LEN];
    cluster_body(c, 0, 1, 0, &body, req_hash);
    submit(c, 0, 0, &body);
    submit(c, 1, 0, &body);
    assert_int_equal(c->nodes[0].replica->pool.count, 1);
    cluster_run(c);
    submit(c, 2, 0, &body);
    cluster_run(c);
    assert_int_equal(cluster_status(c, 0).transactions, 1);
    assert_int_equal(c->nodes[0].replica->pool.count, 0);
    buffer_free(&body);
    cluster_destroy(c);
}

/* Replies that a client's connection has had so far. */
static unsigned replies_to(const struct cluster *c, unsigned k)
{
    unsigned count = 0;
    for (unsigned i = 0; i < c->reply_count; i++)
        count += c->replies[i].connection == CLUSTER_CLIENT + k;
    return count;
}

/* Clients 1 and 2 send what client 0 sends, word for word: at once, later, and one by one. */
static void who_resends_a_clients_requests_does_not_divert_its_replies(void **state)
{
    (void)state;
    struct cluster *c = cluster_create(4);
    struct buffer body = {0};
    uint8_t req_hash[HASH_LEN];
    for (uint64_t reqno = 1; reqno <= 6; reqno++) {
        body.len = 0;
        cluster_body(c, 0, reqno, 0, &body, req_hash);
        submit(c, 0, 0, &body);
        if (reqno % 2) /* while its signature is being checked */
            submit(c, 1 + reqno / 2 % 2, 0, &body);
        cluster_run(c);
        assert_int_equal(replies_to(c, 0), reqno);
        submit(c, 1, 0, &body);
        submit(c, 2, 0, &body);
        cluster_run(c);
    }
    /* Who came first goes: the newest has them now, and then whoever asks. */
    ledger_on_client_gone(c->nodes[0].replica, CLUSTER_CLIENT);
    unsigned before = replies_to(c, 0);
    body.len = 0;
    cluster_body(c, 0, 7, 0, &body, req_hash);
    submit(c, 3, 0, &body);
    cluster_run(c);
    assert_int_equal(replies_to(c, 0), before);
    assert_true(replies_to(c, 3) > 0);
    buffer_free(&body);
    cluster_destroy(c);
}

static void false_bodies_of_one_request_are_bounded_and_leave_room_for_the_true_one(void **state)
{
    (void)state;
    struct cluster *c = cluster_create(4);
    struct buffer body = {0};
    uint8_t req_hash[HASH_LEN];
    /* Who sent a false signature before fills the places of suspects only. */
    false_body(c, 1, 1, 1, &body);
    submit(c, 1, 0, &body);
    cluster_run(c);
    assert_int_equal(c->refused[1], 1);
    for (uint8_t i = 1; i <= BODIES_CHECKING_MAX + 4; i++) {
        false_body(c, 0, 1, i, &body);
        submit(c, 1, 0, &body);
    }
    assert_int_equal(c->nodes[0].replica->pool.count, BODIES_CHECKING_MAX);
    body.len = 0;
    cluster_body(c, 0, 1, 0, &body, req_hash);
    submit(c, 0, 0, &body);
    assert_int_equal(c->nodes[0].replica->pool.count, BODIES_CHECKING_MAX + 1);
    cluster_run(c);
    assert_int_equal(c->refusals[LEDGER_REFUSAL_BUSY], 4);
    assert_int_equal(cluster_status(c, 0).transactions, 1);
    assert_int_equal(c->nodes[0].replica->pool.count, 0);
    buffer_free(&body);
    cluster_destroy(c);
}

static void false_bodies_in_a_clients_name_do_not_use_up_its_quota(void **state)
{
    (void)state;
    struct cluster *c = cluster_create(4);
    struct buffer body = {0};
    uint8_t req_hash[HASH_LEN];
    c->nodes[0].replica->pool_per_client = 2;
    for (uint64_t reqno = 2; reqno < 8; reqno++) {
        false_body(c, 0, reqno, 1, &body);
        submit(c, 1, 0, &body);
    }
    body.len = 0;
    cluster_body(c, 0, 1, 0, &body, req_hash);
    submit(c, 0, 0, &body);
    cluster_run(c);
    assert_int_equal(c->refused[0], 0);
    assert_int_equal(c->refusals[LEDGER_REFUSAL_QUOTA], 0);
    assert_int_equal(cluster_status(c, 0).transactions, 1);
    buffer_free(&body);
    cluster_destroy(c);
}

/* Replica `from` relays a body to replica `to`. */
static void relay(struct cluster *c, uint16_t from, unsigned to, const struct buffer *body)
{
    struct buffer message = {0};
    struct ledger_message_writer w;
    assert_true(ledger_bodies_begin(&w, &message, LEDGER_MESSAGE_RELAY));
    assert_true(ledger_bodies_body(&w, slice_of_buffer(body)));
    ledger_message_end(&w);
    ledger_on_message(c->nodes[to].replica, from, message.data, message.len);
    ledger_settle(c->nodes[to].replica);
    buffer_free(&message);
}

static void a_replica_that_relays_false_signatures_is_not_heard_for_a_while(void **state)
{
    (void)state;
    struct cluster *c = cluster_create(4);
    struct buffer body = {0}, honest = {0};
    uint8_t req_hash[HASH_LEN];
    cluster_body(c, 0, 100, 0, &honest, req_hash);
    for (uint64_t i = 1; i <= RELAYS_BAD_MAX; i++) {
        false_body(c, 0, i, 1, &body);
        relay(c, 3, 0, &body);
        cluster_run(c);
    }
    uint64_t bad = cluster_status(c, 0).signatures_bad;
    assert_int_equal(bad, RELAYS_BAD_MAX);
    false_body(c, 0, 50, 1, &body);
    relay(c, 3, 0, &body);
    relay(c, 3, 0, &honest);
    cluster_run(c);
    assert_int_equal(cluster_status(c, 0).signatures_bad, bad);
    assert_int_equal(cluster_status(c, 0).transactions, 0);
    /* Others are, and in time it is again. */
    c->now += RELAYS_PENALTY_US;
    relay(c, 3, 0, &honest);
    cluster_run(c);
    assert_int_equal(cluster_status(c, 0).transactions, 1);
    false_body(c, 1, 1, 0, &body);
    relay(c, 2, 0, &body);
    cluster_run(c);
    assert_int_equal(cluster_status(c, 0).transactions, 2);
    buffer_free(&body);
    buffer_free(&honest);
    cluster_destroy(c);
}

static bool drop_relays(struct cluster *c, int from, int to, struct buffer *m)
{
    (void)from;
    (void)to;
    unsigned *dropped = c->tamper_context;
    if (ledger_message_type(slice_of_buffer(m)) != LEDGER_MESSAGE_RELAY)
        return true;
    ++*dropped;
    return false;
}

static void what_was_lost_on_its_way_to_the_primary_is_relayed_again(void **state)
{
    (void)state;
    struct cluster *c = cluster_create(4);
    struct buffer first = {0}, second = {0};
    uint8_t req_hash[HASH_LEN];
    unsigned dropped = 0;
    c->tamper = drop_relays;
    c->tamper_context = &dropped;
    cluster_body(c, 0, 1, 0, &first, req_hash);
    submit(c, 0, 2, &first);
    cluster_run(c);
    cluster_body(c, 1, 1, 0, &second, req_hash);
    submit(c, 1, 2, &second);
    cluster_run(c);
    assert_int_equal(dropped, 2);
    /* The client asks again for the first, behind which the second one waits. */
    c->tamper = NULL;
    submit(c, 0, 2, &first);
    cluster_run(c);
    assert_int_equal(cluster_status(c, 0).transactions, 1);
    buffer_free(&first);
    buffer_free(&second);
    cluster_destroy(c);
}

/* The primary does not hear of client 1's requests. */
static bool starve(struct cluster *c, int from, int to, struct buffer *m)
{
    (void)c;
    (void)from;
    return !(to == 0 && ledger_message_type(slice_of_buffer(m)) == LEDGER_MESSAGE_RELAY);
}

static void a_primary_that_starves_one_client_is_replaced(void **state)
{
    (void)state;
    struct cluster *c = cluster_create(4);
    struct ledger_receipt_info info;
    uint8_t starved[HASH_LEN];
    struct buffer body = {0};
    /* So small a pool that four full ones are a few batches. */
    for (unsigned i = 0; i < 4; i++)
        c->nodes[i].replica->pool_bytes_max = 16 * sizeof(struct pooled);
    c->tamper = starve;
    cluster_hello(c, 1);
    cluster_body(c, 1, 1, 0, &body, starved);
    for (unsigned i = 0; i < 60 && cluster_status(c, 2).view == 0; i++) {
        /* The client does not tire; nor do the others, whose requests are all executed. */
        for (unsigned k = 1; k < 4; k++)
            submit(c, 1, k, &body);
        cluster_requests(c, 0, 0, 1);
        c->now += 200000;
    }
    assert_int_equal(cluster_status(c, 2).view, 1); /* no timer has expired */
    cluster_pass(c, 1000000);
    assert_true(cluster_receipt(c, 2, starved, &info));
    buffer_free(&body);
    cluster_destroy(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_request_is_not_refused_for_the_false_signatures_of_others),
        cmocka_unit_test(one_body_from_several_connections_is_one_request),
        cmocka_unit_test(who_resends_a_clients_requests_does_not_divert_its_replies),
        cmocka_unit_test(false_bodies_of_one_request_are_bounded_and_leave_room_for_the_true_one),
        cmocka_unit_test(false_bodies_in_a_clients_name_do_not_use_up_its_quota),
        cmocka_unit_test(a_replica_that_relays_false_signatures_is_not_heard_for_a_while),
        cmocka_unit_test(what_was_lost_on_its_way_to_the_primary_is_relayed_again),
        cmocka_unit_test(a_primary_that_starves_one_client_is_replaced),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
