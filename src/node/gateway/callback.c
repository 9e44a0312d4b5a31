/* See callback.h. */
#define _GNU_SOURCE
#include "node/gateway/callback.h"

#include "net/http_fetch.h"
#include "node/call_graph.h"
#include "node/gateway/exchange.h"
#include "node/log.h"

#include <stdlib.h>

static uint32_t under_way; /* loop thread only */

struct callback {
    struct node *node;
    struct url url;
    uint64_t call;
};

/* Whether a host stands in a list "a,b,c". */
static bool host_listed(const char *list, const char *host)
{
    size_t len = strlen(host);
    for (const char *at = list; *at; at += strcspn(at, ",") + (at[strcspn(at, ",")] == ',')) {
        size_t skip = strspn(at, " "), one = strcspn(at + skip, ", ");
        if (one == len && strncasecmp(at + skip, host, len) == 0)
            return true;
    }
    return false;
}

int callback_prepare(struct node *node, const char *url, struct callback **out, struct error *e)
{
    struct callback *c = calloc(1, sizeof *c);
    *out = NULL;
    int rc =
        c ? url_parse(url, &c->url, e) : error_set(e, ATOLL_ENOMEM, "no memory for a callback");
    if (rc == 0 && !host_listed(node->config.callbacks, c->url.host))
        rc = error_set(e, ATOLL_EPERM,
                       "results may not be posted to %s: the node's setting "
                       "\"callbacks\" does not list it",
                       c->url.host);
    if (rc == 0 && c->url.tls)
        rc = error_set(e, ATOLL_EUNSUPPORTED, "results are posted over http only");
    if (rc == 0 && under_way >= CALLBACKS_MAX)
        rc = error_set(e, ATOLL_ELIMIT, "too many results wait to be posted");
    if (rc != 0) {
        free(c);
        return rc;
    }
    c->node = node;
    under_way++;
    *out = c;
    return 0;
}

void callback_cancel(struct callback *c)
{
    if (c == NULL)
        return;
    under_way--;
    free(c);
}

static void posted(void *context, unsigned status, unsigned tries, const struct error *e)
{
    struct callback *c = context;
    struct log_about about = {.call = c->call};
    if (status >= 200 && status < 300)
        log_write(LOG_DEBUG, "callback", &about, "the result was taken after %u tries", tries);
    else
        log_write(LOG_WARNING, "callback", &about, "the result could not be posted (%u tries): %s",
                  tries, status ? http_status_text(status) : e->text);
    callback_cancel(c);
}

void callback_post(void *context, const struct call_outcome *o)
{
    struct callback *c = context;
    struct error e;
    char id[17], code[16];
    id_text(o->id, id);
    snprintf(code, sizeof code, "%d", o->code);
    const struct http_header headers[] = {
        http_header_text("content-type", "application/octet-stream"),
        http_header_text("atoll-call", id),
        http_header_text("atoll-status", call_status_name(o->status)),
        http_header_text("atoll-code", code),
    };
    struct http_fetch_options options = {
        .method = HTTP_POST,
        .url = c->url,
        .headers = headers,
        .header_count = 4,
        .body = o->output ? blob_bytes(o->output) : NULL,
        .body_len = o->output ? o->output->len : 0,
        .done = posted,
        .context = c,
    };
    struct http_fetch *fetch;
    c->call = o->id;
    if (http_fetch_start(c->node->loop, &options, &fetch, &e) != 0)
        posted(c, 0, 0, &e);
}
