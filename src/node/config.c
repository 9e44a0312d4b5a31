/* See config.h. One table of fields serves the file, the environment and the command's options. */
#define _GNU_SOURCE
#include "node/config.h"

#include "base/file.h"
#include "node/document.h"
#include "node/worker/worker.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MEMBER(m)   offsetof(struct node_config, m)
#define TEXT_MAX(m) (sizeof((struct node_config *)0)->m - 1)

static const struct field tls_fields[] = {
    {.name = "certificate",
     .type = FIELD_TEXT,
     .offset = MEMBER(tls_certificate),
     .max = TEXT_MAX(tls_certificate)},
    {.name = "key", .type = FIELD_TEXT, .offset = MEMBER(tls_key), .max = TEXT_MAX(tls_key)},
    {.name = "client_ca",
     .type = FIELD_TEXT,
     .offset = MEMBER(tls_client_ca),
     .max = TEXT_MAX(tls_client_ca)},
    {0},
};
static const struct field auth_fields[] = {
    {.name = "required",
     .type = FIELD_CHOICE,
     .offset = MEMBER(authentication),
     .choices = "unless-loopback|never|always"},
    {0},
};
static const struct field limit_fields[] = {
    {.name = "module",
     .type = FIELD_SIZE,
     .offset = MEMBER(module_bytes),
     .min = 1024,
     .max = 1ull << 30},
    {.name = "compile",
     .type = FIELD_DURATION,
     .offset = MEMBER(compile_ns),
     .min = 1000000000ull,
     .max = 86400000000000ull},
    {.name = "input",
     .type = FIELD_SIZE,
     .offset = MEMBER(input_bytes),
     .min = 1024,
     .max = 1ull << 30},
    {.name = "results",
     .type = FIELD_SIZE,
     .offset = MEMBER(results_bytes),
     .min = 1 << 20,
     .max = 1ull << 40},
    {.name = "tenant_memory",
     .type = FIELD_SIZE,
     .offset = MEMBER(tenant_memory_bytes),
     .min = 1 << 20,
     .max = 1ull << 44},
    {.name = "queue", .type = FIELD_COUNT, .offset = MEMBER(queue_max), .max = 10000000},
    {.name = "instances",
     .type = FIELD_COUNT,
     .offset = MEMBER(instances),
     .min = WORKER_INSTANCES_MIN,
     .max = 1000000},
    {.name = "connections",
     .type = FIELD_COUNT,
     .offset = MEMBER(connections),
     .min = 1,
     .max = 1000000},
    {0},
};
static const struct field state_fields[] = {
    {.name = "local_max",
     .type = FIELD_SIZE,
     .offset = MEMBER(state_bytes),
     .min = 1 << 20,
     .max = 1ull << 44},
    {0},
};
static const struct field log_fields[] = {
    {.name = "level",
     .type = FIELD_CHOICE,
     .offset = MEMBER(log_level),
     .choices = "trace|debug|info|warning|error"},
    {0},
};
static const struct field node_fields[] = {
    {.name = "data", .type = FIELD_TEXT, .offset = MEMBER(data), .max = TEXT_MAX(data)},
    {.name = "listen", .type = FIELD_TEXT, .offset = MEMBER(listen), .max = TEXT_MAX(listen)},
    {.name = "metrics_listen",
     .type = FIELD_TEXT,
     .offset = MEMBER(metrics_listen),
     .max = TEXT_MAX(metrics_listen)},
    {.name = "threads", .type = FIELD_COUNT, .offset = MEMBER(threads), .max = 1024},
    {.name = "node_id", .type = FIELD_COUNT, .offset = MEMBER(node_id), .min = 1, .max = 65535},
    {.name = "drain", .type = FIELD_DURATION, .offset = MEMBER(drain_ns), .max = 3600000000000ull},
    {.name = "callbacks",
     .type = FIELD_TEXT,
     .offset = MEMBER(callbacks),
     .max = TEXT_MAX(callbacks)},
    {.name = "tls", .type = FIELD_GROUP, .fields = tls_fields},
    {.name = "auth", .type = FIELD_GROUP, .fields = auth_fields},
    {.name = "limits", .type = FIELD_GROUP, .fields = limit_fields},
    {.name = "state", .type = FIELD_GROUP, .fields = state_fields},
    {.name = "log", .type = FIELD_GROUP, .fields = log_fields},
    {0},
};

static void data_default(char *out, size_t size)
{
    const char *base = getenv("XDG_DATA_HOME"), *home = getenv("HOME");
    if (base && base[0] == '/')
        snprintf(out, size, "%s/atoll", base);
    else if (home && home[0] == '/')
        snprintf(out, size, "%s/.local/share/atoll", home);
    else
        snprintf(out, size, "/var/lib/atoll");
}

void config_default(struct node_config *c)
{
    long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
    uint64_t memory = pages > 0 && page > 0 ? (uint64_t)pages * (uint64_t)page : 1ull << 30;
    *c = (struct node_config){
        .listen = "127.0.0.1:7777",
        .module_bytes = 64ull << 20,
        .input_bytes = 64ull << 20,
        .state_bytes = memory / 2,
        .results_bytes = 256ull << 20,
        .tenant_memory_bytes = memory / 4,
        .connections = 4096,
        .compile_ns = 300000000000,
        .drain_ns = 30000000000,
        .node_id = 1,
        .log_level = 2,
    };
    data_default(c->data, sizeof c->data);
}

int config_read(const char *path, bool required, struct node_config *c, struct error *e)
{
    struct buffer text = {0};
    struct document *d = NULL;
    int rc = file_read(path, CONFIG_BYTES_MAX, &text, e);
    if (rc == -ATOLL_ENOENT && !required)
        return 0;
    if (rc == 0)
        rc = document_parse(text.data, text.len, path, &d, e);
    if (rc == 0 && document_root(d) != NULL)
        rc = document_read(d, document_root(d), node_fields, c, e);
    document_free(d);
    buffer_free(&text);
    return rc;
}

/* The field that "section.key" or "key" names. */
static const struct field *field_find(const char *key)
{
    const struct field *fields = node_fields;
    for (const char *dot; (dot = strchr(key, '.')) != NULL; key = dot + 1) {
        const struct field *f = fields;
        while (f->name != NULL &&
               (strlen(f->name) != (size_t)(dot - key) || memcmp(f->name, key, strlen(f->name))))
            f++;
        if (f->name == NULL || f->type != FIELD_GROUP)
            return NULL;
        fields = f->fields;
    }
    while (fields->name != NULL && strcmp(fields->name, key) != 0)
        fields++;
    return fields->name == NULL || fields->type == FIELD_GROUP ? NULL : fields;
}

int config_set(struct node_config *c, const char *key, const char *value, struct error *e)
{
    const struct field *f = field_find(key);
    if (f == NULL)
        return error_set(e, ATOLL_EINVAL, "there is no setting \"%s\"", key);
    int rc = field_parse(f, value, c, e);
    return rc < 0 ? error_prefix(e, "setting %s", key) : 0;
}

/* ATOLL_SECTION_KEY of every field in a table. */
static int environment_read(const struct field *fields, const char *prefix, struct node_config *c,
                            struct error *e)
{
    int rc = 0;
    for (; rc == 0 && fields->name != NULL; fields++) {
        char name[96];
        int len = snprintf(name, sizeof name, "%s_%s", prefix, fields->name);
        for (int i = 0; i < len; i++)
            name[i] = (char)toupper((unsigned char)name[i]);
        const char *value = fields->type == FIELD_GROUP ? NULL : getenv(name);
        if (fields->type == FIELD_GROUP)
            rc = environment_read(fields->fields, name, c, e);
        else if (value != NULL && field_parse(fields, value, c, e) != 0)
            rc = error_prefix(e, "environment variable %s", name);
    }
    return rc;
}

int config_environment(struct node_config *c, struct error *e)
{
    return environment_read(node_fields, "ATOLL", c, e);
}

static void names_visit(const struct field *fields, const char *prefix,
                        void (*visit)(void *, const char *), void *context)
{
    for (; fields->name != NULL; fields++) {
        char name[96];
        snprintf(name, sizeof name, "%s%s%s", prefix, *prefix ? "." : "", fields->name);
        if (fields->type == FIELD_GROUP)
            names_visit(fields->fields, name, visit, context);
        else
            visit(context, name);
    }
}

void config_names(void (*visit)(void *, const char *), void *context)
{
    names_visit(node_fields, "", visit, context);
}
