/*
 * Who may do what: tenants, bearer tokens, grants (spec faaslets §8.3 end, §13 "Authentication").
 *
 * A token is 32 random bytes, shown once as "atl_" and 43 base64url characters, and stored as their
 * BLAKE2b hash with its scopes. Comparison is constant-time. Without authentication (bound to
 * loopback and not demanded) every request is the administrator's.
 *
 * A grant lets another tenant use keys beneath a prefix ("@owner/key") or call functions of the
 * owner. Everything is in the store (tables "token", "tenant"), read at the start, and kept in
 * memory; changes are durable before they are acknowledged.
 *
 * Loop thread only.
 */
#ifndef NODE_ACCESS_H
#define NODE_ACCESS_H

#include "base/error.h"
#include "node/manifest.h"

struct node;
struct access;

enum scope {
    SCOPE_INVOKE = 1,
    SCOPE_DEPLOY = 2,
    SCOPE_STATE_READ = 4,
    SCOPE_STATE_WRITE = 8,
    SCOPE_FILES = 16,
    SCOPE_LOGS = 32,
    SCOPE_ADMIN = 64, /* tenants, tokens, everything of every tenant */
};

#define TOKEN_TEXT_LEN 47 /* "atl_" + 43 */
#define TOKEN_ID_LEN   16 /* hex digits by which a token is listed and revoked */

struct token {
    char id[TOKEN_ID_LEN + 1];
    char tenant[NAME_MAX_LEN + 1]; /* "" with SCOPE_ADMIN: all */
    uint32_t scopes;
    int64_t created_ns, expires_ns; /* CLOCK_REALTIME; 0: never */
    char note[128];
};

struct tenant_settings {
    char name[NAME_MAX_LEN + 1];
    uint32_t cpu_weight;   /* 1 … 10,000, default 100 */
    uint64_t memory_bytes; /* 0: the node's default */
    uint32_t queue_max;    /* 0: the node's default */
    uint32_t workers_max;  /* 0: the node's default */
};

int access_create(struct node *, struct access **out, struct error *);
void access_destroy(struct access *);

/* The token that "Bearer …" names, or NULL with -ATOLL_EPERM. */
int access_token(struct access *, const char *authorization, size_t len, const struct token **out,
                 struct error *);
/* Whether a token (NULL: no authentication here) may do this for the tenant. */
bool access_allows(const struct token *, const char *tenant, uint32_t scopes);

typedef void (*access_done)(void *context, int code, const struct error *);
/* Makes a token; its text is written to `text` at once and counts when done says 0. */
void access_token_make(struct access *, const struct token *wanted, char text[TOKEN_TEXT_LEN + 1],
                       struct token *made, access_done, void *context);
void access_token_revoke(struct access *, const char *id, access_done, void *context);
void access_tokens(struct access *, bool (*visit)(void *, const struct token *), void *context);

/* Settings of a tenant; defaults when it has none. */
const struct tenant_settings *access_tenant(struct access *, const char *tenant);
void access_tenant_put(struct access *, const struct tenant_settings *, access_done, void *context);
void access_tenants(struct access *, bool (*visit)(void *, const struct tenant_settings *),
                    void *context);

/* What of `owner` may `tenant` do with this key (bits of enum state_right). */
uint32_t access_state_rights(struct access *, const char *tenant, const char *owner,
                             const void *key, size_t len);
/* Whether `tenant` may call a function of `owner`. */
bool access_may_call(struct access *, const char *tenant, const char *owner, const char *function);
struct grant {
    char owner[NAME_MAX_LEN + 1], tenant[NAME_MAX_LEN + 1];
    char function[NAME_MAX_LEN + 1]; /* "*": all; "": a grant for keys */
    char prefix[401];
    uint32_t rights;
};
void access_grant_put(struct access *, const struct grant *, access_done, void *context);
/* By owner, tenant, and function or prefix. -ATOLL_ENOENT. */
void access_grant_remove(struct access *, const struct grant *, access_done, void *context);
void access_grants(struct access *, const char *owner, bool (*visit)(void *, const struct grant *),
                   void *context);

#endif
