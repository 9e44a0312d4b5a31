/*
 * See manifest.h. Everything that a manifest points to lies in one block whose size is known before
 * the first pointer into it is taken: a manifest cannot need more than a fixed multiple of its
 * text, and one that does (YAML aliases repeat text) is refused.
 */
#include "node/manifest.h"

#include "node/document.h"

#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>

#define KEY_MAX     400u
#define MEMORY_MAX  0xA0000000ull
#define DAY_NS      86400000000000ull
#define GROWTH      16 /* storage per byte of text */
#define STORAGE_MIN 8192

/* ---- names ---- */

static bool name_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

bool name_is_valid(const char *text, size_t len)
{
    if (len == 0 || len > NAME_MAX_LEN || !name_letter(text[0]))
        return false;
    for (size_t i = 1; i < len; i++) {
        if (!name_letter(text[i]) && text[i] != '-')
            return false;
    }
    return true;
}

int name_split(const char *text, size_t len, char tenant[static NAME_MAX_LEN + 1],
               char function[static NAME_MAX_LEN + 1], struct error *e)
{
    const char *slash = memchr(text, '/', len);
    size_t tenant_len = slash ? (size_t)(slash - text) : 0;
    const char *name = slash ? slash + 1 : text;
    size_t name_len = len - (size_t)(name - text);
    if ((slash && !name_is_valid(text, tenant_len)) || !name_is_valid(name, name_len))
        return error_set(e, ATOLL_EINVAL,
                         "\"%.*s\" is not a function's name: write tenant/function, each of a-z, "
                         "0-9 and -, at most %u characters",
                         (int)(len > 140 ? 140 : len), text, NAME_MAX_LEN);
    snprintf(tenant, NAME_MAX_LEN + 1, "%.*s", slash ? (int)tenant_len : 7,
             slash ? text : "default");
    snprintf(function, NAME_MAX_LEN + 1, "%.*s", (int)name_len, name);
    return 0;
}

/* ---- storage ---- */

/* len bytes of the block (len 0 too); NULL when the block is full. */
static void *storage_take(struct manifest *m, size_t len, size_t alignment)
{
    struct buffer *b = &m->storage;
    size_t at = (b->len + alignment - 1) & ~(alignment - 1);
    if (at > b->capacity || len > b->capacity - at)
        return NULL;
    b->len = at + len;
    return b->data + at;
}

static int storage_full(const struct document *d, const struct document_node *n, struct error *e)
{
    return document_error(d, n, e, "the manifest unfolds to more than it may hold; use no aliases");
}

static int text_take(const struct document *d, const struct document_node *n, struct manifest *m,
                     size_t max, const char **out, size_t *out_len, struct error *e)
{
    const char *text;
    size_t len;
    int rc = document_text(d, n, &text, &len, e);
    if (rc != 0)
        return rc;
    if (len > max)
        return document_error(d, n, e, "longer than %zu bytes", max);
    char *copy = storage_take(m, len + 1, 1);
    if (copy == NULL)
        return storage_full(d, n, e);
    memcpy(copy, text, len);
    copy[len] = 0;
    *out = copy;
    if (out_len)
        *out_len = len;
    return 0;
}

/* ---- lists ---- */

/* Room for the items of a sequence, zeroed; NULL when it is none, too long, or the block is full.
 */
static void *sequence_take(const struct document *d, const struct document_node *n,
                           struct manifest *m, size_t item_size, uint32_t *out_count,
                           struct error *e)
{
    size_t count;
    if (document_sequence(d, n, MANIFEST_LIST_MAX, &count, e) != 0)
        return NULL;
    void *items = storage_take(m, count * item_size, 8);
    if (items == NULL) {
        storage_full(d, n, e);
        return NULL;
    }
    memset(items, 0, count * item_size);
    *out_count = (uint32_t)count;
    return items;
}

static int pairs_read(const struct document *d, const struct document_node *n, struct manifest *m,
                      struct manifest_pair **out, uint32_t *out_count, struct error *e)
{
    size_t count;
    int rc = document_mapping(d, n, MANIFEST_LIST_MAX, &count, e);
    if (rc != 0)
        return rc;
    struct manifest_pair *list = storage_take(m, count * sizeof *list, 8);
    if (list == NULL)
        return storage_full(d, n, e);
    for (size_t i = 0; i < count; i++) {
        const char *key;
        size_t len;
        const struct document_node *value;
        rc = document_pair(d, n, i, &key, &len, &value, e);
        if (rc == 0 && (len == 0 || len > 255 || memchr(key, '=', len)))
            rc = document_error(d, value, e, "a name here has 1 to 255 characters and no \"=\"");
        char *name = rc == 0 ? storage_take(m, len + 1, 1) : NULL;
        if (rc == 0 && name == NULL)
            rc = storage_full(d, n, e);
        if (rc == 0)
            rc = text_take(d, value, m, 32768, &list[i].value, NULL, e);
        if (rc != 0)
            return rc;
        memcpy(name, key, len);
        name[len] = 0;
        list[i].name = name;
    }
    *out = list;
    *out_count = (uint32_t)count;
    return 0;
}

static int env_read(const struct document *d, const struct document_node *n, void *target,
                    struct error *e)
{
    struct manifest *m = target;
    return pairs_read(d, n, m, &m->env, &m->env_count, e);
}

static int config_pairs_read(const struct document *d, const struct document_node *n, void *target,
                             struct error *e)
{
    struct manifest *m = target;
    return pairs_read(d, n, m, &m->config, &m->config_count, e);
}

/* An item being read, and the manifest that owns its texts. */
struct item {
    struct manifest *manifest;
    union {
        struct manifest_state *state;
        struct manifest_net *net;
    };
};

static int prefix_read(const struct document *d, const struct document_node *n, void *target,
                       struct error *e)
{
    struct item *item = target;
    size_t len;
    int rc = text_take(d, n, item->manifest, KEY_MAX, &item->state->prefix, &len, e);
    item->state->prefix_len = (uint32_t)len;
    return rc;
}

static int rights_read(const struct document *d, const struct document_node *n, void *target,
                       struct error *e)
{
    static const char letters[] = "rwld";
    struct item *item = target;
    const char *text;
    size_t len;
    int rc = document_text(d, n, &text, &len, e);
    for (size_t i = 0; rc == 0 && i < len; i++) {
        const char *at = strchr(letters, text[i]);
        if (at == NULL)
            return document_error(d, n, e,
                                  "rights are letters of r (read), w (write), l (lock), d "
                                  "(delete)");
        item->state->rights |= 1u << (at - letters);
    }
    return rc;
}

static int state_read(const struct document *d, const struct document_node *n, void *target,
                      struct error *e)
{
    static const struct field fields[] = {
        {.name = "prefix", .type = FIELD_OWN, .read = prefix_read},
        {.name = "rights", .type = FIELD_OWN, .read = rights_read},
        {0},
    };
    struct manifest *m = target;
    int rc = 0;
    m->state = sequence_take(d, n, m, sizeof *m->state, &m->state_count, e);
    if (m->state == NULL)
        return e->code;
    for (size_t i = 0; rc == 0 && i < m->state_count; i++) {
        struct item item = {.manifest = m, .state = &m->state[i]};
        const struct document_node *entry = document_item(d, n, i);
        rc = document_read(d, entry, fields, &item, e);
        if (rc == 0 && (m->state[i].prefix == NULL || m->state[i].rights == 0))
            rc = document_error(d, entry, e, "an entry of state needs prefix and rights");
    }
    m->state_given = true;
    return rc;
}

static bool pattern_is_valid(const char *text)
{
    const char *slash = strchr(text, '/');
    if (slash == NULL || !name_is_valid(text, (size_t)(slash - text)))
        return false;
    return strcmp(slash + 1, "*") == 0 || name_is_valid(slash + 1, strlen(slash + 1));
}

static int call_read(const struct document *d, const struct document_node *n, void *target,
                     struct error *e)
{
    struct manifest *m = target;
    int rc = 0;
    m->call = sequence_take(d, n, m, sizeof *m->call, &m->call_count, e);
    if (m->call == NULL)
        return e->code;
    for (size_t i = 0; rc == 0 && i < m->call_count; i++) {
        const struct document_node *entry = document_item(d, n, i);
        rc = text_take(d, entry, m, 2 * NAME_MAX_LEN + 1, &m->call[i], NULL, e);
        if (rc == 0 && !pattern_is_valid(m->call[i]))
            rc = document_error(d, entry, e,
                                "\"%s\" is no pattern: write tenant/* or "
                                "tenant/function",
                                m->call[i]);
    }
    m->call_given = true;
    return rc;
}

static int host_read(const struct document *d, const struct document_node *n, void *target,
                     struct error *e)
{
    struct item *item = target;
    int rc = text_take(d, n, item->manifest, 253, &item->net->host, NULL, e);
    return rc == 0 && item->net->host[0] == 0 ? document_error(d, n, e, "host is empty") : rc;
}

static int net_number_read(const struct document *d, const struct document_node *n,
                           const struct field *f, struct item *item, struct error *e)
{
    const char *text;
    size_t len;
    struct error inner;
    int rc = document_text(d, n, &text, &len, e);
    if (rc == 0 && field_parse(f, text, item->net, &inner) != 0)
        rc = document_error(d, n, e, "%s", inner.text);
    return rc;
}

static int port_read(const struct document *d, const struct document_node *n, void *target,
                     struct error *e)
{
    static const struct field f = {.name = "port",
                                   .type = FIELD_COUNT,
                                   .offset = offsetof(struct manifest_net, port),
                                   .max = 65535};
    return net_number_read(d, n, &f, target, e);
}

static int rate_read(const struct document *d, const struct document_node *n, void *target,
                     struct error *e)
{
    static const struct field f = {.name = "rate",
                                   .type = FIELD_SIZE,
                                   .offset = offsetof(struct manifest_net, rate),
                                   .min = 1024,
                                   .max = 1ull << 40};
    return net_number_read(d, n, &f, target, e);
}

static int burst_read(const struct document *d, const struct document_node *n, void *target,
                      struct error *e)
{
    static const struct field f = {.name = "burst",
                                   .type = FIELD_SIZE,
                                   .offset = offsetof(struct manifest_net, burst),
                                   .min = 1024,
                                   .max = 1ull << 40};
    return net_number_read(d, n, &f, target, e);
}

static int net_read(const struct document *d, const struct document_node *n, void *target,
                    struct error *e)
{
    static const struct field fields[] = {
        {.name = "host", .type = FIELD_OWN, .read = host_read},
        {.name = "port", .type = FIELD_OWN, .read = port_read},
        {.name = "rate", .type = FIELD_OWN, .read = rate_read},
        {.name = "burst", .type = FIELD_OWN, .read = burst_read},
        {0},
    };
    struct manifest *m = target;
    int rc = 0;
    m->net = sequence_take(d, n, m, sizeof *m->net, &m->net_count, e);
    if (m->net == NULL)
        return e->code;
    for (size_t i = 0; rc == 0 && i < m->net_count; i++) {
        struct item item = {.manifest = m, .net = &m->net[i]};
        const struct document_node *entry = document_item(d, n, i);
        rc = document_read(d, entry, fields, &item, e);
        if (rc == 0 && m->net[i].host == NULL)
            rc = document_error(d, entry, e, "an entry of net needs a host");
    }
    return rc;
}

static int name_read(const struct document *d, const struct document_node *n, void *target,
                     struct error *e)
{
    struct manifest *m = target;
    const char *text;
    size_t len;
    struct error inner;
    int rc = document_text(d, n, &text, &len, e);
    if (rc == 0 && name_split(text, len, m->tenant, m->function, &inner) != 0)
        rc = document_error(d, n, e, "%s", inner.text);
    return rc;
}

static int entry_read(const struct document *d, const struct document_node *n, void *target,
                      struct error *e)
{
    struct manifest *m = target;
    return text_take(d, n, m, 255, &m->entry, NULL, e);
}

#define MEMBER(m) offsetof(struct manifest, m)

static const struct field limit_fields[] = {
    {.name = "memory",
     .type = FIELD_SIZE,
     .offset = MEMBER(memory_bytes),
     .min = 65536,
     .max = MEMORY_MAX},
    {.name = "output", .type = FIELD_SIZE, .offset = MEMBER(output_bytes), .max = 1ull << 30},
    {.name = "stack",
     .type = FIELD_SIZE,
     .offset = MEMBER(stack_bytes),
     .min = 65536,
     .max = 64ull << 20},
    {.name = "log", .type = FIELD_SIZE, .offset = MEMBER(log_bytes), .max = 1ull << 30},
    {.name = "concurrency", .type = FIELD_COUNT, .offset = MEMBER(concurrency), .max = 1000000},
    {0},
};
static const struct field pool_fields[] = {
    {.name = "keep_warm", .type = FIELD_COUNT, .offset = MEMBER(keep_warm), .max = 10000},
    {.name = "idle_ttl", .type = FIELD_DURATION, .offset = MEMBER(idle_ttl_ns), .max = 30 * DAY_NS},
    {0},
};
static const struct field manifest_fields[] = {
    {.name = "name", .type = FIELD_OWN, .read = name_read},
    {.name = "kind", .type = FIELD_CHOICE, .offset = MEMBER(kind), .choices = "function|service"},
    {.name = "entry", .type = FIELD_OWN, .read = entry_read},
    {.name = "timeout",
     .type = FIELD_DURATION,
     .offset = MEMBER(timeout_ns),
     .min = 1000000,
     .max = DAY_NS},
    {.name = "limits", .type = FIELD_GROUP, .fields = limit_fields},
    {.name = "pool", .type = FIELD_GROUP, .fields = pool_fields},
    {.name = "retries", .type = FIELD_COUNT, .offset = MEMBER(retries), .max = 100},
    {.name = "retry_on_fail", .type = FIELD_BOOL, .offset = MEMBER(retry_on_fail)},
    {.name = "result_ttl",
     .type = FIELD_DURATION,
     .offset = MEMBER(result_ttl_ns),
     .max = 30 * DAY_NS},
    {.name = "reset",
     .type = FIELD_CHOICE,
     .offset = MEMBER(reset),
     .choices = "always|never|tenant-trusted"},
    {.name = "priority", .type = FIELD_COUNT, .offset = MEMBER(priority), .max = 9},
    {.name = "cpu_weight",
     .type = FIELD_COUNT,
     .offset = MEMBER(cpu_weight),
     .min = 1,
     .max = 10000},
    {.name = "clock_resolution",
     .type = FIELD_DURATION,
     .offset = MEMBER(clock_resolution_ns),
     .min = 1,
     .max = 1000000000},
    {.name = "allow_unknown_imports", .type = FIELD_BOOL, .offset = MEMBER(allow_unknown_imports)},
    {.name = "env", .type = FIELD_OWN, .read = env_read},
    {.name = "config", .type = FIELD_OWN, .read = config_pairs_read},
    {.name = "state", .type = FIELD_OWN, .read = state_read},
    {.name = "call", .type = FIELD_OWN, .read = call_read},
    {.name = "net", .type = FIELD_OWN, .read = net_read},
    {0},
};

/* ---- the whole ---- */

static int manifest_begin(size_t text_len, struct manifest *m, struct error *e)
{
    *m = (struct manifest){
        .timeout_ns = 30000000000ull,
        .memory_bytes = 128ull << 20,
        .output_bytes = 32ull << 20,
        .stack_bytes = 256ull << 10,
        .log_bytes = 1ull << 20,
        .idle_ttl_ns = 300000000000ull,
        .result_ttl_ns = 3600000000000ull,
        .clock_resolution_ns = 1000,
        .priority = 5,
        .cpu_weight = 100,
    };
    return buffer_reserve(&m->storage, STORAGE_MIN + GROWTH * text_len)
               ? 0
               : error_set(e, ATOLL_ENOMEM, "the manifest: out of memory");
}

/* The name that the text gives and the one that the address gives. */
static int name_settle(struct manifest *m, const char *name, struct error *e)
{
    if (name == NULL)
        return m->function[0] ? 0
                              : error_set(e, ATOLL_EINVAL,
                                          "the manifest has no name; add \"name: "
                                          "tenant/function\"");
    char tenant[NAME_MAX_LEN + 1], function[NAME_MAX_LEN + 1];
    int rc = name_split(name, strlen(name), tenant, function, e);
    if (rc != 0)
        return rc;
    if (m->function[0] && (strcmp(m->tenant, tenant) != 0 || strcmp(m->function, function) != 0))
        return error_set(e, ATOLL_EINVAL,
                         "the manifest is that of %s/%s, and it was given for %s/%s", m->tenant,
                         m->function, tenant, function);
    strcpy(m->tenant, tenant);
    strcpy(m->function, function);
    return 0;
}

int manifest_parse(const void *text, size_t len, const char *name, struct manifest *out,
                   struct error *e)
{
    if (len > MANIFEST_BYTES_MAX)
        return error_set(e, ATOLL_ESIZE, "the manifest is longer than %u bytes",
                         MANIFEST_BYTES_MAX);
    struct document *d;
    int rc = document_parse(text, len, "the manifest", &d, e);
    if (rc != 0)
        return rc;
    rc = manifest_begin(len, out, e);
    const struct document_node *root = document_root(d);
    if (rc == 0 && root != NULL)
        rc = document_read(d, root, manifest_fields, out, e);
    if (rc == 0)
        rc = name_settle(out, name, e);
    if (rc == 0 && out->reset == RESET_NEVER && out->kind != MANIFEST_SERVICE)
        rc = error_set(e, ATOLL_EINVAL,
                       "reset: never is for services (kind: service); a function may have "
                       "tenant-trusted, which keeps memory between the calls of one tree");
    document_free(d);
    if (rc != 0)
        manifest_free(out);
    return rc;
}

int manifest_default(const char *name, struct manifest *out, struct error *e)
{
    return manifest_parse("", 0, name, out, e);
}

void manifest_free(struct manifest *m)
{
    buffer_free(&m->storage);
    *m = (struct manifest){0};
}

/* ---- canonical form ---- */

static void duration_add(cJSON *o, const char *name, uint64_t ns)
{
    char text[32];
    snprintf(text, sizeof text, "%lluns", (unsigned long long)ns);
    cJSON_AddStringToObject(o, name, text);
}

static void size_add(cJSON *o, const char *name, uint64_t bytes)
{
    char text[32];
    snprintf(text, sizeof text, "%lluB", (unsigned long long)bytes);
    cJSON_AddStringToObject(o, name, text);
}

static void pairs_add(cJSON *o, const char *name, const struct manifest_pair *list, uint32_t count)
{
    cJSON *group = cJSON_AddObjectToObject(o, name);
    for (uint32_t i = 0; i < count; i++)
        cJSON_AddStringToObject(group, list[i].name, list[i].value);
}

static void lists_add(cJSON *o, const struct manifest *m)
{
    cJSON *list = m->state_given ? cJSON_AddArrayToObject(o, "state") : NULL;
    for (uint32_t i = 0; i < m->state_count; i++) {
        cJSON *entry = cJSON_CreateObject();
        char rights[5];
        size_t n = 0;
        for (uint32_t r = 0; r < 4; r++) {
            if (m->state[i].rights & 1u << r)
                rights[n++] = "rwld"[r];
        }
        rights[n] = 0;
        cJSON_AddStringToObject(entry, "prefix", m->state[i].prefix);
        cJSON_AddStringToObject(entry, "rights", rights);
        cJSON_AddItemToArray(list, entry);
    }
    list = m->call_given ? cJSON_AddArrayToObject(o, "call") : NULL;
    for (uint32_t i = 0; i < m->call_count; i++)
        cJSON_AddItemToArray(list, cJSON_CreateString(m->call[i]));
    list = cJSON_AddArrayToObject(o, "net");
    for (uint32_t i = 0; i < m->net_count; i++) {
        cJSON *entry = cJSON_CreateObject();
        cJSON_AddStringToObject(entry, "host", m->net[i].host);
        cJSON_AddNumberToObject(entry, "port", m->net[i].port);
        if (m->net[i].rate)
            size_add(entry, "rate", m->net[i].rate);
        if (m->net[i].burst)
            size_add(entry, "burst", m->net[i].burst);
        cJSON_AddItemToArray(list, entry);
    }
}

int manifest_canonical(const struct manifest *m, struct buffer *out, struct error *e)
{
    static const char *const kinds[] = {"function", "service"};
    static const char *const resets[] = {"always", "never", "tenant-trusted"};
    char name[2 * NAME_MAX_LEN + 2];
    snprintf(name, sizeof name, "%s/%s", m->tenant, m->function);
    cJSON *o = cJSON_CreateObject();
    cJSON_AddStringToObject(o, "name", name);
    cJSON_AddStringToObject(o, "kind", kinds[m->kind]);
    if (m->entry)
        cJSON_AddStringToObject(o, "entry", m->entry);
    duration_add(o, "timeout", m->timeout_ns);
    cJSON *limits = cJSON_AddObjectToObject(o, "limits");
    size_add(limits, "memory", m->memory_bytes);
    size_add(limits, "output", m->output_bytes);
    size_add(limits, "stack", m->stack_bytes);
    size_add(limits, "log", m->log_bytes);
    cJSON_AddNumberToObject(limits, "concurrency", m->concurrency);
    cJSON *pool = cJSON_AddObjectToObject(o, "pool");
    cJSON_AddNumberToObject(pool, "keep_warm", m->keep_warm);
    duration_add(pool, "idle_ttl", m->idle_ttl_ns);
    cJSON_AddNumberToObject(o, "retries", m->retries);
    cJSON_AddBoolToObject(o, "retry_on_fail", m->retry_on_fail);
    duration_add(o, "result_ttl", m->result_ttl_ns);
    cJSON_AddStringToObject(o, "reset", resets[m->reset]);
    cJSON_AddNumberToObject(o, "priority", m->priority);
    cJSON_AddNumberToObject(o, "cpu_weight", m->cpu_weight);
    duration_add(o, "clock_resolution", m->clock_resolution_ns);
    cJSON_AddBoolToObject(o, "allow_unknown_imports", m->allow_unknown_imports);
    pairs_add(o, "env", m->env, m->env_count);
    pairs_add(o, "config", m->config, m->config_count);
    lists_add(o, m);
    char *text = cJSON_PrintUnformatted(o);
    cJSON_Delete(o);
    bool done = text != NULL && buffer_append(out, text, strlen(text));
    cJSON_free(text);
    return done ? 0 : error_set(e, ATOLL_ENOMEM, "the manifest: out of memory");
}

/* ---- rights ---- */

bool manifest_may_call(const struct manifest *m, const char *tenant, const char *function)
{
    if (!m->call_given)
        return strcmp(m->tenant, tenant) == 0;
    size_t len = strlen(tenant);
    for (uint32_t i = 0; i < m->call_count; i++) {
        const char *pattern = m->call[i];
        if (strncmp(pattern, tenant, len) != 0 || pattern[len] != '/')
            continue;
        if (strcmp(pattern + len + 1, "*") == 0 || strcmp(pattern + len + 1, function) == 0)
            return true;
    }
    return false;
}

uint32_t manifest_state_rights(const struct manifest *m, const void *key, size_t len)
{
    uint32_t rights = 0;
    if (!m->state_given)
        return len > 0 && *(const char *)key == '@'
                   ? 0
                   : STATE_READ | STATE_WRITE | STATE_LOCK | STATE_DELETE;
    for (uint32_t i = 0; i < m->state_count; i++) {
        const struct manifest_state *s = &m->state[i];
        if (s->prefix_len <= len && memcmp(s->prefix, key, s->prefix_len) == 0)
            rights |= s->rights;
    }
    return rights;
}
