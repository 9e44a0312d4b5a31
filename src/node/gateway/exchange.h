/*
 * One request at the gateway and its answer: what every route works with.
 *
 * A route's handler answers an exchange exactly once, now or later, with one of exchange_respond,
 * _json, _problem, _error, or a stream (exchange_stream_begin … end). After that, and after the
 * gateway was closed, the exchange is gone. Whatever a handler started for it is told by `gone`
 * that nobody waits any longer; the handler still answers (into nothing).
 */
#ifndef NODE_GATEWAY_EXCHANGE_H
#define NODE_GATEWAY_EXCHANGE_H

#include "net/http_server.h"
#include "net/http_write.h"
#include "node/access.h"
#include "node/node.h"

#include <cjson/cJSON.h>
#include <stdio.h>

struct gateway;
struct exchange;

#define EXCHANGE_HEADERS_MAX 32

enum route_body { ROUTE_COLLECT, ROUTE_STREAM };

struct route {
    enum http_method method;
    /* Segments between slashes: literal, or {tenant}, {name} (a legal name each), {id} (16 hex
     * digits), {text} (any segment), or a last {rest} (all that is left, may hold slashes). */
    const char *pattern;
    void (*handle)(struct exchange *); /* the body is complete (or was streamed) */
    uint32_t scopes;                   /* of the token, for {tenant}; 0 with `open`: none */
    bool open;                         /* needs no token: health, version, the page */
    bool apart;                        /* also at the listener for operations, without a token */
    enum route_body body;
    uint64_t body_max;                                                 /* 0: no body */
    uint64_t (*body_limit)(struct exchange *);                         /* instead of body_max */
    const char *body_setting;                                          /* that it comes from */
    bool (*begin)(struct exchange *);                                  /* ROUTE_STREAM: before the
                            first piece; false: it has answered */
    bool (*piece)(struct exchange *, const uint8_t *data, size_t len); /* false: pause */
};

struct exchange {
    struct gateway *gateway;
    struct node *node;
    struct http_request *request;
    const struct route *route;
    const struct token *token; /* NULL: no authentication on this node; else token_copy, … */
    struct token token_copy;   /* … as the token was when the request came */
    /* From the path. */
    char tenant[NAME_MAX_LEN + 1], name[NAME_MAX_LEN + 1];
    uint64_t id;
    char text[FILENAME_MAX];
    size_t text_len;
    uint8_t trace_id[16], parent_id[8]; /* W3C trace context, made when none came */
    bool sampled;
    int64_t began_ns;
    void *own; /* the handler's */
    void (*gone)(struct exchange *);
    void (*drained)(struct exchange *); /* of a stream: there is room again */
    struct exchange *next, *previous;
};

/* ---- reading the request ---- */
const char *exchange_header(const struct exchange *, const char *lower); /* NULL: none */
/* A query parameter: its length, or -ATOLL_ENOENT; other errors have been answered: -ATOLL_EINVAL.
 */
int exchange_query(struct exchange *, const char *name, char *out, size_t size);
/* One that is a number of at most 18 digits: 0, and the rest as above. */
int exchange_query_count(struct exchange *, const char *name, uint64_t *out);
/* Answers 400 and returns false when the query has parameters beyond these (NULL-terminated). */
bool exchange_query_only(struct exchange *, const char *const *names);
/* The body as JSON; NULL when it was none and 400 has been answered. */
cJSON *exchange_body_json(struct exchange *);
/* Whether the token allows this too; answers 403 if not. */
bool exchange_require(struct exchange *, const char *tenant, uint32_t scopes);

/* ---- answering ---- */
struct exchange_headers {
    struct http_header list[EXCHANGE_HEADERS_MAX];
    size_t count;
};
/* The strings must live until the answer. */
void exchange_headers_add(struct exchange_headers *, const char *name, const char *value);
void exchange_respond(struct exchange *, const struct http_response *);
void exchange_json(struct exchange *, unsigned status, cJSON *); /* owns the object */
void exchange_json_as(struct exchange *, unsigned status, const char *type, cJSON *);
void exchange_problem(struct exchange *, unsigned status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* The same with fields of its own (NULL: none); text as it is. */
void exchange_problem_with(struct exchange *, unsigned status, const struct exchange_headers *,
                           const char *text);
/* The status that stands for the code. */
void exchange_error(struct exchange *, const struct error *);
unsigned exchange_status_of(int code);
int exchange_stream_begin(struct exchange *, const struct http_response *, struct error *);
int exchange_stream_write(struct exchange *, const void *data, size_t len); /* http_stream_write */
void exchange_stream_end(struct exchange *);
/* Without an answer: the connection closes. */
void exchange_drop(struct exchange *);
/* gateway.c: takes the exchange off the gateway's list; status 0: nothing was answered. */
void exchange_release(struct exchange *, unsigned status);

/* ---- times and ids as text ---- */
void id_text(uint64_t id, char out[static 17]);
/* "2026-01-02T03:04:05Z" */
void time_text(int64_t realtime_ns, char out[static 32]);

/* The tables of routes; each ends with a NULL pattern. */
extern const struct route routes_call[], routes_batch[], routes_function[], routes_state[],
    routes_file[], routes_access[], routes_operation[];

#endif
