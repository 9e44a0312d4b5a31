/*
 * The inside of the registry, for its own files: registry.c (the table), registry_record.c (store
 * and disk), preparation.c (making versions runnable), upload.c and registry_change.c (changes).
 * Loop thread only.
 */
#ifndef NODE_REGISTRY_TABLE_H
#define NODE_REGISTRY_TABLE_H

#include "node/registry.h"

#include <limits.h>

#define FUNCTION_BUCKETS 4096u
#define FUNCTIONS_MAX    1000000u /* names, also of functions that were removed */
#define MODULE_BYTES_MAX (1ull << 30)
#define REGISTRY_KEY_MAX (3 * (NAME_MAX_LEN + 1))
#define ALIAS_RECORD     (2 * VERSION_NAME_LEN)

struct alias_entry {
    struct alias_entry *next;
    struct alias alias;
};

/* Lives as long as the registry, also when it was removed: changes point at it. */
struct function {
    struct function *next;
    char tenant[NAME_MAX_LEN + 1], name[NAME_MAX_LEN + 1];
    struct function_version *versions; /* newest first */
    struct alias_entry *aliases;       /* by name */
    uint32_t writing;                  /* changes on their way to the store */
    bool removing;                     /* one of them removes it */
};

struct registry {
    struct node *node;
    struct function *buckets[FUNCTION_BUCKETS];
    uint32_t function_count;
    struct function_version **numbers; /* by number; NULL once gone */
    uint32_t number_count, number_capacity;
    uint32_t receiving; /* uploads whose module is not in the table yet */
};

/* ---- registry.c ---- */
struct function *function_find(struct registry *, const char *tenant, const char *name);
struct alias_entry *alias_find(const struct function *, const char *name);
/* By name, or by at least 8 digits of it that only one version begins with. */
struct function_version *function_version_find(const struct function *, const char *name);
/* A version in its function's list, with one reference: the list's. Takes the canonical text over.
 */
struct function_version *version_make(struct registry *, struct buffer *canonical, struct error *);
/* Takes it off its function's list and out of the workers; whoever holds it still may use it. */
void function_version_unlink(struct registry *, struct function_version *);
/* Puts the alias to a version, in memory. */
int alias_put(struct registry *, struct function *, const char *name, struct function_version *,
              struct function_version *previous, struct error *);
void aliases_free(struct registry *, struct function *);
/* DATA/folder/name+suffix */
void registry_path(const struct registry *, const char *folder, const char *name,
                   const char *suffix, char out[static PATH_MAX]);
void registry_module_path(const struct registry *, const struct function_version *,
                          char out[static PATH_MAX]);

/* ---- registry_record.c ---- */
size_t registry_key(char out[static REGISTRY_KEY_MAX], const char *tenant, const char *function,
                    const char *last);
bool version_record(const struct function_version *, struct buffer *out);
void alias_record(const struct function_version *now, const struct function_version *before,
                  char out[static ALIAS_RECORD]);

/* ---- preparation.c ---- */
/* Opens the version's proto image, if there is a file. */
void image_find(struct registry *, struct function_version *);

/* ---- registry_change.c ---- */
/* A change on its way to the store. */
struct change {
    struct registry *registry;
    struct function *function;
    struct function_version *version; /* what the alias will mean; retained; NULL: a removal */
    struct function_version *previous;
    char alias[NAME_MAX_LEN + 1];
    /* Of an upload. */
    upload_done uploaded;
    struct upload_result result;
    /* Of another change. */
    registry_done done;
    void *context;
};
/* Tells whoever asked for the change, and frees it. */
void change_end(struct change *, int code, const struct error *);
/* Writes the version's record (unless it is there) and the alias's in one transaction, puts them in
 * effect, and ends the change. */
void change_write(struct change *);

#endif
