/* Runs the function in this process; see atoll_native.h. */
#include <assert.h>
#include <atoll_native.h>
#include <stdio.h>
#include <string.h>

int32_t chain(void);

static void expect(struct atoll_native *node, const char *input, int32_t status, const char *output)
{
    struct atoll_native_outcome *o = atoll_native_run(node, "chain", input, strlen(input));
    assert(o && o->status == status && strcmp(o->output, output) == 0);
    atoll_native_outcome_free(o);
}

int main(void)
{
    static char lines[8000];
    struct atoll_native *node = atoll_native_open(NULL);
    assert(node && atoll_native_function(node, "chain", chain) == 0);
    expect(node, "", ATOLL_ST_OK, "0");
    expect(node, "1\n2\n-3\n40", ATOLL_ST_OK, "40");
    expect(node, "1\nx\n", ATOLL_ST_FAILED, "a part failed");
    for (int i = 1; i <= 1000; i++)
        snprintf(lines + strlen(lines), 8, "%d\n", i);
    expect(node, lines, ATOLL_ST_OK, "500500");
    atoll_native_close(node);
    puts("ok");
    return 0;
}
