/* What a node does by itself: shares of the processor, old records, metrics. */
#define _GNU_SOURCE
#include "node_parts.h"
#include "scratch_directory.h"

#include "base/bytes.h"
#include "base/clock.h"
#include "base/file.h"
#include "node/expiry.h"
#include "node/metrics.h"
#include "node/registry.h"
#include "node/shares.h"
#include "store/store.h"

#include <fcntl.h>
#include <string.h>
#include <uv.h>

/* ---- shares ---- */

static void a_nice_value_is_a_quarter_of_the_share_for_each_step(void **state)
{
    (void)state;
    assert_int_equal(shares_nice(100, 100), 0);
    assert_int_equal(shares_nice(300, 100), 0);
    assert_int_equal(shares_nice(100, 300), 5);
    assert_int_equal(shares_nice(1, 10000), 19);
    assert_int_equal(shares_nice(0, 100), 19);
    for (uint32_t weight = 2; weight < 1000; weight++)
        assert_true(shares_nice(weight, 1000) <= shares_nice(weight - 1, 1000));
}

static void group_file(const char *name, const char *text)
{
    struct error e;
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s", scratch_path(name));
    char *slash = strrchr(path, '/');
    *slash = 0;
    assert_int_equal(directory_make(path, 0700, &e), 0);
    *slash = '/';
    assert_int_equal(file_replace(path, text, strlen(text), 0600, &e), 0);
}

static void group_holds(const char *name, const char *text)
{
    struct buffer b = {0};
    struct error e;
    assert_int_equal(file_read(scratch_path(name), 100, &b, &e), 0);
    assert_int_equal(b.len, strlen(text));
    assert_memory_equal(b.data, text, b.len);
    buffer_free(&b);
}

static void a_delegated_group_gets_the_weights(void **state)
{
    (void)state;
    struct shares *s;
    struct error e;
    char pid[16];
    snprintf(pid, sizeof pid, "%d", getpid());
    group_file("group/cgroup.controllers", "cpuset cpu io\n");
    group_file("group/cgroup.subtree_control", "    ");
    group_file("group/supervisor/cgroup.procs", pid);
    group_file("group/tenant-acme/cgroup.procs", "1234");
    group_file("group/tenant-acme/cpu.weight", "   ");
    assert_int_equal(shares_create(scratch_path("group"), &s, &e), 0);
    assert_string_equal(shares_means(s), "cgroup");
    group_holds("group/cgroup.subtree_control", "+cpu");
    shares_set(s, 4321, "acme", 300, 300);
    group_holds("group/tenant-acme/cgroup.procs", "4321");
    group_holds("group/tenant-acme/cpu.weight", "300");
    shares_destroy(s);

    group_file("group/cgroup.controllers", "cpuset io\n");
    assert_int_equal(shares_create(scratch_path("group"), &s, &e), 0);
    assert_string_equal(shares_means(s), "nice");
    shares_destroy(s);
}

/* ---- old records ---- */

static void result_note(void *context, const struct gt_result *r)
{
    struct said *s = context;
    s->done = true;
    s->code = r->code;
}

static void record(struct node *n, enum store_table table, uint32_t number, uint32_t offset,
                   int64_t expires_ns)
{
    uint8_t value[24] = {0};
    struct said s = {0};
    struct error e;
    store_u64(value + offset, (uint64_t)expires_ns);
    struct store_write write = {STORE_PUT, table, &number, sizeof number, value, sizeof value};
    assert_int_equal(store_write(n->store, &write, 1, 0, (struct gt_callback){result_note, &s}, &e),
                     0);
    assert_int_equal(said_wait(n, &s), 0);
}

static int look(struct node *n, enum store_table table, uint32_t number)
{
    struct said s = {0};
    struct error e;
    assert_int_equal(store_get(n->store, table, &number, sizeof number,
                               (struct gt_callback){result_note, &s}, &e),
                     0);
    return said_wait(n, &s);
}

static void records_go_when_their_time_is_over(void **state)
{
    (void)state;
    struct node *n = node_parts_open();
    int64_t now = clock_ns(CLOCK_REALTIME);
    for (uint32_t i = 0; i < 5000; i++)
        record(n, STORE_CALL, i, 0, i % 2 ? now + 3600000000000 : now - 1);
    record(n, STORE_IDEMPOTENCY, 1, 8, now - 1);
    record(n, STORE_IDEMPOTENCY, 2, 8, now + 3600000000000);
    for (int step = 0; step < 200 && look(n, STORE_IDEMPOTENCY, 1) == 0; step++)
        expiry_step(n->expiry, now);
    for (uint32_t i = 0; i < 5000; i += 499)
        assert_int_equal(look(n, STORE_CALL, i), i % 2 ? 0 : -ATOLL_ENOENT);
    assert_int_equal(look(n, STORE_IDEMPOTENCY, 1), -ATOLL_ENOENT);
    assert_int_equal(look(n, STORE_IDEMPOTENCY, 2), 0);
    node_parts_close(n);
}

/* ---- metrics ---- */

static bool text_has(const struct buffer *b, const char *text)
{
    return memmem(b->data, b->len, text, strlen(text)) != NULL;
}

static void metrics_count_what_was_called_and_stay_bounded(void **state)
{
    (void)state;
    struct node *n = node_parts_open();
    struct function_version v = {0};
    struct metrics_call call = {.status = CALL_OK, .temperature = CALL_HOT, .run_ns = 5000};
    struct buffer text = {0};
    struct error e;
    for (uint32_t i = 0; i < METRICS_FUNCTIONS_MAX + 50; i++) {
        snprintf(v.manifest.tenant, sizeof v.manifest.tenant, "acme");
        snprintf(v.manifest.function, sizeof v.manifest.function, "f%u", i);
        metrics_call(n->metrics, &v, &call);
    }
    snprintf(v.manifest.function, sizeof v.manifest.function, "f1");
    call.status = CALL_TRAPPED;
    metrics_call(n->metrics, &v, &call);
    metrics_rejected(n->metrics, "queue");
    metrics_http(n->metrics, 418);
    assert_int_equal(metrics_render(n->metrics, &text, &e), 0);
    assert_true(text_has(&text, "atoll_calls_total{tenant=\"acme\",function=\"f1\",status=\"ok\","
                                "temperature=\"hot\"} 1\n"));
    assert_true(text_has(&text, "status=\"trapped\",temperature=\"hot\"} 1\n"));
    assert_true(text_has(&text, "{tenant=\"other\",function=\"other\",status=\"ok\","
                                "temperature=\"hot\"} 5"));
    assert_false(text_has(&text, "\"f2049\""));
    assert_true(text_has(&text, "atoll_http_requests_total{code=\"418\"} 1\n"));
    assert_true(text_has(&text, "atoll_rejected_total{reason=\"queue\"} 1\n"));
    buffer_free(&text);
    node_parts_close(n);
}

static void two_nodes_never_share_a_directory(void **state)
{
    (void)state;
    struct node *n = node_parts_open(), *second;
    struct node_config config = n->config;
    struct error e;
    uint32_t epoch = n->boot_epoch;
    assert_int_equal(node_create(&config, &second, &e), -ATOLL_EBUSY);
    node_parts_close(n);
    n = node_parts_open();
    assert_int_equal(n->boot_epoch, epoch + 1);
    node_parts_close(n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_nice_value_is_a_quarter_of_the_share_for_each_step),
        cmocka_unit_test(a_delegated_group_gets_the_weights),
        cmocka_unit_test(records_go_when_their_time_is_over),
        cmocka_unit_test(metrics_count_what_was_called_and_stay_bounded),
        cmocka_unit_test(two_nodes_never_share_a_directory),
    };
    return cmocka_run_group_tests(tests, scratch_create, scratch_destroy);
}
