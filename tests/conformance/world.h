/*
 * The instances a script of the core suite makes, their names and the arenas they live in.
 *
 * A module that imports from another module's instance joins that instance's arena; any other
 * module gets an arena of its own. Each arena has its own `spectest`, made when first imported. A
 * world belongs to one script in one configuration, and to one thread.
 */
#ifndef CONFORMANCE_WORLD_H
#define CONFORMANCE_WORLD_H

#include "engine/compile.h"
#include "engine/instance.h"

/* A name of the script or of a module: any bytes. */
struct world_name {
    const uint8_t *bytes;
    size_t len;
};

struct world;

/* link in the options is chosen by the world. */
struct world *world_create(struct compiler *, const struct compile_options *);
void world_destroy(struct world *);

/*
 * Decodes, compiles, links and initialises a module and runs its start function. On success it is
 * the current instance and, when name has a length, has that name. Errors are those of
 * compiler_load and instance_create; -ATOLL_ETRAP with the trap's name in the text also when the
 * start function traps. What a failed module did to other instances stays.
 */
int world_instantiate(struct world *, const uint8_t *wasm, size_t len, struct world_name name,
                      struct error *);
/* Makes the named (or, without a length, the current) instance importable as `as`. */
int world_register(struct world *, struct world_name name, struct world_name as, struct error *);
/* The named or the current instance; NULL if there is none. */
struct instance *world_find(const struct world *, struct world_name name);

#endif
