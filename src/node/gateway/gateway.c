/*
 * See gateway.h. The server's callbacks, finding a request's route, and who may take it; exchange.c
 * has what routes use.
 */
#define _GNU_SOURCE
#include "node/gateway/gateway.h"

#include "base/clock.h"
#include "crypto/tls.h"
#include "net/url.h"
#include "node/gateway/exchange.h"
#include "node/gateway/listen.h"
#include "node/log.h"
#include "node/metrics.h"

#include <stdlib.h>
#include <sys/random.h>

#define BODIES_BYTES           (512ull << 20)
#define OPERATIONS_CONNECTIONS 64u

struct gateway {
    struct node *node;
    struct http_server *server;
    struct http_server *operations; /* setting metrics_listen; NULL: none */
    uint32_t open_servers;
    struct tls_context *tls;
    struct exchange *exchanges; /* in hand */
    struct exchange *spare;
    struct exchange *provisional; /* of the last head, whose body has not come yet; NULL: none */
    bool authentication, closing;
    char url[300];
};

static const struct route *const tables[] = {routes_call,     routes_batch, routes_function,
                                             routes_state,    routes_file,  routes_access,
                                             routes_operation};

/* ---- exchanges ---- */

/* A request whose body is collected becomes ours with `request`; if its body never comes, nobody
 * tells. What its head has led to is therefore kept for the last head only, which is the one whose
 * body follows in nearly all cases; otherwise the request's way is found once more. */

static struct exchange *exchange_make(struct gateway *g, struct http_request *request)
{
    struct exchange *x = g->spare;
    if (x)
        g->spare = x->next;
    else if ((x = malloc(sizeof *x)) == NULL)
        return NULL;
    *x = (struct exchange){
        .gateway = g, .node = g->node, .request = request, .began_ns = clock_monotonic_ns()};
    return x;
}

static void exchange_enter(struct exchange *x)
{
    struct gateway *g = x->gateway;
    x->next = g->exchanges;
    x->previous = NULL;
    if (g->exchanges)
        g->exchanges->previous = x;
    g->exchanges = x;
    x->request->user = x;
}

static void exchange_leave(struct exchange *x)
{
    struct gateway *g = x->gateway;
    *(x->previous ? &x->previous->next : &g->exchanges) = x->next;
    if (x->next)
        x->next->previous = x->previous;
    x->request->user = NULL;
}

static void exchange_spare(struct exchange *x)
{
    x->next = x->gateway->spare;
    x->gateway->spare = x;
}

void exchange_release(struct exchange *x, unsigned status)
{
    if (status)
        metrics_http(x->node->metrics, status);
    exchange_leave(x);
    exchange_spare(x);
}

static void provisional_set(struct gateway *g, struct exchange *x)
{
    if (g->provisional)
        exchange_spare(g->provisional);
    g->provisional = x;
}

/* ---- routes ---- */

static bool id_parse(const char *text, uint64_t *out)
{
    char *end;
    if (strlen(text) != 16 || strspn(text, "0123456789abcdef") != 16)
        return false;
    *out = strtoull(text, &end, 16);
    return true;
}

/* Puts a segment where the pattern's placeholder wants it; false when it does not fit. */
static bool segment_take(struct exchange *x, const char *placeholder, size_t len, const char *text)
{
    size_t text_len = strlen(text);
    if (strncmp(placeholder, "{id}", len) == 0)
        return id_parse(text, &x->id);
    if (strncmp(placeholder, "{text}", len) == 0) {
        memcpy(x->text, text, text_len + 1);
        x->text_len = text_len;
        return true;
    }
    if (!name_is_valid(text, text_len))
        return false;
    memcpy(strncmp(placeholder, "{tenant}", len) == 0 ? x->tenant : x->name, text, text_len + 1);
    return true;
}

/* Whether the path is of the pattern; fills what the placeholders name. */
static bool path_matches(struct exchange *x, const char *pattern, const char *path)
{
    struct error e;
    char segment[512];
    if (strcmp(pattern, "/") == 0)
        return strcmp(path, "/") == 0;
    while (*pattern == '/') {
        const char *part = pattern + 1;
        size_t len = strcspn(part, "/");
        if (strncmp(part, "{rest}", len) == 0 && len == 6) {
            int got = *path ? url_path_rest(path, x->text, sizeof x->text, &e) : -ATOLL_ENOENT;
            x->text_len = got > 0 ? (size_t)got : 0;
            return got > 0;
        }
        if (*path != '/')
            return false;
        int got = url_path_next(&path, segment, sizeof segment, &e);
        if (got < 0)
            return false;
        bool fits = part[0] == '{' ? segment_take(x, part, len, segment)
                                   : (size_t)got == len && memcmp(part, segment, len) == 0;
        if (!fits)
            return false;
        pattern = part + len;
    }
    return *path == 0;
}

/* The route of a request; when the path exists for other methods only, *other is set. */
static const struct route *route_find(struct exchange *x, const struct http_head *head, bool *other)
{
    enum http_method method = head->method == HTTP_HEAD ? HTTP_GET : head->method;
    *other = false;
    for (size_t t = 0; t < sizeof tables / sizeof tables[0]; t++) {
        for (const struct route *r = tables[t]; r->pattern; r++) {
            if (!path_matches(x, r->pattern, head->path))
                continue;
            if (r->method == method)
                return r;
            *other = true;
        }
    }
    return NULL;
}

/* ---- who may ---- */

/* Whether a page from elsewhere makes its reader's browser send this. Browsers say where a page
 * comes from with every request that can change something. */
static bool from_foreign_page(const struct http_head *head)
{
    const char *origin = http_head_value(head, "origin");
    const char *host = origin ? strstr(origin, "://") : NULL;
    return origin && (host == NULL || !url_host_loopback(host + 3));
}

static bool given_twice(const struct http_head *head, const char *name)
{
    uint32_t count = 0;
    for (uint32_t k = 0; k < head->header_count; k++)
        count += strcasecmp(head->headers[k].name, name) == 0;
    return count > 1;
}

/* True when the request may go on; otherwise it has been answered. */
static bool admit(struct exchange *x, const struct http_head *head)
{
    struct gateway *g = x->gateway;
    struct error e;
    const char *authorization = http_head_value(head, "authorization");
    if (x->route->open)
        return true;
    if (!g->authentication) {
        if (url_host_loopback(head->host) && !from_foreign_page(head))
            return true;
        exchange_problem(x, 403,
                         "this node asks for no tokens, so it answers only requests that name it "
                         "localhost or 127.0.0.1, and no pages from elsewhere");
        return false;
    }
    if (given_twice(head, "authorization")) {
        exchange_problem(x, 400, "Authorization is given twice");
        return false;
    }
    const struct token *token;
    if (authorization == NULL ||
        access_token(g->node->access, authorization, strlen(authorization), &token, &e) != 0) {
        struct exchange_headers headers = {0};
        exchange_headers_add(&headers, "www-authenticate", "Bearer");
        exchange_problem_with(x, 401, &headers,
                              authorization ? e.text
                                            : "this needs a token: Authorization: Bearer …");
        return false;
    }
    x->token_copy = *token; /* it may be revoked before this request ends */
    x->token = &x->token_copy;
    if (x->tenant[0] == 0 && x->route->scopes == 0)
        return true; /* the handler looks at what it is about */
    return exchange_require(x, x->tenant[0] ? x->tenant : NULL, x->route->scopes);
}

/* ---- trace context (W3C, version 00) ---- */

static bool hex_bytes(const char *text, uint8_t *out, size_t len)
{
    for (size_t i = 0; i < 2 * len; i++) {
        char c = text[i];
        unsigned digit = c >= '0' && c <= '9'   ? (unsigned)(c - '0')
                         : c >= 'a' && c <= 'f' ? (unsigned)(c - 'a') + 10
                                                : 16;
        if (digit == 16)
            return false;
        out[i / 2] = (uint8_t)(i % 2 ? out[i / 2] | digit : digit << 4);
    }
    return true;
}

static void trace_take(struct exchange *x, const struct http_head *head)
{
    static uint8_t pool[1024];
    static size_t used = sizeof pool;
    const char *parent = http_head_value(head, "traceparent");
    uint8_t flags, none[16] = {0};
    if (parent && strlen(parent) == 55 && memcmp(parent, "00-", 3) == 0 && parent[35] == '-' &&
        parent[52] == '-' && hex_bytes(parent + 3, x->trace_id, 16) &&
        hex_bytes(parent + 36, x->parent_id, 8) && hex_bytes(parent + 53, &flags, 1) &&
        memcmp(x->trace_id, none, 16) != 0) {
        x->sampled = flags & 1;
        return;
    }
    if (used + 16 > sizeof pool) {
        if (getrandom(pool, sizeof pool, GRND_NONBLOCK) != (ssize_t)sizeof pool)
            return;
        used = 0;
    }
    memcpy(x->trace_id, pool + used, 16);
    memset(x->parent_id, 0, sizeof x->parent_id);
    used += 16;
}

/* ---- the server's callbacks ---- */

/* The request's exchange with its route, admitted; NULL: it has been answered. */
static struct exchange *exchange_begin(struct gateway *g, struct http_request *request)
{
    const struct http_head *head = request->head;
    struct exchange *x = exchange_make(g, request);
    bool other;
    if (x == NULL) {
        http_respond_problem(request, &(struct http_problem){.status = 503});
        return NULL;
    }
    exchange_enter(x);
    x->route = route_find(x, head, &other);
    if (x->route == NULL) {
        exchange_problem(x, other ? 405 : 404, other ? "%s does not take %s" : "there is no %s",
                         head->path, http_method_name(head->method));
        return NULL;
    }
    trace_take(x, head);
    return admit(x, head) ? x : NULL;
}

static enum http_body_mode head_came(void *context, struct http_request *request)
{
    struct gateway *g = context;
    provisional_set(g, NULL);
    struct exchange *x = exchange_begin(g, request);
    if (x == NULL)
        return HTTP_BODY_COLLECT;
    uint64_t limit = x->route->body_limit ? x->route->body_limit(x) : x->route->body_max;
    http_request_body_max(request, limit);
    http_request_body_setting(request, x->route->body_setting);
    if (x->route->body != ROUTE_STREAM) {
        exchange_leave(x);
        provisional_set(g, x);
        return HTTP_BODY_COLLECT;
    }
    x->route->begin(x); /* when it answered, nothing more comes */
    return HTTP_BODY_STREAM;
}

static void request_came(void *context, struct http_request *request)
{
    struct gateway *g = context;
    struct exchange *x = request->user; /* one whose body was streamed */
    if (x == NULL && g->provisional && g->provisional->request == request) {
        x = g->provisional;
        g->provisional = NULL;
        exchange_enter(x);
    }
    if (x != NULL || (x = exchange_begin(g, request)) != NULL)
        x->route->handle(x);
}

/* The listener for operations: few routes, no tokens; whoever reaches its address may. */
static enum http_body_mode operations_head_came(void *context, struct http_request *request)
{
    (void)context;
    http_request_body_max(request, 0);
    return HTTP_BODY_COLLECT;
}

static void operations_request_came(void *context, struct http_request *request)
{
    struct exchange *x = exchange_make(context, request);
    bool other;
    if (x == NULL) {
        http_respond_problem(request, &(struct http_problem){.status = 503});
        return;
    }
    exchange_enter(x);
    x->route = route_find(x, request->head, &other);
    if (x->route && x->route->apart)
        x->route->handle(x);
    else
        exchange_problem(x, 404, "there is no %s here, only /metrics, /healthz, /readyz, /version",
                         request->head->path);
}

static bool piece_came(void *context, struct http_request *request, const uint8_t *data, size_t len)
{
    struct exchange *x = request->user;
    (void)context;
    return x->route->piece(x, data, len);
}

static void peer_gone(void *context, struct http_request *request)
{
    struct exchange *x = request->user;
    (void)context;
    if (x && x->gone)
        x->gone(x);
    else if (x && x->route && x->route->body == ROUTE_STREAM)
        exchange_drop(x);
}

static void stream_drained(void *context, struct http_request *request)
{
    struct exchange *x = request->user;
    (void)context;
    if (x && x->drained)
        x->drained(x);
}

static const struct http_handler handler = {.head = head_came,
                                            .body = piece_came,
                                            .request = request_came,
                                            .gone = peer_gone,
                                            .drained = stream_drained};

static const struct http_handler operations_handler = {
    .head = operations_head_came, .request = operations_request_came, .gone = peer_gone};

/* ---- the whole ---- */

static int gateway_tls(struct gateway *g, struct error *e)
{
    const struct node_config *c = &g->node->config;
    /* Who gives half of it wants TLS, and shall not get a node without. */
    if ((c->tls_certificate[0] == 0) != (c->tls_key[0] == 0) ||
        (c->tls_client_ca[0] != 0 && c->tls_certificate[0] == 0))
        return error_set(e, ATOLL_EINVAL,
                         "TLS needs both tls.certificate and tls.key; tls.client_ca is of use only "
                         "beside them");
    if (c->tls_certificate[0] == 0)
        return 0;
    return tls_context_server(c->tls_certificate, c->tls_key,
                              c->tls_client_ca[0] ? c->tls_client_ca : NULL, &g->tls, e);
}

static int operations_listen(struct gateway *g, struct error *e)
{
    const char *text = g->node->config.metrics_listen;
    struct http_server_options options = {
        .handler = &operations_handler, .context = g, .connections = OPERATIONS_CONNECTIONS};
    struct listen_address address;
    if (text[0] == 0)
        return 0;
    int rc = listen_parse(text, &address, e);
    if (rc == 0)
        rc = http_server_create(g->node->loop, &options, &g->operations, e);
    if (rc != 0)
        return error_prefix(e, "setting metrics_listen");
    g->open_servers++;
    return http_server_listen(g->operations, address.host, address.port, NULL,
                              &g->node->metrics_port, e);
}

int gateway_create(struct node *node, struct gateway **out, struct error *e)
{
    const struct node_config *c = &node->config;
    struct listen_address address;
    struct gateway *g = calloc(1, sizeof *g);
    *out = NULL;
    if (g == NULL)
        return error_set(e, ATOLL_ENOMEM, "no memory for the gateway");
    g->node = node;
    struct http_server_options options = {.handler = &handler,
                                          .context = g,
                                          .connections = c->connections,
                                          .body_max = c->input_bytes,
                                          .bodies_bytes = BODIES_BYTES};
    uint16_t port;
    int rc = listen_parse(c->listen, &address, e);
    if (rc == 0)
        rc = gateway_tls(g, e);
    if (rc == 0)
        rc = http_server_create(node->loop, &options, &g->server, e);
    if (rc == 0) {
        g->open_servers++;
        rc = http_server_listen(g->server, address.host, address.port, g->tls, &port, e);
    }
    if (rc == 0)
        rc = operations_listen(g, e);
    if (rc != 0) {
        gateway_destroy(g);
        return rc;
    }
    g->authentication = c->authentication == AUTHENTICATION_ALWAYS ||
                        (c->authentication == AUTHENTICATION_UNLESS_LOOPBACK && !address.loopback);
    node->port = port;
    listen_url(&address, port, g->tls != NULL, g->url, sizeof g->url);
    *out = g;
    return 0;
}

const char *gateway_url(const struct gateway *g)
{
    return g->url;
}

bool gateway_authenticates(const struct gateway *g)
{
    return g->authentication;
}

void gateway_drain(struct gateway *g, void (*done)(void *), void *context)
{
    http_server_drain(g->server, UINT32_MAX, done, context);
}

static void server_closed(void *context)
{
    struct gateway *g = context;
    if (g->open_servers > 0 && --g->open_servers > 0)
        return;
    provisional_set(g, NULL);
    while (g->spare) {
        struct exchange *x = g->spare;
        g->spare = x->next;
        free(x);
    }
    tls_context_destroy(g->tls);
    free(g);
}

void gateway_destroy(struct gateway *g)
{
    if (g == NULL)
        return;
    g->closing = true;
    if (g->open_servers == 0) {
        server_closed(g);
        return;
    }
    /* Those that wait for something are told; what they answer goes nowhere. The rest, whose answer
     * will never come, is dropped. */
    for (struct exchange *x = g->exchanges, *next; x; x = next) {
        next = x->next;
        if (x->gone)
            x->gone(x);
    }
    while (g->exchanges)
        exchange_drop(g->exchanges);
    struct http_server *operations = g->operations;
    http_server_close(g->server, server_closed, g);
    if (operations)
        http_server_close(operations, server_closed, g);
}
