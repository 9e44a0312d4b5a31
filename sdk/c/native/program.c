/*
 * atoll_native_main: one function as a program.
 */
#define _GNU_SOURCE
#include "node.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define EXIT_CODE_MAX 119
#define EXIT_SHIM     125

static bool input_read(struct buffer *input)
{
    char piece[65536];
    ssize_t got;
    while ((got = read(STDIN_FILENO, piece, sizeof piece)) > 0) {
        if (!buffer_add(input, piece, (size_t)got))
            return false;
    }
    return got == 0;
}

static bool input_join(struct buffer *input, int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        if ((i > 1 && !buffer_text(input, " ")) || !buffer_text(input, argv[i]))
            return false;
    }
    return true;
}

static int exit_code(const struct atoll_native_outcome *outcome)
{
    if (outcome->status == ATOLL_ST_OK)
        return 0;
    if (outcome->status != ATOLL_ST_FAILED)
        return EXIT_SHIM;
    return outcome->code < 1 || outcome->code > EXIT_CODE_MAX ? EXIT_CODE_MAX : outcome->code;
}

int atoll_native_main(int argc, char **argv, const char *name, int32_t (*entry)(void))
{
    struct atoll_native *node = atoll_native_open(NULL);
    struct atoll_native_outcome *outcome = NULL;
    struct buffer input = {0};
    int code = EXIT_SHIM;
    if (node && atoll_native_function(node, name, entry) == 0 &&
        (argc > 1 ? input_join(&input, argc, argv) : input_read(&input)))
        outcome = atoll_native_run(node, name, input.data, input.len);
    if (outcome) {
        fputs(outcome->log, stderr);
        fwrite(outcome->output, 1, outcome->output_len, stdout);
        code = exit_code(outcome);
    }
    atoll_native_outcome_free(outcome);
    atoll_native_close(node);
    free(input.data);
    return code;
}
