/* See http_view.h: paths, forms and answers. What is answered: http_route.h. */
#define _GNU_SOURCE
#include "ledger/service/http_view.h"

#include "ledger/service/address.h"
#include "ledger/service/http_route.h"
#include "net/url.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A bundle in base64, and a line's end. */
#define BODY_MAX   ((uint64_t)LEDGER_BUNDLE_BYTES_MAX / 3 * 4 + 8)
#define BODIES_MAX (64u << 20)
/* Answers are made on the loop, whose time is the ledger's: together they may take one part in
 * VIEW_SHARE of it, and VIEW_BURST_NS at once. */
#define VIEW_SHARE    4
#define VIEW_BURST_NS UINT64_C(250000000)

/* ---- forms ---- */

bool form_number(const char *text, size_t len, uint64_t *out)
{
    *out = 0;
    if (len == 0 || (len > 1 && text[0] == '0'))
        return false;
    for (size_t i = 0; i < len; i++) {
        unsigned digit = (unsigned)text[i] - '0';
        if (digit > 9 || *out > (UINT64_MAX - digit) / 10)
            return false;
        *out = *out * 10 + digit;
    }
    return true;
}

static int hex_digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool form_hash(const char *text, size_t len, uint8_t out[static HASH_LEN])
{
    if (len != 2 * HASH_LEN)
        return false;
    for (size_t i = 0; i < HASH_LEN; i++) {
        int high = hex_digit(text[2 * i]), low = hex_digit(text[2 * i + 1]);
        if (high < 0 || low < 0)
            return false;
        out[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}

static int base64_digit(uint8_t c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

bool form_base64(const uint8_t *text, size_t len, struct buffer *out)
{
    while (len > 0 && (text[len - 1] == '\n' || text[len - 1] == '\r'))
        len--;
    if (len % 4 != 0 || !buffer_reserve(out, len / 4 * 3 + 1))
        return false;
    for (size_t i = 0; i < len; i += 4) {
        /* Only the last four may be padded. */
        unsigned padding = i + 4 < len || text[i + 3] != '=' ? 0 : text[i + 2] != '=' ? 1 : 2;
        uint32_t bits = 0;
        for (unsigned k = 0; k < 4; k++) {
            int digit = k < 4 - padding ? base64_digit(text[i + k]) : 0;
            if (digit < 0)
                return false;
            bits = bits << 6 | (uint32_t)digit;
        }
        /* What the padding cuts off must be zero: one text for one value. */
        if (bits & (padding == 2 ? 0xffffu : padding == 1 ? 0xffu : 0u))
            return false;
        uint8_t bytes[3] = {(uint8_t)(bits >> 16), (uint8_t)(bits >> 8), (uint8_t)bits};
        if (!buffer_append(out, bytes, 3 - padding))
            return false;
    }
    return true;
}

/* ---- answers ---- */

void view_problem(struct http_view *v, struct http_request *r, unsigned status, const char *detail)
{
    v->problems++;
    http_respond_problem(r, &(struct http_problem){.status = status, .detail = detail});
}

static void respond(struct http_view *v, struct http_request *r, unsigned status, const char *type,
                    const void *body, size_t len, unsigned retry_after_s)
{
    char seconds[16];
    struct http_header headers[2] = {http_header_text("content-type", type)};
    struct error e;
    snprintf(seconds, sizeof seconds, "%u", retry_after_s);
    headers[1] = http_header_text("retry-after", seconds);
    struct http_response response = {.status = status,
                                     .headers = headers,
                                     .header_count = retry_after_s ? 2 : 1,
                                     .body = body,
                                     .body_len = len};
    if (http_respond(r, &response, &e) != 0)
        view_problem(v, r, 503, e.text);
}

/* 503, and when to come again. */
static void view_later(struct http_view *v, struct http_request *r, const char *detail)
{
    struct buffer body = {0};
    v->problems++;
    if (http_problem_write(&body, &(struct http_problem){.status = 503, .detail = detail}))
        respond(v, r, 503, HTTP_PROBLEM_TYPE, body.data, body.len, 1);
    else
        http_request_drop(r);
    buffer_free(&body);
}

void view_json(struct http_view *v, struct http_request *r, unsigned status, cJSON *object,
               unsigned retry_after_s)
{
    char *text = object ? cJSON_PrintUnformatted(object) : NULL;
    cJSON_Delete(object);
    if (text == NULL) {
        view_problem(v, r, 503, "this replica has no memory for the answer");
        return;
    }
    respond(v, r, status, "application/json", text, strlen(text), retry_after_s);
    cJSON_free(text);
}

void view_bytes(struct http_view *v, struct http_request *r, const char *type, const void *bytes,
                size_t len)
{
    respond(v, r, 200, type, bytes, len, 0);
}

/* A type of ours is taken when the field names it, its family, or everything; weights other than
 * none at all are not looked at, since there are two types in all. */
bool view_accepts(const struct http_request *r, const char *type)
{
    const char *at = http_head_value(r->head, "accept");
    size_t family = strcspn(type, "/") + 1;
    if (at == NULL || *at == 0)
        return strcmp(type, "application/json") == 0;
    while (*at) {
        at += strspn(at, " \t,");
        size_t whole = strcspn(at, ","), len = strcspn(at, ",; \t");
        const char *weight = memmem(at, whole, "q=0", 3);
        bool none = weight && weight + 3 + strspn(weight + 3, ".0") == at + whole;
        bool any = (len == 3 && strncmp(at, "*/*", 3) == 0) ||
                   (len == family + 1 && strncmp(at, type, family) == 0 && at[family] == '*');
        if (!none && ((len == strlen(type) && strncasecmp(at, type, len) == 0) ||
                      (any && strcmp(type, "application/json") == 0)))
            return true;
        at += whole;
    }
    return false;
}

/* ---- paths ---- */

/* The part of a path between a prefix and a suffix; false when it is not of that form. */
static bool path_part(const char *path, size_t len, const char *prefix, const char *suffix,
                      const char **part, size_t *part_len)
{
    size_t before = strlen(prefix), behind = strlen(suffix);
    if (len < before + behind || memcmp(path, prefix, before) != 0 ||
        memcmp(path + len - behind, suffix, behind) != 0)
        return false;
    *part = path + before;
    *part_len = len - before - behind;
    return memchr(*part, '/', *part_len) == NULL;
}

static bool method_is(struct http_view *v, struct http_request *r, enum http_method method)
{
    enum http_method is = r->head->method;
    struct error e;
    if (is == method || (method == HTTP_GET && is == HTTP_HEAD))
        return true;
    struct http_header allow =
        http_header_text("allow", method == HTTP_GET ? "GET, HEAD" : http_method_name(method));
    v->problems++;
    http_respond(r, &(struct http_response){.status = 405, .headers = &allow, .header_count = 1},
                 &e);
    return false;
}

static void number_route(struct http_view *v, struct http_request *r, const char *part, size_t len,
                         void (*route)(struct http_view *, struct http_request *, uint64_t))
{
    uint64_t index;
    if (!form_number(part, len, &index))
        view_problem(v, r, 400, "an index is a decimal number");
    else
        route(v, r, index);
}

static const struct {
    const char *path;
    enum http_method method;
    void (*route)(struct http_view *, struct http_request *);
} fixed[] = {
    {"/v1/call", HTTP_POST, route_call},    {"/v1/ledger", HTTP_GET, route_ledger},
    {"/v1/config", HTTP_GET, route_config}, {"/v1/metrics", HTTP_GET, route_metrics},
    {"/healthz", HTTP_GET, route_health},   {"/v1/proofs", HTTP_GET, route_proofs},
};

static void dispatch(struct http_view *v, struct http_request *r)
{
    const char *path = r->head->path, *part;
    size_t len = r->head->path_len, part_len;
    uint8_t hash[HASH_LEN];
    for (size_t i = 0; i < sizeof fixed / sizeof fixed[0]; i++) {
        if (strlen(fixed[i].path) != len || memcmp(fixed[i].path, path, len) != 0)
            continue;
        if (method_is(v, r, fixed[i].method))
            fixed[i].route(v, r);
        return;
    }
    bool of_tx = path_part(path, len, "/v1/tx/", "/receipt", &part, &part_len);
    if (of_tx || path_part(path, len, "/v1/tx/", "", &part, &part_len)) {
        if (method_is(v, r, HTTP_GET))
            number_route(v, r, part, part_len, of_tx ? route_tx_receipt : route_tx);
    } else if (path_part(path, len, "/v1/request/", "/receipt", &part, &part_len)) {
        if (!method_is(v, r, HTTP_GET))
            return;
        if (form_hash(part, part_len, hash))
            route_request_receipt(v, r, hash);
        else
            view_problem(v, r, 400,
                         "a request is named by the 64 lower-case hex digits of its hash");
    } else if (path_part(path, len, "/v1/proofs/", "", &part, &part_len)) {
        if (method_is(v, r, HTTP_GET))
            route_proof(v, r, part, part_len);
    } else {
        view_problem(v, r, 404, "there is no such path; see docs/ledger.md");
    }
}

/* ---- time ---- */

/* Who watches over the replica hears from it whatever others ask; neither costs much. */
static bool is_watcher(const struct http_request *r)
{
    static const char *const paths[] = {"/healthz", "/v1/metrics"};
    for (int i = 0; i < 2; i++)
        if (r->head->path_len == strlen(paths[i]) &&
            memcmp(r->head->path, paths[i], r->head->path_len) == 0)
            return true;
    return false;
}

static void dispatch_in_time(struct http_view *v, struct http_request *r)
{
    uint64_t begun = uv_hrtime();
    uint64_t owed = v->drained_ns > begun ? v->drained_ns - begun : 0;
    if (owed > VIEW_BURST_NS * VIEW_SHARE && !is_watcher(r)) {
        view_later(v, r, "the view's share of this replica's time is used up; ask again");
        return;
    }
    dispatch(v, r);
    v->drained_ns = begun + owed + (uv_hrtime() - begun) * VIEW_SHARE;
}

static void requested(void *context, struct http_request *r)
{
    struct http_view *v = context;
    v->requests++;
    if (v->loopback && !url_host_loopback(r->head->host))
        view_problem(v, r, 403, "this address is for this machine: name it 127.0.0.1 or localhost");
    else
        dispatch_in_time(v, r);
}

/* ---- life ---- */

static void view_closed(void *context)
{
    struct http_view *v = context;
    buffer_free(&v->receipt);
    free(v);
}

static bool address_loopback(const struct sockaddr_storage *a)
{
    if (a->ss_family == AF_INET)
        return ntohl(((const struct sockaddr_in *)a)->sin_addr.s_addr) >> 24 == 127;
    return a->ss_family == AF_INET6 &&
           IN6_IS_ADDR_LOOPBACK(&((const struct sockaddr_in6 *)a)->sin6_addr);
}

static int view_listen(struct http_view *v, const char *address, struct error *e)
{
    struct sockaddr_storage at;
    char host[64];
    int rc = address_parse(address, strlen(address), &at, e);
    if (rc != 0)
        return rc;
    uint16_t port;
    if (at.ss_family == AF_INET6) {
        uv_ip6_name((const struct sockaddr_in6 *)&at, host, sizeof host);
        port = ntohs(((const struct sockaddr_in6 *)&at)->sin6_port);
    } else {
        uv_ip4_name((const struct sockaddr_in *)&at, host, sizeof host);
        port = ntohs(((const struct sockaddr_in *)&at)->sin_port);
    }
    v->loopback = address_loopback(&at);
    return http_server_listen(v->http, host, port, NULL, &v->port, e);
}

int http_view_open(uv_loop_t *loop, struct ledger_server *server, const char *address,
                   struct http_view **out, struct error *e)
{
    static const struct http_handler handler = {.request = requested};
    struct http_view *v = calloc(1, sizeof *v);
    *out = NULL;
    if (v == NULL)
        return error_set(e, ATOLL_ENOMEM, "no memory for the HTTP view");
    v->server = server;
    struct http_server_options options = {.handler = &handler,
                                          .context = v,
                                          .connections = VIEW_CONNECTIONS,
                                          .body_max = BODY_MAX,
                                          .bodies_bytes = BODIES_MAX};
    int rc = http_server_create(loop, &options, &v->http, e);
    if (rc != 0) {
        free(v);
        return rc;
    }
    rc = view_listen(v, address, e);
    if (rc != 0) {
        http_server_close(v->http, view_closed, v);
        return rc;
    }
    ledger_server_replies(server, view_reply, v);
    *out = v;
    return 0;
}

uint16_t http_view_port(const struct http_view *v)
{
    return v->port;
}

void http_view_close(struct http_view *v)
{
    if (v == NULL)
        return;
    ledger_server_replies(v->server, NULL, NULL);
    http_server_close(v->http, view_closed, v);
}
