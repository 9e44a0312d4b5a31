/* The builder's queues (src/node/builder.c): who is built next. The compiler is a script here that
 * waits for a file and then fails: both threads are held up until everything is queued. */
#define _GNU_SOURCE
#include "scratch_directory.h"

#include "base/file.h"
#include "node/builder.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include <cmocka.h>

#define DAY_NS 86400000000000ll

struct hall {
    uv_loop_t loop;
    struct builder *builder;
    char module[PATH_MAX];
    char order[BUILDER_QUEUE_MAX]; /* whose builds ended, by the tenant's letter */
    int codes[BUILDER_QUEUE_MAX];
    uint32_t ended;
};

struct order {
    struct hall *hall;
    char letter;
};

static void build_note(void *context, struct built *b)
{
    struct order *o = context;
    assert_null(b->artefact);
    o->hall->codes[o->hall->ended] = b->code;
    o->hall->order[o->hall->ended++] = o->letter;
    free(o);
}

static int hall_open(void **state)
{
    static const char script[] = "#!/bin/sh\n"
                                 "while ! [ -e \"$0.go\" ]; do sleep 0.01; done\n"
                                 "exit 1\n";
    struct error e;
    char path[PATH_MAX];
    struct hall *h = calloc(1, sizeof *h);
    snprintf(path, sizeof path, "%s", scratch_path("compiler"));
    snprintf(h->module, sizeof h->module, "%s", scratch_path("module.wasm"));
    assert_int_equal(file_replace(path, script, sizeof script - 1, 0700, &e), 0);
    assert_int_equal(file_replace(h->module, "\0asm\1\0\0\0", 8, 0600, &e), 0);
    setenv("ATOLL_CC", path, 1);
    strcat(path, ".go");
    unlink(path);
    uv_loop_init(&h->loop);
    assert_int_equal(builder_create(&h->loop, scratch_path("cache"), DAY_NS, &h->builder, &e), 0);
    *state = h;
    return 0;
}

static void compiler_go(void)
{
    struct error e;
    assert_int_equal(file_replace(scratch_path("compiler.go"), "", 0, 0600, &e), 0);
}

static int hall_close(void **state)
{
    struct hall *h = *state;
    compiler_go();
    builder_destroy(h->builder);
    uv_run(&h->loop, UV_RUN_DEFAULT);
    uv_loop_close(&h->loop);
    free(h);
    return 0;
}

static int submit(struct hall *h, const char *tenant, struct error *e)
{
    struct order *o = malloc(sizeof *o);
    *o = (struct order){h, tenant[0]};
    int rc = builder_submit(h->builder, tenant, h->module, BUILD_BEST, build_note, o, e);
    if (rc != 0)
        free(o);
    return rc;
}

static void submit_many(struct hall *h, const char *tenant, uint32_t count)
{
    struct error e;
    for (uint32_t i = 0; i < count; i++)
        assert_int_equal(submit(h, tenant, &e), 0);
}

static void ended_await(struct hall *h, uint32_t count)
{
    while (h->ended < count)
        uv_run(&h->loop, UV_RUN_ONCE);
}

/* How many of the first builds that ended were the tenant's. */
static uint32_t among_first(const struct hall *h, uint32_t first, char letter)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < first; i++)
        count += h->order[i] == letter;
    return count;
}

static void tenants_take_turns(void **state)
{
    struct hall *h = *state;
    submit_many(h, "many", 60);
    submit_many(h, "few", 3);
    submit_many(h, "one", 1);
    submit_many(h, "few", 1);
    compiler_go();
    ended_await(h, 65);
    /* Two of "many" are in hand; then one of each in turn, by two threads that may overtake. */
    assert_int_equal(among_first(h, 16, 'f'), 4);
    assert_int_equal(among_first(h, 8, 'o'), 1);
    assert_int_equal(among_first(h, 65, 'm'), 60);
}

static void a_tenant_fills_its_share_of_the_queue_and_no_more(void **state)
{
    struct hall *h = *state;
    struct error e;
    uint32_t count = 0;
    while (submit(h, "many", &e) == 0)
        count++;
    assert_int_equal(e.code, -ATOLL_EAGAIN);
    assert_non_null(strstr(e.text, "of tenant many"));
    assert_in_range(count, BUILDER_TENANT_MAX, BUILDER_TENANT_MAX + 2); /* two may be in hand */
    submit_many(h, "other", 10);
    builder_stop(h->builder);
    compiler_go();
    ended_await(h, count + 10);
}

static void what_waits_when_the_builder_stops_is_told(void **state)
{
    struct hall *h = *state;
    struct error e;
    submit_many(h, "many", 20);
    submit_many(h, "few", 5);
    builder_stop(h->builder);
    assert_int_equal(submit(h, "late", &e), -ATOLL_ECANCELED);
    ended_await(h, 23); /* though two are in hand and hang */
    for (uint32_t i = 0; i < 23; i++)
        assert_int_equal(h->codes[i], -ATOLL_ECANCELED);
    compiler_go();
    ended_await(h, 25);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(tenants_take_turns, hall_open, hall_close),
        cmocka_unit_test_setup_teardown(a_tenant_fills_its_share_of_the_queue_and_no_more,
                                        hall_open, hall_close),
        cmocka_unit_test_setup_teardown(what_waits_when_the_builder_stops_is_told, hall_open,
                                        hall_close),
    };
    return cmocka_run_group_tests_name("builder", tests, scratch_create, scratch_destroy);
}
