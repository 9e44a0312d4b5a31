/*
 * Merges the objects of a module's shards into one code image: all instructions first, then all
 * constants, shard by shard in the order given, so that equal objects give equal images.
 *
 * Three passes over the objects: place their sections, collect their symbols, apply their
 * relocations. A name is global to the image only if abi.h gives it a meaning; others (constants,
 * labels) are found through their own object's symbol table. Called in atoll-cc's parent, which
 * must survive whatever a child that met hostile input has sent.
 */
#include "engine/object.h"

#include "engine/elf_object.h"
#include "engine/line_table.h"

#include <assert.h>
#include <stdlib.h>

#define NOWHERE           UINT32_MAX
#define SECTION_ALIGNMENT 4096u /* the largest honoured */

struct merge {
    const struct wasm_module *module;
    struct elf_object *objects;
    uint32_t **places; /* per object and section: offset in the image, or NOWHERE */
    uint32_t count;
    uint32_t memmove, memset; /* offsets of the bulk routines */
    struct code_image *out;
};

static int no_memory(struct error *e)
{
    return error_set(e, ATOLL_ENOMEM, "no memory for the code image");
}

/* ---- placing sections ---- */

enum section_use { USE_NONE, USE_TEXT, USE_CONSTANTS };

/* What a section is to the image; negative when an image must not have it. */
static int section_use(const struct elf_section *s, struct error *e)
{
    if (!(s->flags & SHF_ALLOC) || s->size == 0 || strcmp(s->name, ".eh_frame") == 0)
        return USE_NONE;
    if (s->type != SHT_PROGBITS || (s->flags & (SHF_WRITE | SHF_TLS | SHF_COMPRESSED)))
        return error_set(e, ATOLL_ECORRUPT,
                         "the compiler emitted section %s, which code images cannot have", s->name);
    return s->flags & SHF_EXECINSTR ? USE_TEXT : USE_CONSTANTS;
}

/* ud2: whoever runs into a gap between sections traps. */
static void gap_fill(uint8_t *gap, size_t len)
{
    static const uint8_t ud2[2] = {0x0f, 0x0b};
    if (len % 2) {
        *gap++ = 0x90;
        len--;
    }
    for (size_t i = 0; i < len; i += 2)
        memcpy(gap + i, ud2, 2);
}

static int section_place(const struct elf_section *s, struct buffer *image, uint32_t *place,
                         struct error *e)
{
    uint64_t alignment = s->alignment ? s->alignment : 1;
    if ((alignment & (alignment - 1)) != 0 || alignment > SECTION_ALIGNMENT)
        return error_set(e, ATOLL_ECORRUPT, "section %s has alignment %llu", s->name,
                         (unsigned long long)alignment);
    if (s->size > ARENA_IMAGES_SIZE || image->len > ARENA_IMAGES_SIZE - s->size)
        return error_set(e, ATOLL_ELIMIT, "the module's code exceeds %llu MiB",
                         ARENA_IMAGES_SIZE >> 20);
    size_t gap = image->len;
    if (!buffer_align(image, alignment))
        return no_memory(e);
    if (s->flags & SHF_EXECINSTR && image->len > gap)
        gap_fill(image->data + gap, image->len - gap);
    *place = (uint32_t)image->len;
    return buffer_append(image, s->data, s->size) ? 0 : no_memory(e);
}

static int sections_place(struct merge *m, enum section_use wanted, struct error *e)
{
    struct buffer *image = &m->out->bytes;
    for (uint32_t o = 0; o < m->count; o++) {
        for (uint32_t s = 0; s < m->objects[o].section_count; s++) {
            const struct elf_section *section = &m->objects[o].sections[s];
            int use = section_use(section, e);
            if (use < 0)
                return use;
            if (use != (int)wanted)
                continue;
            int rc = section_place(section, image, &m->places[o][s], e);
            if (rc < 0)
                return rc;
        }
    }
    return 0;
}

/* ---- symbols ---- */

/* A decimal number without leading zeros that ends the name. */
static bool number_parse(const char *text, uint32_t *out)
{
    uint64_t value = 0;
    if (*text == '\0' || (*text == '0' && text[1] != '\0'))
        return false;
    for (; *text; text++) {
        if (*text < '0' || *text > '9')
            return false;
        value = value * 10 + (uint64_t)(*text - '0');
        if (value >= UINT32_MAX)
            return false;
    }
    *out = (uint32_t)value;
    return true;
}

/* The cell that holds the offset of a name of abi.h, or NULL for any other name. *size, if such a
 * cell exists, holds the symbol's size. */
static uint32_t *symbol_cell(struct merge *m, const char *name, uint32_t **size)
{
    *size = NULL;
    if (strcmp(name, "atoll_memmove") == 0)
        return &m->memmove;
    if (strcmp(name, "atoll_memset") == 0)
        return &m->memset;
    uint32_t index;
    if (name[0] == '\0' || !number_parse(name + 1, &index))
        return NULL;
    const struct wasm_module *w = m->module;
    switch (name[0]) {
    case 'f':
        if (index < w->imported_functions || index >= w->function_count)
            return NULL;
        *size = &m->out->function_sizes[index - w->imported_functions];
        return &m->out->function_offsets[index - w->imported_functions];
    case 'e': return index < w->type_count ? &m->out->entry_offsets[index] : NULL;
    case 'i': return index < w->imported_functions ? &m->out->import_offsets[index] : NULL;
    default: return NULL;
    }
}

static int symbol_define(struct merge *m, uint32_t o, const struct elf_symbol *s, struct error *e)
{
    uint32_t *size, *cell = symbol_cell(m, s->name, &size);
    if (!cell || s->section == SHN_UNDEF)
        return 0;
    const struct elf_object *object = &m->objects[o];
    if (s->type != STT_FUNC || s->section >= object->section_count ||
        m->places[o][s->section] == NOWHERE ||
        !(object->sections[s->section].flags & SHF_EXECINSTR))
        return error_set(e, ATOLL_ECORRUPT, "symbol %s is not a function", s->name);
    uint64_t section_size = object->sections[s->section].size;
    if (s->size == 0 || s->value > section_size || s->size > section_size - s->value)
        return error_set(e, ATOLL_ECORRUPT, "function %s lies outside its section", s->name);
    if (*cell != NOWHERE)
        return error_set(e, ATOLL_ECORRUPT, "function %s is defined twice", s->name);
    *cell = m->places[o][s->section] + (uint32_t)s->value;
    if (size)
        *size = (uint32_t)s->size;
    return 0;
}

static int symbols_collect(struct merge *m, struct error *e)
{
    for (uint32_t o = 0; o < m->count; o++) {
        for (uint32_t i = 0; i < m->objects[o].symbol_count; i++) {
            struct elf_symbol s;
            int rc = elf_object_symbol(&m->objects[o], i, &s, e);
            if (rc == 0)
                rc = symbol_define(m, o, &s, e);
            if (rc < 0)
                return rc;
        }
    }
    return 0;
}

/* Every offset that the runtime relies on exists. */
static int symbols_check(const struct merge *m, struct error *e)
{
    const struct wasm_module *w = m->module;
    for (uint32_t f = 0; f < w->function_count; f++) {
        bool imported = f < w->imported_functions;
        if (!imported && m->out->function_offsets[f - w->imported_functions] == NOWHERE)
            return error_set_at(e, ATOLL_ECORRUPT, ERROR_NOWHERE, f,
                                "the compiler's objects lack the code of function %u", f);
        if (imported && m->out->import_offsets[f] == NOWHERE)
            return error_set_at(e, ATOLL_ECORRUPT, ERROR_NOWHERE, f,
                                "the compiler's objects lack the thunk of import %u", f);
        uint32_t type = w->types[w->functions[f].type].canonical;
        if ((wasm_function_referenced(w, f) || f == w->start) &&
            m->out->entry_offsets[type] == NOWHERE)
            return error_set_at(e, ATOLL_ECORRUPT, ERROR_NOWHERE, f,
                                "the compiler's objects lack the entry thunk of type %u", type);
    }
    return 0;
}

/* The image offset of a symbol of object o. */
static int symbol_resolve(struct merge *m, uint32_t o, uint32_t index, uint32_t *out,
                          struct error *e)
{
    struct elf_symbol s;
    int rc = elf_object_symbol(&m->objects[o], index, &s, e);
    if (rc < 0)
        return rc;
    if (s.section == SHN_UNDEF) {
        uint32_t *size, *cell = symbol_cell(m, s.name, &size);
        if (!cell || *cell == NOWHERE)
            return error_set(e, ATOLL_ECORRUPT, "the compiler's objects do not define \"%.64s\"",
                             s.name);
        *out = *cell;
        return 0;
    }
    if (s.section >= m->objects[o].section_count || m->places[o][s.section] == NOWHERE ||
        s.value > m->objects[o].sections[s.section].size)
        return error_set(e, ATOLL_ECORRUPT, "symbol \"%.64s\" lies outside the code image", s.name);
    *out = m->places[o][s.section] + (uint32_t)s.value;
    return 0;
}

/* ---- relocations ---- */

static int relocation_apply(struct merge *m, uint32_t o, uint32_t section,
                            const struct elf_relocation *r, struct error *e)
{
    const struct elf_section *s = &m->objects[o].sections[section];
    uint64_t width = r->type == R_X86_64_PC64 ? 8 : 4;
    if (r->type != R_X86_64_PC32 && r->type != R_X86_64_PLT32 && r->type != R_X86_64_PC64)
        return error_set(e, ATOLL_ECORRUPT,
                         "section %s has a relocation of kind %u; only PC-relative ones may occur",
                         s->name, r->type);
    if (r->offset > s->size || s->size - r->offset < width)
        return error_set(e, ATOLL_ECORRUPT, "section %s has a relocation outside itself", s->name);
    uint32_t target;
    int rc = symbol_resolve(m, o, r->symbol, &target, e);
    if (rc < 0)
        return rc;
    uint64_t place = m->places[o][section] + r->offset;
    int64_t value;
    if (__builtin_add_overflow((int64_t)target - (int64_t)place, r->addend, &value) ||
        (width == 4 && value != (int32_t)value))
        return error_set(e, ATOLL_ECORRUPT, "section %s has a relocation out of reach", s->name);
    memcpy(m->out->bytes.data + place, &value, width);
    return 0;
}

static int section_relocate(struct merge *m, uint32_t o, const struct elf_section *relocations,
                            struct error *e)
{
    for (uint64_t i = 0; i < elf_relocation_count(relocations); i++) {
        struct elf_relocation r = elf_relocation_read(relocations, i);
        int rc = relocation_apply(m, o, relocations->info, &r, e);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static int objects_relocate(struct merge *m, struct error *e)
{
    for (uint32_t o = 0; o < m->count; o++) {
        const struct elf_object *object = &m->objects[o];
        for (uint32_t i = 0; i < object->section_count; i++) {
            const struct elf_section *s = &object->sections[i];
            if ((s->type != SHT_RELA && s->type != SHT_REL) || s->info >= object->section_count ||
                m->places[o][s->info] == NOWHERE)
                continue;
            if (s->type == SHT_REL)
                return error_set(e, ATOLL_ECORRUPT, "section %s has implicit addends", s->name);
            int rc = section_relocate(m, o, s, e);
            if (rc < 0)
                return rc;
        }
    }
    return 0;
}

/* ---- lines ---- */

/* Fills in the addresses of a copy of a line table. Its references into string sections
 * (R_X86_64_32) are not followed by line_table_read and stay as they are. */
static int lines_relocate(struct merge *m, uint32_t o, uint32_t section, uint8_t *copy,
                          struct error *e)
{
    const struct elf_object *object = &m->objects[o];
    uint64_t size = object->sections[section].size;
    for (uint32_t i = 0; i < object->section_count; i++) {
        const struct elf_section *s = &object->sections[i];
        if (s->type != SHT_RELA || s->info != section)
            continue;
        for (uint64_t k = 0; k < elf_relocation_count(s); k++) {
            struct elf_relocation r = elf_relocation_read(s, k);
            uint32_t target;
            if (r.type != R_X86_64_64)
                continue;
            if (r.offset > size || size - r.offset < 8)
                return error_set(e, ATOLL_ECORRUPT, "a line table's relocation is out of range");
            int rc = symbol_resolve(m, o, r.symbol, &target, e);
            if (rc < 0)
                return rc;
            store_u64(copy + r.offset, target + (uint64_t)r.addend);
        }
    }
    return 0;
}

static int lines_read(struct merge *m, struct buffer *rows, struct error *e)
{
    for (uint32_t o = 0; o < m->count; o++) {
        for (uint32_t i = 0; i < m->objects[o].section_count; i++) {
            const struct elf_section *s = &m->objects[o].sections[i];
            if (s->type != SHT_PROGBITS || (s->flags & (SHF_ALLOC | SHF_COMPRESSED)) ||
                strcmp(s->name, ".debug_line") != 0)
                continue;
            struct buffer copy = {0};
            int rc = buffer_append(&copy, s->data, s->size) ? 0 : no_memory(e);
            if (rc == 0)
                rc = lines_relocate(m, o, i, copy.data, e);
            if (rc == 0)
                rc = line_table_read(copy.data, copy.len, m->out->text_size, rows, e);
            buffer_free(&copy);
            if (rc < 0)
                return rc;
        }
    }
    return 0;
}

struct ordered_row {
    struct line_row row;
    uint32_t order;
};

static int row_compare(const void *left, const void *right)
{
    const struct ordered_row *a = left, *b = right;
    if (a->row.code_offset != b->row.code_offset)
        return a->row.code_offset < b->row.code_offset ? -1 : 1;
    return a->order < b->order ? -1 : a->order > b->order;
}

static bool rows_sorted(const struct line_row *rows, size_t count)
{
    for (size_t i = 1; i < count; i++)
        if (rows[i].code_offset < rows[i - 1].code_offset)
            return false;
    return true;
}

/* Stable, which qsort alone does not promise. */
static bool rows_sort(struct line_row *rows, size_t count)
{
    if (rows_sorted(rows, count))
        return true;
    struct ordered_row *ordered = malloc(count * sizeof *ordered);
    if (!ordered)
        return false;
    for (size_t i = 0; i < count; i++)
        ordered[i] = (struct ordered_row){rows[i], (uint32_t)i};
    qsort(ordered, count, sizeof *ordered, row_compare);
    for (size_t i = 0; i < count; i++)
        rows[i] = ordered[i].row;
    free(ordered);
    return true;
}

/* Of rows at one address the last that names an operator stays (the end of one function's code may
 * be the start of the next's); a row that repeats its predecessor's operator goes. */
static uint32_t rows_compact(struct line_row *rows, size_t count)
{
    uint32_t kept = 0;
    for (size_t i = 0; i < count;) {
        struct line_row row = rows[i];
        for (i++; i < count && rows[i].code_offset == row.code_offset; i++)
            if (rows[i].wasm_offset)
                row.wasm_offset = rows[i].wasm_offset;
        if (kept ? rows[kept - 1].wasm_offset == row.wasm_offset : row.wasm_offset == 0)
            continue;
        rows[kept++] = row;
    }
    return kept;
}

static int lines_merge(struct merge *m, struct error *e)
{
    struct buffer rows = {0};
    int rc = lines_read(m, &rows, e);
    size_t count = rows.len / sizeof(struct line_row);
    if (rc == 0 && count >= UINT32_MAX)
        rc = error_set(e, ATOLL_ELIMIT, "the line table has %zu rows", count);
    if (rc == 0 && count && !rows_sort((struct line_row *)(void *)rows.data, count))
        rc = no_memory(e);
    if (rc < 0) {
        buffer_free(&rows);
        return rc;
    }
    m->out->rows = (struct line_row *)(void *)rows.data; /* malloc'ed, so aligned */
    m->out->row_count = rows_compact(m->out->rows, count);
    return 0;
}

/* ---- the merge ---- */

static uint32_t *offsets_create(uint32_t count)
{
    uint32_t *offsets = malloc((count + 1ull) * sizeof *offsets);
    for (uint32_t i = 0; offsets && i < count; i++)
        offsets[i] = NOWHERE;
    return offsets;
}

static int merge_open(struct merge *m, const struct buffer *objects, uint32_t count,
                      struct error *e)
{
    const struct wasm_module *w = m->module;
    m->out->function_offsets = offsets_create(w->function_count - w->imported_functions);
    m->out->function_sizes = offsets_create(w->function_count - w->imported_functions);
    m->out->entry_offsets = offsets_create(w->type_count);
    m->out->import_offsets = offsets_create(w->imported_functions);
    m->objects = calloc(count + 1ull, sizeof *m->objects);
    m->places = calloc(count + 1ull, sizeof *m->places);
    if (!m->out->function_offsets || !m->out->function_sizes || !m->out->entry_offsets ||
        !m->out->import_offsets || !m->objects || !m->places)
        return no_memory(e);
    for (uint32_t o = 0; o < count; o++) {
        int rc = elf_object_open(objects[o].data, objects[o].len, &m->objects[o], e);
        if (rc < 0)
            return rc;
        m->count = o + 1;
        m->places[o] = offsets_create(m->objects[o].section_count);
        if (!m->places[o])
            return no_memory(e);
    }
    return 0;
}

static int merge_run(struct merge *m, struct error *e)
{
    int rc = sections_place(m, USE_TEXT, e);
    if (rc < 0)
        return rc;
    m->out->text_size = (uint32_t)m->out->bytes.len;
    rc = sections_place(m, USE_CONSTANTS, e);
    if (rc == 0)
        rc = symbols_collect(m, e);
    if (rc == 0)
        rc = symbols_check(m, e);
    if (rc == 0)
        rc = objects_relocate(m, e);
    if (rc == 0)
        rc = lines_merge(m, e);
    return rc;
}

int object_merge(const struct wasm_module *module, const struct buffer *objects, uint32_t count,
                 struct code_image *out, struct error *e)
{
    *out = (struct code_image){0};
    struct merge m = {.module = module, .memmove = NOWHERE, .memset = NOWHERE, .out = out};
    int rc = merge_open(&m, objects, count, e);
    if (rc == 0)
        rc = merge_run(&m, e);
    for (uint32_t o = 0; o < m.count; o++) {
        elf_object_close(&m.objects[o]);
        free(m.places[o]);
    }
    free(m.objects);
    free(m.places);
    if (rc < 0)
        code_image_free(out);
    return rc;
}

void code_image_free(struct code_image *image)
{
    buffer_free(&image->bytes);
    free(image->function_offsets);
    free(image->function_sizes);
    free(image->entry_offsets);
    free(image->import_offsets);
    free(image->rows);
    *image = (struct code_image){0};
}
