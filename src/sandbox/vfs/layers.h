/*
 * The inside of a tree, shared by the files of this folder and by nobody else: the base's records,
 * the overlay's, and what one file lends to the others.
 *
 * Every operation first finds out all it needs, which may fail or wait, then makes room, which may
 * fail, and only then changes anything. Records of shared files that the guest has not touched are
 * a cache ("fresh"): each use compares them with what the owner says, and they are dropped at the
 * beginning of an operation when there are many (overlay_trim). Within an operation no record goes.
 */
#ifndef SANDBOX_VFS_LAYERS_H
#define SANDBOX_VFS_LAYERS_H

#include "sandbox/vfs/vfs.h"

#define PAGE 4096u
/* Beyond the limit of bytes, for removing names when the tree is full. */
#define RESERVE_BYTES (1u << 20)
/* Fresh records not in use that are kept from one operation to the next. */
#define FRESH_MAX 256u

/* ---- base.c ---- */

/* One file, directory or link. Records are sorted by depth, then by path, so that the children of
 * a directory lie together, in the order of their names. */
struct base_node {
    const char *path; /* "" of the root */
    const uint8_t *bytes;
    uint64_t size;
    int64_t modified_ns;
    uint32_t parent; /* node */
    uint32_t first_child, child_count;
    uint16_t path_len, name_len; /* the name is the path's end */
    uint16_t depth;
    uint8_t type;
    uint32_t links;
};

struct vfs_base {
    _Atomic uint32_t references;
    uint32_t count; /* of nodes: their numbers are 1..count */
    struct base_node *nodes;
    char *paths;
    uint8_t *bytes; /* what was copied */
    struct mapping {
        void *start;
        size_t len;
    } *mappings;
    uint32_t mapping_count;
};

static inline const struct base_node *base_node(const struct vfs *v, uint32_t node)
{
    return node <= v->base->count ? &v->base->nodes[node - 1] : NULL;
}
static inline const char *base_name(const struct base_node *n)
{
    return n->path + n->path_len - n->name_len;
}
/* The node of that name in a directory of the base, or 0. */
uint32_t base_child(const struct vfs *, const struct base_node *directory, const char *name,
                    size_t len);
/* Names as memcmp orders them, a shorter one before those that begin with it. */
int name_compare(const char *a, size_t a_len, const char *b, size_t b_len);

/* ---- overlay.c ---- */

/* A name in a directory; node 0: what the base or the shared files have there is gone. */
struct name {
    char *text;
    uint32_t node;
    uint8_t len;
};

struct file_record {
    uint64_t size;
    const uint8_t *under; /* what pages that are not there hold; zeros behind its end */
    uint64_t under_len;
    uint8_t **pages; /* PAGE bytes each, or NULL */
    uint64_t page_capacity;
    uint64_t version; /* of the shared file that this is, or was */
    void *hold;       /* of its bytes */
    bool fetched;     /* `under` holds them */
};

struct directory_record {
    struct name *names; /* sorted */
    uint32_t count, capacity, parent;
    char *shared; /* its path among the shared files; of the base's directories see node_shared_path
                   */
    bool publishes, opaque; /* opaque: no shared files show through */
};

/* What the overlay knows of a node: all of it, or what has changed about one of the base. */
struct record {
    uint32_t node;
    uint32_t links, opens;
    enum vfs_type type;
    bool fresh;      /* a shared file or directory as the owner has it: no change of the guest's */
    uint32_t holder; /* of a fresh one: the directory that has its one name */
    uint64_t device, inode;
    int64_t accessed_ns, modified_ns, changed_ns;
    union {
        struct file_record file;
        struct directory_record directory;
        char *target;
    };
};

struct vfs_overlay {
    uint64_t bytes;
    uint32_t nodes, fresh; /* records of the guest's, and of the owner's */
    uint32_t fresh_used;   /* that could not be trimmed the last time */
    uint32_t names;        /* of all of them; each fresh record has one */
    struct record **made;  /* of node base count + 1 + index; NULL: the number is free */
    uint32_t made_count, made_capacity, made_free; /* no free number below made_free */
    struct record **changed; /* of nodes of the base: open addressing by number */
    uint32_t changed_count, changed_capacity;
};

/* The record of a node, or NULL when nothing of it is in the overlay. */
struct record *record_of(const struct vfs *, uint32_t node);
/* The same, made when there is none: -ENOSPC, -EDQUOT, -ENOMEM. With `reserve` even beyond the
 * limits: for removals, and for what only reads. */
int record_need(struct vfs *, uint32_t node, bool reserve, struct record **out);
/* A record of a node that exists in the overlay only: the caller fills in what its type needs,
 * gives it a name or frees it. A link's target is accounted for by the caller, released with it. */
int record_make(struct vfs *, enum vfs_type, bool fresh, struct record **out);
/* Frees a made record, which has no name and is not open. */
void record_free(struct vfs *, struct record *);
/* Frees it if nothing needs it any more. */
void record_settle(struct vfs *, struct record *);
/* A fresh record becomes the guest's. A file's bytes must have been fetched or be void. */
int record_own(struct vfs *, struct record *);
/* A fresh record that has nothing of the guest's in it has lost its name: it goes with all that is
 * in it, or becomes the guest's nameless one while it is open. */
void fresh_forget(struct vfs *, struct record *);
/* Whether a fresh directory has something of the guest's in it. */
bool fresh_owned(const struct vfs *, const struct record *);

/* Accounts for memory: -ENOSPC beyond the limit. release counts back. */
int overlay_charge(struct vfs *, uint64_t bytes);
void overlay_release(struct vfs *, uint64_t bytes);
/* Accounts for what the reserve allows. */
int overlay_charge_reserve(struct vfs *, uint64_t bytes);
/* At the beginning of each operation. */
void overlay_trim(struct vfs *);

/* The name in a directory's record, or NULL. */
struct name *name_find(const struct record *directory, const char *text, size_t len);
/* Room for two more names in it; `reserve` as above. */
int name_room(struct vfs *, struct record *directory, bool reserve);
/* Adds or replaces; room was made, and text is taken over (see name_text). */
void name_set(struct vfs *, struct record *directory, char *text, size_t len, uint32_t node);
void name_delete(struct vfs *, struct record *directory, struct name *);
/* A copy for name_set; NULL without memory. */
char *name_text(const char *text, size_t len);

/* ---- node.c: what base and overlay together say of a node ---- */

enum vfs_type node_type(const struct vfs *, uint32_t node);
uint32_t node_parent(const struct vfs *, uint32_t node);
uint32_t node_links(const struct vfs *, uint32_t node);
const char *node_target(const struct vfs *, uint32_t node);
/* The path of a directory among the shared files, NULL when it shows and takes none. */
const char *node_shared_path(const struct vfs *, uint32_t node);
bool node_publishes(const struct vfs *, uint32_t node);
/* Real time, as coarse as the kernel's ticks. */
int64_t now_ns(void);
/* Contents have changed, or anything else about it. */
void record_modified(struct record *);

/* ---- shared.c ---- */

/* "directory/name"; -ENAMETOOLONG. */
int shared_join(const char *directory, const char *name, size_t len, char path[VFS_MAX_PATH]);
/* The fresh record of a name that base and overlay do not have: *node 0 when there is no such
 * shared file either. */
int shared_find(struct vfs *, uint32_t directory, const char *name, size_t len, uint32_t *node);
/* Whether a shared file shows at that name. 1, 0, -errno, VFS_WAIT. */
int shared_shows(struct vfs *, uint32_t directory, const char *name, size_t len);
/* Brings the bytes of a fresh file of that name; nothing to do for others. */
int shared_fetch(struct vfs *, uint32_t directory, const char *name, size_t len, uint32_t *node);

/* ---- walk.c ---- */

enum {
    WALK_FOLLOW = 1, /* a link at the end */
    WALK_ENTRY = 2,  /* the end is a name to be changed: never followed, dots are reported */
    WALK_CREATE = 4, /* the end may be made as a file: no slash behind it */
};
struct place {
    uint32_t directory;
    uint32_t node; /* 0: there is nothing */
    enum { PLACE_NAME, PLACE_DOT, PLACE_DOTDOT } kind;
    bool slash; /* behind it */
    uint32_t len;
    char name[VFS_MAX_NAME + 1];
};
int walk(struct vfs *, uint32_t directory, const char *path, int flags, struct place *);
/* The node of a name in a directory, 0 when there is none. */
int name_lookup(struct vfs *, uint32_t directory, const char *name, size_t len, uint32_t *node);

/* ---- content.c ---- */
void content_free(struct vfs *, struct file_record *);
void content_resize(struct vfs *, struct record *, uint64_t size);

/* ---- change.c ---- */
/* A new file, directory or link gets its name: makes room for it. */
int name_prepare(struct vfs *, uint32_t directory, const char *name, size_t len,
                 struct record **holder, char **text);

/* ---- list.c ---- */
/* 0 when a directory holds no name, -ENOTEMPTY, VFS_WAIT. */
int directory_empty(struct vfs *, uint32_t directory);

#endif
