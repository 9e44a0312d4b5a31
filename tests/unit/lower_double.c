/*
 * A stand-in for lowering, linked into atoll-cc-double: the tests of the compiler process need
 * shards that fail in every possible way, on demand and without LLVM. A module's first data segment
 * begins with a letter that says what happens; any other module gets functions that only return.
 */
#include "engine/lower.h"
#include "object_writer.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

int lower_initialize(struct error *e)
{
    (void)e;
    return 0;
}

const char *lower_build_id(void)
{
    return "double 1";
}

/* One shard per function. */
int shard_plan(const struct wasm_module *m, struct shard **shards, uint32_t *count, struct error *e)
{
    uint32_t defined = m->function_count - m->imported_functions;
    *count = defined ? defined : 1;
    *shards = calloc(*count, sizeof **shards);
    if (!*shards)
        return error_set(e, ATOLL_ENOMEM, "no memory for shards");
    for (uint32_t s = 0; s < *count; s++)
        (*shards)[s] = (struct shard){m->imported_functions + s, defined != 0, s == 0};
    return 0;
}

static void memory_exhaust(void)
{
    for (;;) {
        char *block = malloc(64 << 20);
        if (!block)
            abort();
        memset(block, 1, 4096);
        __asm__ volatile("" : : "r"(block) : "memory");
    }
}

static volatile uint32_t spun;

static int misbehave(uint8_t how, uint8_t tier, struct error *e)
{
    switch (how) {
    case 'A': abort();
    case 'E': return error_set_at(e, ATOLL_ELIMIT, 77, 1, "the double refuses function 1");
    case 'G': /* an answer that is none, on the answer's descriptor */
        if (write(3, "garbage garbage garbage garbage garbage", 39) == 39)
            _exit(0);
        break;
    case 'B':
        fprintf(stderr, "terminate called after throwing an instance of 'std::bad_alloc'\n");
        abort();
    case 'L': fprintf(stderr, "DOUBLE ERROR:\nnot today\n"); _exit(7);
    case 'M': memory_exhaust(); break;
    case 'N': __builtin_trap();
    case 'O':
        if (tier == TIER_OPT)
            abort();
        break;
    case 'S': open("/etc/passwd", O_RDONLY); break;
    case 'T': /* takes a moment */
        for (uint32_t i = 0; i < 30000000; i++)
            spun = i;
        break;
    case 'W':
        for (;;)
            spun++;
    default: break;
    }
    return 0;
}

static void thunks_emit(const struct wasm_module *m, struct object_writer *w, uint32_t text)
{
    static char names[WRITER_SYMBOLS][12];
    unsigned used = 0;
    for (uint32_t t = 0; t < m->type_count && used < WRITER_SYMBOLS / 2; t++) {
        snprintf(names[used], sizeof names[used], "e%u", t);
        object_function(w, names[used++], text, 8, 1);
    }
    for (uint32_t f = 0; f < m->imported_functions && used < WRITER_SYMBOLS / 2; f++) {
        snprintf(names[used], sizeof names[used], "i%u", f);
        object_function(w, names[used++], text, 12, 1);
    }
}

int lower_shard(const struct wasm_module *m, const struct abi_layout *layout,
                const struct compile_options *options, const struct shard *shard,
                struct buffer *object, struct error *e)
{
    (void)layout;
    uint8_t code[16]; /* nop, and ret at the start of each function */
    memset(code, 0x90, sizeof code);
    code[0] = code[8] = code[12] = 0xc3;
    uint8_t how = m->data_count && m->datas[0].bytes.len ? m->bytes[m->datas[0].bytes.offset] : 0;
    /* Only function 1 misbehaves, so the first shard's progress is seen before the failure. */
    int rc = shard->first == 1 ? misbehave(how, options->tier, e) : 0;
    if (rc < 0)
        return rc;
    if (how == 'I')
        memcpy(code, "\x0f\x05", 2); /* syscall */
    char name[12];
    struct object_writer *w = object_start();
    uint32_t text = object_text(w, code, sizeof code);
    snprintf(name, sizeof name, "f%u", shard->first);
    if (shard->count)
        object_function(w, name, text, 0, 2);
    if (shard->thunks)
        thunks_emit(m, w, text);
    *object = object_write(w);
    return 0;
}
