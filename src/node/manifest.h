/*
 * Function manifests: what a function is called, may use, and may do (spec faaslets §6).
 *
 * People write YAML (atoll.yaml), machines JSON with the same fields; both are parsed by one strict
 * reader that refuses unknown keys, wrong types, doubled keys and values beyond the limits, with
 * line and column. The canonical form (fixed order, every field, JSON without spaces) is what is
 * hashed into the version, kept in the store and handed to workers.
 *
 * Owns all its strings in one block; manifest_free releases it.
 */
#ifndef NODE_MANIFEST_H
#define NODE_MANIFEST_H

#include "base/bytes.h"
#include "base/error.h"

#define MANIFEST_BYTES_MAX (256u << 10)
#define MANIFEST_LIST_MAX  256u /* entries of env, config, state, call, net each */
#define NAME_MAX_LEN       63u  /* [a-z0-9][a-z0-9-]{0,62} */

enum manifest_kind { MANIFEST_FUNCTION, MANIFEST_SERVICE };
/* When an instance's memory is put back: after each call; never (services only); or not between
 * calls of one tree. */
enum manifest_reset { RESET_ALWAYS, RESET_NEVER, RESET_TENANT_TRUSTED };
enum state_right { STATE_READ = 1, STATE_WRITE = 2, STATE_LOCK = 4, STATE_DELETE = 8 };

struct manifest_pair {
    const char *name, *value;
};
struct manifest_state {
    const char *prefix; /* "" = every key; "@owner/prefix" for a grant */
    uint32_t prefix_len, rights;
};
struct manifest_net {
    const char *host;     /* name, address or CIDR */
    uint32_t port;        /* 0 = any */
    uint64_t rate, burst; /* bytes a second, bytes; 0 = default */
};

struct manifest {
    char tenant[NAME_MAX_LEN + 1], function[NAME_MAX_LEN + 1];
    enum manifest_kind kind;
    uint64_t timeout_ns;          /* default 30 s */
    uint64_t memory_bytes;        /* default 128 MiB, at most 2.5 GiB */
    uint64_t output_bytes;        /* default 32 MiB */
    uint64_t stack_bytes;         /* default 256 KiB */
    uint64_t log_bytes;           /* default 1 MiB a call */
    uint32_t concurrency;         /* 0 = no limit of its own */
    uint32_t keep_warm;           /* instances */
    uint64_t idle_ttl_ns;         /* default 300 s */
    uint64_t result_ttl_ns;       /* of asynchronous results; default 1 h */
    uint64_t clock_resolution_ns; /* default 1,000 */
    uint32_t retries;
    bool retry_on_fail;
    enum manifest_reset reset;
    uint32_t priority;   /* 0 … 9, default 5 */
    uint32_t cpu_weight; /* 1 … 10,000, default 100 */
    bool allow_unknown_imports;
    const char *entry; /* export to call instead of atoll_main / _start; NULL = default */
    struct manifest_pair *env, *config;
    struct manifest_state *state;
    const char **call; /* patterns "tenant/ *" (without the blank) or "tenant/name" */
    struct manifest_net *net;
    bool state_given; /* without the key: every right on the tenant's own keys */
    bool call_given;  /* without the key: the tenant's own functions */
    uint32_t env_count, config_count, state_count, call_count, net_count;
    struct buffer storage; /* of everything pointed to */
};

/* Parses YAML or JSON. name: "tenant/function" from the upload's address, or NULL; when both name
 * and text give one they must agree; a text without one takes it. Errors: -ATOLL_EINVAL, text with
 * "line L, column C: …" and what to do. */
int manifest_parse(const void *text, size_t len, const char *name, struct manifest *out,
                   struct error *);
/* A manifest of nothing but defaults. */
int manifest_default(const char *name, struct manifest *out, struct error *);
/* Appends the canonical JSON. manifest_parse of it gives an equal manifest. */
int manifest_canonical(const struct manifest *, struct buffer *out, struct error *);
void manifest_free(struct manifest *);

/* Whether text is a legal tenant or function name. */
bool name_is_valid(const char *text, size_t len);
/* Splits "tenant/function" ("function" alone: tenant "default"). -ATOLL_EINVAL. */
int name_split(const char *text, size_t len, char tenant[static NAME_MAX_LEN + 1],
               char function[static NAME_MAX_LEN + 1], struct error *);
/* Whether the manifest lets its function call tenant/function. */
bool manifest_may_call(const struct manifest *, const char *tenant, const char *function);
/* The rights it has on a key. */
uint32_t manifest_state_rights(const struct manifest *, const void *key, size_t len);

#endif
