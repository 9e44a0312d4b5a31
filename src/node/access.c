/*
 * See access.h. Records in the store:
 *
 *   table "token"    id (16 hex digits) → u32 format | BLAKE2b of the token's bytes | u32 scopes |
 *                    i64 created | i64 expires | u8 tenant length, tenant | note
 *   table "tenant"   't' tenant → u32 format | u32 weight | u64 memory | u32 queue | u32 workers
 *                    'g' owner NUL tenant NUL function NUL prefix → u32 format | u32 rights
 */
#define _GNU_SOURCE
#include "node/access.h"

#include "base/clock.h"
#include "crypto/hash.h"
#include "node/node.h"
#include "node/record.h"
#include "node/workers.h"
#include "store/store.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

#define FORMAT        1u
#define TOKEN_BYTES   32u
#define TOKENS_MAX    100000u
#define TENANTS_MAX   100000u
#define GRANTS_MAX    100000u
#define GRANT_KEY_MAX (1 + 3 * (NAME_MAX_LEN + 1) + 401)
#define BUCKETS       4096u /* of each table */

struct token_entry {
    struct token_entry *next;
    uint8_t hash[HASH_LEN];
    struct token token;
};
struct tenant_entry {
    struct tenant_entry *next;
    struct tenant_settings settings;
};
struct grant_entry {
    struct grant_entry *next;
    struct grant grant;
};

struct access {
    struct node *node;
    struct token_entry *tokens[BUCKETS];   /* by hash */
    struct tenant_entry *tenants[BUCKETS]; /* by name */
    struct grant_entry *grants[BUCKETS];   /* by owner and tenant */
    uint32_t token_count, tenant_count, grant_count;
};

/* FNV-1a over two names (the second may be ""). */
static uint32_t bucket_of(const char *name, const char *other)
{
    uint32_t h = 2166136261u;
    for (; *name; name++)
        h = (h ^ (uint8_t)*name) * 16777619u;
    h *= 16777619u;
    for (; *other; other++)
        h = (h ^ (uint8_t)*other) * 16777619u;
    return h % BUCKETS;
}

/* ---- a change on its way to the store ---- */

struct change {
    struct access *access;
    access_done done;
    void *context;
    void (*apply)(struct access *, struct change *); /* once it is durable */
    union {
        struct token_entry *token;
        char token_id[TOKEN_ID_LEN + 1];
        struct tenant_settings tenant;
        struct grant grant;
    };
};

static void token_apply(struct access *a, struct change *c);

static void change_free(struct change *c)
{
    if (c->apply == token_apply)
        free(c->token); /* not taken over: it was not stored */
    free(c);
}

static void change_written(void *context, const struct gt_result *result)
{
    struct change *c = context;
    if (result->code == 0)
        c->apply(c->access, c);
    c->done(c->context, result->code, result->error);
    change_free(c);
}

static struct change *change_make(struct access *a, access_done done, void *context)
{
    struct change *c = calloc(1, sizeof *c);
    struct error e;
    if (c == NULL) {
        error_set(&e, ATOLL_ENOMEM, "no memory for this change");
        done(context, e.code, &e);
        return NULL;
    }
    c->access = a;
    c->done = done;
    c->context = context;
    return c;
}

static void change_write(struct change *c, enum store_write_kind kind, enum store_table table,
                         const void *key, size_t key_len, const struct buffer *value)
{
    struct error e;
    struct store_write write = {
        kind, table, key, key_len, value ? value->data : NULL, value ? value->len : 0};
    struct gt_callback written = {change_written, c};
    if (store_write(c->access->node->store, &write, 1, GT_DURABLE, written, &e) != 0) {
        c->done(c->context, e.code, &e);
        change_free(c);
    }
}

static void change_refuse(access_done done, void *context, int code, const char *text)
{
    struct error e;
    error_set(&e, code, "%s", text);
    done(context, e.code, &e);
}

/* ---- tokens ---- */

static void base64url(const uint8_t *bytes, size_t len, char *out)
{
    static const char letters[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    uint32_t bits = 0;
    unsigned have = 0;
    for (size_t i = 0; i < len; i++) {
        bits = bits << 8 | bytes[i];
        for (have += 8; have >= 6; have -= 6)
            *out++ = letters[bits >> (have - 6) & 63];
    }
    if (have > 0)
        *out++ = letters[bits << (6 - have) & 63];
    *out = 0;
}

/* A token is hashed as its text, so that one spelling alone is right. */
static void token_hash(const char *text, uint8_t out[static HASH_LEN])
{
    hash_blake2b(text, TOKEN_TEXT_LEN, NULL, 0, out);
}

/* By the hash: where a token lies tells nothing of its text. */
static struct token_entry **token_bucket(struct access *a, const uint8_t hash[static HASH_LEN])
{
    return &a->tokens[(hash[0] | (unsigned)hash[1] << 8) % BUCKETS];
}

int access_token(struct access *a, const char *authorization, size_t len, const struct token **out,
                 struct error *e)
{
    static const char scheme[] = "Bearer ";
    uint8_t hash[HASH_LEN];
    const struct token_entry *found = NULL;
    size_t skip = sizeof scheme - 1;
    *out = NULL;
    if (len == skip + TOKEN_TEXT_LEN && strncasecmp(authorization, scheme, skip) == 0) {
        token_hash(authorization + skip, hash);
        for (const struct token_entry *t = *token_bucket(a, hash); t; t = t->next) {
            if (hash_equal(t->hash, hash))
                found = t;
        }
    }
    if (found && found->token.expires_ns && found->token.expires_ns <= clock_ns(CLOCK_REALTIME))
        return error_set(e, ATOLL_EPERM,
                         "the token expired; make a new one with `atoll token "
                         "make`");
    if (found == NULL)
        return error_set(e, ATOLL_EPERM,
                         "this needs a valid token (Authorization: Bearer …); make "
                         "one with `atoll token make`");
    *out = &found->token;
    return 0;
}

bool access_allows(const struct token *t, const char *tenant, uint32_t scopes)
{
    if (t == NULL || t->scopes & SCOPE_ADMIN)
        return true;
    return (t->scopes & scopes) == scopes && tenant != NULL && strcmp(t->tenant, tenant) == 0;
}

static bool token_record(const struct token_entry *t, struct buffer *b)
{
    uint8_t tenant_len = (uint8_t)strlen(t->token.tenant);
    return buffer_append_u32(b, FORMAT) && buffer_append(b, t->hash, HASH_LEN) &&
           buffer_append_u32(b, t->token.scopes) &&
           buffer_append_u64(b, (uint64_t)t->token.created_ns) &&
           buffer_append_u64(b, (uint64_t)t->token.expires_ns) &&
           buffer_append(b, &tenant_len, 1) && buffer_append(b, t->token.tenant, tenant_len) &&
           buffer_append(b, t->token.note, strlen(t->token.note));
}

static void token_add(struct access *a, struct token_entry *t)
{
    struct token_entry **bucket = token_bucket(a, t->hash);
    t->next = *bucket;
    *bucket = t;
    a->token_count++;
}

static void token_apply(struct access *a, struct change *c)
{
    token_add(a, c->token);
    c->token = NULL;
}

void access_token_make(struct access *a, const struct token *wanted, char text[TOKEN_TEXT_LEN + 1],
                       struct token *made, access_done done, void *context)
{
    uint8_t bytes[TOKEN_BYTES];
    char hex[2 * HASH_LEN + 1];
    struct buffer record = {0};
    if (a->token_count >= TOKENS_MAX) {
        change_refuse(done, context, ATOLL_ELIMIT, "there are too many tokens; revoke some");
        return;
    }
    if (wanted->tenant[0] == 0 && !(wanted->scopes & SCOPE_ADMIN)) {
        change_refuse(done, context, ATOLL_EINVAL,
                      "a token without the scope admin needs a tenant");
        return;
    }
    struct change *c = change_make(a, done, context);
    if (c == NULL)
        return;
    c->apply = token_apply;
    c->token = calloc(1, sizeof *c->token);
    if (c->token == NULL || getrandom(bytes, sizeof bytes, 0) != (ssize_t)sizeof bytes) {
        free(c->token);
        free(c);
        change_refuse(done, context, ATOLL_ENOMEM, "a token could not be made");
        return;
    }
    strcpy(text, "atl_");
    base64url(bytes, sizeof bytes, text + 4);
    explicit_bzero(bytes, sizeof bytes);
    c->token->token = *wanted;
    c->token->token.created_ns = clock_ns(CLOCK_REALTIME);
    token_hash(text, c->token->hash);
    hash_hex(c->token->hash, hex);
    memcpy(c->token->token.id, hex, TOKEN_ID_LEN);
    c->token->token.id[TOKEN_ID_LEN] = 0;
    *made = c->token->token;
    token_record(c->token, &record);
    change_write(c, STORE_CREATE, STORE_TOKEN, made->id, TOKEN_ID_LEN, &record);
    buffer_free(&record);
}

/* The link to it; NULL: there is none. */
static struct token_entry **token_find(struct access *a, const char *id)
{
    for (uint32_t i = 0; i < BUCKETS; i++) {
        for (struct token_entry **at = &a->tokens[i]; *at; at = &(*at)->next) {
            if (strcmp((*at)->token.id, id) == 0)
                return at;
        }
    }
    return NULL;
}

static void token_remove(struct access *a, struct change *c)
{
    struct token_entry **at = token_find(a, c->token_id), *t = at ? *at : NULL;
    if (t == NULL)
        return;
    *at = t->next;
    a->token_count--;
    free(t);
}

void access_token_revoke(struct access *a, const char *id, access_done done, void *context)
{
    if (strlen(id) != TOKEN_ID_LEN || token_find(a, id) == NULL) {
        change_refuse(done, context, ATOLL_ENOENT, "there is no token with this id");
        return;
    }
    struct change *c = change_make(a, done, context);
    if (c == NULL)
        return;
    c->apply = token_remove;
    strcpy(c->token_id, id);
    change_write(c, STORE_DELETE, STORE_TOKEN, c->token_id, TOKEN_ID_LEN, NULL);
}

void access_tokens(struct access *a, bool (*visit)(void *, const struct token *), void *context)
{
    for (uint32_t i = 0; i < BUCKETS; i++) {
        for (struct token_entry *t = a->tokens[i]; t; t = t->next) {
            if (!visit(context, &t->token))
                return;
        }
    }
}

/* ---- tenants ---- */

static struct tenant_entry *tenant_find(struct access *a, const char *name)
{
    struct tenant_entry *t = a->tenants[bucket_of(name, "")];
    while (t && strcmp(t->settings.name, name) != 0)
        t = t->next;
    return t;
}

const struct tenant_settings *access_tenant(struct access *a, const char *name)
{
    static const struct tenant_settings defaults = {.cpu_weight = 100};
    const struct tenant_entry *t = tenant_find(a, name);
    return t ? &t->settings : &defaults;
}

static bool tenant_set(struct access *a, const struct tenant_settings *settings)
{
    struct tenant_entry *t = tenant_find(a, settings->name);
    if (t == NULL) {
        if ((t = calloc(1, sizeof *t)) == NULL)
            return false;
        struct tenant_entry **bucket = &a->tenants[bucket_of(settings->name, "")];
        t->next = *bucket;
        *bucket = t;
        a->tenant_count++;
    }
    t->settings = *settings;
    return true;
}

static void tenant_apply(struct access *a, struct change *c)
{
    tenant_set(a, &c->tenant);
    if (a->node->workers)
        workers_weigh(a->node->workers);
}

void access_tenant_put(struct access *a, const struct tenant_settings *s, access_done done,
                       void *context)
{
    char key[NAME_MAX_LEN + 2];
    struct buffer record = {0};
    if (!name_is_valid(s->name, strlen(s->name)) || s->cpu_weight < 1 || s->cpu_weight > 10000) {
        change_refuse(done, context, ATOLL_EINVAL,
                      "a tenant's name is of a-z, 0-9 and -, and its cpu_weight 1 to 10,000");
        return;
    }
    if (a->tenant_count >= TENANTS_MAX && tenant_find(a, s->name) == NULL) {
        change_refuse(done, context, ATOLL_ELIMIT, "there are too many tenants");
        return;
    }
    struct change *c = change_make(a, done, context);
    if (c == NULL)
        return;
    c->apply = tenant_apply;
    c->tenant = *s;
    int len = snprintf(key, sizeof key, "t%s", s->name);
    buffer_append_u32(&record, FORMAT);
    buffer_append_u32(&record, s->cpu_weight);
    buffer_append_u64(&record, s->memory_bytes);
    buffer_append_u32(&record, s->queue_max);
    buffer_append_u32(&record, s->workers_max);
    change_write(c, STORE_PUT, STORE_TENANT, key, (size_t)len, &record);
    buffer_free(&record);
}

void access_tenants(struct access *a, bool (*visit)(void *, const struct tenant_settings *),
                    void *context)
{
    for (uint32_t i = 0; i < BUCKETS; i++) {
        for (struct tenant_entry *t = a->tenants[i]; t; t = t->next) {
            if (!visit(context, &t->settings))
                return;
        }
    }
}

/* ---- grants ---- */

static bool grant_same(const struct grant *x, const struct grant *y)
{
    return strcmp(x->owner, y->owner) == 0 && strcmp(x->tenant, y->tenant) == 0 &&
           strcmp(x->function, y->function) == 0 && strcmp(x->prefix, y->prefix) == 0;
}

static struct grant_entry **grant_find(struct access *a, const struct grant *g)
{
    struct grant_entry **at = &a->grants[bucket_of(g->owner, g->tenant)];
    while (*at && !grant_same(&(*at)->grant, g))
        at = &(*at)->next;
    return at;
}

static bool grant_set(struct access *a, const struct grant *g)
{
    struct grant_entry **at = grant_find(a, g);
    if (*at == NULL) {
        if ((*at = calloc(1, sizeof **at)) == NULL)
            return false;
        a->grant_count++;
    }
    (*at)->grant = *g;
    return true;
}

static void grant_apply(struct access *a, struct change *c)
{
    grant_set(a, &c->grant);
}

static void grant_drop(struct access *a, struct change *c)
{
    struct grant_entry **at = grant_find(a, &c->grant), *g = *at;
    if (g == NULL)
        return;
    *at = g->next;
    a->grant_count--;
    free(g);
}

static size_t grant_key(const struct grant *g, char out[static GRANT_KEY_MAX])
{
    size_t at = 0;
    out[at++] = 'g';
    const char *const parts[] = {g->owner, g->tenant, g->function, g->prefix};
    for (int i = 0; i < 4; i++) {
        size_t len = strlen(parts[i]);
        memcpy(out + at, parts[i], len);
        at += len;
        if (i < 3)
            out[at++] = 0;
    }
    return at;
}

/* The store's keys are at most STORE_RECORD_KEY_MAX bytes long, which bounds the prefix. One that
 * is to be removed need not say its rights. */
static bool grant_is_valid(const struct grant *g, bool put)
{
    char key[GRANT_KEY_MAX];
    bool function = strcmp(g->function, "*") == 0 ||
                    name_is_valid(g->function, strlen(g->function)) || g->function[0] == 0;
    return name_is_valid(g->owner, strlen(g->owner)) &&
           name_is_valid(g->tenant, strlen(g->tenant)) && function &&
           (g->function[0] ? g->prefix[0] == 0 : (g->rights != 0 || !put) && g->rights < 16) &&
           grant_key(g, key) <= STORE_RECORD_KEY_MAX;
}

static void grant_change(struct access *a, const struct grant *g, bool put, access_done done,
                         void *context)
{
    char key[GRANT_KEY_MAX];
    struct buffer record = {0};
    if (!grant_is_valid(g, put)) {
        change_refuse(done, context, ATOLL_EINVAL,
                      "a grant names owner, tenant, and either a function (or *) or a prefix of "
                      "keys with rights of r, w, l, d");
        return;
    }
    if (!put && *grant_find(a, g) == NULL) {
        change_refuse(done, context, ATOLL_ENOENT,
                      "there is no such grant; `atoll tenant grants` lists those there are");
        return;
    }
    if (put && a->grant_count >= GRANTS_MAX) {
        change_refuse(done, context, ATOLL_ELIMIT, "there are too many grants");
        return;
    }
    struct change *c = change_make(a, done, context);
    if (c == NULL)
        return;
    c->apply = put ? grant_apply : grant_drop;
    c->grant = *g;
    buffer_append_u32(&record, FORMAT);
    buffer_append_u32(&record, g->rights);
    change_write(c, put ? STORE_PUT : STORE_DELETE, STORE_TENANT, key, grant_key(g, key),
                 put ? &record : NULL);
    buffer_free(&record);
}

void access_grant_put(struct access *a, const struct grant *g, access_done done, void *context)
{
    grant_change(a, g, true, done, context);
}

void access_grant_remove(struct access *a, const struct grant *g, access_done done, void *context)
{
    grant_change(a, g, false, done, context);
}

void access_grants(struct access *a, const char *owner, bool (*visit)(void *, const struct grant *),
                   void *context)
{
    for (uint32_t i = 0; i < BUCKETS; i++) {
        for (struct grant_entry *g = a->grants[i]; g; g = g->next) {
            if ((owner == NULL || strcmp(g->grant.owner, owner) == 0) && !visit(context, &g->grant))
                return;
        }
    }
}

uint32_t access_state_rights(struct access *a, const char *tenant, const char *owner,
                             const void *key, size_t len)
{
    uint32_t rights = 0;
    for (const struct grant_entry *entry = a->grants[bucket_of(owner, tenant)]; entry;
         entry = entry->next) {
        const struct grant *g = &entry->grant;
        size_t prefix = strlen(g->prefix);
        if (g->function[0] == 0 && strcmp(g->tenant, tenant) == 0 && strcmp(g->owner, owner) == 0 &&
            prefix <= len && memcmp(g->prefix, key, prefix) == 0)
            rights |= g->rights;
    }
    return rights;
}

bool access_may_call(struct access *a, const char *tenant, const char *owner, const char *function)
{
    if (strcmp(tenant, owner) == 0)
        return true;
    for (const struct grant_entry *entry = a->grants[bucket_of(owner, tenant)]; entry;
         entry = entry->next) {
        const struct grant *g = &entry->grant;
        if (g->function[0] && strcmp(g->tenant, tenant) == 0 && strcmp(g->owner, owner) == 0 &&
            (strcmp(g->function, "*") == 0 || strcmp(g->function, function) == 0))
            return true;
    }
    return false;
}

/* ---- from the store ---- */

static int token_restore(void *context, const struct store_listed *r, struct error *e)
{
    struct access *a = context;
    const size_t head = 4 + HASH_LEN + 4 + 8 + 8 + 1;
    const uint8_t *p = r->value;
    if (r->key_len != TOKEN_ID_LEN || r->value_len < head || load_u32(p) != FORMAT ||
        p[head - 1] > NAME_MAX_LEN || r->value_len < head + p[head - 1] ||
        r->value_len - head - p[head - 1] >= sizeof((struct token *)0)->note)
        return error_set(e, ATOLL_ECORRUPT, "the store holds a token that makes no sense");
    struct token_entry *t = calloc(1, sizeof *t);
    if (t == NULL)
        return error_set(e, ATOLL_ENOMEM, "no memory for the tokens");
    memcpy(t->token.id, r->key, TOKEN_ID_LEN);
    memcpy(t->hash, p + 4, HASH_LEN);
    t->token.scopes = load_u32(p + 4 + HASH_LEN);
    t->token.created_ns = (int64_t)load_u64(p + 8 + HASH_LEN);
    t->token.expires_ns = (int64_t)load_u64(p + 16 + HASH_LEN);
    memcpy(t->token.tenant, p + head, p[head - 1]);
    memcpy(t->token.note, p + head + p[head - 1], r->value_len - head - p[head - 1]);
    token_add(a, t);
    return 0;
}

static int grant_restore(struct access *a, const struct store_listed *r, struct error *e)
{
    struct grant g = {.rights = load_u32(r->value + 4)};
    char *const parts[] = {g.owner, g.tenant, g.function, g.prefix};
    const size_t room[] = {sizeof g.owner, sizeof g.tenant, sizeof g.function, sizeof g.prefix};
    const uint8_t *at = r->key + 1, *end = r->key + r->key_len;
    for (int i = 0; i < 4; i++) {
        const uint8_t *stop = i < 3 ? memchr(at, 0, (size_t)(end - at)) : end;
        if (stop == NULL || (size_t)(stop - at) >= room[i])
            return error_set(e, ATOLL_ECORRUPT, "the store holds a grant that makes no sense");
        memcpy(parts[i], at, (size_t)(stop - at));
        at = stop + (i < 3);
    }
    return grant_set(a, &g) ? 0 : error_set(e, ATOLL_ENOMEM, "no memory for the grants");
}

static int tenant_restore(void *context, const struct store_listed *r, struct error *e)
{
    struct access *a = context;
    struct tenant_settings s = {0};
    if (r->value_len >= 8 && load_u32(r->value) == FORMAT && r->key_len > 1 && r->key[0] == 'g')
        return grant_restore(a, r, e);
    if (r->value_len != 24 || load_u32(r->value) != FORMAT || r->key_len < 2 ||
        r->key_len > NAME_MAX_LEN + 1 || r->key[0] != 't')
        return error_set(e, ATOLL_ECORRUPT, "the store holds a tenant that makes no sense");
    memcpy(s.name, r->key + 1, r->key_len - 1);
    s.cpu_weight = load_u32(r->value + 4);
    s.memory_bytes = load_u64(r->value + 8);
    s.queue_max = load_u32(r->value + 16);
    s.workers_max = load_u32(r->value + 20);
    return tenant_set(a, &s) ? 0 : error_set(e, ATOLL_ENOMEM, "no memory for the tenants");
}

int access_create(struct node *node, struct access **out, struct error *e)
{
    *out = NULL;
    struct access *a = calloc(1, sizeof *a);
    if (a == NULL)
        return error_set(e, ATOLL_ENOMEM, "no memory for the tokens");
    a->node = node;
    int rc = record_read_all(node->store, STORE_TOKEN, token_restore, a, e);
    if (rc == 0)
        rc = record_read_all(node->store, STORE_TENANT, tenant_restore, a, e);
    if (rc != 0) {
        access_destroy(a);
        return rc;
    }
    *out = a;
    return 0;
}

#define LIST_FREE(list)        \
    while (list) {             \
        void *first = list;    \
        (list) = (list)->next; \
        free(first);           \
    }

void access_destroy(struct access *a)
{
    if (a == NULL)
        return;
    for (uint32_t i = 0; i < BUCKETS; i++) {
        LIST_FREE(a->tokens[i]);
        LIST_FREE(a->tenants[i]);
        LIST_FREE(a->grants[i]);
    }
    free(a);
}
