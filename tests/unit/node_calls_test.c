/*
 * Root calls from admission to oblivion, with a real worker process, which is this same program run
 * as `… worker`.
 */
#define _GNU_SOURCE
#include "node_parts.h"
#include "scratch_directory.h"

#include "base/clock.h"
#include "base/file.h"
#include "cli/command.h"
#include "node/calls.h"
#include "node/registry.h"
#include "node/workers.h"

#include <string.h>
#include <uv.h>

static struct node *node;

/* ---- functions ---- */

struct uploaded {
    bool done, created;
    int code;
    char stage[32], text[512];
    struct function_version *version;
};

static void upload_note(void *context, const struct upload_result *r)
{
    struct uploaded *u = context;
    u->done = true;
    u->created = r->created;
    u->version = r->version;
    u->code = r->stage ? r->error.code : 0;
    snprintf(u->stage, sizeof u->stage, "%s", r->stage ? r->stage : "");
    snprintf(u->text, sizeof u->text, "%s", r->stage ? r->error.text : "");
}

/* Uploads bytes as a function; manifest: lines of YAML. */
static struct uploaded upload_bytes(const char *name, const char *manifest, const void *bytes,
                                    size_t len)
{
    struct manifest m;
    struct error e;
    struct uploaded u = {0};
    char text[512], path[PATH_MAX];
    snprintf(text, sizeof text, "name: default/%s\n%s", name, manifest);
    if (manifest_parse(text, strlen(text), NULL, &m, &e) != 0)
        fail_msg("%s", e.text);
    snprintf(path, sizeof path, "%s/data/upload.wasm", getenv("ATOLL_HOME"));
    assert_int_equal(file_replace(path, bytes, len, 0600, &e), 0);
    registry_upload(node->registry, path, &m, NULL, upload_note, &u);
    while (!u.done)
        uv_run(node->loop, UV_RUN_ONCE);
    manifest_free(&m);
    return u;
}

static struct uploaded upload(const char *name, const char *manifest, const char *module)
{
    struct buffer bytes = {0};
    struct error e;
    char path[PATH_MAX];
    snprintf(path, sizeof path, GUEST_MODULES "/%s.wasm", module);
    assert_int_equal(file_read(path, 1 << 20, &bytes, &e), 0);
    struct uploaded u = upload_bytes(name, manifest, bytes.data, bytes.len);
    buffer_free(&bytes);
    return u;
}

static struct function_version *live(const char *name)
{
    struct function_version *v;
    struct error e;
    assert_int_equal(registry_find(node->registry, "default", name, NULL, &v, &e), 0);
    return v;
}

/* ---- calls ---- */

struct ended {
    unsigned count;
    enum call_status status;
    int32_t code;
    uint32_t attempt;
    char text[256], output[64];
};

static void ended_take(struct ended *n, const struct call_outcome *o)
{
    n->count++;
    n->status = o->status;
    n->code = o->code;
    n->attempt = o->attempt;
    snprintf(n->text, sizeof n->text, "%s", o->text);
    n->output[0] = 0;
    if (o->output)
        snprintf(n->output, sizeof n->output, "%.*s", (int)o->output->len,
                 (const char *)blob_bytes(o->output));
}

static void ended_note(void *context, const struct call_outcome *o)
{
    ended_take(context, o);
}

static int submit(const char *function, const char *input, struct call_request q, struct ended *n,
                  uint64_t *id, struct error *e)
{
    q.version = live(function);
    q.input = blob_create(input, strlen(input));
    if (q.priority == 0)
        q.priority = 10;
    int rc = calls_submit(node->calls, &q, n ? ended_note : NULL, n, id, e);
    blob_release(q.input);
    return rc;
}

static void wait_for(const struct ended *n)
{
    int64_t until = clock_monotonic_ns() + 20000000000;
    while (n->count == 0 && clock_monotonic_ns() < until)
        uv_run(node->loop, UV_RUN_ONCE);
    assert_int_equal(n->count, 1);
}

static struct ended call(const char *function, const char *input)
{
    struct ended n = {0};
    struct error e;
    uint64_t id;
    assert_int_equal(submit(function, input, (struct call_request){0}, &n, &id, &e), 0);
    wait_for(&n);
    return n;
}

static void turn_for(int64_t ns)
{
    int64_t until = clock_monotonic_ns() + ns;
    while (clock_monotonic_ns() < until) {
        uv_run(node->loop, UV_RUN_NOWAIT);
        usleep(1000);
    }
}

/* ---- the tests ---- */

static int node_open(void **state)
{
    if (scratch_create(state) != 0)
        return -1;
    setenv("ATOLL_CC", ATOLL_CC, 0);
    setenv("ATOLL_CACHE", scratch, 1);
    node = node_parts_open();
    struct uploaded u = upload("calls", "", "calls");
    if (u.code != 0)
        print_message("%s: %s\n", u.stage, u.text);
    return u.code;
}

static int node_close(void **state)
{
    node_parts_close(node);
    return scratch_destroy(state);
}

static void a_function_is_known_by_name_alias_and_digits(void **state)
{
    (void)state;
    struct function_version *v = live("calls"), *again;
    struct error e;
    char digits[9];
    snprintf(digits, sizeof digits, "%.8s", v->name);
    assert_int_equal(registry_find(node->registry, "default", "calls", digits, &again, &e), 0);
    assert_ptr_equal(v, again);
    assert_int_equal(registry_find(node->registry, "default", "calls", "live", &again, &e), 0);
    assert_ptr_equal(v, again);
    digits[7] = 0; /* too few */
    assert_int_equal(registry_find(node->registry, "default", "calls", digits, &again, &e),
                     -ATOLL_ENOENT);
    assert_int_equal(registry_find(node->registry, "other", "calls", NULL, &again, &e),
                     -ATOLL_ENOENT);
    assert_ptr_equal(registry_by_number(node->registry, v->number), v);
}

static void the_same_bytes_again_change_nothing_and_other_ones_can_be_taken_back(void **state)
{
    (void)state;
    struct uploaded first = upload("moving", "", "noop"), same = upload("moving", "", "noop");
    assert_int_equal(first.code, 0);
    assert_true(first.created);
    assert_int_equal(same.code, 0);
    assert_false(same.created);
    assert_ptr_equal(same.version, first.version);
    struct uploaded other = upload("moving", "retries: 1\n", "noop");
    assert_true(other.created);
    assert_ptr_equal(live("moving"), other.version);
    struct said said = {0};
    registry_alias_rollback(node->registry, "default", "moving", "live", said_note, &said);
    assert_int_equal(said_wait(node, &said), 0);
    assert_ptr_equal(live("moving"), first.version);
    registry_remove(node->registry, "default", "moving", said_note, &said);
    assert_int_equal(said_wait(node, &said), 0);
    struct function_version *v;
    struct error e;
    assert_int_equal(registry_find(node->registry, "default", "moving", NULL, &v, &e),
                     -ATOLL_ENOENT);
}

static void a_bad_module_is_refused_with_its_stage_and_moves_no_alias(void **state)
{
    (void)state;
    struct uploaded good = upload("steady", "", "noop");
    struct uploaded bad = upload_bytes("steady", "", "\0asm\1\0\0\0\77", 9);
    assert_int_not_equal(bad.code, 0);
    assert_string_equal(bad.stage, "validate");
    assert_ptr_equal(live("steady"), good.version);
}

static void a_call_runs_and_gives_its_output(void **state)
{
    (void)state;
    struct ended n = call("calls", "f10");
    assert_int_equal(n.status, CALL_OK);
    assert_string_equal(n.output, "55");
}

static void a_kept_result_can_be_asked_for_until_its_time_is_over(void **state)
{
    (void)state;
    assert_int_equal(upload("brief", "result_ttl: 200ms\n", "noop").code, 0);
    struct ended n = {0};
    struct error e;
    uint64_t id;
    assert_int_equal(submit("brief", "", (struct call_request){.keep = true}, &n, &id, &e), 0);
    wait_for(&n);
    assert_string_equal(calls_tenant(node->calls, id), "default");
    turn_for(300000000);
    calls_tick(node->calls, clock_monotonic_ns());
    struct call_summary last;
    assert_int_equal(calls_recent(node->calls, &last, 1), 1);
    assert_int_equal(last.id, id);
}

static void a_waiting_call_can_be_cancelled_and_one_that_nobody_waits_for_ends(void **state)
{
    (void)state;
    struct ended n = {0};
    struct error e;
    uint64_t id;
    assert_int_equal(submit("calls", "l", (struct call_request){0}, &n, &id, &e), 0);
    turn_for(50000000);
    assert_int_equal(n.count, 0);
    assert_int_equal(calls_cancel(node->calls, id), 0);
    wait_for(&n);
    assert_int_equal(n.status, CALL_CANCELLED);
    assert_int_equal(calls_cancel(node->calls, id), -ATOLL_ENOENT);
    struct ended gone = {0};
    assert_int_equal(submit("calls", "l", (struct call_request){0}, &gone, &id, &e), 0);
    calls_abandon(node->calls, id);
    while (calls_live(node->calls) > 0)
        uv_run(node->loop, UV_RUN_ONCE);
    assert_int_equal(gone.count, 0);
}

static void a_call_that_is_late_ends_at_its_deadline(void **state)
{
    (void)state;
    struct ended n = {0};
    struct error e;
    uint64_t id;
    assert_int_equal(
        submit("calls", "l", (struct call_request){.timeout_ns = 30000000}, &n, &id, &e), 0);
    wait_for(&n);
    assert_int_equal(n.status, CALL_TIMEDOUT);
}

static void a_call_that_traps_is_tried_as_often_as_its_manifest_says(void **state)
{
    (void)state;
    assert_int_equal(upload("stubborn", "retries: 2\n", "calls").code, 0);
    struct ended plain = call("calls", "t"), again = call("stubborn", "t");
    assert_int_equal(plain.status, CALL_TRAPPED);
    assert_int_equal(plain.attempt, 0);
    assert_int_equal(again.status, CALL_TRAPPED);
    assert_int_equal(again.attempt, 2);
}

/* The first ends the second while it is told of its own end. */
struct chain {
    struct ended own;
    uint64_t other;
};

static void end_other(void *context, const struct call_outcome *o)
{
    struct chain *c = context;
    ended_take(&c->own, o);
    calls_cancel(node->calls, c->other);
}

static void a_call_that_ends_may_end_others_that_are_about_to(void **state)
{
    (void)state;
    /* Two calls that wait for their next try, due at the same time. */
    struct chain c = {0};
    struct ended second = {0};
    struct error e;
    uint64_t id;
    struct call_request q = {.version = live("stubborn"), .priority = 10};
    q.input = blob_create("t", 1);
    assert_int_equal(calls_submit(node->calls, &q, end_other, &c, &id, &e), 0);
    assert_int_equal(calls_submit(node->calls, &q, ended_note, &second, &c.other, &e), 0);
    blob_release(q.input);
    wait_for(&c.own);
    wait_for(&second);
    assert_int_equal(calls_live(node->calls), 0);
}

static void a_worker_that_is_killed_loses_its_calls_and_the_next_one_finds_another(void **state)
{
    (void)state;
    struct ended n = {0};
    struct error e;
    uint64_t id;
    struct worker_summary one;
    assert_int_equal(submit("calls", "l", (struct call_request){0}, &n, &id, &e), 0);
    turn_for(50000000);
    assert_true(workers_list(node->workers, &one, 1) >= 1);
    workers_kill(node->workers, one.number);
    wait_for(&n);
    assert_int_equal(n.status, CALL_LOST);
    n = call("calls", "f5");
    assert_int_equal(n.status, CALL_OK);
    assert_string_equal(n.output, "5");
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "worker") == 0)
        return command_worker.run(argc - 1, argv + 1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_function_is_known_by_name_alias_and_digits),
        cmocka_unit_test(the_same_bytes_again_change_nothing_and_other_ones_can_be_taken_back),
        cmocka_unit_test(a_bad_module_is_refused_with_its_stage_and_moves_no_alias),
        cmocka_unit_test(a_call_runs_and_gives_its_output),
        cmocka_unit_test(a_kept_result_can_be_asked_for_until_its_time_is_over),
        cmocka_unit_test(a_waiting_call_can_be_cancelled_and_one_that_nobody_waits_for_ends),
        cmocka_unit_test(a_call_that_is_late_ends_at_its_deadline),
        cmocka_unit_test(a_call_that_traps_is_tried_as_often_as_its_manifest_says),
        cmocka_unit_test(a_call_that_ends_may_end_others_that_are_about_to),
        cmocka_unit_test(a_worker_that_is_killed_loses_its_calls_and_the_next_one_finds_another),
    };
    return cmocka_run_group_tests_name("node_calls", tests, node_open, node_close);
}
