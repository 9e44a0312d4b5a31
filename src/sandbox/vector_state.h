/*
 * Vector registers, independent of the processor: by component, in architectural order.
 *
 * The kernel's XSAVE image places components where CPUID leaf 0xD says, which differs between
 * vendors. An image holds only the components that code of its level can use; what lies beyond is
 * leftovers of the host. Source: Intel SDM volume 1, chapter 13.
 */
#ifndef SANDBOX_VECTOR_STATE_H
#define SANDBOX_VECTOR_STATE_H

#include "engine/arena.h"

struct vector_state {
    uint32_t mxcsr;      /* status flags only; control bits are the default */
    uint32_t level;      /* VECTOR_SSE, VECTOR_AVX or VECTOR_AVX512: how much of the rest counts */
    uint8_t xmm[16][16]; /* low 16 bytes of registers 0..15 */
    uint8_t ymm_high[16][16]; /* bytes 16..31 */
    uint64_t opmask[8];
    uint8_t zmm_high[16][32];  /* bytes 32..63 of registers 0..15 */
    uint8_t zmm_upper[16][64]; /* registers 16..31 */
};

void vector_state_load(const struct guest_registers *, uint32_t level, struct vector_state *out);
/* Builds an XSAVE image in registers->xsave (capacity bytes). -ATOLL_ECPU when this processor has
 * no place for a component. */
int vector_state_store(const struct vector_state *, struct guest_registers *, uint32_t capacity,
                       struct error *e);

#endif
