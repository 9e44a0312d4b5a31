/* Call graphs: what they hold, of whom, how long, and how much at most. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "node/call_graph.h"

#include <cjson/cJSON.h>
#include <string.h>

static struct function_version version;
static struct call_graphs *graphs;

static int begin(void **state)
{
    (void)state;
    strcpy(version.manifest.tenant, "acme");
    strcpy(version.manifest.function, "f");
    graphs = call_graphs_create();
    return graphs ? 0 : -1;
}

static int end(void **state)
{
    (void)state;
    call_graphs_destroy(graphs);
    return 0;
}

static void child(uint64_t app, uint64_t parent, uint64_t id)
{
    struct message_child m = {.app = app, .parent = parent, .status = CALL_OK, .depth = 1};
    call_graph_child(graphs, id, &m, &version);
}

static void root(uint64_t id, int64_t now_ns)
{
    struct call_outcome o = {.id = id, .status = CALL_OK, .text = "", .version = &version};
    call_graph_root(graphs, &o, now_ns);
}

/* The graph as JSON; the caller frees it. */
static cJSON *render(uint64_t app, int code)
{
    struct buffer text = {0};
    struct error e;
    assert_int_equal(call_graph_render(graphs, app, NULL, &text, &e), code);
    cJSON *o = code == 0 ? cJSON_ParseWithLength((const char *)text.data, text.len) : NULL;
    assert_true(code != 0 || o != NULL);
    buffer_free(&text);
    return o;
}

static int calls_of(const cJSON *o)
{
    return cJSON_GetArraySize(cJSON_GetObjectItemCaseSensitive(o, "calls"));
}

static void a_graph_has_the_root_and_what_it_chained(void **state)
{
    (void)state;
    child(1, 1, 2);
    child(1, 2, 3);
    child(7, 7, 8);
    root(1, 0);
    cJSON *o = render(1, 0);
    assert_int_equal(calls_of(o), 3);
    cJSON_Delete(o);
    assert_string_equal(call_graph_tenant(graphs, 1), "acme");
    assert_null(call_graph_tenant(graphs, 2));
    render(99, -ATOLL_ENOENT);
}

static void a_graph_is_forgotten_after_its_time(void **state)
{
    (void)state;
    child(1, 1, 2);
    root(1, 1000);
    root(5, 2000);
    call_graph_expire(graphs, 1000 + CALL_GRAPH_TTL_NS - 1);
    cJSON_Delete(render(1, 0));
    call_graph_expire(graphs, 1000 + CALL_GRAPH_TTL_NS + 1);
    render(1, -ATOLL_ENOENT);
    cJSON_Delete(render(5, 0));
    assert_null(call_graph_tenant(graphs, 1));
}

static void records_are_bounded_whatever_is_chained(void **state)
{
    (void)state;
    for (uint64_t id = 2; id < CALL_GRAPH_RECORDS_MAX + 1000; id++)
        child(1, 1, id);
    root(1, 0);
    cJSON *o = render(1, 0);
    assert_true(calls_of(o) > 0 && calls_of(o) <= (int)CALL_GRAPH_RECORDS_MAX);
    assert_true(cJSON_GetObjectItemCaseSensitive(o, "dropped")->valuedouble >= 900);
    cJSON_Delete(o);
}

static void apps_are_bounded_and_the_oldest_go(void **state)
{
    (void)state;
    for (uint64_t id = 1; id <= CALL_GRAPH_APPS_MAX + 100; id++)
        root(id, (int64_t)id);
    render(1, -ATOLL_ENOENT);
    cJSON_Delete(render(CALL_GRAPH_APPS_MAX + 100, 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
        TEST(a_graph_has_the_root_and_what_it_chained),
        TEST(a_graph_is_forgotten_after_its_time),
        TEST(records_are_bounded_whatever_is_chained),
        TEST(apps_are_bounded_and_the_oldest_go),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
