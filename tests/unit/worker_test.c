/* A worker process, driven over a link as the supervisor does it (src/node/worker). */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../guest/supervisor.h"

#include "base/clock.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define CALLS GUEST_MODULES "/calls.wasm"
#define V     7u

static struct supervisor *s;

/* A worker with the function "calls" loaded as version V. */
static void start(uint32_t threads, uint32_t instances, const char *more)
{
    const struct worker_settings settings = {.threads = threads, .instances_max = instances};
    char manifest[1024];
    snprintf(manifest, sizeof manifest, "{\"name\":\"acme/calls\"%s%s}", *more ? "," : "", more);
    s = supervisor_start(&settings);
    supervisor_name(s, "acme/calls", V, 0);
    if (supervisor_load(s, V, CALLS, manifest, -1) != 0)
        fail_msg("%s", s->loaded_text);
}

static int finish(void **state)
{
    (void)state;
    int status = s ? supervisor_stop(s, 0) : 0;
    s = NULL;
    return status == 0 ? 0 : -1;
}

static int begin(void **state)
{
    (void)state;
    start(2, 0, "");
    return 0;
}

/* Runs a call that must end well; its output as text. */
static const char *run(const char *input)
{
    const struct ended *r = supervisor_run(s, V, input);
    if (!r)
        fail_msg("no result of %s", input);
    if (r->result.status != CALL_OK)
        fail_msg("%s: status %d, code %d, %s", input, r->result.status, r->result.code, r->text);
    return (const char *)r->output;
}

static const struct ended *ends(const char *input, enum call_status status)
{
    const struct ended *r = supervisor_run(s, V, input);
    if (!r)
        fail_msg("no result of %s", input);
    if (r->result.status != (int)status)
        fail_msg("%s: status %d, code %d, %s", input, r->result.status, r->result.code, r->text);
    return r;
}

/* ---- single calls ---- */

static void a_call_gets_its_input_and_gives_its_output_and_code(void **state)
{
    (void)state;
    assert_string_equal(run("e hello"), "e hello");
    assert_int_equal(ends("r17", CALL_FAILED)->result.code, 17);
    assert_int_equal(ends("", CALL_FAILED)->result.code, 100);
}

static void no_call_sees_what_another_has_written(void **state)
{
    (void)state;
    for (int k = 0; k < 20; k++) {
        assert_string_equal(run("c"), "1");
        run("D");
        assert_string_equal(run("C"), "0");
    }
    const struct ended *r = ends("c", CALL_OK);
    assert_int_equal(r->result.temperature, CALL_HOT);
}

static void a_trap_is_told_with_its_place_and_hurts_nobody_else(void **state)
{
    (void)state;
    const struct ended *r = ends("t", CALL_TRAPPED);
    assert_non_null(strstr(r->text, "unreachable"));
    assert_non_null(strstr(r->text, "function"));
    assert_string_equal(run("c"), "1");
}

static void atoll_fail_ends_the_call_with_code_and_message(void **state)
{
    (void)state;
    const struct ended *r = ends("x", CALL_FAILED);
    assert_int_equal(r->result.code, 42);
    assert_string_equal(r->text, "it was not to be");
    assert_string_equal((const char *)r->output, "it was not to be");
}

static void an_endless_call_is_ended_at_its_deadline(void **state)
{
    (void)state;
    int64_t begun = clock_monotonic_ns();
    const struct call_options options = {.timeout_ns = 50000000};
    const struct ended *r = supervisor_wait(s, supervisor_call(s, V, "l", 1, &options));
    assert_int_equal(r->result.status, CALL_TIMEDOUT);
    assert_int_equal(r->result.code, -ATOLL_ETIMEDOUT);
    assert_true(clock_monotonic_ns() - begun >= 50000000);
    assert_string_equal(run("c"), "1");
}

static void a_call_is_cancelled_while_it_runs_and_while_it_waits(void **state)
{
    (void)state;
    uint64_t running[2], waiting;
    for (int k = 0; k < 2; k++)
        running[k] = supervisor_call(s, V, "l", 1, NULL);
    waiting = supervisor_call(s, V, "n", 1, NULL);
    supervisor_cancel(s, waiting);
    usleep(20000);
    for (int k = 0; k < 2; k++)
        supervisor_cancel(s, running[k]);
    for (int k = 0; k < 2; k++)
        assert_int_equal(supervisor_wait(s, running[k])->result.status, CALL_CANCELLED);
    int32_t status = supervisor_wait(s, waiting)->result.status;
    assert_true(status == CALL_CANCELLED || status == CALL_OK); /* it may have had its slice */
    assert_string_equal(run("c"), "1");
}

static void endless_calls_on_every_thread_do_not_keep_others_from_running(void **state)
{
    (void)state;
    uint64_t hogs[3];
    for (int k = 0; k < 3; k++)
        hogs[k] = supervisor_call(s, V, "l", 1, NULL);
    for (int k = 0; k < 5; k++)
        assert_string_equal(run("c"), "1");
    for (int k = 0; k < 3; k++)
        supervisor_cancel(s, hogs[k]);
    for (int k = 0; k < 3; k++)
        assert_int_equal(supervisor_wait(s, hogs[k])->result.status, CALL_CANCELLED);
}

static void an_output_stops_at_the_limit_of_the_manifest(void **state)
{
    (void)state;
    start(1, 0, "\"limits\":{\"output\":\"1MiB\"}");
    assert_string_equal(run("o"), "1048576");
}

static void large_outputs_and_inputs_travel_in_files(void **state)
{
    (void)state;
    assert_int_equal(strlen(run("z200000")), 200000);
    size_t len = 300001;
    uint8_t *input = malloc(len);
    memset(input, 'M', len);
    const struct ended *r = supervisor_wait(s, supervisor_call(s, V, input, len, NULL));
    assert_int_equal(r->result.status, CALL_OK);
    assert_int_equal(r->result.output_len, len);
    for (size_t k = 0; k < len; k++)
        assert_int_equal(r->output[k], 'M' + 1);
    const struct call_options options = {.as_file = true};
    r = supervisor_wait(s, supervisor_call(s, V, "e small", 7, &options));
    assert_string_equal((const char *)r->output, "e small");
    assert_string_equal(run("M and a small one"), "N!boe!b!tnbmm!pof");
    free(input);
}

static void a_call_may_log_a_thousand_lines_and_a_mebibyte(void **state)
{
    (void)state;
    assert_string_equal(run("g"), "1000");
    assert_int_equal(s->log_lines, 1000);
    assert_string_equal(run("q"), "17"); /* 17 x 60,000 bytes, each in 59 pieces */
}

static void a_call_knows_what_it_is(void **state)
{
    (void)state;
    const struct call_options options = {.timeout_ns = 5000000000};
    uint64_t id = supervisor_call(s, V, "i", 1, &options);
    const struct ended *r = supervisor_wait(s, id);
    assert_int_equal(r->result.output_len, 248);
    assert_int_equal(load_u64(r->output + 8), id);
    assert_int_equal(load_u64(r->output + 16), id);
    assert_int_equal(load_u64(r->output + 24), 0);
    assert_true(load_u64(r->output + 32) > 0);
    assert_string_equal((const char *)r->output + 80, "acme");
    assert_string_equal((const char *)r->output + 144, "calls");
}

static void an_http_function_reads_the_head_and_sets_the_replys(void **state)
{
    (void)state;
    const struct call_options options = {.head = "GET /x?y=1\nhost: here\n"};
    const struct ended *r = supervisor_wait(s, supervisor_call(s, V, "h", 1, &options));
    assert_int_equal(r->result.status, CALL_OK);
    assert_string_equal((const char *)r->output, "GET /x?y=1\nhost: here\n");
    assert_string_equal(r->head, "201\ncontent-type: text/plain\nx-one: 1\n");
    assert_string_equal(run("h"), "-4"); /* this one came from elsewhere */
}

static void many_calls_at_once_all_come_back(void **state)
{
    (void)state;
    uint64_t ids[3000];
    char text[16];
    for (int k = 0; k < 3000; k++) {
        int len = snprintf(text, sizeof text, "e%d", k);
        ids[k] = supervisor_call(s, V, text, (size_t)len, NULL);
    }
    for (int k = 0; k < 3000; k++) {
        const struct ended *r = supervisor_wait(s, ids[k]);
        snprintf(text, sizeof text, "e%d", k);
        assert_string_equal((const char *)r->output, text);
    }
}

/* ---- chaining ---- */

static void a_parent_waits_for_its_child_on_one_thread(void **state)
{
    (void)state;
    start(1, 0, "");
    assert_string_equal(run("f10"), "55");
    run("w1000");
}

static void a_child_that_its_parent_waits_for_runs_on_its_thread(void **state)
{
    (void)state;
    assert_string_equal(run("w50"), "");
    for (int k = 0; k < 3 && !s->tally.ended[CALL_OK]; k++)
        supervisor_listen(s, 1000000000);
    assert_int_equal(s->tally.ended[CALL_OK], 50);
    assert_in_range(s->tally.direct, 40, 50); /* the timekeeper may let another thread have one */
}

static void recursion_by_chaining_needs_no_more_than_two_threads(void **state)
{
    (void)state;
    assert_string_equal(run("f16"), "987");
}

static void ten_thousand_children_at_once_end(void **state)
{
    (void)state;
    assert_string_equal(run("F10000"), "10000");
    const struct ended *r = ends("F10000", CALL_OK);
    assert_int_equal(r->result.children, 10000);
}

static void a_hundred_thousand_children_are_the_most(void **state)
{
    (void)state;
    assert_string_equal(run("F100000"), "100000");
}

static void chains_are_sixty_four_deep_and_no_deeper(void **state)
{
    (void)state;
    assert_string_equal(run("d"), "64");
}

static void deep_chains_of_many_roots_fit_into_few_instances(void **state)
{
    (void)state;
    start(2, 80, "");
    uint64_t ids[40];
    for (int k = 0; k < 40; k++)
        ids[k] = supervisor_call(s, V, "d", 1, NULL);
    for (int k = 0; k < 40; k++)
        assert_string_equal((const char *)supervisor_wait(s, ids[k])->output, "64");
}

static void a_child_is_cancelled_by_its_parent(void **state)
{
    (void)state;
    assert_string_equal(run("k"), "6");
}

static void waiting_for_some_ends_when_some_have(void **state)
{
    (void)state;
    for (int k = 0; k < 20; k++)
        assert_string_equal(run("a"), "2");
}

static void how_a_child_ended_is_told_apart(void **state)
{
    (void)state;
    assert_string_equal(run("T"), "4 -29");
    assert_string_equal(run("X"), "3 42");
    assert_string_equal(run("L"), "5 -8");
}

static void a_child_that_traps_is_tried_again_as_often_as_asked(void **state)
{
    (void)state;
    assert_string_equal(run("R"), "2 0");
}

static void children_end_with_their_parent_unless_detached(void **state)
{
    (void)state;
    assert_string_equal(run("p"), "4");
    assert_string_equal(run("P"), "4");
    for (int tries = 0; tries < 200 && s->log_lines < 4; tries++)
        supervisor_listen(s, 10000000);
    assert_int_equal(s->log_lines, 4);
    /* Nothing runs any more: the endless children of the first are gone. */
    for (int tries = 0; tries < 400 && s->tally.ended[CALL_CANCELLED] < 4; tries++)
        supervisor_listen(s, 10000000);
    assert_int_equal(s->tally.ended[CALL_CANCELLED], 4);
}

static void a_result_is_mapped_without_a_copy(void **state)
{
    (void)state;
    assert_string_equal(run("m500000"), "500000");
    assert_string_equal(run("m10"), "10");
}

static void a_function_of_the_table_is_called_with_fresh_memory(void **state)
{
    (void)state;
    assert_string_equal(run("s"), "7");
}

static void a_gang_starts_whole_or_not_at_all(void **state)
{
    (void)state;
    start(2, 100, "");
    assert_string_equal(run("G20"), "20");
    assert_string_equal(run("G90"), "0"); /* more than there are slots */
    assert_string_equal(run("F90"), "90");
}

static void a_version_runs_no_more_calls_at_once_than_it_allows(void **state)
{
    (void)state;
    start(2, 0, "\"limits\":{\"concurrency\":1}");
    uint64_t ids[50];
    for (int k = 0; k < 50; k++)
        ids[k] = supervisor_call(s, V, k % 10 ? "c" : "f5", 2, NULL);
    for (int k = 0; k < 50; k++)
        assert_int_equal(supervisor_wait(s, ids[k])->result.status, CALL_OK);
}

/* ---- names ---- */

static void names_are_asked_for_once_and_again_when_they_change(void **state)
{
    (void)state;
    assert_string_equal(run("Ncalls"), "2000");
    assert_string_equal(run("Nacme/calls"), "2000");
    assert_int_equal(s->resolves, 1);
    struct message alias = {
        .header.kind = MESSAGE_ALIAS, .parts = {(const uint8_t *)"acme/calls"}, .part_len = {10}};
    supervisor_send(s, &alias, NULL, 0);
    assert_string_equal(run("Ncalls"), "2000");
    assert_int_equal(s->resolves, 2);
    assert_string_equal(run("Nnobody"), "-4");
    assert_string_equal(run("Nother/calls"), "-3"); /* not in the manifest */
    assert_string_equal(run("N/x"), "-1");
}

static bool foreign(struct supervisor *me, const struct message *m, int fd)
{
    (void)fd;
    struct message inner,
        result = {.header.kind = MESSAGE_RESULT,
                  .result = {.status = CALL_FAILED, .code = 77},
                  .parts = {(const uint8_t *)"because", NULL, (const uint8_t *)"there"},
                  .part_len = {7, 0, 5}};
    struct error e;
    uint8_t body[512];
    if (m->request.kind != REQUEST_CALL ||
        message_decode_body(MESSAGE_CALL, m->parts[0], m->part_len[0], 0, &inner, &e) < 0 ||
        inner.call.version != 99 || inner.part_len[2] != 1)
        return false;
    uint32_t len = message_measure(&result) - (uint32_t)sizeof result.header;
    message_encode_body(&result, body);
    supervisor_answer(me, m->header.id, 0, body, len);
    return true;
}

static void functions_of_others_are_called_through_the_supervisor(void **state)
{
    (void)state;
    start(2, 0, "\"call\":[\"acme/*\",\"other/*\"]");
    supervisor_name(s, "other/calls", 99, 1);
    s->request = foreign;
    assert_string_equal(run("Nother/calls"), "3077");
    s->request = NULL;
    assert_string_equal(run("Nother/calls"), "6981"); /* REJECTED, -ENOSYS */
}

/* ---- versions ---- */

static void a_module_without_an_entry_or_with_unknown_imports_is_refused_by_name(void **state)
{
    (void)state;
    const struct worker_settings settings = {.threads = 1};
    s = supervisor_start(&settings);
    int rc = supervisor_load(s, 1, GUEST_MODULES "/basics.wasm", "{\"name\":\"acme/calls\"}", -1);
    assert_int_equal(rc, -ATOLL_ELINK);
    assert_int_equal(s->loaded_stage, LOAD_LINK);
    assert_non_null(strstr(s->loaded_text, "test.add"));
    rc = supervisor_load(s, 1, GUEST_MODULES "/basics.wasm",
                         "{\"name\":\"acme/calls\",\"allow_unknown_imports\":true}", -1);
    assert_int_equal(rc, -ATOLL_ENOENT);
    assert_non_null(strstr(s->loaded_text, "atoll_main"));
    const struct ended *r = supervisor_run(s, 1, "n");
    assert_int_equal(r->result.status, CALL_REJECTED);
    assert_non_null(strstr(r->text, "atoll_main"));
    assert_int_equal(supervisor_run(s, 55, "n")->result.status, CALL_REJECTED);
}

static void an_ordinary_wasi_program_runs_unmodified(void **state)
{
    (void)state;
    assert_int_equal(supervisor_load(s, 9, GUEST_MODULES "/upper.wasm",
                                     "{\"name\":\"acme/upper\",\"env\":{\"MODE\":\"prod\"}}", -1),
                     0);
    for (int k = 0; k < 3; k++) {
        const struct ended *r = supervisor_run(s, 9, "what comes in\n");
        assert_int_equal(r->result.status, CALL_OK);
        assert_string_equal((const char *)r->output, "WHAT COMES IN\n");
    }
    assert_non_null(strstr(s->log, "has 0 arguments, MODE=prod"));
    const struct call_options options = {.arguments = "upper\0fail", .arguments_len = 11};
    const struct ended *r = supervisor_wait(s, supervisor_call(s, 9, "x", 1, &options));
    assert_int_equal(r->result.status, CALL_FAILED);
    assert_int_equal(r->result.code, 3);
    assert_string_equal((const char *)r->output, "X");
    assert_non_null(strstr(s->log, "has 1 arguments"));
}

static void a_zygote_prepares_once_and_its_image_starts_elsewhere(void **state)
{
    (void)state;
    static const char manifest[] = "{\"name\":\"acme/zygote\"}";
    if (supervisor_load(s, 9, GUEST_MODULES "/zygote.wasm", manifest, -1) != 0)
        fail_msg("%s", s->loaded_text);
    for (int k = 0; k < 3; k++)
        assert_string_equal((const char *)supervisor_run(s, 9, "x")->output, "11");
    assert_true(s->image >= 0);
    FILE *file = tmpfile(); /* as the supervisor has it, which keeps images on disk */
    int image = fileno(file);
    struct stat st;
    assert_int_equal(fstat(s->image, &st), 0);
    assert_int_equal(sendfile(image, s->image, NULL, (size_t)st.st_size), st.st_size);
    if (supervisor_load(s, 10, GUEST_MODULES "/zygote.wasm", manifest, image) != 0)
        fail_msg("%s", s->loaded_text);
    assert_string_equal((const char *)supervisor_run(s, 10, "x")->output, "11");
    assert_int_equal(supervisor_load(s, 11, CALLS, "{\"name\":\"acme/calls\"}", image),
                     -ATOLL_ESTALE);
    assert_int_equal(s->loaded_stage, LOAD_IMAGE);
    fclose(file);
}

static void cold_warm_and_hot_starts_are_what_they_say(void **state)
{
    (void)state;
    run("c");
    const struct call_options cold = {.flags = CALL_FLAG_CLEAR}, fresh = {.flags = CALL_FLAG_FRESH};
    const struct ended *r = supervisor_wait(s, supervisor_call(s, V, "c", 1, &cold));
    assert_int_equal(r->result.status, CALL_OK);
    assert_int_equal(r->result.temperature, CALL_COLD);
    r = supervisor_wait(s, supervisor_call(s, V, "c", 1, &fresh));
    assert_int_equal(r->result.temperature, CALL_WARM);
    assert_string_equal((const char *)r->output, "1");
    assert_int_equal(ends("c", CALL_OK)->result.temperature, CALL_HOT);
}

/* Arenas whose code is mapped, of the worker. */
static uint32_t arenas_there(void)
{
    char path[64], line[512];
    uint32_t count = 0;
    snprintf(path, sizeof path, "/proc/%d/maps", s->pid);
    FILE *maps = fopen(path, "re");
    assert_non_null(maps);
    while (fgets(line, sizeof line, maps))
        count += strstr(line, " r-xp ") &&
                 (strstr(line, "/memfd:atoll-code") || strstr(line, "artefact"));
    fclose(maps);
    return count;
}

static void calls_that_want_new_instances_do_not_fill_the_process(void **state)
{
    (void)state;
    const struct call_options fresh = {.flags = CALL_FLAG_FRESH};
    for (int k = 0; k < 60; k++) {
        const struct ended *r = supervisor_wait(s, supervisor_call(s, V, "c", 1, &fresh));
        assert_int_equal(r->result.temperature, CALL_WARM);
        assert_string_equal((const char *)r->output, "1");
    }
    /* An idle one for each thread at most, and slots that wait for the next. */
    uint32_t there = arenas_there();
    assert_in_range(there, 1, 6);
    assert_int_equal(ends("c", CALL_OK)->result.temperature, CALL_HOT);
}

/* ---- memory that is kept ---- */

static const char *output_of_foreign(const char *input)
{
    const struct call_options o = {.parent = 77};
    return (const char *)supervisor_wait(s, supervisor_call(s, V, input, strlen(input), &o))
        ->output;
}

static void memory_is_kept_between_calls_of_one_tree_where_the_manifest_says_so(void **state)
{
    (void)state;
    start(1, 0, "\"reset\":\"tenant-trusted\"");
    for (int tree = 0; tree < 3; tree++)
        assert_string_equal(run("K5"), "15"); /* 1 + 2 + … : each tree begins anew */
    for (int tree = 0; tree < 3; tree++)
        assert_string_equal(run("c"), "1"); /* a root is a tree of its own */
    assert_string_equal(output_of_foreign("K5"), "5");
    for (int k = 0; k < 10 && s->tally.started[CALL_KEPT] < 3 * 4; k++)
        supervisor_listen(s, 1000000000);
    assert_int_equal(s->tally.started[CALL_KEPT], 3 * 4);
    finish(NULL);
    start(1, 0, "");
    assert_string_equal(run("K5"), "5");
}

static void a_service_that_is_never_reset_keeps_its_memory_for_its_own_tenant(void **state)
{
    (void)state;
    start(1, 0, "\"kind\":\"service\",\"reset\":\"never\"");
    assert_string_equal(run("c"), "1");
    assert_string_equal(run("c"), "2");
    assert_int_equal(ends("c", CALL_OK)->result.temperature, CALL_KEPT);
    assert_string_equal(output_of_foreign("c"), "1");
    assert_string_equal(run("c"), "4");
    ends("x", CALL_FAILED); /* it was given up in the middle: what it left is put back */
    assert_string_equal(run("c"), "1");
}

static void a_plain_program_is_always_reset(void **state)
{
    (void)state;
    const struct worker_settings settings = {.threads = 1};
    s = supervisor_start(&settings);
    assert_int_equal(supervisor_load(s, V, GUEST_MODULES "/upper.wasm",
                                     "{\"name\":\"acme/calls\",\"reset\":\"tenant-trusted\"}", -1),
                     -ATOLL_EINVAL);
    assert_non_null(strstr(s->loaded_text, "_start"));
}

static void a_dropped_version_ends_what_runs_and_takes_no_more(void **state)
{
    (void)state;
    uint64_t running = supervisor_call(s, V, "b100", 4, NULL);
    struct message drop = {.header = {.kind = MESSAGE_DROP, .id = V}};
    supervisor_send(s, &drop, NULL, 0);
    assert_int_equal(supervisor_wait(s, running)->result.status, CALL_OK);
    assert_int_equal(supervisor_run(s, V, "c")->result.status, CALL_REJECTED);
    /* Numbers are not used again: the same function comes as another version. */
    assert_int_equal(supervisor_load(s, V + 1, CALLS, "{\"name\":\"acme/calls\"}", -1), 0);
    assert_int_equal(supervisor_run(s, V + 1, "c")->result.status, CALL_OK);
}

static void the_graph_is_told_only_when_it_is_wanted(void **state)
{
    (void)state;
    run("F10");
    assert_int_equal(s->children, 0);
    const struct call_options graph = {.flags = CALL_FLAG_GRAPH};
    supervisor_wait(s, supervisor_call(s, V, "F10", 3, &graph));
    assert_int_equal(s->children, 10);
}

static void a_stopping_worker_finishes_what_it_has(void **state)
{
    (void)state;
    start(2, 0, "");
    uint64_t id = supervisor_call(s, V, "b50", 3, NULL);
    usleep(10000);
    struct message stop = {.header.kind = MESSAGE_STOP, .stop.grace_ns = 10000000000};
    supervisor_send(s, &stop, NULL, 0);
    assert_int_equal(supervisor_wait(s, id)->result.status, CALL_OK);
    while (!s->gone)
        supervisor_listen(s, 1000000000);
}

static void a_call_that_does_not_end_is_put_down_when_the_worker_ends(void **state)
{
    (void)state;
    int status;
    start(1, 0, "");
    supervisor_call(s, V, "l", 1, NULL); /* endless, without a deadline */
    assert_int_equal(supervisor_stop(s, 1000000), 0);
    start(1, 0, "");
    supervisor_call(s, V, "l", 1, NULL);
    supervisor_call(s, V, "w100000", 7, NULL);
    close(s->link->socket);
    s->link->socket = -1;
    waitpid(s->pid, &status, 0);
    assert_int_equal(status, 0);
    supervisor_free(s);
    s = NULL;
}

static void a_worker_ends_when_the_supervisor_is_gone_or_talks_nonsense(void **state)
{
    (void)state;
    const struct worker_settings settings = {.threads = 1};
    int status;
    s = supervisor_start(&settings);
    close(s->link->socket);
    s->link->socket = -1;
    waitpid(s->pid, &status, 0);
    assert_true(WIFEXITED(status));
    supervisor_free(s);
    s = supervisor_start(&settings);
    memcpy(ring_reserve(&s->link->out, 16), "this is nonsense", 16);
    ring_publish(&s->link->out);
    waitpid(s->pid, &status, 0);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 2);
    supervisor_free(s);
    s = NULL;
}

#define ON(test)  cmocka_unit_test_setup_teardown(test, begin, finish)
#define OWN(test) cmocka_unit_test_teardown(test, finish)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON(a_call_gets_its_input_and_gives_its_output_and_code),
        ON(no_call_sees_what_another_has_written),
        ON(a_trap_is_told_with_its_place_and_hurts_nobody_else),
        ON(atoll_fail_ends_the_call_with_code_and_message),
        ON(an_endless_call_is_ended_at_its_deadline),
        ON(a_call_is_cancelled_while_it_runs_and_while_it_waits),
        ON(endless_calls_on_every_thread_do_not_keep_others_from_running),
        OWN(an_output_stops_at_the_limit_of_the_manifest),
        ON(large_outputs_and_inputs_travel_in_files),
        ON(a_call_may_log_a_thousand_lines_and_a_mebibyte),
        ON(a_call_knows_what_it_is),
        ON(an_http_function_reads_the_head_and_sets_the_replys),
        ON(many_calls_at_once_all_come_back),
        OWN(a_parent_waits_for_its_child_on_one_thread),
        ON(a_child_that_its_parent_waits_for_runs_on_its_thread),
        ON(recursion_by_chaining_needs_no_more_than_two_threads),
        ON(ten_thousand_children_at_once_end),
        ON(a_hundred_thousand_children_are_the_most),
        ON(chains_are_sixty_four_deep_and_no_deeper),
        OWN(deep_chains_of_many_roots_fit_into_few_instances),
        ON(a_child_is_cancelled_by_its_parent),
        ON(waiting_for_some_ends_when_some_have),
        ON(how_a_child_ended_is_told_apart),
        ON(a_child_that_traps_is_tried_again_as_often_as_asked),
        ON(children_end_with_their_parent_unless_detached),
        ON(a_result_is_mapped_without_a_copy),
        ON(a_function_of_the_table_is_called_with_fresh_memory),
        OWN(a_gang_starts_whole_or_not_at_all),
        OWN(a_version_runs_no_more_calls_at_once_than_it_allows),
        ON(names_are_asked_for_once_and_again_when_they_change),
        OWN(functions_of_others_are_called_through_the_supervisor),
        OWN(a_module_without_an_entry_or_with_unknown_imports_is_refused_by_name),
        ON(an_ordinary_wasi_program_runs_unmodified),
        ON(a_zygote_prepares_once_and_its_image_starts_elsewhere),
        ON(cold_warm_and_hot_starts_are_what_they_say),
        ON(calls_that_want_new_instances_do_not_fill_the_process),
        OWN(memory_is_kept_between_calls_of_one_tree_where_the_manifest_says_so),
        OWN(a_service_that_is_never_reset_keeps_its_memory_for_its_own_tenant),
        OWN(a_plain_program_is_always_reset),
        ON(a_dropped_version_ends_what_runs_and_takes_no_more),
        ON(the_graph_is_told_only_when_it_is_wanted),
        OWN(a_stopping_worker_finishes_what_it_has),
        OWN(a_call_that_does_not_end_is_put_down_when_the_worker_ends),
        OWN(a_worker_ends_when_the_supervisor_is_gone_or_talks_nonsense),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
