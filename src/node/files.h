/*
 * Shared files of tenants (spec faaslets §5 "File tree", §13 /v1/files): paths to immutable bytes.
 * A file is replaced as a whole, durably, and readers see the old or the new one.
 *
 * Content lies beneath data/files by its hash; the store's table "file" maps tenant NUL path to it.
 * Loop thread only; reading and writing of content happens on a thread of its own.
 */
#ifndef NODE_FILES_H
#define NODE_FILES_H

#include "node/blob.h"

struct node;
struct files;

#define FILE_PATH_MAX    400u
#define FILE_BYTES_MAX   (1ull << 30)
#define FILES_TENANT_MAX 100000u

struct file_entry {
    const char *path;
    uint64_t len, version; /* version: grows by one with every change of any file of the tenant */
    int64_t modified_ns;
};

int files_create(struct node *, struct files **out, struct error *);
void files_destroy(struct files *);

/* Whether a path is legal: relative, no empty, "." or ".." part, no NUL, at most FILE_PATH_MAX
 * bytes. */
bool file_path_is_valid(const char *path, size_t len);

typedef void (*file_done)(void *context, int code, const struct error *, struct blob *content,
                          const struct file_entry *);
void files_get(struct files *, const char *tenant, const char *path, file_done, void *context);
/* Retains content until done. */
void files_put(struct files *, const char *tenant, const char *path, struct blob *content,
               file_done, void *context);
void files_remove(struct files *, const char *tenant, const char *path, file_done, void *context);
/* Every file beneath a prefix, ordered. */
void files_list(struct files *, const char *tenant, const char *prefix,
                bool (*visit)(void *, const struct file_entry *), void *context);
/* Grows with every change of a tenant's files. */
uint64_t files_version(struct files *, const char *tenant);

#endif
