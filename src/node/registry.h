/*
 * Functions, their versions and aliases (spec faaslets §6).
 *
 * A version is (module bytes, canonical manifest); its name is the first 32 hex digits of the
 * SHA-256 over both. An alias (default "live") points at a version; moving it is one durable write,
 * and the next call uses it: nothing is flushed. Modules and proto images are files beneath the
 * data directory, named by content; the store's tables "fn" and "alias" say what there is. A
 * version gets a number on this node (never reused while the node runs) by which workers know it.
 *
 * Uploading: receive (the gateway streams the module to a temporary file) → validate → codegen
 * (builder threads) → zygote (in a worker of the tenant) → alias. A failure at any stage leaves the
 * alias where it was and names the stage. Uploading the same bytes again changes nothing.
 *
 * Loop thread only. Owns its versions; a caller that keeps one across callbacks retains it.
 */
#ifndef NODE_REGISTRY_H
#define NODE_REGISTRY_H

#include "engine/artefact.h"
#include "node/manifest.h"

struct node;
struct registry;
struct function;
struct version_waiter;

#define VERSION_NAME_LEN 32

enum version_state { VERSION_STORED, VERSION_BUILDING, VERSION_READY, VERSION_BROKEN };

struct function_version {
    uint32_t number;
    char name[VERSION_NAME_LEN + 1];
    struct manifest manifest;
    struct buffer canonical; /* the manifest's canonical JSON */
    uint8_t module_sha256[HASH_LEN];
    uint64_t module_bytes;
    int64_t created_ns; /* CLOCK_REALTIME */
    enum version_state state;
    struct artefact *artefact; /* once built in this process */
    int artefact_fd;           /* its bytes, for workers; -1 before */
    int image_fd;              /* the proto image's file; -1 before */
    uint64_t image_bytes;
    struct error problem; /* why it is BROKEN */
    const char *stage;    /* where */
    bool stored;          /* in the store, not only on its way there */
    uint32_t references;
    uint64_t calls;    /* running or queued */
    int64_t unused_ns; /* CLOCK_MONOTONIC: since when neither alias nor call needs it; 0 = needed */
    /* private to the registry (registry_table.h) */
    struct version_waiter *waiters;
    uint32_t writing; /* changes with it on their way to the store */
    bool unlinked;    /* removed, though somebody holds it */
    struct function_version *next;
    struct function *function;
};

struct alias {
    char tenant[NAME_MAX_LEN + 1], function[NAME_MAX_LEN + 1], name[NAME_MAX_LEN + 1];
    struct function_version *version;
    struct function_version *previous; /* for rollback; may be NULL */
};

int registry_create(struct node *, struct registry **out, struct error *);
void registry_destroy(struct registry *);

/* ---- looking up ---- */
/* selector: alias name, a version's full name or at least 8 digits of it; NULL = "live".
 * -ATOLL_ENOENT. */
int registry_find(struct registry *, const char *tenant, const char *function, const char *selector,
                  struct function_version **out, struct error *);
struct function_version *registry_by_number(struct registry *, uint32_t number);
struct function_version *version_retain(struct function_version *);
void version_release(struct registry *, struct function_version *);

/* Makes a version runnable (artefact built or loaded from the cache); done on the loop thread, at
 * once when it is. error is NULL when it worked. */
typedef void (*version_ready)(void *context, struct function_version *, const struct error *);
void registry_prepare(struct registry *, struct function_version *, version_ready, void *context);

/* ---- changing ---- */
struct upload_result {
    struct function_version *version;
    bool created;      /* false: these bytes were there already */
    const char *stage; /* of a failure: "receive", "validate", "codegen", "zygote" */
    struct error error;
};
typedef void (*upload_done)(void *context, const struct upload_result *);
/* module_path: a temporary file beneath the data directory, which the registry takes over (moves or
 * removes). alias NULL = "live"; "" = none is moved. done runs later. */
void registry_upload(struct registry *, const char *module_path, const struct manifest *,
                     const char *alias, upload_done, void *context);

typedef void (*registry_done)(void *context, int code, const struct error *);
void registry_alias_move(struct registry *, const char *tenant, const char *function,
                         const char *alias, const char *selector, registry_done, void *context);
void registry_alias_rollback(struct registry *, const char *tenant, const char *function,
                             const char *alias, registry_done, void *context);
/* Removes the function with all versions and aliases; running calls finish. */
void registry_remove(struct registry *, const char *tenant, const char *function, registry_done,
                     void *context);
/* Removes versions that no alias has pointed at, and nobody has called, for an hour. */
void registry_collect(struct registry *, int64_t now_ns);
/* A worker refused the version's proto image: it is removed, and made again by the next load. */
void registry_image_bad(struct registry *, struct function_version *);
/* A worker has made the proto image (fd is borrowed): it is kept for other workers and restarts. */
void registry_image_made(struct registry *, struct function_version *, int fd, uint64_t bytes);

/* ---- listing ---- */
/* Calls visit for every alias of a tenant (NULL: of all), ordered; and every version of a function,
 * newest first. visit returns false to stop. */
void registry_aliases(struct registry *, const char *tenant,
                      bool (*visit)(void *, const struct alias *), void *context);
void registry_versions(struct registry *, const char *tenant, const char *function,
                       bool (*visit)(void *, const struct function_version *), void *context);

#endif
