/* Translates between the kernel's XSAVE image and components (vector_state.h). */
#include "sandbox/vector_state.h"

#include <cpuid.h>
#include <string.h>

/* Legacy area and header of an XSAVE image. */
#define OFFSET_MXCSR     24
#define OFFSET_XMM       160
#define OFFSET_XSTATE_BV 512
#define LEGACY_BYTES     512
#define HEADER_END       576

#define MXCSR_DEFAULT 0x1f80u
#define MXCSR_STATUS  0x3fu

enum component { X87, SSE, AVX, OPMASK = 5, ZMM_HIGH = 6, ZMM_UPPER = 7 };

/* Where the standard format places a component; 0 = nowhere on this processor. */
static uint32_t component_offset(enum component c)
{
    unsigned eax, ebx = 0, ecx, edx;
    if (__get_cpuid_count(0xd, (unsigned)c, &eax, &ebx, &ecx, &edx) && eax)
        return ebx;
    return 0;
}

struct part {
    enum component component;
    uint32_t level;
    size_t offset, len; /* in struct vector_state */
};

static const struct part parts[] = {
    {AVX, VECTOR_AVX, offsetof(struct vector_state, ymm_high), 256},
    {OPMASK, VECTOR_AVX512, offsetof(struct vector_state, opmask), 64},
    {ZMM_HIGH, VECTOR_AVX512, offsetof(struct vector_state, zmm_high), 512},
    {ZMM_UPPER, VECTOR_AVX512, offsetof(struct vector_state, zmm_upper), 1024},
};
#define PARTS (sizeof parts / sizeof *parts)

void vector_state_load(const struct guest_registers *r, uint32_t level, struct vector_state *out)
{
    memset(out, 0, sizeof *out);
    out->level = level;
    out->mxcsr = load_u32(r->xsave + OFFSET_MXCSR) & MXCSR_STATUS;
    /* A clear bit means the component is in its initial state (zero) and its bytes are stale. */
    uint64_t present =
        r->xsave_len > HEADER_END ? load_u64(r->xsave + OFFSET_XSTATE_BV) : 1u << SSE;
    if (present & 1u << SSE)
        memcpy(out->xmm, r->xsave + OFFSET_XMM, sizeof out->xmm);
    for (size_t p = 0; p < PARTS; p++) {
        uint32_t at = component_offset(parts[p].component);
        if (parts[p].level <= level && (present & 1u << parts[p].component) && at &&
            at + parts[p].len <= r->xsave_len)
            memcpy((uint8_t *)out + parts[p].offset, r->xsave + at, parts[p].len);
    }
}

int vector_state_store(const struct vector_state *v, struct guest_registers *r, uint32_t capacity,
                       struct error *e)
{
    memset(r->xsave, 0, capacity);
    store_u32(r->xsave, 0x37f); /* x87 control word: initial */
    store_u32(r->xsave + OFFSET_MXCSR, MXCSR_DEFAULT | (v->mxcsr & MXCSR_STATUS));
    store_u32(r->xsave + OFFSET_MXCSR + 4, 0xffff);
    memcpy(r->xsave + OFFSET_XMM, v->xmm, sizeof v->xmm);
    uint64_t present = 1u << SSE;
    r->xsave_len = HEADER_END;
    for (size_t p = 0; p < PARTS; p++) {
        uint32_t at = component_offset(parts[p].component);
        if (parts[p].level > v->level)
            continue;
        if (!at || at + parts[p].len > capacity)
            return error_set(e, ATOLL_ECPU,
                             "this processor has no room for vector state component %d",
                             parts[p].component);
        memcpy(r->xsave + at, (const uint8_t *)v + parts[p].offset, parts[p].len);
        present |= 1u << parts[p].component;
        if (at + parts[p].len > r->xsave_len)
            r->xsave_len = (uint32_t)(at + parts[p].len);
    }
    store_u64(r->xsave + OFFSET_XSTATE_BV, present);
    if (r->xsave_len == HEADER_END) /* a processor without AVX: the legacy area is all there is */
        r->xsave_len = LEGACY_BYTES;
    return 0;
}
