/*
 * Functions inside a test of the native shim. A function's body runs on a thread of its own, so it
 * says what it finds wrong with EXPECT, which ends its call; the test runs it with run_ok.
 */
#ifndef NATIVE_FUNCTION_H
#define NATIVE_FUNCTION_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <atoll_native.h>
#include <stdio.h>
#include <string.h>

#define EXPECT(condition) ((condition) ? (void)0 : expectation_failed(#condition, __LINE__))

static _Noreturn inline void expectation_failed(const char *condition, int line)
{
    char text[256];
    snprintf(text, sizeof text, "line %d: %s", line, condition);
    atoll_fail(1000, text, (uint32_t)strlen(text));
}

static inline struct atoll_native_outcome *run(struct atoll_native *node, const char *name,
                                               const char *input)
{
    struct atoll_native_outcome *outcome = atoll_native_run(node, name, input, strlen(input));
    assert_non_null(outcome);
    if (outcome->code == 1000)
        print_error("%s: %s\n", name, outcome->output);
    return outcome;
}

/* The run's outcome is checked and dropped. */
static inline void run_ends(struct atoll_native *node, const char *name, const char *input,
                            int32_t status, int32_t code, const char *output)
{
    struct atoll_native_outcome *outcome = run(node, name, input);
    assert_int_equal(outcome->status, status);
    assert_int_equal(outcome->code, code);
    if (output)
        assert_string_equal(outcome->output, output);
    atoll_native_outcome_free(outcome);
}

static inline void run_ok(struct atoll_native *node, const char *name)
{
    run_ends(node, name, "", ATOLL_ST_OK, 0, NULL);
}

/* A node with one function, named "f". */
static inline struct atoll_native *node_of(int32_t (*entry)(void))
{
    struct atoll_native *node = atoll_native_open(NULL);
    assert_non_null(node);
    assert_int_equal(atoll_native_function(node, "f", entry), 0);
    return node;
}

static inline void function_ok(int32_t (*entry)(void))
{
    struct atoll_native *node = node_of(entry);
    run_ok(node, "f");
    atoll_native_close(node);
}

#endif
