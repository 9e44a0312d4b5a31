/* See document.h. The parser is libyaml's; its document is a graph of numbered nodes. */
#include "node/document.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <yaml.h>

#define PAIRS_MAX 1024

struct document {
    yaml_document_t yaml;
    const char *what;
};

/* Only a name for yaml_node_t: callers do not see libyaml. */
static const struct document_node *node_of(yaml_node_t *n)
{
    return (const struct document_node *)n;
}

static yaml_node_t *yaml_of(const struct document_node *n)
{
    return (yaml_node_t *)(uintptr_t)n;
}

static const struct document_node *node_at(const struct document *d, int index)
{
    return node_of(yaml_document_get_node((yaml_document_t *)(uintptr_t)&d->yaml, index));
}

int document_error(const struct document *d, const struct document_node *n, struct error *e,
                   const char *format, ...)
{
    char text[384];
    va_list list;
    va_start(list, format);
    vsnprintf(text, sizeof text, format, list);
    va_end(list);
    const yaml_mark_t *mark = &yaml_of(n)->start_mark;
    return error_set(e, ATOLL_EINVAL, "%s, line %zu, column %zu: %s", d->what, mark->line + 1,
                     mark->column + 1, text);
}

static int parser_error(const yaml_parser_t *p, const char *what, struct error *e)
{
    if (p->error == YAML_MEMORY_ERROR)
        return error_set(e, ATOLL_ENOMEM, "%s: out of memory", what);
    const yaml_mark_t *mark = p->error == YAML_READER_ERROR ? NULL : &p->problem_mark;
    if (mark == NULL)
        return error_set(e, ATOLL_EINVAL, "%s, byte %zu: %s; it must be UTF-8 text", what,
                         p->problem_offset, p->problem ? p->problem : "unreadable");
    return error_set(e, ATOLL_EINVAL, "%s, line %zu, column %zu: %s", what, mark->line + 1,
                     mark->column + 1, p->problem ? p->problem : "not YAML");
}

static bool second_document(yaml_parser_t *p)
{
    yaml_document_t more;
    if (!yaml_parser_load(p, &more))
        return true;
    bool there = yaml_document_get_root_node(&more) != NULL;
    yaml_document_delete(&more);
    return there;
}

int document_parse(const void *text, size_t len, const char *what, struct document **out,
                   struct error *e)
{
    *out = NULL;
    struct document *d = calloc(1, sizeof *d);
    yaml_parser_t parser;
    if (d == NULL || !yaml_parser_initialize(&parser)) {
        free(d);
        return error_set(e, ATOLL_ENOMEM, "%s: out of memory", what);
    }
    d->what = what;
    yaml_parser_set_input_string(&parser, text, len);
    int rc = 0;
    if (!yaml_parser_load(&parser, &d->yaml)) {
        rc = parser_error(&parser, what, e);
        free(d);
        d = NULL;
    } else if (yaml_document_get_root_node(&d->yaml) != NULL && second_document(&parser)) {
        rc = error_set(e, ATOLL_EINVAL,
                       "%s: more than one document, or text behind its end; leave "
                       "only one",
                       what);
    }
    yaml_parser_delete(&parser);
    if (rc != 0) {
        document_free(d);
        return rc;
    }
    *out = d;
    return 0;
}

void document_free(struct document *d)
{
    if (d == NULL)
        return;
    yaml_document_delete(&d->yaml);
    free(d);
}

const struct document_node *document_root(const struct document *d)
{
    return node_of(yaml_document_get_root_node((yaml_document_t *)(uintptr_t)&d->yaml));
}

int document_text(const struct document *d, const struct document_node *n, const char **text,
                  size_t *len, struct error *e)
{
    const yaml_node_t *y = yaml_of(n);
    if (y->type != YAML_SCALAR_NODE)
        return document_error(d, n, e, "a single value is expected here, not a list or a mapping");
    if (memchr(y->data.scalar.value, 0, y->data.scalar.length) != NULL)
        return document_error(d, n, e, "the value holds a NUL byte");
    *text = (const char *)y->data.scalar.value;
    *len = y->data.scalar.length;
    return 0;
}

int document_sequence(const struct document *d, const struct document_node *n, size_t max,
                      size_t *count, struct error *e)
{
    const yaml_node_t *y = yaml_of(n);
    if (y->type != YAML_SEQUENCE_NODE)
        return document_error(d, n, e, "a list is expected here");
    *count = (size_t)(y->data.sequence.items.top - y->data.sequence.items.start);
    if (*count > max)
        return document_error(d, n, e, "%zu entries; at most %zu are allowed", *count, max);
    return 0;
}

const struct document_node *document_item(const struct document *d, const struct document_node *n,
                                          size_t index)
{
    return node_at(d, yaml_of(n)->data.sequence.items.start[index]);
}

int document_mapping(const struct document *d, const struct document_node *n, size_t max,
                     size_t *count, struct error *e)
{
    const yaml_node_t *y = yaml_of(n);
    if (y->type != YAML_MAPPING_NODE)
        return document_error(d, n, e, "a mapping (key: value) is expected here");
    *count = (size_t)(y->data.mapping.pairs.top - y->data.mapping.pairs.start);
    if (*count > max)
        return document_error(d, n, e, "%zu keys; at most %zu are allowed", *count, max);
    return 0;
}

int document_pair(const struct document *d, const struct document_node *n, size_t index,
                  const char **key, size_t *key_len, const struct document_node **value,
                  struct error *e)
{
    const yaml_node_pair_t *pair = &yaml_of(n)->data.mapping.pairs.start[index];
    const struct document_node *k = node_at(d, pair->key);
    *value = node_at(d, pair->value);
    int rc = document_text(d, k, key, key_len, e);
    for (size_t before = 0; rc == 0 && before < index; before++) {
        const yaml_node_t *other =
            yaml_of(node_at(d, yaml_of(n)->data.mapping.pairs.start[before].key));
        if (other->type == YAML_SCALAR_NODE && other->data.scalar.length == *key_len &&
            memcmp(other->data.scalar.value, *key, *key_len) == 0)
            rc = document_error(d, k, e, "\"%.*s\" is given twice", (int)*key_len, *key);
    }
    return rc;
}

/* ---- fields ---- */

struct unit {
    const char *name;
    uint64_t factor;
};
static const struct unit sizes[] = {
    {"", 1},
    {"B", 1},
    {"K", 1ull << 10},
    {"M", 1ull << 20},
    {"G", 1ull << 30},
    {"T", 1ull << 40},
    {"KiB", 1ull << 10},
    {"MiB", 1ull << 20},
    {"GiB", 1ull << 30},
    {"TiB", 1ull << 40},
    {NULL, 0},
};
static const struct unit durations[] = {
    {"ns", 1},          {"us", 1000},         {"ms", 1000000},       {"s", 1000000000},
    {"m", 60000000000}, {"h", 3600000000000}, {"d", 86400000000000}, {NULL, 0},
};

/* A decimal number with a unit behind it. */
static int quantity_parse(const char *text, const struct unit *units, uint64_t *out)
{
    if (text[0] < '0' || text[0] > '9')
        return -ATOLL_EINVAL;
    char *end;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    if (errno != 0)
        return -ATOLL_ERANGE;
    for (; units->name != NULL; units++) {
        if (strcmp(units->name, end) == 0)
            return __builtin_mul_overflow(value, units->factor, out) ? -ATOLL_ERANGE : 0;
    }
    return -ATOLL_EINVAL;
}

static int range_check(const struct field *f, uint64_t value, struct error *e)
{
    if (value < f->min || value > f->max)
        return error_set(e, ATOLL_EINVAL, "%s must lie between %llu and %llu", f->name,
                         (unsigned long long)f->min, (unsigned long long)f->max);
    return 0;
}

static int size_parse(const struct field *f, const char *text, uint64_t *out, struct error *e)
{
    char plain[64];
    size_t len = strlen(text);
    if (len > 2 && strcmp(text + len - 2, "/s") == 0 && len - 2 < sizeof plain) {
        memcpy(plain, text, len - 2);
        plain[len - 2] = 0;
        text = plain;
    }
    if (quantity_parse(text, sizes, out) != 0)
        return error_set(e, ATOLL_EINVAL,
                         "%s must be a size such as 4096, 64KiB or 128MiB, not "
                         "\"%s\"",
                         f->name, text);
    return range_check(f, *out, e);
}

static int duration_parse(const struct field *f, const char *text, uint64_t *out, struct error *e)
{
    if (strcmp(text, "0") == 0)
        *out = 0;
    else if (quantity_parse(text, durations, out) != 0)
        return error_set(e, ATOLL_EINVAL, "%s must be a time such as 500ms, 30s or 1h, not \"%s\"",
                         f->name, text);
    return range_check(f, *out, e);
}

static int count_parse(const struct field *f, const char *text, uint32_t *out, struct error *e)
{
    static const struct unit plain[] = {{"", 1}, {NULL, 0}};
    uint64_t value;
    if (quantity_parse(text, plain, &value) != 0)
        return error_set(e, ATOLL_EINVAL, "%s must be a whole number, not \"%s\"", f->name, text);
    *out = (uint32_t)value;
    return range_check(f, value, e);
}

static int bool_parse(const struct field *f, const char *text, bool *out, struct error *e)
{
    *out = strcmp(text, "true") == 0;
    if (!*out && strcmp(text, "false") != 0)
        return error_set(e, ATOLL_EINVAL, "%s must be true or false, not \"%s\"", f->name, text);
    return 0;
}

static int choice_parse(const struct field *f, const char *text, int *out, struct error *e)
{
    size_t len = strlen(text);
    int index = 0;
    for (const char *at = f->choices; len > 0; index++) {
        const char *bar = strchr(at, '|');
        size_t one = bar ? (size_t)(bar - at) : strlen(at);
        if (one == len && memcmp(at, text, len) == 0) {
            *out = index;
            return 0;
        }
        if (bar == NULL)
            break;
        at = bar + 1;
    }
    return error_set(e, ATOLL_EINVAL, "%s must be one of %s, not \"%s\"", f->name, f->choices,
                     text);
}

int field_parse(const struct field *f, const char *text, void *target, struct error *e)
{
    void *member = (uint8_t *)target + f->offset;
    switch (f->type) {
    case FIELD_COUNT: return count_parse(f, text, member, e);
    case FIELD_SIZE: return size_parse(f, text, member, e);
    case FIELD_DURATION: return duration_parse(f, text, member, e);
    case FIELD_BOOL: return bool_parse(f, text, member, e);
    case FIELD_CHOICE: return choice_parse(f, text, member, e);
    case FIELD_TEXT:
        if (strlen(text) > f->max)
            return error_set(e, ATOLL_EINVAL, "%s is longer than %llu bytes", f->name,
                             (unsigned long long)f->max);
        memcpy(member, text, strlen(text) + 1);
        return 0;
    case FIELD_GROUP:
    case FIELD_OWN: break;
    }
    return error_set(e, ATOLL_EINVAL, "%s cannot be given as a single value", f->name);
}

static int field_read(const struct document *d, const struct document_node *n,
                      const struct field *f, void *target, struct error *e)
{
    if (f->type == FIELD_GROUP)
        return document_read(d, n, f->fields, target, e);
    if (f->type == FIELD_OWN)
        return f->read(d, n, target, e);
    const char *text;
    size_t len;
    int rc = document_text(d, n, &text, &len, e);
    if (rc != 0)
        return rc;
    struct error inner;
    rc = field_parse(f, text, target, &inner);
    return rc != 0 ? document_error(d, n, e, "%s", inner.text) : 0;
}

static int unknown_key(const struct document *d, const struct document_node *n, const char *key,
                       size_t len, const struct field *fields, struct error *e)
{
    char known[256];
    size_t used = 0;
    known[0] = 0;
    for (; fields->name != NULL && used + strlen(fields->name) + 3 < sizeof known; fields++)
        used += (size_t)snprintf(known + used, sizeof known - used, "%s%s", used ? ", " : "",
                                 fields->name);
    return document_error(d, n, e, "unknown key \"%.*s\"; known here: %s",
                          (int)(len > 64 ? 64 : len), key, known);
}

int document_read(const struct document *d, const struct document_node *mapping,
                  const struct field *fields, void *target, struct error *e)
{
    size_t count;
    int rc = document_mapping(d, mapping, PAIRS_MAX, &count, e);
    for (size_t i = 0; rc == 0 && i < count; i++) {
        const char *key;
        size_t len;
        const struct document_node *value;
        rc = document_pair(d, mapping, i, &key, &len, &value, e);
        if (rc != 0)
            break;
        const struct field *f = fields;
        while (f->name != NULL && (strlen(f->name) != len || memcmp(f->name, key, len) != 0))
            f++;
        rc = f->name == NULL ? unknown_key(d, value, key, len, fields, e)
                             : field_read(d, value, f, target, e);
    }
    return rc;
}
