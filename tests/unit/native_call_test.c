/* The current call in the native shim of the SDK (sdk/c/native): input, output, log, time, HTTP. */
#include "native_function.h"

#include <arpa/inet.h>
#include <math.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- input and output ---- */

static int32_t input_reader(void)
{
    char bytes[8] = {0};
    atoll_addr first, second;
    EXPECT(atoll_input_size() == 10);
    EXPECT(atoll_input_read(0, bytes, 8) == 8 && memcmp(bytes, "01234567", 8) == 0);
    EXPECT(atoll_input_read(8, bytes, 8) == 2 && memcmp(bytes, "89", 2) == 0);
    EXPECT(atoll_input_read(10, bytes, 8) == 0);
    EXPECT(atoll_input_read(UINT64_MAX - 8, bytes, 8) == 0);
    EXPECT(atoll_input_read(UINT64_MAX, bytes, 8) == -ATOLL_ERANGE);
    EXPECT(atoll_input_map(&first) == 0 && memcmp(atoll_pointer(first), "0123456789", 10) == 0);
    EXPECT(atoll_input_map(&second) == 0 && first == second);
    return 0;
}

static void input_is_read_in_pieces_and_mapped(void **state)
{
    (void)state;
    struct atoll_native *node = node_of(input_reader);
    run_ends(node, "f", "0123456789", ATOLL_ST_OK, 0, "");
    atoll_native_close(node);
}

static int32_t empty_input_reader(void)
{
    atoll_addr address;
    char byte;
    EXPECT(atoll_input_size() == 0 && atoll_input_read(0, &byte, 1) == 0);
    EXPECT(atoll_input_map(&address) == -ATOLL_ENOENT);
    return 0;
}

static void an_empty_input_cannot_be_mapped(void **state)
{
    (void)state;
    function_ok(empty_input_reader);
}

static int32_t output_writer(void)
{
    atoll_addr address;
    EXPECT(atoll_output_write("lost", 4) == 4);
    EXPECT(atoll_output_set("set", 3) == 3);
    EXPECT(atoll_output_write("", 0) == 0);
    EXPECT(atoll_output_map(4, &address) == 0);
    char *mapped = atoll_pointer(address);
    EXPECT(mapped[0] == 0);
    EXPECT(atoll_output_write("end", 3) == 3);
    memcpy(mapped, "map ", 4);
    return 0;
}

static void output_is_what_was_mapped_and_then_appended(void **state)
{
    (void)state;
    struct atoll_native *node = node_of(output_writer);
    run_ends(node, "f", "", ATOLL_ST_OK, 0, "map end");
    atoll_native_close(node);
}

static int32_t output_replacer(void)
{
    atoll_addr address;
    EXPECT(atoll_output_map(4, &address) == 0);
    EXPECT(atoll_output_set("only this", 9) == 9);
    memcpy(atoll_pointer(address), "void", 4); /* still mapped */
    return 0;
}

static void setting_the_output_replaces_a_mapped_one(void **state)
{
    (void)state;
    struct atoll_native *node = node_of(output_replacer);
    run_ends(node, "f", "", ATOLL_ST_OK, 0, "only this");
    atoll_native_close(node);
}

static int32_t output_flooder(void)
{
    atoll_addr address;
    char bytes[8] = {0};
    EXPECT(atoll_output_map(0, &address) == -ATOLL_EINVAL);
    EXPECT(atoll_output_map(9, &address) == -ATOLL_ELIMIT);
    EXPECT(atoll_output_set(bytes, 9) == -ATOLL_ELIMIT);
    EXPECT(atoll_output_write(bytes, UINT64_MAX) == -ATOLL_ELIMIT);
    EXPECT(atoll_output_write("12345678", 8) == 8);
    EXPECT(atoll_output_write(bytes, 1) == -ATOLL_ELIMIT);
    return 0;
}

static void output_beyond_its_limit_is_refused_and_the_rest_stays(void **state)
{
    (void)state;
    struct atoll_native *node = atoll_native_open(&(struct atoll_native_options){.output_max = 8});
    assert_int_equal(atoll_native_function(node, "f", output_flooder), 0);
    run_ends(node, "f", "", ATOLL_ST_OK, 0, "12345678");
    atoll_native_close(node);
}

/* ---- how a call ends ---- */

static int32_t code_returner(void)
{
    atoll_output_write("kept", 4);
    return 7;
}

static void a_code_ends_the_call_as_failed_with_its_output(void **state)
{
    (void)state;
    struct atoll_native *node = node_of(code_returner);
    run_ends(node, "f", "", ATOLL_ST_FAILED, 7, "kept");
    atoll_native_close(node);
}

static int32_t failer(void)
{
    atoll_output_write("dropped", 7);
    atoll_fail(0, "because", 7);
}

static void a_failure_replaces_the_output_by_its_message(void **state)
{
    (void)state;
    struct atoll_native *node = node_of(failer);
    run_ends(node, "f", "", ATOLL_ST_FAILED, 1, "because");
    atoll_native_close(node);
}

static int32_t long_failer(void)
{
    char text[5000];
    memset(text, 'x', sizeof text);
    memcpy(text + 4092, "last", 4);
    atoll_fail(2, text, sizeof text);
}

static void of_a_long_message_the_first_four_kibibytes_are_kept(void **state)
{
    (void)state;
    struct atoll_native *node = node_of(long_failer);
    struct atoll_native_outcome *outcome = run(node, "f", "");
    assert_int_equal(outcome->output_len, 4096);
    assert_string_equal(outcome->output + 4092, "last");
    atoll_native_outcome_free(outcome);
    atoll_native_close(node);
}

static int32_t endless(void)
{
    for (;;)
        (void)atoll_now(ATOLL_CLOCK_REAL);
}

static void a_call_ends_at_its_deadline_inside_an_import(void **state)
{
    (void)state;
    struct atoll_native *node =
        atoll_native_open(&(struct atoll_native_options){.timeout_ns = 20000000});
    assert_int_equal(atoll_native_function(node, "f", endless), 0);
    run_ends(node, "f", "", ATOLL_ST_TIMEDOUT, 0, "");
    atoll_native_close(node);
}

static void imports_outside_of_a_call_are_refused(void **state)
{
    (void)state;
    struct atoll_call_info info = {.size = sizeof info};
    assert_int_equal(atoll_call_info(&info), -ATOLL_EPERM);
    assert_int_equal(atoll_input_size(), -ATOLL_EPERM);
    assert_int_equal(atoll_now(ATOLL_CLOCK_REAL), -ATOLL_EPERM);
    assert_int_equal(atoll_state_open("k", 1, 0, ATOLL_S_READ), -ATOLL_EPERM);
    assert_int_equal(atoll_log(0, "x", 1), -ATOLL_EPERM);
}

/* ---- what a call knows ---- */

static int32_t informed(void)
{
    struct atoll_call_info info = {.size = sizeof info - 1};
    EXPECT(atoll_call_info(&info) == -ATOLL_EINVAL);
    info.size = sizeof info;
    EXPECT(atoll_call_info(&info) == 0);
    EXPECT(info.size == sizeof info && info.id != 0 && info.app == info.id && info.parent == 0);
    EXPECT(info.attempt == 0 && info.index == 0 && info.count == 1);
    EXPECT(strcmp(info.tenant, "test") == 0 && strcmp(info.function, "f") == 0);
    EXPECT(strlen(info.version) == 32);
    EXPECT(info.deadline_ns > (uint64_t)atoll_now(ATOLL_CLOCK_MONOTONIC));
    return 0;
}

static void a_call_knows_itself_and_its_deadline(void **state)
{
    (void)state;
    function_ok(informed);
}

static int32_t timekeeper(void)
{
    int64_t before = atoll_now(ATOLL_CLOCK_MONOTONIC), cpu = atoll_now(ATOLL_CLOCK_CPU);
    EXPECT(before > 0 && cpu >= 0);
    EXPECT(atoll_now(ATOLL_CLOCK_MONOTONIC) >= before && atoll_now(ATOLL_CLOCK_CPU) >= cpu);
    EXPECT(atoll_now(ATOLL_CLOCK_REAL) > 1600000000000000000);
    EXPECT(atoll_now(3) == -ATOLL_EINVAL);
    return 0;
}

static void clocks_go_forward_and_others_are_refused(void **state)
{
    (void)state;
    function_ok(timekeeper);
}

static int32_t random_writer(void)
{
    uint8_t bytes[600] = {0};
    EXPECT(atoll_random(bytes, 0) == 0 && bytes[0] == 0);
    EXPECT(atoll_random(bytes, sizeof bytes) == 0);
    EXPECT(atoll_output_write(bytes, sizeof bytes) == sizeof bytes);
    return 0;
}

static void random_bytes_differ_from_call_to_call(void **state)
{
    (void)state;
    struct atoll_native *node = node_of(random_writer);
    struct atoll_native_outcome *a = run(node, "f", ""), *b = run(node, "f", "");
    assert_memory_not_equal(a->output, b->output, 600);
    assert_memory_not_equal(a->output + 560, "\0\0\0\0\0\0\0\0\0\0", 10);
    atoll_native_outcome_free(a);
    atoll_native_outcome_free(b);
    atoll_native_close(node);
}

static void random_bytes_repeat_when_a_test_gives_a_seed(void **state)
{
    (void)state;
    struct atoll_native_outcome *outcomes[2];
    for (int i = 0; i < 2; i++) {
        struct atoll_native *node =
            atoll_native_open(&(struct atoll_native_options){.random_seed = 5});
        assert_int_equal(atoll_native_function(node, "f", random_writer), 0);
        outcomes[i] = run(node, "f", "");
        atoll_native_close(node);
    }
    assert_memory_equal(outcomes[0]->output, outcomes[1]->output, 600);
    atoll_native_outcome_free(outcomes[0]);
    atoll_native_outcome_free(outcomes[1]);
}

static int32_t configured(void)
{
    char value[4] = "....";
    EXPECT(atoll_config("k", 1, value, sizeof value) == 5 && memcmp(value, "valu", 4) == 0);
    EXPECT(atoll_config("k", 1, value, 0) == 5);
    EXPECT(atoll_config("key", 3, value, sizeof value) == -ATOLL_ENOENT);
    EXPECT(atoll_config("empty", 5, value, sizeof value) == 0);
    return 0;
}

static void config_gives_a_values_whole_length_and_what_fits(void **state)
{
    (void)state;
    struct atoll_native *node = node_of(configured);
    assert_int_equal(atoll_native_config(node, "f", "k", "value"), 0);
    assert_int_equal(atoll_native_config(node, "f", "empty", ""), 0);
    assert_int_equal(atoll_native_config(node, "g", "k", "value"), -ATOLL_ENOENT);
    run_ok(node, "f");
    atoll_native_close(node);
}

/* ---- log and metrics ---- */

static int32_t logger(void)
{
    EXPECT(atoll_log(ATOLL_LOG_INFO, "one\ntwo", 7) == 0);
    EXPECT(atoll_log(ATOLL_LOG_ERROR, "", 0) == 0);
    EXPECT(atoll_log(5, "x", 1) == -ATOLL_EINVAL);
    EXPECT(atoll_log(ATOLL_LOG_INFO, "too long", 8) == -ATOLL_ELIMIT);
    EXPECT(atoll_log(ATOLL_LOG_DEBUG, "abc", 3) == 0);
    EXPECT(atoll_log(ATOLL_LOG_DEBUG, "", 0) == -ATOLL_ELIMIT);
    return 0;
}

static void log_lines_are_escaped_and_limited_by_bytes_and_number(void **state)
{
    (void)state;
    struct atoll_native *node =
        atoll_native_open(&(struct atoll_native_options){.log_bytes_max = 10, .log_lines_max = 3});
    assert_int_equal(atoll_native_function(node, "f", logger), 0);
    struct atoll_native_outcome *outcome = run(node, "f", "");
    assert_int_equal(outcome->status, ATOLL_ST_OK);
    assert_string_equal(outcome->log,
                        "info test/f: one\\x0atwo\nerror test/f: \ndebug test/f: abc\n");
    atoll_native_outcome_free(outcome);
    atoll_native_close(node);
}

static int32_t measurer(void)
{
    char name[8];
    EXPECT(atoll_metric("hits", 4, 2, ATOLL_METRIC_COUNTER) == 0);
    EXPECT(atoll_metric("hits", 4, 0.5, ATOLL_METRIC_COUNTER) == 0);
    EXPECT(atoll_metric("hits", 4, 1, ATOLL_METRIC_GAUGE) == -ATOLL_ETYPE);
    EXPECT(atoll_metric("hits", 4, -1, ATOLL_METRIC_COUNTER) == -ATOLL_EINVAL);
    EXPECT(atoll_metric("hits", 4, (double)INFINITY, ATOLL_METRIC_COUNTER) == -ATOLL_EINVAL);
    EXPECT(atoll_metric("hits", 4, 1, 3) == -ATOLL_EINVAL);
    EXPECT(atoll_metric("level", 5, -3, ATOLL_METRIC_GAUGE) == 0);
    EXPECT(atoll_metric("time", 4, 0.1, ATOLL_METRIC_HISTOGRAM) == 0);
    EXPECT(atoll_metric("time", 4, 0.2, ATOLL_METRIC_HISTOGRAM) == 0);
    EXPECT(atoll_metric("", 0, 1, ATOLL_METRIC_GAUGE) == -ATOLL_EINVAL);
    EXPECT(atoll_metric("1st", 3, 1, ATOLL_METRIC_GAUGE) == -ATOLL_EINVAL);
    EXPECT(atoll_metric("Upper", 5, 1, ATOLL_METRIC_GAUGE) == -ATOLL_EINVAL);
    for (int i = 3; i < 100; i++) {
        snprintf(name, sizeof name, "m%d", i);
        EXPECT(atoll_metric(name, (uint32_t)strlen(name), 1, ATOLL_METRIC_GAUGE) == 0);
    }
    EXPECT(atoll_metric("one_more", 8, 1, ATOLL_METRIC_GAUGE) == -ATOLL_ELIMIT);
    return 0;
}

static void metrics_add_up_and_are_limited_in_number(void **state)
{
    (void)state;
    double value = 0;
    struct atoll_native *node = node_of(measurer);
    run_ok(node, "f");
    assert_int_equal(atoll_native_metric(node, "hits", &value), 0);
    assert_true(value == 2.5);
    assert_int_equal(atoll_native_metric(node, "level", &value), 0);
    assert_true(value == -3);
    assert_int_equal(atoll_native_metric(node, "time", &value), 0);
    assert_true(value == 2);
    assert_int_equal(atoll_native_metric(node, "none", &value), -ATOLL_ENOENT);
    atoll_native_close(node);
}

/* ---- zygote ---- */

static _Thread_local int prepared;

static int32_t zygote(void)
{
    atoll_call_t id;
    int32_t fd;
    EXPECT(atoll_input_size() == -ATOLL_EPERM);
    EXPECT(atoll_output_write("x", 1) == -ATOLL_EPERM);
    EXPECT(atoll_chain("f", 1, NULL, 0, NULL, &id) == -ATOLL_EPERM);
    EXPECT(atoll_sock_open(ATOLL_SOCK_V4, ATOLL_SOCK_STREAM, &fd) == -ATOLL_EPERM);
    atoll_h handle = atoll_state_open("k", 1, 8, ATOLL_S_READ | ATOLL_S_WRITE | ATOLL_S_CREATE);
    EXPECT(handle >= 0);
    EXPECT(atoll_state_push(handle, 0, 0, 0, 0) == -ATOLL_EPERM);
    EXPECT(atoll_state_close(handle) == 0);
    EXPECT(atoll_now(ATOLL_CLOCK_MONOTONIC) > 0);
    prepared = 42;
    return 0;
}

static int32_t prepared_function(void)
{
    EXPECT(prepared == 42);
    prepared++;
    return 0;
}

static void a_zygote_prepares_each_call_and_may_not_act(void **state)
{
    (void)state;
    struct atoll_native *node = node_of(prepared_function);
    assert_int_equal(atoll_native_zygote(node, "f", zygote), 0);
    run_ok(node, "f");
    run_ok(node, "f"); /* what a call changed is not seen by the next */
    atoll_native_close(node);
}

/* ---- memory ---- */

static int32_t mapper(void)
{
    atoll_addr address, second;
    FILE *file = tmpfile();
    EXPECT(file && fwrite("file bytes", 1, 10, file) == 10 && fflush(file) == 0);
    EXPECT(atoll_mem_map(100, ATOLL_S_READ | ATOLL_S_WRITE, -1, 0, &address) == 0);
    char *bytes = atoll_pointer(address);
    EXPECT(bytes[0] == 0 && bytes[99] == 0);
    bytes[99] = 1;
    EXPECT(atoll_mem_map(16, ATOLL_S_READ, fileno(file), 0, &second) == 0);
    EXPECT(memcmp(atoll_pointer(second), "file bytes\0\0\0\0\0\0", 16) == 0);
    EXPECT(atoll_mem_unmap(address, 99) == -ATOLL_EINVAL);
    EXPECT(atoll_mem_unmap(address, 100) == 0);
    EXPECT(atoll_mem_unmap(address, 100) == -ATOLL_EINVAL);
    EXPECT(atoll_mem_map(0, ATOLL_S_READ, -1, 0, &address) == -ATOLL_EINVAL);
    EXPECT(atoll_mem_map(1, 0, -1, 0, &address) == -ATOLL_EINVAL);
    EXPECT(atoll_mem_map(1, ATOLL_S_WRITE, -1, 0, &address) == -ATOLL_EINVAL);
    EXPECT(atoll_mem_map(1, ATOLL_S_READ, -2, 0, &address) == -ATOLL_EINVAL);
    EXPECT(atoll_mem_map(1, ATOLL_S_READ, fileno(file), 1, &address) == -ATOLL_EINVAL);
    EXPECT(atoll_mem_map(1, ATOLL_S_READ, 12345, 0, &address) == -ATOLL_EBADF);
    EXPECT(atoll_mem_map(8192, ATOLL_S_READ, fileno(file), UINT64_MAX - 4095, &address) ==
           -ATOLL_ERANGE);
    EXPECT(atoll_mem_map(UINT64_C(1) << 40, ATOLL_S_READ, -1, 0, &address) == -ATOLL_ELIMIT);
    fclose(file);
    return 0;
}

static void memory_and_files_are_mapped_privately(void **state)
{
    (void)state;
    function_ok(mapper);
}

/* ---- sockets ---- */

static int listener_open(uint16_t *port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(fd, 4), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
    *port = ntohs(address.sin_port);
    return fd;
}

static int32_t connector(void)
{
    static const uint8_t loopback[4] = {127, 0, 0, 1}, other[4] = {127, 0, 0, 2};
    char port_text[8] = {0};
    uint8_t addresses[4 * ATOLL_RESOLVED_BYTES];
    int32_t fd;
    EXPECT(atoll_input_read(0, port_text, sizeof port_text - 1) > 0);
    uint32_t port = (uint32_t)atoi(port_text);
    EXPECT(atoll_sock_open(5, ATOLL_SOCK_STREAM, &fd) == -ATOLL_EINVAL);
    EXPECT(atoll_sock_open(ATOLL_SOCK_V4, 3, &fd) == -ATOLL_EINVAL);
    EXPECT(atoll_sock_open(ATOLL_SOCK_V4, ATOLL_SOCK_STREAM, &fd) == 0);
    EXPECT(atoll_sock_opt(fd, ATOLL_SOCK_NODELAY, 1) == 0);
    EXPECT(atoll_sock_opt(fd, ATOLL_SOCK_NODELAY, 2) == -ATOLL_EINVAL);
    EXPECT(atoll_sock_opt(fd, 99, 1) == -ATOLL_ENOSYS);
    EXPECT(atoll_sock_opt(12345, ATOLL_SOCK_NODELAY, 1) == -ATOLL_EBADF);
    EXPECT(atoll_sock_bind(fd, loopback, 4, 80) == -ATOLL_EPERM);
    EXPECT(atoll_sock_listen(fd, 1) == -ATOLL_EPERM);
    EXPECT(atoll_sock_connect(fd, loopback, 5, port, ATOLL_FOREVER) == -ATOLL_EINVAL);
    EXPECT(atoll_sock_connect(fd, loopback, 4, 0, ATOLL_FOREVER) == -ATOLL_EINVAL);
    EXPECT(atoll_sock_connect(fd, other, 4, port, ATOLL_FOREVER) == -ATOLL_EPERM);
    EXPECT(atoll_sock_connect(fd, loopback, 4, port, ATOLL_FOREVER) == 0);
    EXPECT(write(fd, "x", 1) == 1 && close(fd) == 0);
    EXPECT(atoll_resolve("127.0.0.1", 9, addresses, sizeof addresses) == 1);
    EXPECT(addresses[0] == ATOLL_SOCK_V4 && memcmp(addresses + 1, loopback, 4) == 0);
    EXPECT(atoll_resolve("127.0.0.1", 9, NULL, 0) == 1);
    EXPECT(atoll_resolve("127.0.0.2", 9, addresses, sizeof addresses) == -ATOLL_EPERM);
    EXPECT(atoll_resolve("", 0, addresses, sizeof addresses) == -ATOLL_EINVAL);
    return 0;
}

static void sockets_reach_only_what_the_manifest_names(void **state)
{
    (void)state;
    uint16_t port;
    char text[8], byte;
    int listener = listener_open(&port);
    struct atoll_native *node = node_of(connector);
    snprintf(text, sizeof text, "%u", port);
    assert_int_equal(atoll_native_host(node, "f", "127.0.0.1", port), 0);
    run_ends(node, "f", text, ATOLL_ST_OK, 0, NULL);
    int peer = accept(listener, NULL, NULL);
    assert_int_equal(read(peer, &byte, 1), 1);
    close(peer);
    close(listener);
    atoll_native_close(node);
}

/* ---- HTTP ---- */

static int32_t replier(void)
{
    char head[64];
    int64_t len = atoll_http_head(head, sizeof head);
    EXPECT(len == 24 && memcmp(head, "GET /a?b\nname: value x\n\n", 24) != 0);
    EXPECT(memcmp(head, "GET /a?b\nname: value xy\n", 24) == 0);
    EXPECT(atoll_http_head(head, 3) == 24);
    EXPECT(atoll_http_reply(199, "", 0) == -ATOLL_EINVAL);
    EXPECT(atoll_http_reply(600, "", 0) == -ATOLL_EINVAL);
    EXPECT(atoll_http_reply(200, "no end: x", 9) == -ATOLL_EINVAL);
    EXPECT(atoll_http_reply(200, "no colon\n", 9) == -ATOLL_EINVAL);
    EXPECT(atoll_http_reply(200, ": no name\n", 10) == -ATOLL_EINVAL);
    EXPECT(atoll_http_reply(200, "a b: x\n", 7) == -ATOLL_EINVAL);
    EXPECT(atoll_http_reply(200, "a: x\r\n", 6) == -ATOLL_EINVAL);
    EXPECT(atoll_http_reply(200, "a: x\n\nb: y\n", 11) == -ATOLL_EINVAL);
    EXPECT(atoll_http_reply(200, "", ATOLL_HTTP_REPLY_MAX + 1) == -ATOLL_ESIZE);
    EXPECT(atoll_http_reply(404, "a: 1\n", 5) == 0);
    static const char headers[] = "x-one: 1\nConnection: close\ncontent-length: 3\nx-two: \tb\n";
    EXPECT(atoll_http_reply(302, headers, sizeof headers - 1) == 0);
    return 0;
}

static void a_reply_has_the_status_and_headers_that_were_set_last(void **state)
{
    (void)state;
    struct atoll_native *node = node_of(replier);
    struct atoll_native_outcome *outcome =
        atoll_native_run_http(node, "f", "GET /a?b\nname: value xy\n", NULL, 0);
    if (outcome->code)
        print_error("%s\n", outcome->output);
    assert_int_equal(outcome->status, ATOLL_ST_OK);
    assert_int_equal(outcome->http_status, 302);
    assert_string_equal(outcome->http_headers, "x-one: 1\nx-two: \tb\n");
    atoll_native_outcome_free(outcome);
    atoll_native_close(node);
}

static int32_t without_http(void)
{
    char byte;
    EXPECT(atoll_http_head(&byte, 1) == -ATOLL_ENOENT);
    EXPECT(atoll_http_reply(200, "", 0) == -ATOLL_ENOENT);
    return 0;
}

static void a_call_that_came_otherwise_has_no_http(void **state)
{
    (void)state;
    struct atoll_native *node = node_of(without_http);
    struct atoll_native_outcome *outcome = run(node, "f", "");
    assert_int_equal(outcome->status, ATOLL_ST_OK);
    assert_int_equal(outcome->http_status, 0);
    atoll_native_outcome_free(outcome);
    atoll_native_close(node);
}

static void names_are_checked_and_given_once(void **state)
{
    (void)state;
    struct atoll_native *node = node_of(informed);
    assert_int_equal(atoll_native_function(node, "f", informed), -ATOLL_EEXIST);
    assert_int_equal(atoll_native_function(node, "test/f", informed), -ATOLL_EEXIST);
    assert_int_equal(atoll_native_function(node, "other/f", informed), 0);
    assert_int_equal(atoll_native_function(node, "Big", informed), -ATOLL_EINVAL);
    assert_int_equal(atoll_native_function(node, "-f", informed), -ATOLL_EINVAL);
    assert_int_equal(atoll_native_function(node, "a/b/c", informed), -ATOLL_EINVAL);
    assert_int_equal(atoll_native_function(node, "", informed), -ATOLL_EINVAL);
    assert_null(atoll_native_run(node, "nobody", NULL, 0));
    atoll_native_close(node);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(input_is_read_in_pieces_and_mapped),
        cmocka_unit_test(an_empty_input_cannot_be_mapped),
        cmocka_unit_test(output_is_what_was_mapped_and_then_appended),
        cmocka_unit_test(setting_the_output_replaces_a_mapped_one),
        cmocka_unit_test(output_beyond_its_limit_is_refused_and_the_rest_stays),
        cmocka_unit_test(a_code_ends_the_call_as_failed_with_its_output),
        cmocka_unit_test(a_failure_replaces_the_output_by_its_message),
        cmocka_unit_test(of_a_long_message_the_first_four_kibibytes_are_kept),
        cmocka_unit_test(a_call_ends_at_its_deadline_inside_an_import),
        cmocka_unit_test(imports_outside_of_a_call_are_refused),
        cmocka_unit_test(a_call_knows_itself_and_its_deadline),
        cmocka_unit_test(clocks_go_forward_and_others_are_refused),
        cmocka_unit_test(random_bytes_differ_from_call_to_call),
        cmocka_unit_test(random_bytes_repeat_when_a_test_gives_a_seed),
        cmocka_unit_test(config_gives_a_values_whole_length_and_what_fits),
        cmocka_unit_test(log_lines_are_escaped_and_limited_by_bytes_and_number),
        cmocka_unit_test(metrics_add_up_and_are_limited_in_number),
        cmocka_unit_test(a_zygote_prepares_each_call_and_may_not_act),
        cmocka_unit_test(memory_and_files_are_mapped_privately),
        cmocka_unit_test(sockets_reach_only_what_the_manifest_names),
        cmocka_unit_test(a_reply_has_the_status_and_headers_that_were_set_last),
        cmocka_unit_test(a_call_that_came_otherwise_has_no_http),
        cmocka_unit_test(names_are_checked_and_given_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
