/* Tenants, tokens and grants, as JSON. */
#define _GNU_SOURCE
#include "node/gateway/exchange.h"

#include "base/clock.h"

#include <stdlib.h>

#define BODY_MAX 16384u

static const char *const scope_names[] = {"invoke", "deploy", "state:r", "state:w",
                                          "files",  "logs",   "admin",   NULL};

static void answered(void *context, int code, const struct error *e)
{
    struct exchange *x = context;
    if (code != 0)
        exchange_error(x, e);
    else
        exchange_respond(x, &(struct http_response){.status = 204});
}

/* ---- JSON of the fields ---- */

/* A member that must be text (or absent); false when it is something else or too long. */
static bool text_member(const cJSON *o, const char *name, char *out, size_t size)
{
    const cJSON *m = cJSON_GetObjectItemCaseSensitive(o, name);
    if (m == NULL)
        return true;
    if (!cJSON_IsString(m) || strlen(m->valuestring) >= size)
        return false;
    strcpy(out, m->valuestring);
    return true;
}

static bool number_member(const cJSON *o, const char *name, double most, double *out)
{
    const cJSON *m = cJSON_GetObjectItemCaseSensitive(o, name);
    if (m == NULL)
        return true;
    if (!cJSON_IsNumber(m) || m->valuedouble < 0 || m->valuedouble > most ||
        m->valuedouble != (double)(uint64_t)m->valuedouble)
        return false;
    *out = m->valuedouble;
    return true;
}

/* Refuses members beyond those known, so that a misspelt one is not overlooked. */
static bool members_known(struct exchange *x, const cJSON *o, const char *const *known)
{
    const cJSON *m;
    if (!cJSON_IsObject(o)) {
        exchange_problem(x, 400, "the body must be a JSON object");
        return false;
    }
    cJSON_ArrayForEach(m, o)
    {
        size_t i = 0;
        while (known[i] && strcmp(known[i], m->string) != 0)
            i++;
        if (known[i] == NULL) {
            exchange_problem(x, 400, "unknown member \"%.64s\"", m->string);
            return false;
        }
    }
    return true;
}

static bool scopes_parse(const cJSON *list, uint32_t *out)
{
    const cJSON *m;
    *out = 0;
    if (!cJSON_IsArray(list))
        return false;
    cJSON_ArrayForEach(m, list)
    {
        size_t i = 0;
        while (scope_names[i] && (!cJSON_IsString(m) || strcmp(scope_names[i], m->valuestring)))
            i++;
        if (scope_names[i] == NULL)
            return false;
        *out |= 1u << i;
    }
    return *out != 0;
}

static bool rights_parse(const char *text, uint32_t *out)
{
    static const char letters[] = "rwld";
    for (*out = 0; *text; text++) {
        const char *at = strchr(letters, *text);
        if (at == NULL)
            return false;
        *out |= 1u << (at - letters);
    }
    return true;
}

/* ---- tokens ---- */

static cJSON *token_json(const struct token *t)
{
    char text[32];
    cJSON *o = cJSON_CreateObject(), *scopes;
    cJSON_AddStringToObject(o, "id", t->id);
    if (t->tenant[0])
        cJSON_AddStringToObject(o, "tenant", t->tenant);
    scopes = cJSON_AddArrayToObject(o, "scopes");
    for (size_t i = 0; scope_names[i]; i++) {
        if (t->scopes & 1u << i)
            cJSON_AddItemToArray(scopes, cJSON_CreateString(scope_names[i]));
    }
    time_text(t->created_ns, text);
    cJSON_AddStringToObject(o, "created", text);
    if (t->expires_ns) {
        time_text(t->expires_ns, text);
        cJSON_AddStringToObject(o, "expires", text);
    }
    if (t->note[0])
        cJSON_AddStringToObject(o, "note", t->note);
    return o;
}

static bool token_list(void *context, const struct token *t)
{
    cJSON_AddItemToArray(context, token_json(t));
    return true;
}

static void tokens_handle(struct exchange *x)
{
    cJSON *o = cJSON_CreateObject();
    access_tokens(x->node->access, token_list, cJSON_AddArrayToObject(o, "tokens"));
    exchange_json(x, 200, o);
}

struct making {
    struct exchange *exchange;
    struct token made;
    char text[TOKEN_TEXT_LEN + 1];
};

static void token_made(void *context, int code, const struct error *e)
{
    struct making *m = context;
    if (code != 0) {
        exchange_error(m->exchange, e);
    } else {
        cJSON *o = token_json(&m->made);
        cJSON_AddStringToObject(o, "token", m->text);
        exchange_json(m->exchange, 201, o);
    }
    explicit_bzero(m->text, sizeof m->text);
    free(m);
}

static bool token_parse(const cJSON *o, struct token *t)
{
    double ttl = -1;
    if (!text_member(o, "tenant", t->tenant, sizeof t->tenant) ||
        !text_member(o, "note", t->note, sizeof t->note) ||
        !number_member(o, "ttl_s", 1e10, &ttl) ||
        !scopes_parse(cJSON_GetObjectItemCaseSensitive(o, "scopes"), &t->scopes))
        return false;
    if (ttl == 0) /* not for ever, which is said by saying nothing */
        return false;
    if (ttl > 0)
        t->expires_ns = clock_ns(CLOCK_REALTIME) + (int64_t)(ttl * 1e9);
    return t->tenant[0] == 0 || name_is_valid(t->tenant, strlen(t->tenant));
}

static void token_make_handle(struct exchange *x)
{
    static const char *const known[] = {"tenant", "scopes", "note", "ttl_s", NULL};
    cJSON *o = exchange_body_json(x);
    struct token wanted = {0};
    if (o == NULL)
        return;
    if (!members_known(x, o, known)) {
        cJSON_Delete(o);
        return;
    }
    bool good = token_parse(o, &wanted);
    cJSON_Delete(o);
    struct making *m = good ? calloc(1, sizeof *m) : NULL;
    if (m == NULL) {
        exchange_problem(x, good ? 503 : 400,
                         good ? "no memory for a token"
                              : "a token wants {\"tenant\": \"…\", \"scopes\": [\"invoke\", …]} "
                                "with scopes of invoke, deploy, state:r, state:w, files, logs, "
                                "admin; note and ttl_s (at least 1) may be given");
        return;
    }
    m->exchange = x;
    access_token_make(x->node->access, &wanted, m->text, &m->made, token_made, m);
}

static void token_revoke_handle(struct exchange *x)
{
    access_token_revoke(x->node->access, x->text, answered, x);
}

/* ---- tenants ---- */

static bool tenant_list(void *context, const struct tenant_settings *s)
{
    cJSON *o = cJSON_CreateObject();
    cJSON_AddStringToObject(o, "tenant", s->name);
    cJSON_AddNumberToObject(o, "cpu_weight", s->cpu_weight);
    cJSON_AddNumberToObject(o, "memory_bytes", (double)s->memory_bytes);
    cJSON_AddNumberToObject(o, "queue", s->queue_max);
    cJSON_AddNumberToObject(o, "workers", s->workers_max);
    cJSON_AddItemToArray(context, o);
    return true;
}

static void tenants_handle(struct exchange *x)
{
    cJSON *o = cJSON_CreateObject();
    access_tenants(x->node->access, tenant_list, cJSON_AddArrayToObject(o, "tenants"));
    exchange_json(x, 200, o);
}

static void tenant_put_handle(struct exchange *x)
{
    static const char *const known[] = {"cpu_weight", "memory_bytes", "queue", "workers", NULL};
    cJSON *o = exchange_body_json(x);
    if (o == NULL)
        return;
    const struct tenant_settings *now = access_tenant(x->node->access, x->tenant);
    double weight = now->cpu_weight, memory = (double)now->memory_bytes, queue = now->queue_max,
           workers = now->workers_max;
    if (members_known(x, o, known)) {
        if (number_member(o, "cpu_weight", 10000, &weight) &&
            number_member(o, "memory_bytes", 1e15, &memory) &&
            number_member(o, "queue", 1e7, &queue) && number_member(o, "workers", 256, &workers)) {
            struct tenant_settings s = {.cpu_weight = (uint32_t)weight,
                                        .memory_bytes = (uint64_t)memory,
                                        .queue_max = (uint32_t)queue,
                                        .workers_max = (uint32_t)workers};
            strcpy(s.name, x->tenant);
            access_tenant_put(x->node->access, &s, answered, x);
        } else {
            exchange_problem(x, 400,
                             "cpu_weight (1 to 10,000), memory_bytes, queue and workers "
                             "are whole numbers");
        }
    }
    cJSON_Delete(o);
}

/* ---- grants: of the tenant in the path, to others ---- */

static bool grant_list(void *context, const struct grant *g)
{
    cJSON *o = cJSON_CreateObject();
    cJSON_AddStringToObject(o, "tenant", g->tenant);
    if (g->function[0]) {
        cJSON_AddStringToObject(o, "function", g->function);
    } else {
        char rights[5] = "";
        for (int i = 0; i < 4; i++) {
            if (g->rights & 1u << i)
                strncat(rights, &"rwld"[i], 1);
        }
        cJSON_AddStringToObject(o, "prefix", g->prefix);
        cJSON_AddStringToObject(o, "rights", rights);
    }
    cJSON_AddItemToArray(context, o);
    return true;
}

static void grants_handle(struct exchange *x)
{
    cJSON *o = cJSON_CreateObject();
    access_grants(x->node->access, x->tenant, grant_list, cJSON_AddArrayToObject(o, "grants"));
    exchange_json(x, 200, o);
}

static void grant_change(struct exchange *x,
                         void (*change)(struct access *, const struct grant *, access_done, void *))
{
    static const char *const known[] = {"tenant", "function", "prefix", "rights", NULL};
    cJSON *o = exchange_body_json(x);
    struct grant g = {0};
    char rights[8] = "";
    if (o == NULL)
        return;
    if (!members_known(x, o, known)) {
        cJSON_Delete(o);
        return;
    }
    strcpy(g.owner, x->tenant);
    bool good = text_member(o, "tenant", g.tenant, sizeof g.tenant) &&
                text_member(o, "function", g.function, sizeof g.function) &&
                text_member(o, "prefix", g.prefix, sizeof g.prefix) &&
                text_member(o, "rights", rights, sizeof rights) && rights_parse(rights, &g.rights);
    cJSON_Delete(o);
    if (good)
        change(x->node->access, &g, answered, x);
    else
        exchange_problem(x, 400,
                         "a grant wants {\"tenant\": \"…\"} and either \"function\" or "
                         "\"prefix\" with \"rights\" of r, w, l, d");
}

static void grant_put_handle(struct exchange *x)
{
    grant_change(x, access_grant_put);
}

static void grant_remove_handle(struct exchange *x)
{
    grant_change(x, access_grant_remove);
}

#define GRANTS "/v1/tenants/{tenant}/grants"

const struct route routes_access[] = {
    {.method = HTTP_GET, .pattern = "/v1/tokens", .handle = tokens_handle, .scopes = SCOPE_ADMIN},
    {.method = HTTP_POST,
     .pattern = "/v1/tokens",
     .handle = token_make_handle,
     .scopes = SCOPE_ADMIN,
     .body_max = BODY_MAX},
    {.method = HTTP_DELETE,
     .pattern = "/v1/tokens/{text}",
     .handle = token_revoke_handle,
     .scopes = SCOPE_ADMIN},
    {.method = HTTP_GET, .pattern = "/v1/tenants", .handle = tenants_handle, .scopes = SCOPE_ADMIN},
    {.method = HTTP_PUT,
     .pattern = "/v1/tenants/{tenant}",
     .handle = tenant_put_handle,
     .scopes = SCOPE_ADMIN,
     .body_max = BODY_MAX},
    {.method = HTTP_GET, .pattern = GRANTS, .handle = grants_handle, .scopes = SCOPE_DEPLOY},
    {.method = HTTP_POST,
     .pattern = GRANTS,
     .handle = grant_put_handle,
     .scopes = SCOPE_DEPLOY,
     .body_max = BODY_MAX},
    {.method = HTTP_DELETE,
     .pattern = GRANTS,
     .handle = grant_remove_handle,
     .scopes = SCOPE_DEPLOY,
     .body_max = BODY_MAX},
    {0},
};
