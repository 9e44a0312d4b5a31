/* See node_parts.h. */
#include "node_parts.h"

#include "node/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

struct node *node_parts_open(void)
{
    static struct node_config config;
    struct node *n;
    struct error e;
    config_default(&config);
    snprintf(config.data, sizeof config.data, "%s/data", getenv("ATOLL_HOME"));
    strcpy(config.listen, "127.0.0.1:0");
    config.log_level = LOG_ERROR;
    if (node_create(&config, &n, &e) != 0)
        fail_msg("%s", e.text);
    return n;
}

void node_parts_close(struct node *n)
{
    node_destroy(n);
}

void said_note(void *context, int code, const struct error *e)
{
    struct said *s = context;
    s->done = true;
    s->code = code;
    snprintf(s->text, sizeof s->text, "%s", code ? e->text : "");
}

int said_wait(struct node *n, struct said *s)
{
    while (!s->done)
        uv_run(n->loop, UV_RUN_ONCE);
    s->done = false;
    return s->code;
}
