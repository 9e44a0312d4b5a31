/* Runs the functions in this process, and compares them with the plain algorithm. */
#include "dataset.h"
#include "sgd.h"

#include <assert.h>
#include <atoll_native.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ROWS 3000

int32_t hogwild(void);

static struct atoll_native *node;

static struct atoll_native_outcome *command(const char *line)
{
    struct atoll_native_outcome *o = atoll_native_run(node, "hogwild", line, strlen(line));
    assert(o);
    return o;
}

/* What one worker must print: the algorithm over rows made one by one. */
static void reference_run(char *text, size_t room, unsigned epochs)
{
    static uint64_t offs[ROWS + 1];
    static uint32_t idx[ROWS * ROW_ITEMS_MAX], cnt[FEATURES];
    static float val[ROWS * ROW_ITEMS_MAX], labels[ROWS];
    static double w[FEATURES];
    for (uint64_t r = 0; r < ROWS; r++) {
        labels[r] = row_make(7, r, idx + offs[r], val + offs[r]);
        offs[r + 1] = offs[r] + row_items(7, r);
    }
    for (uint64_t i = 0; i < offs[ROWS]; i++)
        cnt[idx[i]]++;
    struct rows rows = {offs, idx, val, labels, 0, ROWS};
    text[0] = 0;
    for (unsigned epoch = 1; epoch <= epochs; epoch++) {
        size_t len = strlen(text);
        snprintf(text + len, room - len, "epoch %u: wrong %.2f %%\n", epoch,
                 100.0 * (double)sgd_pass(&rows, cnt, w) / ROWS);
    }
}

static double last_share(const char *output)
{
    const char *at = NULL;
    for (const char *next = output; (next = strstr(next, "wrong ")); next++)
        at = next;
    assert(at);
    return strtod(at + 6, NULL);
}

static void expect_failure(const char *line)
{
    struct atoll_native_outcome *o = command(line);
    assert(o->status == ATOLL_ST_FAILED);
    atoll_native_outcome_free(o);
}

int main(void)
{
    char reference[256];
    uint64_t len;
    struct atoll_native_options options = {.parallel = 2};
    node = atoll_native_open(&options);
    assert(node && atoll_native_function(node, "hogwild", hogwild) == 0);
    expect_failure("");
    expect_failure("train 1 1");
    expect_failure("generate 0 1");
    expect_failure("generate 10 257");

    struct atoll_native_outcome *o = command("generate 3000 3 7");
    assert(o->status == ATOLL_ST_OK && o->call_count == 4);
    assert(strncmp(o->output, "3000 rows, ", 11) == 0);
    atoll_native_outcome_free(o);

    reference_run(reference, sizeof reference, 5);
    o = command("train 5 1");
    assert(o->status == ATOLL_ST_OK && strcmp(o->output, reference) == 0);
    double alone = last_share(o->output);
    assert(alone < 25);
    atoll_native_outcome_free(o);

    o = command("train 5 4");
    assert(o->status == ATOLL_ST_OK && o->call_count == 1 + 5 * 4);
    assert(last_share(o->output) < alone + 10);
    atoll_native_outcome_free(o);

    double *w = atoll_native_state_get(node, "svm/w", &len);
    assert(w && len == FEATURES * sizeof *w);
    free(w);
    atoll_native_close(node);
    puts("ok");
    return 0;
}
