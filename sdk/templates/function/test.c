/* Runs the function in this process; see atoll_native.h. */
#include <assert.h>
#include <atoll_native.h>
#include <stdio.h>
#include <string.h>

int32_t greet(void);

static void expect(struct atoll_native *node, const char *input, const char *output)
{
    struct atoll_native_outcome *o = atoll_native_run(node, "greet", input, strlen(input));
    assert(o && o->status == ATOLL_ST_OK && strcmp(o->output, output) == 0);
    atoll_native_outcome_free(o);
}

int main(void)
{
    char longest[65] = {0};
    struct atoll_native *node = atoll_native_open(NULL);
    assert(node && atoll_native_function(node, "greet", greet) == 0);
    expect(node, "Ada", "Hello, Ada!\n");
    expect(node, "", "Hello, world!\n");

    memset(longest, 'x', sizeof longest);
    struct atoll_native_outcome *o = atoll_native_run(node, "greet", longest, sizeof longest);
    assert(o && o->status == ATOLL_ST_FAILED && o->code == 2);
    atoll_native_outcome_free(o);
    atoll_native_close(node);
    puts("ok");
    return 0;
}
