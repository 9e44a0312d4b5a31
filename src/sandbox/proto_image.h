/*
 * Proto-images: the state of a quiescent arena as a file, from which any node makes instances.
 *
 * An image holds data only: memory, mutable globals, tables and dropped segments, references as
 * (module, function) pairs, and bytes of the owner (WASI descriptors, attached state regions). It
 * holds no address and no code, so it survives recompilation and needs no trust: it is validated
 * like hostile input and can then do no more than the module itself could, given a hostile start.
 * A hash over the whole file finds damage. proto_format.h draws the file. Source: the project's
 * faaslets specification, section 7.
 */
#ifndef SANDBOX_PROTO_IMAGE_H
#define SANDBOX_PROTO_IMAGE_H

#include "engine/arena.h"

/* Bounds of a file. */
#define PROTO_OWNER_MAX    (16u << 20)  /* bytes of the owner's section */
#define PROTO_METADATA_MAX (256u << 20) /* everything but memory pages */

struct proto_image;

/* Writes the image of an arena to an empty file (regular or memory file) open for reading and
 * writing. -ATOLL_EBUSY, naming the reason, when the arena is not quiescent (snapshot.h);
 * -ATOLL_ESIZE beyond a bound; -ATOLL_EIO. After a failure the file is empty or half written: throw
 * it away. Fuel is not part of the image: the host sets it. */
int proto_image_write(struct arena *, const void *owner, size_t owner_len, int fd, struct error *e);

/* Opens an image and verifies its hash over all bytes. A memory file sealed against writing,
 * growing and shrinking is used as it is, anything else is copied into one, so a file that changes
 * meanwhile does no harm. The descriptor stays the caller's and may be closed afterwards.
 *   -ATOLL_ETYPE     no proto-image         -ATOLL_ESTALE    of another format or engine ABI
 *   -ATOLL_ECORRUPT  truncated or altered   -ATOLL_ESIZE     larger than an image can be
 * The image is immutable and may be loaded from by several threads. */
int proto_image_open(int fd, struct proto_image **out, struct error *e);
void proto_image_close(struct proto_image *); /* NULL is fine */

/* The owner's bytes; they live as long as the image. */
const uint8_t *proto_image_owner(const struct proto_image *, size_t *len);
/* SHA-256 of module `ordinal` (in the order of linking), NULL beyond the last. */
const uint8_t *proto_image_module(const struct proto_image *, uint32_t ordinal);
/* A name for exactly these bytes: the root of the hash tree. */
const uint8_t *proto_image_root(const struct proto_image *);
/* Bytes of the file, and of memory 0 in the instances. */
uint64_t proto_image_bytes(const struct proto_image *);
uint64_t proto_image_memory_bytes(const struct proto_image *);
/* A sealed memory file with the image's bytes, to pass to another process; it belongs to the
 * image. */
int proto_image_fd(const struct proto_image *);

/* Links module `ordinal` into the arena exactly as it was linked when the image was written: same
 * order, same imports from the modules before it; start functions and constructors are not run.
 * wasm_sha256 says which module, link for which place it must be compiled. */
typedef int (*proto_link)(void *context, struct arena *, uint32_t ordinal,
                          const uint8_t wasm_sha256[HASH_LEN], enum link_mode link,
                          struct error *e);

/* For an image of one module: a proto_link whose context is a struct proto_module. */
struct proto_module {
    struct artefact *artefact;
    const struct link_import *imports;
    uint32_t import_count;
};
int proto_link_module(void *context, struct arena *, uint32_t ordinal,
                      const uint8_t wasm_sha256[HASH_LEN], enum link_mode link, struct error *e);

/* Makes an arena in the image's state. Take a snapshot of it, or use it. Callbacks run before
 * anything of the image is written into the arena.
 *   -ATOLL_ESTALE    another module than the image was made of
 *   -ATOLL_ECORRUPT  contents that do not fit the modules
 *   -ATOLL_ELIMIT    memory or tables beyond what limits or module allow
 * or what the callback returned. */
int proto_image_load(const struct proto_image *, const struct arena_limits *, proto_link link,
                     void *context, struct arena **out, struct error *e);

#endif
