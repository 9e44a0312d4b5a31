/*
 * Lowering as its callers see it: modules go in, objects come out. What the object's symbols,
 * relocations and rows must be; that nothing in it depends on anything but the module; and a few
 * properties of the code that decide about speed or safety, read from its disassembly.
 */
#include "engine/lower.h"
#include "engine/object.h"
#include "engine/wasm_read.h"
#include "engine/wasm_validate.h"
#include "module_bytes.h"

#include <elf.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <llvm-c/Disassembler.h>
#include <llvm-c/Target.h>

/* ---- modules ---- */

struct body {
    uint32_t type;
    const uint8_t *bytes;
    size_t len;
};
#define BODY(type_, ...) {type_, BYTES(__VA_ARGS__)}

/* Types of every module here. */
enum { NOTHING, ONE, THREE, FOUR };
static const uint8_t type_section[] = {
    4,                                           /**/
    0x60, 0, 0,                                  /* () -> () */
    0x60, 1, 0x7f, 1,    0x7f,                   /* (i32) -> i32 */
    0x60, 3, 0x7f, 0x7f, 0x7f, 2,    0x7f, 0x7e, /* (i32 i32 i32) -> i32 i64 */
    0x60, 4, 0x7f, 0x7f, 0x7f, 0x7d, 0,          /* (i32 i32 i32 f32) -> () */
};

/* One import (function 0 of type ONE), a table of up to 8 entries, a memory, a mutable global; the
 * bodies are functions 1, 2, …; function 1 stands in the table. */
static struct buffer module_make(const struct body *bodies, uint32_t count)
{
    struct buffer m = module_start(), functions = {0}, code = {0};
    append_section(&m, 1, type_section, sizeof type_section);
    SECTION(&m, 2, 1, 1, 'e', 1, 'h', 0, ONE);
    append_u32(&functions, count);
    append_u32(&code, count);
    for (uint32_t i = 0; i < count; i++) {
        append_u32(&functions, bodies[i].type);
        append_u32(&code, (uint32_t)bodies[i].len);
        append_bytes(&code, bodies[i].bytes, bodies[i].len);
    }
    append_section_of(&m, 3, &functions);
    SECTION(&m, 4, 1, 0x70, 1, 4, 8);
    SECTION(&m, 5, 1, 0, 1);
    SECTION(&m, 6, 1, 0x7f, 1, 0x41, 0, 0x0b);
    if (count > 0)
        SECTION(&m, 9, 1, 0, 0x41, 0, 0x0b, 1, 1);
    append_section_of(&m, 10, &code);
    return m;
}

/* Uses most families of operators: calls of every kind, memory, bulk memory, table, global, float,
 * division, conversion, br_table. */
static const struct body various[] = {
    BODY(ONE, 1, 1, 0x7f,                 /* one local i32 */
         0x20, 0, 0x10, 0, 0x21, 1,       /* local1 = call import (local0) */
         0x23, 0, 0x20, 1, 0x6a, 0x24, 0, /* global += local1 */
         0x20, 0, 0x28, 2, 8,             /* i32.load offset=8 */
         0x20, 1, 0x6d,                   /* i32.div_s */
         0x0b),
    BODY(THREE, 0,                                  /**/
         0x20, 0, 0x20, 1, 0x20, 2, 0xfc, 10, 0, 0, /* memory.copy */
         0x20, 0, 0x20, 1, 0x20, 2, 0xfc, 11, 0,    /* memory.fill */
         0x20, 0, 0x40, 0,                          /* memory.grow */
         0x20, 1, 0x11, ONE, 0,                     /* call_indirect */
         0x25, 0, 0xd1,                             /* table.get, ref.is_null */
         0x20, 1, 0xac,                             /* i64.extend_i32_s */
         0x0b),
    BODY(ONE, 0,                             /**/
         0x20, 0, 0x20, 0, 0x20, 0, 0x10, 2, /* call function 2: two results */
         0xb9, 0xaa, 0x6a,                   /* f64.convert_i64_s, i32.trunc_f64_s, i32.add */
         0x0b),
    BODY(ONE, 0,                                                              /**/
         0x02, 0x40, 0x02, 0x40, 0x02, 0x40, 0x20, 0, 0x0e, 4, 0, 1, 2, 1, 0, /* br_table */
         0x0b, 0x41, 1, 0x0f, 0x0b, 0x41, 2, 0x0f, 0x0b,                      /**/
         0x41, 3, 0x0b),
    BODY(NOTHING, 0, /* the entry block has no instruction before the call with two results */
         0x41, 0, 0x41, 0, 0x41, 0, 0x10, 2, 0x1a, 0x1a, 0x0b),
};

/* ---- compiling ---- */

struct compiled {
    struct wasm_module module;
    struct abi_layout layout;
    struct shard *shards;
    uint32_t shard_count;
};

static void prepare(struct compiled *c, const struct buffer *wasm,
                    const struct compile_options *options)
{
    struct error e = {0};
    if (wasm_read(wasm->data, wasm->len, &c->module, &e) < 0 || wasm_validate(&c->module, &e) < 0 ||
        abi_layout_compute(&c->module, options->link, &c->layout, &e) < 0 ||
        shard_plan(&c->module, &c->shards, &c->shard_count, &e) < 0)
        fail_msg("%s", e.text);
}

static void discard(struct compiled *c)
{
    free(c->shards);
    abi_layout_free(&c->layout);
    wasm_module_free(&c->module);
}

/* The object of one shard. */
static struct buffer compile_shard(const struct buffer *wasm, struct compile_options options,
                                   uint32_t shard)
{
    struct compiled c;
    struct error e = {0};
    struct buffer object = {0};
    prepare(&c, wasm, &options);
    if (lower_shard(&c.module, &c.layout, &options, &c.shards[shard], &object, &e) < 0)
        fail_msg("%s", e.text);
    discard(&c);
    return object;
}

static struct buffer compile_bodies(const struct body *bodies, uint32_t count,
                                    struct compile_options options)
{
    struct buffer wasm = module_make(bodies, count);
    struct buffer object = compile_shard(&wasm, options, 0);
    buffer_free(&wasm);
    return object;
}

#define COUNT(array) ((uint32_t)(sizeof(array) / sizeof *(array)))

static const struct compile_options quick_fast = {
    .tier = TIER_QUICK, .mode = MODE_FAST, .cpu = CPU_V3, .link = LINK_PRIMARY};
static const struct compile_options opt_fast = {
    .tier = TIER_OPT, .mode = MODE_FAST, .cpu = CPU_V3, .link = LINK_PRIMARY};
static const struct compile_options opt_exact = {
    .tier = TIER_OPT, .mode = MODE_EXACT, .cpu = CPU_V3, .link = LINK_PRIMARY};

static struct compile_options nth_options(uint32_t n)
{
    return (struct compile_options){
        .tier = n & 1 ? TIER_OPT : TIER_QUICK,
        .mode = n & 2 ? MODE_EXACT : MODE_FAST,
        .link = (uint8_t)(LINK_PRIMARY + (n >> 2) % 3),
        .cpu = (n / 12) & 1 ? CPU_V2 : CPU_V3,
        .fuel = (n / 12) & 1,
        .tail_calls = (n / 12) & 2,
        .deterministic = (n / 12) & 2,
    };
}
#define OPTION_COUNT 48u

/* ---- reading objects ---- */

static const Elf64_Shdr *sections(const struct buffer *object, uint32_t *count)
{
    const Elf64_Ehdr *header = (const Elf64_Ehdr *)object->data;
    *count = header->e_shnum;
    return (const Elf64_Shdr *)(object->data + header->e_shoff);
}

static const Elf64_Shdr *section_of_type(const struct buffer *object, uint32_t type)
{
    uint32_t count;
    const Elf64_Shdr *s = sections(object, &count);
    for (uint32_t i = 0; i < count; i++)
        if (s[i].sh_type == type)
            return &s[i];
    return NULL;
}

static const char *symbol_name(const struct buffer *object, const Elf64_Sym *symbol)
{
    uint32_t count;
    const Elf64_Shdr *all = sections(object, &count);
    const Elf64_Shdr *symbols = section_of_type(object, SHT_SYMTAB);
    return (const char *)object->data + all[symbols->sh_link].sh_offset + symbol->st_name;
}

static const Elf64_Sym *symbols(const struct buffer *object, uint32_t *count)
{
    const Elf64_Shdr *s = section_of_type(object, SHT_SYMTAB);
    assert_non_null(s);
    *count = (uint32_t)(s->sh_size / sizeof(Elf64_Sym));
    return (const Elf64_Sym *)(object->data + s->sh_offset);
}

static const Elf64_Sym *symbol_find(const struct buffer *object, const char *name)
{
    uint32_t count;
    const Elf64_Sym *s = symbols(object, &count);
    for (uint32_t i = 0; i < count; i++)
        if (ELF64_ST_TYPE(s[i].st_info) == STT_FUNC &&
            strcmp(symbol_name(object, &s[i]), name) == 0)
            return &s[i];
    return NULL;
}

/* A function's code. */
struct code {
    const uint8_t *bytes;
    size_t len;
};

static struct code code_of(const struct buffer *object, const char *name)
{
    uint32_t count;
    const Elf64_Shdr *all = sections(object, &count);
    const Elf64_Sym *s = symbol_find(object, name);
    if (!s)
        fail_msg("the object has no function %s", name);
    return (struct code){object->data + all[s->st_shndx].sh_offset + s->st_value, s->st_size};
}

/* Disassembles a function and counts the instructions whose text contains all of two strings. */
static unsigned count_instructions(struct code code, const char *one, const char *other)
{
    LLVMDisasmContextRef context =
        LLVMCreateDisasm("x86_64-unknown-linux-gnu", NULL, 0, NULL, NULL);
    assert_non_null(context);
    unsigned found = 0;
    uint8_t *at = (uint8_t *)(uintptr_t)code.bytes, *end = at + code.len;
    while (at < end) {
        char text[128];
        size_t len = LLVMDisasmInstruction(context, at, (uint64_t)(end - at), 0, text, sizeof text);
        if (len == 0)
            fail_msg("undecodable instruction");
        found += strstr(text, one) && strstr(text, other);
        at += len;
    }
    LLVMDisasmDispose(context);
    return found;
}

static unsigned count_traps(struct code code, enum trap_kind kind)
{
    unsigned found = 0;
    const uint8_t trap[] = {0x67, 0x0f, 0xb9, 0x40, (uint8_t)kind};
    for (size_t i = 0; i + sizeof trap <= code.len; i++)
        found += memcmp(code.bytes + i, trap, sizeof trap) == 0;
    return found;
}

/* ---- objects ---- */

static bool image_symbol(const char *name)
{
    if (strcmp(name, "atoll_memmove") == 0 || strcmp(name, "atoll_memset") == 0)
        return true;
    if (!strchr("fei", name[0]) || name[1] == 0)
        return false;
    return strspn(name + 1, "0123456789") == strlen(name + 1);
}

static void an_object_names_nothing_outside_the_image(void **state)
{
    (void)state;
    for (uint32_t n = 0; n < OPTION_COUNT; n++) {
        struct buffer object = compile_bodies(various, COUNT(various), nth_options(n));
        uint32_t count;
        const Elf64_Sym *s = symbols(&object, &count);
        for (uint32_t i = 0; i < count; i++) {
            const char *name = symbol_name(&object, &s[i]);
            if (ELF64_ST_BIND(s[i].st_info) == STB_LOCAL)
                continue;
            if (!image_symbol(name) || ELF64_ST_VISIBILITY(s[i].st_other) != STV_HIDDEN)
                fail_msg("options %u: symbol %s", n, name);
        }
        buffer_free(&object);
    }
}

static void a_shard_has_thunks_and_bulk_routines_only_when_asked(void **state)
{
    (void)state;
    struct buffer wasm = module_make(various, COUNT(various)), object = {0};
    struct compile_options options = quick_fast;
    struct compiled c;
    struct error e = {0};
    prepare(&c, &wasm, &options);
    for (int thunks = 0; thunks < 2; thunks++) {
        struct shard shard = c.shards[0];
        shard.thunks = thunks;
        assert_int_equal(lower_shard(&c.module, &c.layout, &options, &shard, &object, &e), 0);
        static const char *const names[] = {"e1", "i0", "atoll_memmove", "atoll_memset"};
        for (uint32_t i = 0; i < COUNT(names); i++)
            assert_int_equal(symbol_find(&object, names[i]) != NULL, thunks);
        assert_non_null(symbol_find(&object, "f4"));
        /* No function of this type is referenced. */
        assert_null(symbol_find(&object, "e2"));
        buffer_free(&object);
    }
    discard(&c);
    buffer_free(&wasm);
}

static void code_and_constants_need_only_pc_relative_relocations(void **state)
{
    (void)state;
    for (uint32_t n = 0; n < OPTION_COUNT; n++) {
        struct buffer object = compile_bodies(various, COUNT(various), nth_options(n));
        uint32_t count, seen = 0;
        const Elf64_Shdr *s = sections(&object, &count);
        for (uint32_t i = 0; i < count; i++) {
            if (s[i].sh_type != SHT_RELA || !(s[s[i].sh_info].sh_flags & SHF_ALLOC))
                continue;
            const Elf64_Rela *r = (const Elf64_Rela *)(object.data + s[i].sh_offset);
            for (size_t k = 0; k < s[i].sh_size / sizeof *r; k++, seen++) {
                uint64_t type = ELF64_R_TYPE(r[k].r_info);
                if (type != R_X86_64_PC32 && type != R_X86_64_PLT32 && type != R_X86_64_PC64)
                    fail_msg("options %u: relocation type %llu", n, (unsigned long long)type);
            }
        }
        assert_true(seen > 0);
        for (uint32_t i = 0; i < count; i++)
            if ((s[i].sh_flags & SHF_ALLOC) && s[i].sh_size > 0 && (s[i].sh_flags & SHF_WRITE))
                fail_msg("options %u: the object has writable data", n);
        buffer_free(&object);
    }
}

static void equal_modules_give_equal_bytes(void **state)
{
    (void)state;
    for (uint32_t n = 0; n < 4; n++) {
        struct buffer one = compile_bodies(various, COUNT(various), nth_options(n));
        /* Other addresses for everything the second time. */
        void *displaced[64];
        for (uint32_t i = 0; i < COUNT(displaced); i++)
            displaced[i] = malloc(100u * (i + 1));
        struct buffer other = compile_bodies(various, COUNT(various), nth_options(n));
        for (uint32_t i = 0; i < COUNT(displaced); i++)
            free(displaced[i]);
        assert_int_equal(one.len, other.len);
        assert_memory_equal(one.data, other.data, one.len);
        buffer_free(&one);
        buffer_free(&other);
    }
}

/* ---- rows ---- */

static void every_trap_of_a_function_has_the_row_of_its_own_operator(void **state)
{
    (void)state;
    /* Two divisions by two parameters: four traps, of two kinds, at two offsets. */
    const struct body bodies[] = {
        BODY(THREE, 0, 0x20, 0, 0x20, 1, 0x6d, 0x20, 0, 0x20, 2, 0x6d, 0xac, 0x0b),
    };
    struct buffer wasm = module_make(bodies, 1);
    for (uint32_t tier = 0; tier < 2; tier++) {
        struct compile_options options = tier ? opt_fast : quick_fast;
        struct compiled c;
        struct error e = {0};
        prepare(&c, &wasm, &options);
        uint32_t body = c.module.functions[1].body.offset;
        struct buffer object = compile_shard(&wasm, options, 0);
        struct code_image image;
        if (object_merge(&c.module, &object, 1, &image, &e) < 0)
            fail_msg("%s", e.text);
        unsigned first = 0, second = 0;
        const uint8_t *text = image.bytes.data;
        uint32_t start = image.function_offsets[0], end = start + image.function_sizes[0];
        for (uint32_t at = start; at + 5 <= end; at++) {
            if (memcmp(text + at, "\x67\x0f\xb9\x40", 4) != 0)
                continue;
            uint32_t row = 0;
            while (row + 1 < image.row_count && image.rows[row + 1].code_offset <= at)
                row++;
            first += image.rows[row].wasm_offset == body + 5;
            second += image.rows[row].wasm_offset == body + 10;
        }
        assert_int_equal(first, 2);
        assert_int_equal(second, 2);
        code_image_free(&image);
        buffer_free(&object);
        discard(&c);
    }
    buffer_free(&wasm);
}

/* ---- code ---- */

static void traps_name_their_kind(void **state)
{
    (void)state;
    const struct body bodies[] = {
        BODY(NOTHING, 0, 0x00, 0x0b),                       /* unreachable */
        BODY(ONE, 0, 0x20, 0, 0x20, 0, 0x6e, 0x0b),         /* i32.div_u */
        BODY(ONE, 0, 0x20, 0, 0xbe, 0xa8, 0x0b),            /* i32.trunc_f32_s */
        BODY(ONE, 0, 0x41, 1, 0x20, 0, 0x11, ONE, 0, 0x0b), /* call_indirect */
        BODY(ONE, 0, 0x20, 0, 0x25, 0, 0xd1, 0x0b),         /* table.get */
    };
    for (uint32_t tier = 0; tier < 2; tier++) {
        struct buffer object = compile_bodies(bodies, COUNT(bodies), tier ? opt_fast : quick_fast);
        assert_int_equal(count_traps(code_of(&object, "f1"), TRAP_UNREACHABLE), 1);
        assert_int_equal(count_traps(code_of(&object, "f2"), TRAP_DIVIDE_BY_ZERO), 1);
        assert_int_equal(count_traps(code_of(&object, "f3"), TRAP_BAD_CONVERSION), 1);
        assert_int_equal(count_traps(code_of(&object, "f3"), TRAP_INTEGER_OVERFLOW), 1);
        assert_int_equal(count_traps(code_of(&object, "f4"), TRAP_UNDEFINED_ELEMENT), 1);
        assert_int_equal(count_traps(code_of(&object, "f4"), TRAP_UNINITIALIZED_ELEMENT), 1);
        assert_int_equal(count_traps(code_of(&object, "f4"), TRAP_SIGNATURE), 1);
        assert_int_equal(count_traps(code_of(&object, "f5"), TRAP_TABLE_BOUNDS), 1);
        buffer_free(&object);
    }
}

static void a_load_whose_value_is_dropped_still_happens(void **state)
{
    (void)state;
    const struct body bodies[] = {
        BODY(ONE, 0, 0x20, 0, 0x28, 2, 0, 0x1a, 0x20, 0, 0x0b),
    };
    for (uint32_t n = 0; n < 4; n++) {
        struct buffer object = compile_bodies(bodies, 1, nth_options(n));
        /* The address is zero-extended into a full register and added to vm in %rdi. */
        assert_int_equal(count_instructions(code_of(&object, "f1"), "mov", "(%rdi,%r"), 1);
        buffer_free(&object);
    }
}

static void a_linked_module_with_another_memory_checks_bounds(void **state)
{
    (void)state;
    const struct body bodies[] = {
        BODY(ONE, 0, 0x20, 0, 0x28, 2, 0, 0x0b),
    };
    for (uint32_t link = LINK_PRIMARY; link <= LINK_OTHER; link++) {
        struct compile_options options = opt_fast;
        options.link = (uint8_t)link;
        struct buffer object = compile_bodies(bodies, 1, options);
        assert_int_equal(count_traps(code_of(&object, "f1"), TRAP_MEMORY_BOUNDS),
                         link == LINK_OTHER);
        buffer_free(&object);
    }
}

/* for (i = 0; i < n; i++) to[i] += factor * from[i], pointers counting up. */
static const struct body multiply_add[] = {
    BODY(FOUR, 0, 0x20, 2, 0x45, 0x04, 0x40, 0x03, 0x40, /* if n != 0 … */
         0x0b, 0x05, 0x03, 0x40,                         /* else loop */
         0x20, 0, 0x20, 0, 0x2a, 2, 0, 0x20, 3, 0x20, 1, 0x2a, 2, 0, 0x94, 0x92, 0x38, 2, 0, 0x20,
         0, 0x41, 4, 0x6a, 0x21, 0,                /* to += 4 */
         0x20, 1, 0x41, 4, 0x6a, 0x21, 1,          /* from += 4 */
         0x20, 2, 0x41, 1, 0x6b, 0x22, 2, 0x0d, 0, /* while --n */
         0x0b, 0x0b, 0x0b),
};

static void a_multiply_add_loop_is_vectorised_in_fast_mode(void **state)
{
    (void)state;
    struct buffer object = compile_bodies(multiply_add, 1, opt_fast);
    assert_true(count_instructions(code_of(&object, "f1"), "vmulps", "ymm") > 0);
    assert_true(count_instructions(code_of(&object, "f1"), "vaddps", "ymm") > 0);
    buffer_free(&object);
}

static void exact_mode_keeps_every_access_in_its_place(void **state)
{
    (void)state;
    struct buffer object = compile_bodies(multiply_add, 1, opt_exact);
    assert_int_equal(count_instructions(code_of(&object, "f1"), "ymm", ""), 0);
    buffer_free(&object);
}

static void a_multiplication_by_one_is_kept_because_it_quiets_nans(void **state)
{
    (void)state;
    const struct body bodies[] = {
        BODY(ONE, 0, 0x20, 0, 0xbe, 0x43, 0, 0, 0x80, 0x3f, 0x94, 0xbc, 0x0b),
    };
    struct buffer object = compile_bodies(bodies, 1, opt_fast);
    assert_int_equal(count_instructions(code_of(&object, "f1"), "vmulss", ""), 1);
    buffer_free(&object);
}

static void metering_charges_each_block_the_number_of_its_operators(void **state)
{
    (void)state;
    /* Six operators in one block, end included. */
    const struct body bodies[] = {
        BODY(ONE, 0, 0x20, 0, 0x41, 5, 0x6a, 0x41, 7, 0x6c, 0x0b),
    };
    struct compile_options options = quick_fast;
    options.fuel = true;
    struct buffer object = compile_bodies(bodies, 1, options);
    struct code code = code_of(&object, "f1");
    assert_int_equal(count_instructions(code, "$-6", "") + count_instructions(code, "$6", ""), 1);
    assert_true(count_instructions(code, "-40(%rdi)", "") > 0);
    buffer_free(&object);
}

static void frames_of_every_function_can_be_walked(void **state)
{
    (void)state;
    for (uint32_t n = 0; n < 4; n++) {
        struct buffer object = compile_bodies(various, COUNT(various), nth_options(n));
        static const char *const names[] = {"f1", "f4", "e1", "i0", "atoll_memmove"};
        for (uint32_t i = 0; i < COUNT(names); i++)
            assert_memory_equal(code_of(&object, names[i]).bytes, "\x55\x48\x89\xe5", 4);
        buffer_free(&object);
    }
}

static void tail_calls_jump_when_the_option_is_given_and_are_refused_otherwise(void **state)
{
    (void)state;
    const struct body bodies[] = {
        BODY(ONE, 0, 0x20, 0, 0x12, 1, 0x0b), /* return_call itself */
    };
    struct buffer wasm = module_make(bodies, 1), object = {0};
    struct compile_options options = opt_fast;
    struct compiled c;
    struct error e = {0};
    prepare(&c, &wasm, &options);
    assert_int_equal(lower_shard(&c.module, &c.layout, &options, &c.shards[0], &object, &e),
                     -ATOLL_EUNSUPPORTED);
    assert_int_equal(e.function, 1);
    discard(&c);
    options.tail_calls = true;
    object = compile_shard(&wasm, options, 0);
    assert_int_equal(count_instructions(code_of(&object, "f1"), "call", ""), 0);
    buffer_free(&object);
    buffer_free(&wasm);
}

static void recursion_stays_recursion(void **state)
{
    (void)state;
    const struct body bodies[] = {
        BODY(ONE, 0, 0x20, 0, 0x10, 1, 0x0b), /* call itself */
    };
    for (uint32_t n = 0; n < 4; n++) {
        struct buffer object = compile_bodies(bodies, 1, nth_options(n));
        assert_int_equal(count_instructions(code_of(&object, "f1"), "call", ""), 1);
        buffer_free(&object);
    }
}

static void a_call_whose_result_is_unused_stays(void **state)
{
    (void)state;
    const struct body bodies[] = {
        BODY(ONE, 0, 0x20, 0, 0x10, 2, 0x1a, 0x41, 0, 0x0b),
        /* Too large to be inlined, and without any effect but that it may not return. */
        BODY(ONE, 0, 0x03, 0x40, 0x20, 0, 0x41, 3, 0x6c, 0x22, 0, 0x41, 1, 0x71, 0x0d, 0, 0x0b,
             0x20, 0, 0x10, 2, 0x0b),
    };
    struct buffer object = compile_bodies(bodies, 2, opt_fast);
    assert_true(count_instructions(code_of(&object, "f1"), "call", "") == 1);
    buffer_free(&object);
}

/* ---- bounds ---- */

/* A module of `count` functions whose bodies have `len` bytes of code. */
static struct buffer module_of_size(uint32_t count, uint32_t len)
{
    struct buffer m = module_start(), functions = {0}, code = {0};
    append_section(&m, 1, type_section, sizeof type_section);
    append_u32(&functions, count);
    append_u32(&code, count);
    for (uint32_t i = 0; i < count; i++) {
        append_u32(&functions, ONE);
        append_u32(&code, 4 + len);
        append_bytes(&code, "\0\x20\0", 3);
        for (uint32_t at = 0; at < len; at += 4)
            append_bytes(&code, "\x45\x45\x45\x68", 4); /* eqz eqz eqz ctz */
        append_byte(&code, 0x0b);
    }
    append_section_of(&m, 3, &functions);
    append_section_of(&m, 10, &code);
    return m;
}

static void shards_are_cut_by_code_size_and_number_of_functions(void **state)
{
    (void)state;
    static const struct {
        uint32_t count, len, shards, first_count;
    } cases[] = {
        {0, 4, 1, 0},
        {1, 4, 1, 1},
        {SHARD_FUNCTIONS, 4, 1, SHARD_FUNCTIONS},
        {SHARD_FUNCTIONS + 1, 4, 2, SHARD_FUNCTIONS},
        {8, SHARD_CODE_BYTES / 4, 3, 3},
        {3, SHARD_CODE_BYTES * 2, 3, 1},
    };
    for (uint32_t i = 0; i < COUNT(cases); i++) {
        struct buffer wasm = module_of_size(cases[i].count, cases[i].len);
        struct compiled c;
        prepare(&c, &wasm, &quick_fast);
        assert_int_equal(c.shard_count, cases[i].shards);
        assert_int_equal(c.shards[0].count, cases[i].first_count);
        uint32_t next = 0;
        for (uint32_t s = 0; s < c.shard_count; s++) {
            assert_int_equal(c.shards[s].first, next);
            assert_int_equal(c.shards[s].thunks, s == 0);
            next += c.shards[s].count;
        }
        assert_int_equal(next, cases[i].count);
        discard(&c);
        buffer_free(&wasm);
    }
}

static void a_shard_calls_functions_of_others_by_name(void **state)
{
    (void)state;
    /* The second of two functions calls the first; each is a shard of its own here. */
    struct buffer wasm = module_make(various, COUNT(various)), object = {0};
    struct compile_options options = opt_fast;
    struct compiled c;
    struct error e = {0};
    prepare(&c, &wasm, &options);
    struct shard last = {.first = 3, .count = 1};
    assert_int_equal(lower_shard(&c.module, &c.layout, &options, &last, &object, &e), 0);
    uint32_t count, undefined = 0;
    const Elf64_Sym *s = symbols(&object, &count);
    for (uint32_t i = 1; i < count; i++) {
        if (s[i].st_shndx != SHN_UNDEF)
            continue;
        undefined++;
        assert_string_equal(symbol_name(&object, &s[i]), "f2");
    }
    assert_int_equal(undefined, 1);
    buffer_free(&object);
    discard(&c);
    buffer_free(&wasm);
}

static void an_oversized_function_is_compiled_at_quick_whatever_is_asked_for(void **state)
{
    (void)state;
    struct buffer wasm = module_of_size(1, 110u << 10);
    struct buffer quick = compile_shard(&wasm, quick_fast, 0);
    struct buffer opt = compile_shard(&wasm, opt_fast, 0);
    assert_int_equal(quick.len, opt.len);
    assert_memory_equal(quick.data, opt.data, quick.len);
    buffer_free(&quick);
    buffer_free(&opt);
    buffer_free(&wasm);
}

static void deep_nesting_and_many_locals_compile(void **state)
{
    (void)state;
    struct buffer body = {0}, m = module_start();
    append_section(&m, 1, type_section, sizeof type_section);
    SECTION(&m, 3, 1, NOTHING);
    append_byte(&body, 1);
    append_u32(&body, 49000);
    append_byte(&body, 0x7e);
    for (int i = 0; i < 10000; i++)
        append_bytes(&body, "\x02\x40\x41\x00\x0d\x00", 6); /* block, br_if 0 */
    append_repeated(&body, 0x0b, 10001);
    append_code(&m, body.data, body.len);
    struct buffer object = compile_shard(&m, quick_fast, 0);
    assert_non_null(symbol_find(&object, "f0"));
    buffer_free(&object);
    buffer_free(&body);
    buffer_free(&m);
}

static void a_br_table_with_values_and_all_its_labels_compiles(void **state)
{
    (void)state;
    /* block (result i32) local.get, local.get, br_table 65520 × 0 … end */
    struct buffer body = {0}, m = module_start();
    append_section(&m, 1, type_section, sizeof type_section);
    SECTION(&m, 3, 1, ONE);
    append_bytes(&body, "\0\x02\x7f\x20\0\x20\0\x0e", 8);
    append_u32(&body, WASM_MAX_BR_TABLE);
    for (uint32_t i = 0; i <= WASM_MAX_BR_TABLE; i++)
        append_byte(&body, (uint8_t)(i & 1));
    append_bytes(&body, "\x0b\x41\x01\x6a\x0b", 5);
    append_code(&m, body.data, body.len);
    struct buffer object = compile_shard(&m, quick_fast, 0);
    assert_non_null(symbol_find(&object, "f0"));
    buffer_free(&object);
    buffer_free(&body);
    buffer_free(&m);
}

static int initialize(void **state)
{
    (void)state;
    struct error e = {0};
    LLVMInitializeX86TargetInfo();
    LLVMInitializeX86Target();
    LLVMInitializeX86TargetMC();
    LLVMInitializeX86Disassembler();
    return lower_initialize(&e);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_object_names_nothing_outside_the_image),
        cmocka_unit_test(a_shard_has_thunks_and_bulk_routines_only_when_asked),
        cmocka_unit_test(code_and_constants_need_only_pc_relative_relocations),
        cmocka_unit_test(equal_modules_give_equal_bytes),
        cmocka_unit_test(every_trap_of_a_function_has_the_row_of_its_own_operator),
        cmocka_unit_test(traps_name_their_kind),
        cmocka_unit_test(a_load_whose_value_is_dropped_still_happens),
        cmocka_unit_test(a_linked_module_with_another_memory_checks_bounds),
        cmocka_unit_test(a_multiply_add_loop_is_vectorised_in_fast_mode),
        cmocka_unit_test(exact_mode_keeps_every_access_in_its_place),
        cmocka_unit_test(a_multiplication_by_one_is_kept_because_it_quiets_nans),
        cmocka_unit_test(metering_charges_each_block_the_number_of_its_operators),
        cmocka_unit_test(frames_of_every_function_can_be_walked),
        cmocka_unit_test(tail_calls_jump_when_the_option_is_given_and_are_refused_otherwise),
        cmocka_unit_test(recursion_stays_recursion),
        cmocka_unit_test(a_call_whose_result_is_unused_stays),
        cmocka_unit_test(shards_are_cut_by_code_size_and_number_of_functions),
        cmocka_unit_test(a_shard_calls_functions_of_others_by_name),
        cmocka_unit_test(an_oversized_function_is_compiled_at_quick_whatever_is_asked_for),
        cmocka_unit_test(deep_nesting_and_many_locals_compile),
        cmocka_unit_test(a_br_table_with_values_and_all_its_labels_compiles),
    };
    return cmocka_run_group_tests(tests, initialize, NULL);
}
