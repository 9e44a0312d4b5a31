/* Chaining in the native shim of the SDK: starting, waiting, results, ends, limits. */
#include "native_function.h"

static atoll_call_t start(const char *fn, const char *input)
{
    atoll_call_t id = 0;
    int32_t status = atoll_chain(fn, (uint32_t)strlen(fn), input, strlen(input), NULL, &id);
    EXPECT(status == 0 && id != 0);
    return id;
}

static struct atoll_result wait_for(atoll_call_t id)
{
    struct atoll_result result = {0};
    EXPECT(atoll_await(&id, 1, 1, ATOLL_FOREVER, &result) == 1);
    return result;
}

/* ---- children of the tests ---- */

static int32_t echo(void)
{
    char bytes[64];
    int64_t len = atoll_input_read(0, bytes, sizeof bytes);
    return atoll_output_write(bytes, (uint64_t)len) != len;
}

static int32_t sleeper(void)
{
    atoll_h latch = atoll_obj_open(ATOLL_O_LATCH, "never", 5, 1);
    (void)atoll_obj_op(latch, ATOLL_LATCH_WAIT, 0, 0, NULL, 0, NULL, 0, ATOLL_FOREVER);
    return 0;
}

static int32_t refuser(void)
{
    atoll_fail(9, "no", 2);
}

static struct atoll_native *node_with(int32_t (*entry)(void))
{
    struct atoll_native *node = node_of(entry);
    assert_int_equal(atoll_native_function(node, "echo", echo), 0);
    assert_int_equal(atoll_native_function(node, "sleeper", sleeper), 0);
    assert_int_equal(atoll_native_function(node, "refuser", refuser), 0);
    return node;
}

static void chain_ok(int32_t (*entry)(void))
{
    struct atoll_native *node = node_with(entry);
    run_ok(node, "f");
    atoll_native_close(node);
}

/* ---- results ---- */

static int32_t result_reader(void)
{
    char bytes[8];
    atoll_addr address, again;
    atoll_call_t id = start("echo", "abc"), empty = start("test/echo", "");
    EXPECT(atoll_result_read(id, 0, bytes, 8) == -ATOLL_EAGAIN);
    EXPECT(atoll_result_map(id, &address) == -ATOLL_EAGAIN);
    EXPECT(atoll_forget(id) == -ATOLL_EBUSY);
    struct atoll_result result = wait_for(id);
    EXPECT(result.id == id && result.status == ATOLL_ST_OK && result.code == 0);
    EXPECT(result.out_len == 3);
    EXPECT(atoll_result_read(id, 0, bytes, 8) == 3 && memcmp(bytes, "abc", 3) == 0);
    EXPECT(atoll_result_read(id, 2, bytes, 8) == 1 && bytes[0] == 'c');
    EXPECT(atoll_result_read(id, 3, bytes, 8) == 0);
    EXPECT(atoll_result_read(id, UINT64_MAX, bytes, 8) == -ATOLL_ERANGE);
    EXPECT(atoll_result_map(id, &address) == 0 && atoll_result_map(id, &again) == 0);
    EXPECT(address == again);
    EXPECT(wait_for(empty).out_len == 0 && atoll_result_map(empty, &again) == -ATOLL_ENOENT);
    EXPECT(wait_for(id).status == ATOLL_ST_OK); /* again */
    EXPECT(atoll_forget(id) == 0 && memcmp(atoll_pointer(address), "abc", 3) == 0);
    EXPECT(atoll_forget(id) == -ATOLL_ENOENT);
    EXPECT(atoll_result_read(id, 0, bytes, 8) == -ATOLL_ENOENT);
    EXPECT(atoll_await(&id, 1, 1, ATOLL_FOREVER, &result) == -ATOLL_ENOENT);
    return 0;
}

static void results_are_read_mapped_and_forgotten(void **state)
{
    (void)state;
    chain_ok(result_reader);
}

static int32_t failure_reader(void)
{
    char bytes[8];
    atoll_call_t id = start("refuser", "");
    struct atoll_result result = wait_for(id);
    EXPECT(result.status == ATOLL_ST_FAILED && result.code == 9);
    EXPECT(atoll_result_read(id, 0, bytes, 8) == 2 && memcmp(bytes, "no", 2) == 0);
    return 0;
}

static void a_childs_failure_is_its_result_and_no_error_of_await(void **state)
{
    (void)state;
    chain_ok(failure_reader);
}

static int32_t grandchild_stealer(void)
{
    char text[24] = {0};
    struct atoll_result result;
    EXPECT(atoll_input_read(0, text, sizeof text) == sizeof(atoll_call_t));
    atoll_call_t id;
    memcpy(&id, text, sizeof id);
    EXPECT(atoll_await(&id, 1, 0, 0, &result) == -ATOLL_ENOENT);
    EXPECT(atoll_cancel(id) == -ATOLL_ENOENT);
    return 0;
}

static int32_t id_giver(void)
{
    atoll_call_t mine = start("echo", "x"), other;
    struct atoll_result result;
    EXPECT(atoll_chain("thief", 5, &mine, sizeof mine, NULL, &other) == 0);
    EXPECT(wait_for(other).status == ATOLL_ST_OK);
    other = 12345;
    EXPECT(atoll_await(&other, 1, 0, 0, &result) == -ATOLL_ENOENT);
    return 0;
}

static void ids_of_others_are_unknown(void **state)
{
    (void)state;
    struct atoll_native *node = node_with(id_giver);
    assert_int_equal(atoll_native_function(node, "thief", grandchild_stealer), 0);
    run_ok(node, "f");
    atoll_native_close(node);
}

/* ---- await ---- */

static int32_t partial_waiter(void)
{
    atoll_call_t ids[3] = {start("echo", "a"), start("sleeper", ""), start("echo", "b")};
    struct atoll_result results[3];
    EXPECT(atoll_await(ids, 3, 4, 0, results) == -ATOLL_EINVAL);
    EXPECT(atoll_await(ids, 0, 0, 0, results) == 0);
    EXPECT(atoll_await(ids, 3, 2, ATOLL_FOREVER, results) == 2);
    EXPECT(results[0].status == ATOLL_ST_OK && results[2].status == ATOLL_ST_OK);
    EXPECT(results[1].status < ATOLL_ST_OK && results[1].id == ids[1]);
    EXPECT(atoll_await(ids, 3, 3, 1000000, results) == -ATOLL_ETIMEDOUT);
    EXPECT(results[0].status == ATOLL_ST_OK && results[1].status < ATOLL_ST_OK);
    EXPECT(atoll_await(ids, 3, 0, 0, results) == 2);
    EXPECT(atoll_cancel(ids[1]) == 0);
    EXPECT(atoll_await(ids, 3, 3, ATOLL_FOREVER, results) == 3);
    EXPECT(results[1].status == ATOLL_ST_CANCELLED);
    EXPECT(atoll_cancel(ids[1]) == 0); /* it has ended: nothing to do */
    return 0;
}

static void await_returns_when_enough_have_ended_and_fills_all(void **state)
{
    (void)state;
    chain_ok(partial_waiter);
}

static int32_t repeated_waiter(void)
{
    atoll_call_t id = start("echo", "a"), ids[3] = {id, id, id};
    struct atoll_result results[3];
    EXPECT(atoll_await(ids, 3, 3, ATOLL_FOREVER, results) == 3);
    EXPECT(results[2].id == id && results[2].status == ATOLL_ST_OK);
    return 0;
}

static void an_id_may_be_awaited_several_times_at_once(void **state)
{
    (void)state;
    chain_ok(repeated_waiter);
}

static int32_t poller(void)
{
    atoll_call_t id = start("echo", "a");
    struct atoll_result result;
    while (atoll_await(&id, 1, 1, 0, &result) == -ATOLL_ETIMEDOUT)
        ;
    EXPECT(result.status == ATOLL_ST_OK);
    return 0;
}

static void looking_again_and_again_lets_the_child_run(void **state)
{
    (void)state;
    chain_ok(poller);
}

/* ---- the same module, batches ---- */

static int32_t other_entry(void)
{
    struct atoll_call_info info = {.size = sizeof info};
    EXPECT(atoll_call_info(&info) == 0 && strcmp(info.function, "f") == 0);
    return atoll_output_write("other", 5) != 5;
}

static int32_t self_caller(void)
{
    char bytes[8];
    atoll_call_t id;
    EXPECT(atoll_chain_fn(0, NULL, 0, NULL, &id) == -ATOLL_EINVAL);
    EXPECT(atoll_chain_fn(ATOLL_TABLE_INDEX(other_entry), NULL, 0, NULL, &id) == 0);
    EXPECT(wait_for(id).status == ATOLL_ST_OK);
    EXPECT(atoll_result_read(id, 0, bytes, 8) == 5 && memcmp(bytes, "other", 5) == 0);
    return 0;
}

static void a_function_of_the_module_is_called_by_its_table_index(void **state)
{
    (void)state;
    struct atoll_native *node = node_with(self_caller);
    struct atoll_native_outcome *outcome = run(node, "f", "");
    assert_int_equal(outcome->status, ATOLL_ST_OK);
    assert_int_equal(outcome->call_count, 2);
    assert_string_equal(outcome->calls[1].function, "test/f#entry");
    assert_true(outcome->calls[1].parent == outcome->calls[0].id);
    atoll_native_outcome_free(outcome);
    atoll_native_close(node);
}

static int32_t place_teller(void)
{
    struct atoll_call_info info = {.size = sizeof info};
    EXPECT(atoll_call_info(&info) == 0 && info.count == 3 && info.parent == info.app);
    char text[8];
    snprintf(text, sizeof text, "%u:", info.index);
    EXPECT(atoll_output_write(text, 2) == 2);
    return echo();
}

static int32_t batcher(void)
{
    static const uint64_t offs[4] = {0, 2, 2, 5}, wrong[4] = {0, 2, 1, 5};
    static const char *const expected[3] = {"0:ab", "1:", "2:cde"};
    atoll_call_t ids[3];
    struct atoll_result results[3];
    char bytes[8];
    EXPECT(atoll_chain_batch("place", 5, 3, wrong, "abcde", NULL, ids) == -ATOLL_EINVAL);
    EXPECT(atoll_chain_batch("nobody", 6, 3, offs, "abcde", NULL, ids) == -ATOLL_ENOENT);
    EXPECT(atoll_chain_batch("place", 5, 3, offs, "abcde", NULL, ids) == 0);
    EXPECT(atoll_await(ids, 3, 3, ATOLL_FOREVER, results) == 3);
    for (int i = 0; i < 3; i++) {
        int64_t len = atoll_result_read(ids[i], 0, bytes, sizeof bytes);
        EXPECT(len == (int64_t)strlen(expected[i]) && memcmp(bytes, expected[i], (size_t)len) == 0);
    }
    EXPECT(atoll_chain_batch("place", 5, 0, offs, "", NULL, ids) == 0);
    return 0;
}

static void a_batch_cuts_its_inputs_from_one_blob(void **state)
{
    (void)state;
    struct atoll_native *node = node_with(batcher);
    assert_int_equal(atoll_native_function(node, "place", place_teller), 0);
    run_ok(node, "f");
    atoll_native_close(node);
}

/* ---- options and rights ---- */

static int32_t option_giver(void)
{
    struct atoll_chain_opts opts = {.size = sizeof opts - 1};
    atoll_call_t id;
    EXPECT(atoll_chain("echo", 4, NULL, 0, &opts, &id) == -ATOLL_EINVAL);
    opts.size = sizeof opts;
    opts.flags = 16;
    EXPECT(atoll_chain("echo", 4, NULL, 0, &opts, &id) == -ATOLL_EINVAL);
    opts.flags = 0;
    opts.priority = 10;
    EXPECT(atoll_chain("echo", 4, NULL, 0, &opts, &id) == -ATOLL_EINVAL);
    opts.priority = 9;
    opts.affinity_ptr = atoll_address("");
    EXPECT(atoll_chain("echo", 4, NULL, 0, &opts, &id) == -ATOLL_EINVAL);
    opts.affinity_ptr = atoll_address("key");
    opts.affinity_len = 3;
    EXPECT(atoll_chain("echo", 4, NULL, 0, &opts, &id) == 0);
    EXPECT(atoll_chain("echo", 4, NULL, 0, NULL, NULL) == -ATOLL_EINVAL);
    return 0;
}

static void options_are_checked(void **state)
{
    (void)state;
    chain_ok(option_giver);
}

static int32_t right_taker(void)
{
    atoll_call_t id;
    EXPECT(atoll_chain("echo", 4, NULL, 0, NULL, &id) == 0);
    EXPECT(atoll_chain("sleeper", 7, NULL, 0, NULL, &id) == -ATOLL_EPERM);
    EXPECT(atoll_chain("other/echo", 10, NULL, 0, NULL, &id) == 0);
    EXPECT(atoll_chain("nobody", 6, NULL, 0, NULL, &id) == -ATOLL_ENOENT);
    EXPECT(atoll_chain("a/b/c", 5, NULL, 0, NULL, &id) == -ATOLL_ENOENT);
    return 0;
}

static int32_t stranger(void)
{
    atoll_call_t id;
    EXPECT(atoll_chain("other/echo", 10, NULL, 0, NULL, &id) == -ATOLL_EPERM);
    return 0;
}

static void only_functions_that_the_manifest_names_can_be_called(void **state)
{
    (void)state;
    struct atoll_native *node = node_with(right_taker);
    assert_int_equal(atoll_native_function(node, "other/echo", echo), 0);
    assert_int_equal(atoll_native_function(node, "stranger", stranger), 0);
    assert_int_equal(atoll_native_callee(node, "f", "test/echo"), 0);
    assert_int_equal(atoll_native_callee(node, "f", "other/*"), 0);
    run_ok(node, "f");
    run_ok(node, "stranger");
    atoll_native_close(node);
}

/* ---- ends ---- */

static int32_t leaver(void)
{
    struct atoll_chain_opts opts = {.size = sizeof opts, .flags = ATOLL_CHAIN_DETACH};
    atoll_call_t id;
    struct atoll_result result;
    (void)start("sleeper", "");
    EXPECT(atoll_chain("echo", 4, "kept", 4, &opts, NULL) == 0);
    EXPECT(atoll_chain("echo", 4, "kept", 4, &opts, &id) == 0);
    EXPECT(atoll_await(&id, 1, 1, 0, &result) == -ATOLL_ENOENT);
    return 0;
}

static void children_are_cancelled_when_their_parent_ends_unless_detached(void **state)
{
    (void)state;
    struct atoll_native *node = node_with(leaver);
    struct atoll_native_outcome *outcome = run(node, "f", "");
    assert_int_equal(outcome->status, ATOLL_ST_OK);
    assert_int_equal(outcome->call_count, 4);
    assert_int_equal(outcome->calls[1].status, ATOLL_ST_CANCELLED);
    assert_int_equal(outcome->calls[2].status, ATOLL_ST_OK);
    assert_int_equal(outcome->calls[3].out_len, 4);
    atoll_native_outcome_free(outcome);
    atoll_native_close(node);
}

static int32_t impatient(void)
{
    struct atoll_chain_opts opts = {.size = sizeof opts, .timeout_ns = 5000000};
    atoll_call_t id;
    EXPECT(atoll_chain("sleeper", 7, NULL, 0, &opts, &id) == 0);
    EXPECT(wait_for(id).status == ATOLL_ST_TIMEDOUT);
    return 0;
}

static void a_childs_own_timeout_ends_it(void **state)
{
    (void)state;
    chain_ok(impatient);
}

static int32_t deadline_teller(void)
{
    struct atoll_call_info info = {.size = sizeof info};
    EXPECT(atoll_call_info(&info) == 0);
    return atoll_output_write(&info.deadline_ns, sizeof info.deadline_ns) < 0;
}

static int32_t deadline_comparer(void)
{
    struct atoll_call_info info = {.size = sizeof info};
    struct atoll_chain_opts opts = {.size = sizeof opts, .timeout_ns = UINT64_MAX};
    uint64_t deadline;
    atoll_call_t id;
    EXPECT(atoll_call_info(&info) == 0);
    EXPECT(atoll_chain("deadline", 8, NULL, 0, &opts, &id) == 0);
    EXPECT(wait_for(id).status == ATOLL_ST_OK);
    EXPECT(atoll_result_read(id, 0, &deadline, sizeof deadline) == sizeof deadline);
    EXPECT(deadline == info.deadline_ns);
    return 0;
}

static void a_childs_deadline_is_never_later_than_its_parents(void **state)
{
    (void)state;
    struct atoll_native *node = node_with(deadline_comparer);
    assert_int_equal(atoll_native_function(node, "deadline", deadline_teller), 0);
    run_ok(node, "f");
    atoll_native_close(node);
}

static int32_t attempt_teller(void)
{
    struct atoll_call_info info = {.size = sizeof info};
    EXPECT(atoll_call_info(&info) == 0);
    return atoll_output_write(&info.attempt, sizeof info.attempt) < 0;
}

static int32_t retrier(void)
{
    struct atoll_chain_opts opts = {.size = sizeof opts, .retries = 2};
    atoll_call_t id;
    uint32_t attempt;
    EXPECT(atoll_chain("attempt", 7, NULL, 0, &opts, &id) == 0);
    struct atoll_result result = wait_for(id);
    if (result.status != ATOLL_ST_OK)
        return result.status;
    EXPECT(atoll_result_read(id, 0, &attempt, sizeof attempt) == sizeof attempt);
    EXPECT(attempt == 2);
    return 0;
}

static void a_call_that_breaks_is_tried_again_as_often_as_asked(void **state)
{
    (void)state;
    struct atoll_native *node = node_with(retrier);
    assert_int_equal(atoll_native_function(node, "attempt", attempt_teller), 0);
    assert_int_equal(atoll_native_break(node, "attempt", ATOLL_ST_TRAPPED, 2), 0);
    run_ok(node, "f");
    assert_int_equal(atoll_native_break(node, "attempt", ATOLL_ST_LOST, 3), 0);
    run_ends(node, "f", "", ATOLL_ST_FAILED, ATOLL_ST_LOST, NULL);
    assert_int_equal(atoll_native_break(node, "attempt", ATOLL_ST_FAILED, 3), -ATOLL_EINVAL);
    atoll_native_close(node);
}

/* ---- width and depth ---- */

static int32_t counted(void)
{
    uint32_t left;
    EXPECT(atoll_input_read(0, &left, sizeof left) == sizeof left);
    if (left == 0)
        return 0;
    left--;
    atoll_call_t id;
    int32_t status = atoll_chain("f", 1, &left, sizeof left, NULL, &id);
    if (status < 0)
        return -status;
    return wait_for(id).code;
}

static void depth_run(uint32_t depth, int32_t status, int32_t code)
{
    struct atoll_native *node = node_of(counted);
    struct atoll_native_outcome *outcome = atoll_native_run(node, "f", &depth, sizeof depth);
    assert_int_equal(outcome->status, status);
    assert_int_equal(outcome->code, code);
    assert_int_equal(outcome->call_count, (depth < 64 ? depth : 64) + 1);
    atoll_native_outcome_free(outcome);
    atoll_native_close(node);
}

static void chains_may_be_64_deep_and_no_deeper(void **state)
{
    (void)state;
    depth_run(64, ATOLL_ST_OK, 0);
    depth_run(65, ATOLL_ST_FAILED, ATOLL_ELIMIT);
}

static int32_t brood(void)
{
    atoll_call_t ids[5];
    static const uint64_t offs[6];
    EXPECT(atoll_chain_batch("echo", 4, 4, offs, "", NULL, ids) == 0);
    EXPECT(atoll_chain_batch("echo", 4, 2, offs, "", NULL, ids) == -ATOLL_ELIMIT);
    EXPECT(atoll_chain("echo", 4, NULL, 0, NULL, ids) == 0);
    EXPECT(atoll_chain("echo", 4, NULL, 0, NULL, ids) == -ATOLL_ELIMIT);
    return 0;
}

static void a_call_may_start_a_limited_number_of_others(void **state)
{
    (void)state;
    struct atoll_native *node =
        atoll_native_open(&(struct atoll_native_options){.children_max = 5});
    assert_int_equal(atoll_native_function(node, "f", brood), 0);
    assert_int_equal(atoll_native_function(node, "echo", echo), 0);
    run_ok(node, "f");
    atoll_native_close(node);
}

static int32_t fibonacci(void)
{
    uint32_t n, parts[2] = {0};
    atoll_call_t ids[2];
    struct atoll_result results[2];
    EXPECT(atoll_input_read(0, &n, sizeof n) == sizeof n);
    if (n >= 2) {
        uint32_t inputs[2] = {n - 1, n - 2};
        for (int i = 0; i < 2; i++)
            EXPECT(atoll_chain("f", 1, &inputs[i], sizeof inputs[i], NULL, &ids[i]) == 0);
        EXPECT(atoll_await(ids, 2, 2, ATOLL_FOREVER, results) == 2);
        for (int i = 0; i < 2; i++)
            EXPECT(atoll_result_read(ids[i], 0, &parts[i], sizeof parts[i]) == sizeof parts[i]);
        n = parts[0] + parts[1];
    }
    return atoll_output_write(&n, sizeof n) < 0;
}

static void recursion_by_chaining_ends_whatever_its_width(void **state)
{
    (void)state;
    uint32_t n = 12, result;
    for (uint32_t parallel = 1; parallel <= 4; parallel += 3) {
        struct atoll_native *node =
            atoll_native_open(&(struct atoll_native_options){.parallel = parallel});
        assert_int_equal(atoll_native_function(node, "f", fibonacci), 0);
        struct atoll_native_outcome *outcome = atoll_native_run(node, "f", &n, sizeof n);
        assert_int_equal(outcome->status, ATOLL_ST_OK);
        assert_int_equal(outcome->output_len, sizeof result);
        memcpy(&result, outcome->output, sizeof result);
        assert_int_equal(result, 144);
        atoll_native_outcome_free(outcome);
        atoll_native_close(node);
    }
}

static int32_t spreader(void)
{
    static uint64_t offs[2001];
    static atoll_call_t ids[2000];
    static struct atoll_result results[2000];
    EXPECT(atoll_chain_batch("echo", 4, 2000, offs, "", NULL, ids) == 0);
    EXPECT(atoll_await(ids, 2000, 2000, ATOLL_FOREVER, results) == 2000);
    return 0;
}

static void thousands_of_children_end(void **state)
{
    (void)state;
    chain_ok(spreader);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(results_are_read_mapped_and_forgotten),
        cmocka_unit_test(a_childs_failure_is_its_result_and_no_error_of_await),
        cmocka_unit_test(ids_of_others_are_unknown),
        cmocka_unit_test(await_returns_when_enough_have_ended_and_fills_all),
        cmocka_unit_test(an_id_may_be_awaited_several_times_at_once),
        cmocka_unit_test(looking_again_and_again_lets_the_child_run),
        cmocka_unit_test(a_function_of_the_module_is_called_by_its_table_index),
        cmocka_unit_test(a_batch_cuts_its_inputs_from_one_blob),
        cmocka_unit_test(options_are_checked),
        cmocka_unit_test(only_functions_that_the_manifest_names_can_be_called),
        cmocka_unit_test(children_are_cancelled_when_their_parent_ends_unless_detached),
        cmocka_unit_test(a_childs_own_timeout_ends_it),
        cmocka_unit_test(a_childs_deadline_is_never_later_than_its_parents),
        cmocka_unit_test(a_call_that_breaks_is_tried_again_as_often_as_asked),
        cmocka_unit_test(chains_may_be_64_deep_and_no_deeper),
        cmocka_unit_test(a_call_may_start_a_limited_number_of_others),
        cmocka_unit_test(recursion_by_chaining_ends_whatever_its_width),
        cmocka_unit_test(thousands_of_children_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
