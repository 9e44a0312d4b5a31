/* Runs the function in this process; see atoll_native.h. */
#include <assert.h>
#include <atoll_native.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int32_t state(void);

static void expect(struct atoll_native *node, const char *input, int32_t status, const char *output)
{
    struct atoll_native_outcome *o = atoll_native_run(node, "state", input, strlen(input));
    assert(o && o->status == status && strcmp(o->output, output) == 0);
    atoll_native_outcome_free(o);
}

int main(void)
{
    uint64_t len;
    struct atoll_native *node = atoll_native_open(NULL);
    assert(node && atoll_native_function(node, "state", state) == 0);
    expect(node, "2.5\n", ATOLL_ST_OK, "count 1, sum 2.500, least 2.500, greatest 2.500\n");
    expect(node, "-4", ATOLL_ST_OK, "count 2, sum -1.500, least -4.000, greatest 2.500\n");
    expect(node, "four", ATOLL_ST_FAILED, "the input is one number");

    /* It was pushed: other nodes see it. */
    double *figures = atoll_native_state_get(node, "figures", &len);
    assert(figures && len == 4 * sizeof *figures && figures[0] == 2);
    free(figures);
    atoll_native_close(node);
    puts("ok");
    return 0;
}
