/* See exchange.h. */
#define _GNU_SOURCE
#include "node/gateway/exchange.h"

#include "base/clock.h"
#include "net/url.h"
#include "node/log.h"

#include <stdarg.h>
#include <stdlib.h>
#include <time.h>

#define FAULT_LOG_NS 1000000000

/* ---- reading the request ---- */

const char *exchange_header(const struct exchange *x, const char *lower)
{
    return http_head_value(x->request->head, lower);
}

int exchange_query(struct exchange *x, const char *name, char *out, size_t size)
{
    struct error e;
    int rc = url_query_value(x->request->head->query, name, out, size, &e);
    if (rc >= 0 || rc == -ATOLL_ENOENT)
        return rc;
    exchange_problem(x, 400, "%s", e.text);
    return -ATOLL_EINVAL;
}

int exchange_query_count(struct exchange *x, const char *name, uint64_t *out)
{
    char text[19];
    int rc = exchange_query(x, name, text, sizeof text);
    if (rc < 0)
        return rc;
    if (rc == 0 || strspn(text, "0123456789") != (size_t)rc) {
        exchange_problem(x, 400, "query parameter %s must be a number", name);
        return -ATOLL_EINVAL;
    }
    *out = strtoull(text, NULL, 10);
    return 0;
}

bool exchange_query_only(struct exchange *x, const char *const *names)
{
    struct error e;
    char unknown[128];
    int rc = url_query_unknown(x->request->head->query, names, unknown, sizeof unknown, &e);
    if (rc == -ATOLL_ENOENT)
        return true;
    exchange_problem(x, 400, "%s%s", rc >= 0 ? "unknown query parameter: " : "",
                     rc >= 0 ? unknown : e.text);
    return false;
}

cJSON *exchange_body_json(struct exchange *x)
{
    cJSON *o = cJSON_ParseWithLength((const char *)x->request->body, x->request->body_len);
    if (o == NULL)
        exchange_problem(x, 400, "the body must be one JSON value");
    return o;
}

bool exchange_require(struct exchange *x, const char *tenant, uint32_t scopes)
{
    if (access_allows(x->token, tenant, scopes))
        return true;
    exchange_problem(x, 403, "the token does not allow this");
    return false;
}

/* ---- answering ---- */

void exchange_headers_add(struct exchange_headers *h, const char *name, const char *value)
{
    if (h->count < EXCHANGE_HEADERS_MAX)
        h->list[h->count++] = http_header_text(name, value);
}

void exchange_respond(struct exchange *x, const struct http_response *response)
{
    struct http_request *request = x->request;
    struct error e;
    exchange_release(x, response->status);
    http_respond(request, response, &e);
}

static void body_free(void *context, const void *body, size_t len)
{
    (void)context;
    (void)len;
    free((void *)(uintptr_t)body);
}

static void text_respond(struct exchange *x, unsigned status, const char *type,
                         const struct exchange_headers *more, char *text, size_t len)
{
    struct exchange_headers headers = {0};
    if (more)
        headers = *more;
    exchange_headers_add(&headers, "content-type", type);
    struct http_response response = {.status = status,
                                     .headers = headers.list,
                                     .header_count = headers.count,
                                     .body = text,
                                     .body_len = len,
                                     .release = body_free};
    exchange_respond(x, &response);
}

void exchange_json_as(struct exchange *x, unsigned status, const char *type, cJSON *o)
{
    char *text = cJSON_PrintUnformatted(o);
    cJSON_Delete(o);
    if (text == NULL)
        exchange_problem(x, 503, "no memory for the answer");
    else
        text_respond(x, status, type, NULL, text, strlen(text));
}

void exchange_json(struct exchange *x, unsigned status, cJSON *o)
{
    exchange_json_as(x, status, "application/json", o);
}

void exchange_problem_with(struct exchange *x, unsigned status, const struct exchange_headers *more,
                           const char *text)
{
    struct buffer body = {0};
    struct http_problem problem = {.status = status, .detail = text};
    http_problem_write(&body, &problem);
    text_respond(x, status, HTTP_PROBLEM_TYPE, more, (char *)body.data, body.len);
}

void exchange_problem(struct exchange *x, unsigned status, const char *format, ...)
{
    char text[1024];
    va_list list;
    va_start(list, format);
    vsnprintf(text, sizeof text, format, list);
    va_end(list);
    exchange_problem_with(x, status, NULL, text);
}

unsigned exchange_status_of(int code)
{
    switch (code < 0 ? -code : code) {
    case ATOLL_EINVAL:
    case ATOLL_ERANGE:
    case ATOLL_ETYPE: return 400;
    case ATOLL_EMALFORMED:
    case ATOLL_EINVALID:
    case ATOLL_EUNSUPPORTED:
    case ATOLL_ELINK:
    case ATOLL_ETRAP:
    case ATOLL_ECOMPILE: return 422;
    case ATOLL_EPERM: return 403;
    case ATOLL_ENOENT: return 404;
    case ATOLL_EEXIST:
    case ATOLL_EBUSY: return 409;
    case ATOLL_EEXPIRED: return 410;
    case ATOLL_ESTALE: return 412;
    case ATOLL_ESIZE: return 413;
    case ATOLL_EREJECTED:
    case ATOLL_ELIMIT: return 429;
    case ATOLL_ETIMEDOUT: return 504;
    case ATOLL_ENOSYS: return 501;
    case ATOLL_EUNAVAIL:
    case ATOLL_ENOMEM:
    case ATOLL_ELOST:
    case ATOLL_ECANCELED:
    case ATOLL_EAGAIN: return 503;
    default: return 500;
    }
}

/* What is the node's or the machine's fault (a full disk, a damaged store) is its operator's
 * concern as well as the client's: said once a second at most, however many requests meet it. */
static void fault_log(const struct error *e)
{
    static int64_t logged_ns; /* of the loop thread */
    int64_t now = clock_monotonic_ns();
    if (logged_ns != 0 && now - logged_ns < FAULT_LOG_NS)
        return;
    logged_ns = now;
    log_write(LOG_ERROR, "gateway", NULL, "%s", e->text);
}

void exchange_error(struct exchange *x, const struct error *e)
{
    unsigned status = exchange_status_of(e->code);
    if (status == 500)
        fault_log(e);
    struct exchange_headers headers = {0};
    if (status == 429 || status == 503)
        exchange_headers_add(&headers, "retry-after", "1");
    exchange_problem_with(x, status, &headers, e->text);
}

/* ---- streams ---- */

int exchange_stream_begin(struct exchange *x, const struct http_response *response, struct error *e)
{
    return http_stream_begin(x->request, response, e);
}

int exchange_stream_write(struct exchange *x, const void *data, size_t len)
{
    return http_stream_write(x->request, data, len);
}

void exchange_stream_end(struct exchange *x)
{
    struct http_request *request = x->request;
    exchange_release(x, 200);
    http_stream_end(request);
}

void exchange_drop(struct exchange *x)
{
    struct http_request *request = x->request;
    exchange_release(x, 0);
    http_request_drop(request);
}

/* ---- text ---- */

void id_text(uint64_t id, char out[static 17])
{
    snprintf(out, 17, "%016llx", (unsigned long long)id);
}

void time_text(int64_t realtime_ns, char out[static 32])
{
    time_t seconds = (time_t)(realtime_ns / 1000000000);
    struct tm tm;
    gmtime_r(&seconds, &tm);
    strftime(out, 32, "%Y-%m-%dT%H:%M:%SZ", &tm);
}
