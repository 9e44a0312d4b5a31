/*
 * See node.h. Building up and taking down: parts are made in the order in which they lean on each
 * other and destroyed in the reverse one; whatever a part still had under way with the loop ends in
 * the last run of the loop, after every handle was told to close.
 */
#define _GNU_SOURCE
#include "node/node.h"

#include "base/clock.h"
#include "base/file.h"
#include "node/access.h"
#include "node/builder.h"
#include "node/calls.h"
#include "node/expiry.h"
#include "node/files.h"
#include "node/gateway/gateway.h"
#include "node/large_pages.h"
#include "node/log.h"
#include "node/metrics.h"
#include "node/network.h"
#include "node/notify.h"
#include "node/shares.h"
#include "node/workers.h"
#include "state/state.h"
#include "store/store.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <unistd.h>
#include <uv.h>

#define SECOND_MS       1000u
#define COLLECT_EVERY   60u /* seconds */
#define WORKER_GRACE_NS 2000000000ll

/* The node, and what only this file touches. */
struct whole {
    struct node node;
    uv_loop_t loop;
    uv_async_t store_ready, stop;
    uv_timer_t second, state_due, watchdog;
    uv_signal_t terminate, interrupt;
    int lock;
    uint64_t seconds;
    int64_t drain_until_ns;
    bool ended, gateway_drained, workers_stopping;
    int handles; /* of this file, initialised */
};

static struct whole *whole_of(struct node *n)
{
    return (struct whole *)n;
}

/* ---- the store and the state tier on the loop ---- */

static void store_wake(void *context)
{
    struct whole *w = context;
    uv_async_send(&w->store_ready);
}

static void store_ready(uv_async_t *async)
{
    struct whole *w = async->data;
    store_complete(w->node.store);
}

static int64_t state_now(void *context)
{
    (void)context;
    return clock_monotonic_ns();
}

static void state_due(uv_timer_t *timer)
{
    struct whole *w = timer->data;
    state_tick(w->node.state);
}

static void state_timer(void *context, int64_t at_ns)
{
    struct whole *w = context;
    if (at_ns == STATE_NEVER) {
        uv_timer_stop(&w->state_due);
        return;
    }
    int64_t left = at_ns - clock_monotonic_ns();
    uint64_t ms = left > 0 ? (uint64_t)(left + 999999) / 1000000 : 0;
    uv_update_time(&w->loop);
    uv_timer_start(&w->state_due, state_due, ms, 0);
}

static uint32_t state_granted(void *context, const char *tenant, const char *owner, const void *key,
                              size_t key_len)
{
    struct whole *w = context;
    return access_state_rights(w->node.access, tenant, owner, key, key_len);
}

/* ---- draining ---- */

static void workers_gone(void *context)
{
    struct whole *w = context;
    w->ended = true;
    uv_stop(&w->loop);
}

static void gateway_drained(void *context)
{
    struct whole *w = context;
    w->gateway_drained = true;
}

static void drain_look(struct whole *w)
{
    bool late = clock_monotonic_ns() >= w->drain_until_ns, calm = calls_live(w->node.calls) == 0;
    bool idle = calm && w->gateway_drained;
    if (calm) /* what is being built, only deployments wait for */
        builder_stop(w->node.builder);
    if (w->workers_stopping || (!idle && !late))
        return;
    if (!idle)
        log_write(LOG_WARNING, "node", NULL, "%llu calls are cut off after the time to drain",
                  (unsigned long long)calls_live(w->node.calls));
    w->workers_stopping = true;
    workers_stop(w->node.workers, WORKER_GRACE_NS, workers_gone, w);
}

void node_stop(struct node *n)
{
    struct whole *w = whole_of(n);
    if (n->draining) {
        w->drain_until_ns = 0; /* asked twice: at once */
        return;
    }
    n->draining = true;
    w->drain_until_ns = clock_monotonic_ns() + n->config.drain_ns;
    log_write(LOG_INFO, "node", NULL, "draining; calls under way: %llu",
              (unsigned long long)calls_live(n->calls));
    notify_send("STOPPING=1");
    gateway_drain(n->gateway, gateway_drained, w);
    uv_timer_set_repeat(&w->second, 20);
    uv_timer_again(&w->second);
}

static void signal_came(uv_signal_t *handle, int signal)
{
    struct whole *w = handle->data;
    log_write(LOG_INFO, "node", NULL, "%s: stopping", signal == SIGTERM ? "SIGTERM" : "SIGINT");
    node_stop(&w->node);
}

static void second_passed(uv_timer_t *timer)
{
    struct whole *w = timer->data;
    int64_t now = clock_monotonic_ns();
    calls_tick(w->node.calls, now);
    calls_watch(w->node.calls, now);
    if (++w->seconds % COLLECT_EVERY == 0)
        registry_collect(w->node.registry, now);
    expiry_step(w->node.expiry, clock_ns(CLOCK_REALTIME));
    if (w->node.draining)
        drain_look(w);
}

static void watchdog_due(uv_timer_t *timer)
{
    (void)timer;
    notify_send("WATCHDOG=1");
}

/* ---- building up ---- */

static int data_lock(struct whole *w, struct error *e)
{
    char path[PATH_MAX];
    int rc = directory_make(w->node.config.data, 0700, e);
    if (rc != 0)
        return rc;
    snprintf(path, sizeof path, "%s/lock", w->node.config.data);
    w->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (w->lock < 0)
        return error_set_errno(e, 0, "cannot open %s", path);
    if (flock(w->lock, LOCK_EX | LOCK_NB) != 0)
        return error_set(e, ATOLL_EBUSY, "another node uses %s; stop it, or give another --data",
                         w->node.config.data);
    return 0;
}

/* Every value of state on this node and every connection takes a descriptor. */
static void descriptors_raise(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

/* Starts are counted, so that ids of calls never come again. */
static int epoch_count(struct whole *w, struct error *e)
{
    char path[PATH_MAX], text[16];
    struct buffer old = {0};
    unsigned long epoch = 0;
    snprintf(path, sizeof path, "%s/epoch", w->node.config.data);
    int rc = file_read(path, sizeof text - 1, &old, e);
    if (rc == 0) {
        memcpy(text, old.data, old.len);
        text[old.len] = 0;
        epoch = strtoul(text, NULL, 10);
    }
    buffer_free(&old);
    if (rc != 0 && rc != -ATOLL_ENOENT)
        return rc;
    epoch++;
    w->node.boot_epoch = (uint32_t)(epoch & 0xfff);
    int len = snprintf(text, sizeof text, "%lu\n", epoch);
    return file_replace(path, text, (size_t)len, 0600, e);
}

static void handles_create(struct whole *w)
{
    uv_async_init(&w->loop, &w->store_ready, store_ready);
    uv_timer_init(&w->loop, &w->second);
    uv_timer_init(&w->loop, &w->state_due);
    uv_timer_init(&w->loop, &w->watchdog);
    uv_signal_init(&w->loop, &w->terminate);
    uv_signal_init(&w->loop, &w->interrupt);
    w->store_ready.data = w->second.data = w->state_due.data = w->watchdog.data =
        w->terminate.data = w->interrupt.data = w;
    w->handles = 6;
}

static bool token_is_admin(void *context, const struct token *t)
{
    bool *found = context;
    *found |= (t->scopes & SCOPE_ADMIN) != 0;
    return !*found;
}

static void first_token_stored(void *context, int code, const struct error *e)
{
    (void)context;
    if (code != 0)
        log_write(LOG_ERROR, "node", NULL, "the first token does not count: %s", e->text);
}

/* A node that asks for tokens and has none for administrators makes one, which lies in a file that
 * only the node's user can read. */
static int first_token(struct whole *w, struct error *e)
{
    struct node *n = &w->node;
    struct token wanted = {.scopes = SCOPE_ADMIN, .note = "made at the first start"}, made;
    char path[PATH_MAX], text[TOKEN_TEXT_LEN + 2] = "";
    bool found = false;
    access_tokens(n->access, token_is_admin, &found);
    if (found || !gateway_authenticates(n->gateway))
        return 0;
    access_token_make(n->access, &wanted, text, &made, first_token_stored, NULL);
    snprintf(path, sizeof path, "%s/admin-token", n->config.data);
    if (text[0] == 0)
        return error_set(e, ATOLL_ENOMEM, "the first token could not be made");
    strcat(text, "\n");
    int rc = file_replace(path, text, strlen(text), 0600, e);
    explicit_bzero(text, sizeof text);
    if (rc == 0)
        log_write(LOG_INFO, "node", NULL, "an administrator's token was made: %s", path);
    return rc;
}

static int parts_create(struct whole *w, struct error *e)
{
    struct node *n = &w->node;
    char store[PATH_MAX], cache[PATH_MAX];
    snprintf(store, sizeof store, "%s/store", n->config.data);
    snprintf(cache, sizeof cache, "%s/cache", n->config.data);
    struct store_options options = {.directory = store, .wake = store_wake, .wake_context = w};
    int rc = store_open(&options, &n->store, e);
    if (rc != 0)
        return rc;
    struct state_options state = {.gt = store_gt(n->store),
                                  .local_max = n->config.state_bytes,
                                  .context = w,
                                  .now = state_now,
                                  .timer = state_timer,
                                  .granted = state_granted};
    if ((rc = state_create(&state, &n->state, e)) != 0 ||
        (rc = builder_create(&w->loop, cache, n->config.compile_ns, &n->builder, e)) != 0 ||
        (rc = access_create(n, &n->access, e)) != 0 ||
        (rc = metrics_create(n, &n->metrics, e)) != 0 ||
        (rc = expiry_create(n->store, &n->expiry, e)) != 0 ||
        (rc = shares_create(NULL, &n->shares, e)) != 0 ||
        (rc = large_pages_create(&n->large_pages, e)) != 0 ||
        (rc = network_create(&n->network, e)) != 0 ||
        (rc = workers_create(n, &n->workers, e)) != 0 ||
        (rc = registry_create(n, &n->registry, e)) != 0 ||
        (rc = calls_create(n, &n->calls, e)) != 0 || (rc = files_create(n, &n->files, e)) != 0)
        return rc;
    rc = gateway_create(n, &n->gateway, e);
    return rc == 0 ? first_token(w, e) : rc;
}

int node_create(const struct node_config *config, struct node **out, struct error *e)
{
    *out = NULL;
    struct whole *w = calloc(1, sizeof *w);
    if (w == NULL)
        return error_set(e, ATOLL_ENOMEM, "no memory for the node");
    w->node.config = *config;
    w->node.loop = &w->loop;
    w->node.started_ns = clock_ns(CLOCK_REALTIME);
    w->lock = -1;
    signal(SIGPIPE, SIG_IGN);
    descriptors_raise();
    log_configure((enum log_level)config->log_level, false);
    uv_loop_init(&w->loop);
    handles_create(w);
    int rc = data_lock(w, e);
    /* The key of artefacts lies with what else the node keeps: a service's user may have no home.
     */
    if (rc == 0 && setenv("ATOLL_HOME", config->data, 0) != 0)
        rc = error_set_errno(e, ATOLL_ENOMEM, "cannot set ATOLL_HOME");
    if (rc == 0)
        rc = epoch_count(w, e);
    if (rc == 0)
        rc = parts_create(w, e);
    if (rc != 0) {
        node_destroy(&w->node);
        return rc;
    }
    *out = &w->node;
    return 0;
}

int node_run(struct node *n)
{
    struct whole *w = whole_of(n);
    uint64_t watchdog = notify_watchdog_ms();
    uv_signal_start(&w->terminate, signal_came, SIGTERM);
    uv_signal_start(&w->interrupt, signal_came, SIGINT);
    uv_timer_start(&w->second, second_passed, SECOND_MS, SECOND_MS);
    if (watchdog)
        uv_timer_start(&w->watchdog, watchdog_due, watchdog, watchdog);
    notify_send("READY=1");
    log_write(LOG_INFO, "node", NULL, "serving at %s", gateway_url(n->gateway));
    while (!w->ended)
        uv_run(&w->loop, UV_RUN_DEFAULT);
    log_write(LOG_INFO, "node", NULL, "stopped");
    return 0;
}

const char *node_url(const struct node *n)
{
    return gateway_url(n->gateway);
}

/* ---- taking down ---- */

static void handles_close(struct whole *w)
{
    uv_close((uv_handle_t *)&w->store_ready, NULL);
    uv_close((uv_handle_t *)&w->second, NULL);
    uv_close((uv_handle_t *)&w->state_due, NULL);
    uv_close((uv_handle_t *)&w->watchdog, NULL);
    uv_close((uv_handle_t *)&w->terminate, NULL);
    uv_close((uv_handle_t *)&w->interrupt, NULL);
}

void node_destroy(struct node *n)
{
    if (n == NULL)
        return;
    struct whole *w = whole_of(n);
    n->draining = true;
    while (n->disk_jobs > 0)
        uv_run(&w->loop, UV_RUN_ONCE);
    builder_destroy(n->builder);
    workers_destroy(n->workers);
    struct error e;
    if (store_close(n->store, &e) != 0) /* the last callbacks run inside */
        log_write(LOG_ERROR, "node", NULL, "%s", e.text);
    gateway_destroy(n->gateway); /* nothing answers any more; what waits is dropped */
    large_pages_destroy(n->large_pages);
    network_destroy(n->network);
    state_destroy(n->state);
    files_destroy(n->files);
    calls_destroy(n->calls);
    registry_destroy(n->registry);
    metrics_destroy(n->metrics);
    expiry_destroy(n->expiry);
    shares_destroy(n->shares);
    access_destroy(n->access);
    handles_close(w);
    uv_run(&w->loop, UV_RUN_DEFAULT);
    if (uv_loop_close(&w->loop) != 0)
        log_write(LOG_WARNING, "node", NULL, "something was still open at the end");
    if (w->lock >= 0)
        close(w->lock);
    free(w);
}
