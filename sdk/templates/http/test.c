/* Runs the function in this process; see atoll_native.h. */
#include <assert.h>
#include <atoll_native.h>
#include <stdio.h>
#include <string.h>

int32_t http(void);

static void expect(struct atoll_native *node, const char *head, const char *body, uint32_t status,
                   const char *headers, const char *output)
{
    struct atoll_native_outcome *o = atoll_native_run_http(node, "http", head, body, strlen(body));
    assert(o && o->status == ATOLL_ST_OK && o->http_status == status);
    assert(strcmp(o->http_headers, headers) == 0 && strcmp(o->output, output) == 0);
    atoll_native_outcome_free(o);
}

int main(void)
{
    struct atoll_native *node = atoll_native_open(NULL);
    assert(node && atoll_native_function(node, "http", http) == 0);
    expect(node, "GET /\nhost: x\n", "", 200, "content-type: text/plain; charset=utf-8\n",
           "Hello.\n");
    expect(node, "POST /\nhost: x\ncontent-type: text/csv\n", "1,2", 200,
           "content-type: text/csv\n", "1,2");
    expect(node, "POST /\nhost: x\n", "", 200, "", "");
    expect(node, "DELETE /\nhost: x\n", "", 405, "allow: GET, POST\n", "");
    atoll_native_close(node);
    puts("ok");
    return 0;
}
