/* What the SDK offers on top of the imports: map, typed state, text, HTTP requests. */
#include "native_function.h"

#include <atoll_http.h>
#include <atoll_map.h>
#include <atoll_state.h>
#include <atoll_text.h>
#include <math.h>
#include <stdlib.h>

/* ---- map ---- */

static int32_t echo(void)
{
    char bytes[16];
    int64_t len = atoll_input_read(0, bytes, sizeof bytes);
    if (len > 0 && bytes[0] == '!')
        return 3;
    return atoll_output_write(bytes, (uint64_t)len) != len;
}

static int32_t result_append(void *context, uint32_t index, const struct atoll_result *result)
{
    char bytes[16];
    struct atoll_text *text = context;
    int64_t len = atoll_result_read(result->id, 0, bytes, sizeof bytes);
    if (result->status != ATOLL_ST_OK)
        return result->code;
    atoll_text_u64(text, index);
    atoll_text_add(text, bytes, (size_t)len);
    return 0;
}

static int32_t map_some(const char *const *inputs, uint32_t n, uint32_t window,
                        struct atoll_text *text)
{
    struct atoll_span items[16];
    struct atoll_map_opts opts = {.window = window};
    for (uint32_t i = 0; i < n; i++)
        items[i] = (struct atoll_span){inputs[i], strlen(inputs[i])};
    return atoll_map("echo", items, n, &opts, result_append, text);
}

static int32_t mapper(void)
{
    static const char *const inputs[] = {"a", "bc", "", "d", "e"};
    for (uint32_t window = 0; window < 7; window++) {
        char room[64];
        struct atoll_text text = ATOLL_TEXT(room);
        EXPECT(map_some(inputs, 5, window, &text) == 0);
        EXPECT(text.len == 10 && memcmp(room, "0a1bc23d4e", 10) == 0);
    }
    EXPECT(map_some(inputs, 0, 0, NULL) == 0);
    return 0;
}

static void with_echo(int32_t (*entry)(void), uint32_t children_max)
{
    struct atoll_native *node =
        atoll_native_open(&(struct atoll_native_options){.children_max = children_max});
    assert_int_equal(atoll_native_function(node, "f", entry), 0);
    assert_int_equal(atoll_native_function(node, "echo", echo), 0);
    run_ok(node, "f");
    atoll_native_close(node);
}

static void map_sees_results_in_the_order_of_its_items(void **state)
{
    (void)state;
    with_echo(mapper, 0);
}

static int32_t stopped_mapper(void)
{
    static const char *const inputs[] = {"a", "!", "c", "d", "e", "f"};
    char room[64];
    struct atoll_text text = ATOLL_TEXT(room);
    EXPECT(map_some(inputs, 6, 3, &text) == 3);
    EXPECT(text.len == 2 && memcmp(room, "0a", 2) == 0);
    return 0;
}

static void map_stops_at_the_first_result_that_is_refused(void **state)
{
    (void)state;
    with_echo(stopped_mapper, 0);
}

static int32_t limited_mapper(void)
{
    static const char *const inputs[] = {"a", "b", "c", "d"};
    char room[64];
    struct atoll_text text = ATOLL_TEXT(room);
    EXPECT(map_some(inputs, 4, 2, &text) == -ATOLL_ELIMIT);
    return 0;
}

static void map_returns_the_error_of_a_call_that_cannot_start(void **state)
{
    (void)state;
    with_echo(limited_mapper, 3);
}

static int32_t all_awaiter(void)
{
    static const uint64_t offs[4] = {0, 1, 2, 3};
    atoll_call_t ids[3];
    struct atoll_result results[3];
    EXPECT(atoll_chain_batch("echo", 4, 3, offs, "a!b", NULL, ids) == 0);
    EXPECT(atoll_await_all(ids, 3, results) == 1);
    EXPECT(results[1].status == ATOLL_ST_FAILED && results[2].status == ATOLL_ST_OK);
    return 0;
}

static void await_all_counts_those_that_did_not_end_well(void **state)
{
    (void)state;
    with_echo(all_awaiter, 0);
}

/* ---- typed state ---- */

static int32_t vector_user(void)
{
    struct atoll_vector a, b;
    EXPECT(atoll_vector_open(&a, "v", 0, 0) == -ATOLL_ENOENT);
    EXPECT(atoll_vector_open(&a, "v", UINT64_MAX, 0) == -ATOLL_ERANGE);
    EXPECT(atoll_vector_open(&a, "v", 10, ATOLL_S_WRITE | ATOLL_S_CREATE) == 0);
    EXPECT(a.count == 10 && a.items[9] == 0);
    a.items[9] = 1.5;
    EXPECT(atoll_vector_open(&b, "v", 0, 0) == 0 && b.count == 10 && b.items[9] == 1.5);
    EXPECT(atoll_vector_push(&a, 0) == 1);
    atoll_vector_close(&a);
    atoll_vector_close(&b);
    return 0;
}

static void a_vector_is_shared_by_those_that_open_it(void **state)
{
    (void)state;
    uint64_t len;
    struct atoll_native *node = node_of(vector_user);
    run_ok(node, "f");
    double *items = atoll_native_state_get(node, "v", &len);
    assert_int_equal(len, 10 * sizeof *items);
    assert_true(items[9] == 1.5);
    free(items);
    atoll_native_close(node);
}

static int32_t summer(void)
{
    struct atoll_vector v;
    EXPECT(atoll_sum_vector_open(&v, "v", 4, ATOLL_S_CREATE) == 0);
    v.items[1] += 2;
    EXPECT(atoll_sum_vector_sync(&v) == 0);
    atoll_vector_close(&v);
    return 0;
}

static int32_t second_summer(void)
{
    struct atoll_vector v;
    EXPECT(atoll_sum_vector_open(&v, "v", 4, 0) == 0);
    v.items[1] += 3;
    v.items[2] += 1;
    EXPECT(atoll_sum_vector_sync(&v) == 0);
    EXPECT(v.items[0] == 10 && v.items[1] == 23 && v.items[2] == 31); /* with the other node's */
    atoll_vector_close(&v);
    return 0;
}

static void a_sum_vector_adds_to_what_other_nodes_added(void **state)
{
    (void)state;
    double other[4] = {10, 20, 30, 40};
    struct atoll_native *node = node_of(summer);
    assert_int_equal(atoll_native_function(node, "g", second_summer), 0);
    run_ok(node, "f");
    assert_int_equal(atoll_native_state_put(node, "v", other, sizeof other), 2);
    run_ok(node, "g");
    atoll_native_close(node);
}

static int32_t matrix_user(void)
{
    struct atoll_matrix all, part;
    EXPECT(atoll_matrix_open(&all, "m", 0, 0, 0) == -ATOLL_ENOENT);
    EXPECT(atoll_matrix_create("m", UINT64_MAX, 2) == -ATOLL_ERANGE);
    EXPECT(atoll_matrix_create("m", 100, 7) == 0);
    EXPECT(atoll_matrix_create("m", 100, 7) == -ATOLL_EEXIST);
    EXPECT(atoll_matrix_open(&all, "m", 0, 0, ATOLL_S_WRITE) == 0);
    EXPECT(all.rows == 100 && all.columns == 7 && all.mapped == 100);
    atoll_matrix_row(&all, 42)[3] = 5;
    EXPECT(atoll_matrix_open(&part, "m", 40, 10, 0) == 0);
    EXPECT(part.mapped == 10 && atoll_matrix_row(&part, 42)[3] == 5);
    EXPECT(atoll_matrix_push(&all, 0) > 0);
    atoll_matrix_close(&part);
    atoll_matrix_close(&all);
    EXPECT(atoll_matrix_open(&part, "m", 91, 10, 0) == -ATOLL_ERANGE);
    EXPECT(atoll_matrix_open(&part, "other", 0, 0, 0) == -ATOLL_ETYPE);
    return 0;
}

static void a_matrix_knows_its_shape_and_maps_some_rows(void **state)
{
    (void)state;
    struct atoll_native *node = node_of(matrix_user);
    assert_int_equal(atoll_native_state_put(node, "other", "ATMX and nothing else", 21), 1);
    run_ok(node, "f");
    atoll_native_close(node);
}

static int32_t sparse_user(void)
{
    static const uint64_t offs[] = {0, 2, 2, 5};
    static const uint32_t idx[] = {7, 9, 1, 2, 3};
    struct atoll_sparse all, part;
    const uint32_t *rows;
    const float *items;
    EXPECT(atoll_sparse_open(&all, "s", 0, 0) == -ATOLL_ENOENT);
    EXPECT(atoll_sparse_create(&all, "s", 3, 5) == 0);
    memcpy(all.offs, offs, sizeof offs);
    memcpy(all.idx, idx, sizeof idx);
    for (int i = 0; i < 5; i++)
        all.val[i] = (float)i;
    atoll_sparse_close(&all);
    EXPECT(atoll_sparse_open(&part, "s", 1, 2) == 0 && part.columns == 3 && part.count == 2);
    EXPECT(atoll_sparse_column(&part, 1, &rows, &items) == 0);
    EXPECT(atoll_sparse_column(&part, 2, &rows, &items) == 3);
    EXPECT(rows[0] == 1 && rows[2] == 3 && items[0] == 2);
    atoll_sparse_close(&part);
    EXPECT(atoll_sparse_open(&part, "s", 1, 1) == 0); /* a range without items */
    atoll_sparse_close(&part);
    EXPECT(atoll_sparse_open(&part, "s", 3, 0) == -ATOLL_ERANGE);
    EXPECT(atoll_sparse_open(&part, "s", 1, 3) == -ATOLL_ERANGE);
    return 0;
}

static void a_sparse_matrix_maps_the_items_of_its_columns_alone(void **state)
{
    (void)state;
    function_ok(sparse_user);
}

static int32_t corrupt_sparse_user(void)
{
    struct atoll_sparse sparse;
    EXPECT(atoll_sparse_open(&sparse, "s", 0, 0) == -ATOLL_ECORRUPT);
    return 0;
}

static void a_sparse_matrix_whose_offsets_fall_is_refused(void **state)
{
    (void)state;
    static const uint64_t offs[] = {5, 2};
    struct atoll_native *node = node_of(corrupt_sparse_user);
    assert_int_equal(atoll_native_state_put(node, "s/offs", offs, sizeof offs), 1);
    run_ok(node, "f");
    atoll_native_close(node);
}

/* ---- text ---- */

static void expect_fixed(double number, unsigned places, const char *expected)
{
    char room[64] = {0};
    struct atoll_text text = ATOLL_TEXT(room);
    atoll_text_fixed(&text, number, places);
    assert_string_equal(room, expected);
}

static void numbers_are_written_in_decimal(void **state)
{
    (void)state;
    char room[64] = {0};
    struct atoll_text text = ATOLL_TEXT(room);
    atoll_text_u64(&text, UINT64_MAX);
    atoll_text_string(&text, " ");
    atoll_text_i64(&text, INT64_MIN);
    atoll_text_string(&text, " ");
    atoll_text_i64(&text, 0);
    assert_string_equal(room, "18446744073709551615 -9223372036854775808 0");
    expect_fixed(0, 2, "0.00");
    expect_fixed(-1.005, 1, "-1.0");
    expect_fixed(2.05, 3, "2.050");
    expect_fixed(9.999, 2, "10.00");
    expect_fixed(1.5, 0, "2");
    expect_fixed(0.000001, 6, "0.000001");
    expect_fixed(123456.789, 3, "123456.789");
    expect_fixed((double)NAN, 3, "nan");
    expect_fixed((double)INFINITY, 3, "inf");
    expect_fixed(-(double)INFINITY, 3, "-inf");
    expect_fixed(1e15, 3, "big");
}

static int32_t overflower(void)
{
    char room[4];
    struct atoll_text text = ATOLL_TEXT(room);
    atoll_text_string(&text, "abc");
    atoll_text_string(&text, "de");
    EXPECT(text.overflowed && text.len == 3);
    EXPECT(atoll_text_output(&text) == -ATOLL_ESIZE && atoll_output_string("xy") == 2);
    return 0;
}

static void text_that_does_not_fit_is_not_put_out(void **state)
{
    (void)state;
    struct atoll_native *node = node_of(overflower);
    run_ends(node, "f", "", ATOLL_ST_OK, 0, "xy");
    atoll_native_close(node);
}

/* ---- HTTP ---- */

static int32_t request_reader(void)
{
    static _Thread_local struct atoll_http_request request;
    EXPECT(atoll_http_request_read(&request) == 0);
    EXPECT(atoll_http_is(request.method, "PUT") && !atoll_http_is(request.method, "PU"));
    EXPECT(atoll_http_is(request.path, "/a/b") && atoll_http_is(request.query, "c=d?e"));
    EXPECT(atoll_http_is(atoll_http_header(&request, "host"), "example.org:80"));
    EXPECT(atoll_http_is(atoll_http_header(&request, "accept"), ""));
    EXPECT(atoll_http_header(&request, "hos").text == NULL);
    EXPECT(atoll_http_header(&request, "hosts").text == NULL);
    EXPECT(atoll_http_is(atoll_http_header(&request, "x"), "first"));
    return 0;
}

static void a_requests_parts_and_headers_are_found(void **state)
{
    (void)state;
    struct atoll_native *node = node_of(request_reader);
    struct atoll_native_outcome *outcome = atoll_native_run_http(
        node, "f", "PUT /a/b?c=d?e\nHost: example.org:80\nx: first\nx: second\naccept:\n", "", 0);
    if (outcome->code)
        print_error("%s\n", outcome->output);
    assert_int_equal(outcome->status, ATOLL_ST_OK);
    atoll_native_outcome_free(outcome);
    atoll_native_close(node);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(map_sees_results_in_the_order_of_its_items),
        cmocka_unit_test(map_stops_at_the_first_result_that_is_refused),
        cmocka_unit_test(map_returns_the_error_of_a_call_that_cannot_start),
        cmocka_unit_test(await_all_counts_those_that_did_not_end_well),
        cmocka_unit_test(a_vector_is_shared_by_those_that_open_it),
        cmocka_unit_test(a_sum_vector_adds_to_what_other_nodes_added),
        cmocka_unit_test(a_matrix_knows_its_shape_and_maps_some_rows),
        cmocka_unit_test(a_sparse_matrix_maps_the_items_of_its_columns_alone),
        cmocka_unit_test(a_sparse_matrix_whose_offsets_fall_is_refused),
        cmocka_unit_test(numbers_are_written_in_decimal),
        cmocka_unit_test(text_that_does_not_fit_is_not_put_out),
        cmocka_unit_test(a_requests_parts_and_headers_are_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
