/*
 * The file of a captured image, little-endian:
 *
 *   struct image_header
 *   struct vector_state
 *   struct image_module    x module_count, each followed by its artefact's bytes, padded to 8
 *   struct image_part      x part_count       writable parts of the arena
 *   struct image_region    x region_count
 *   u64                    x externref_count  values of external references
 *   struct image_part      x run_count        runs of pages, then
 *   bytes of the runs, in order
 *   host state, padded to 8 | policy, padded to 8
 *   struct image_trailer
 *
 * The signature covers the BLAKE2b-256, keyed with IMAGE_DOMAIN, of all bytes before it.
 */
#ifndef SANDBOX_IMAGE_FORMAT_H
#define SANDBOX_IMAGE_FORMAT_H

#include "crypto/hash.h"
#include "crypto/key.h"

#define IMAGE_MAGIC  "ATOLLIMG"
#define IMAGE_FORMAT 1u
#define IMAGE_DOMAIN "atoll captured image, format 1"

struct image_header {
    uint8_t magic[8];
    uint32_t format, slot;
    uint8_t gate[HASH_LEN]; /* captured stacks return into the gate page: it must be the same */
    uint64_t cpu_features;  /* that the code may use */
    uint64_t memory_bytes, stack_bytes; /* limits */
    uint32_t table_entries, no_window;
    uint32_t suspended;      /* LEAVE_INTERRUPTED, _AT_GATE, _AT_ENTER or _PARKED */
    uint32_t pending_number; /* gate of a parked host call */
    uint64_t general[16], rip, rflags;
    uint64_t suspended_rsp;
    int64_t pending_vm;            /* offset from B */
    int64_t deadline_left_ns;      /* of a parked call; INT64_MAX = none */
    int64_t thunk, vm, code, area; /* offsets from B, of a call that has not started */
    uint32_t running_instance, running_function;
    uint64_t gate_calls, rest_used;
    uint32_t module_count, part_count, region_count, externref_count;
    uint64_t run_count, run_bytes, host_state_len, policy_len;
};

struct image_module {
    uint8_t id[HASH_LEN];
    uint64_t image_offset, artefact_len;
    int64_t vm_from_b;
};

struct image_part {
    int64_t from_b;
    uint64_t len;
};

struct image_region {
    char name[64];
    uint64_t offset, len;
    uint32_t address, rights;
};

struct image_trailer {
    uint8_t signer[KEY_PUBLIC_LEN];
    uint8_t signature[SIGNATURE_LEN];
};

_Static_assert(sizeof(struct image_header) % 8 == 0, "sections are 8-byte aligned");
_Static_assert(sizeof(struct image_module) % 8 == 0, "sections are 8-byte aligned");
_Static_assert(sizeof(struct image_region) % 8 == 0, "sections are 8-byte aligned");

#endif
