/* Backtraces: walks frame pointers on the guest stack and names wasm functions and byte offsets. */
#include "engine/arena.h"

static bool on_stack(const struct arena *a, uint64_t address)
{
    return address >= (uint64_t)(uintptr_t)a->stack_low &&
           address <= (uint64_t)(uintptr_t)a->stack_high - 16 && address % 8 == 0;
}

/* Adds the frame of an address of generated code; thunks have none. */
static void frame_add(const struct arena *a, uint64_t pc, struct trap_info *info)
{
    struct instance *i = arena_instance_at(a, pc);
    if (!i)
        return;
    uint32_t at = (uint32_t)(pc - ((uint64_t)(uintptr_t)a->base - ARENA_BASE + i->image_offset));
    uint32_t offset = artefact_wasm_offset(i->artefact, at);
    uint32_t function = artefact_function_at(i->artefact, at);
    if (function == UINT32_MAX)
        return;
    if (info->frame_count == TRAP_FRAMES) {
        info->truncated = true;
        return;
    }
    info->frames[info->frame_count++] = (struct trap_frame){i->index, function, offset};
}

void backtrace_fill(const struct arena *a, uint64_t pc, uint64_t rbp, struct trap_info *info)
{
    info->frame_count = 0;
    info->truncated = false;
    frame_add(a, pc, info);
    while (on_stack(a, rbp) && !info->truncated) {
        const uint64_t *frame = (const uint64_t *)(uintptr_t)rbp;
        frame_add(a, frame[1] - 1, info); /* inside the call instruction */
        if (frame[0] <= rbp) /* the chain grows upwards; ends with 0 at the enter stub */
            break;
        rbp = frame[0];
    }
}
