/* Answers HTTP: GET greets, POST sends the body back, everything else is refused. */
#include <atoll.h>
#include <atoll_http.h>
#include <atoll_text.h>

static const char plain[] = "content-type: text/plain; charset=utf-8\n";

static int32_t reply(uint32_t status, const char *headers)
{
    return atoll_http_reply(status, headers, (uint32_t)strlen(headers));
}

static int32_t echo(const struct atoll_http_request *request)
{
    char room[256];
    struct atoll_text headers = ATOLL_TEXT(room);
    struct atoll_http_text type = atoll_http_header(request, "content-type");
    atoll_addr body;
    if (type.text) {
        atoll_text_string(&headers, "content-type: ");
        atoll_text_add(&headers, type.text, type.len);
        atoll_text_string(&headers, "\n");
    }
    if (headers.overflowed || atoll_http_reply(200, room, (uint32_t)headers.len) < 0)
        return 1;
    if (atoll_input_size() == 0)
        return 0;
    if (atoll_input_map(&body) < 0)
        return 1;
    return atoll_output_set(atoll_pointer(body), (uint64_t)atoll_input_size()) < 0;
}

ATOLL_FUNCTION(http)
{
    static ATOLL_PER_CALL struct atoll_http_request request;
    if (atoll_http_request_read(&request) < 0)
        atoll_fail_string(2, "this function answers HTTP requests");
    if (atoll_http_is(request.method, "POST"))
        return echo(&request);
    if (!atoll_http_is(request.method, "GET"))
        return reply(405, "allow: GET, POST\n");
    return reply(200, plain) < 0 || atoll_output_string("Hello.\n") < 0;
}
