/* Runs both functions in this process. */
#include <assert.h>
#include <atoll_native.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int32_t wordcount(void);
int32_t wordcount_count(void);

static struct atoll_native *node_open(const char *chunk)
{
    struct atoll_native *node = atoll_native_open(NULL);
    assert(node && atoll_native_function(node, "wordcount", wordcount) == 0);
    assert(atoll_native_function(node, "wordcount-count", wordcount_count) == 0);
    assert(atoll_native_config(node, "wordcount", "chunk", chunk) == 0);
    return node;
}

/* Returns how many calls it took. */
static uint32_t expect(const char *chunk, const char *text, const char *output)
{
    struct atoll_native *node = node_open(chunk);
    struct atoll_native_outcome *o = atoll_native_run(node, "wordcount", text, strlen(text));
    assert(o && o->status == ATOLL_ST_OK);
    if (strcmp(o->output, output) != 0) {
        fprintf(stderr, "%s instead of\n%s", o->output, output);
        abort();
    }
    uint32_t calls = o->call_count;
    atoll_native_outcome_free(o);
    atoll_native_close(node);
    return calls;
}

static void failure_is_told(void)
{
    struct atoll_native *node = node_open("4");
    assert(atoll_native_break(node, "wordcount-count", ATOLL_ST_TRAPPED, 1) == 0);
    struct atoll_native_outcome *o = atoll_native_run(node, "wordcount", "one two three", 13);
    assert(o && o->status == ATOLL_ST_FAILED && o->code == 2);
    assert(strcmp(o->output, "a piece could not be counted") == 0);
    atoll_native_outcome_free(o);
    atoll_native_close(node);
}

int main(void)
{
    const char *text = "The cat and the dog and THE bird.";
    const char *counted = "8 words, 5 different\n3 the\n2 and\n1 bird\n1 cat\n1 dog\n";
    assert(expect("1000", "", "0 words, 0 different\n") == 1);
    assert(expect("1000", text, counted) == 2);
    for (int chunk = 1; chunk < 40; chunk++) {
        char chunk_text[8];
        snprintf(chunk_text, sizeof chunk_text, "%d", chunk);
        expect(chunk_text, text, counted);
    }
    assert(expect("1", text, counted) > 8);
    failure_is_told();
    puts("ok");
    return 0;
}
