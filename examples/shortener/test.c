/* Runs the function in this process. */
#include <assert.h>
#include <atoll_native.h>
#include <stdio.h>
#include <string.h>

int32_t shortener(void);

static struct atoll_native *node;

static struct atoll_native_outcome *request(const char *line, const char *body)
{
    char head[256];
    snprintf(head, sizeof head, "%s\nhost: x\n", line);
    struct atoll_native_outcome *o =
        atoll_native_run_http(node, "shortener", head, body, strlen(body));
    assert(o && o->status == ATOLL_ST_OK);
    return o;
}

static void shorten(const char *url, char id[8])
{
    char location[64];
    struct atoll_native_outcome *o = request("POST /v1/fn/default/shortener", url);
    assert(o->http_status == 201 && o->output_len == 8 && o->output[7] == '\n');
    memcpy(id, o->output, 7);
    id[7] = 0;
    snprintf(location, sizeof location, "location: ?id=%s\n", id);
    assert(strcmp(o->http_headers, location) == 0);
    atoll_native_outcome_free(o);
}

static void expect(const char *format, const char *id, const char *body, uint32_t status,
                   const char *headers)
{
    char line[128];
    snprintf(line, sizeof line, format, id);
    struct atoll_native_outcome *o = request(line, body);
    assert(o->http_status == status);
    if (headers)
        assert(strcmp(o->http_headers, headers) == 0);
    atoll_native_outcome_free(o);
}

int main(void)
{
    char first[8], second[8], line[128], longest[2050];
    node = atoll_native_open(NULL);
    assert(node && atoll_native_function(node, "shortener", shortener) == 0);
    shorten("https://example.org/a?b=c", first);
    shorten("http://example.org/\n", second);
    assert(strcmp(first, second) != 0);
    expect("GET /v1/fn/default/shortener/%s", first, "", 302,
           "location: https://example.org/a?b=c\n");
    expect("GET /s?id=%s", first, "", 302, "location: https://example.org/a?b=c\n");
    expect("GET /s?id=%s", second, "", 302, "location: http://example.org/\n");
    expect("GET /s?id=%s", "nowhere", "", 404, NULL);
    expect("GET /%s", "shortener", "", 404, NULL);
    expect("PUT /%s", first, "", 405, "allow: GET, POST\n");
    expect("POST /%s", "", "ftp://example.org/", 400, NULL);
    expect("POST /%s", "", "https://example.org/a b", 400, NULL);
    memset(longest, 'x', sizeof longest);
    longest[sizeof longest - 1] = 0;
    expect("POST /%s", "", longest, 413, NULL);

    snprintf(line, sizeof line, "GET /s?id=%s&count", first);
    struct atoll_native_outcome *o = request(line, "");
    assert(o->http_status == 200 && strcmp(o->output, "2\n") == 0);
    atoll_native_outcome_free(o);
    atoll_native_close(node);
    puts("ok");
    return 0;
}
