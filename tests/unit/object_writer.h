/*
 * Writes small ELF relocatable objects for tests: what a compiler would emit, and what it never
 * would. Sections, symbols and relocations are listed; object_write lays them out.
 */
#ifndef TESTS_OBJECT_WRITER_H
#define TESTS_OBJECT_WRITER_H

#include "base/bytes.h"

#include <elf.h>
#include <stdlib.h>

#define WRITER_SECTIONS 24u
#define WRITER_SYMBOLS  64u

struct object_writer {
    struct {
        const char *name;
        Elf64_Shdr header;
        struct buffer bytes;
    } sections[WRITER_SECTIONS];
    uint32_t section_count;
    Elf64_Sym symbols[WRITER_SYMBOLS];
    const char *symbol_names[WRITER_SYMBOLS];
    uint32_t symbol_count;
};

static inline void writer_append(struct buffer *b, const void *bytes, size_t len)
{
    if (!buffer_append(b, bytes, len))
        abort();
}

static inline struct object_writer *object_start(void)
{
    struct object_writer *w = calloc(1, sizeof *w);
    if (!w)
        abort();
    w->section_count = 1;
    w->symbol_count = 1;
    return w;
}

static inline uint32_t object_section(struct object_writer *w, const char *name, uint32_t type,
                                      uint64_t flags, uint64_t alignment, const void *bytes,
                                      size_t len)
{
    uint32_t s = w->section_count++;
    if (s >= WRITER_SECTIONS)
        abort();
    w->sections[s].name = name;
    w->sections[s].header =
        (Elf64_Shdr){.sh_type = type, .sh_flags = flags, .sh_addralign = alignment, .sh_size = len};
    if (type != SHT_NOBITS)
        writer_append(&w->sections[s].bytes, bytes, len);
    return s;
}

static inline uint32_t object_text(struct object_writer *w, const void *bytes, size_t len)
{
    return object_section(w, ".text", SHT_PROGBITS, SHF_ALLOC | SHF_EXECINSTR, 16, bytes, len);
}

static inline uint32_t object_symbol(struct object_writer *w, const char *name, uint32_t section,
                                     uint64_t value, uint64_t size, unsigned type)
{
    uint32_t s = w->symbol_count++;
    if (s >= WRITER_SYMBOLS)
        abort();
    w->symbol_names[s] = name;
    w->symbols[s] = (Elf64_Sym){.st_info = (unsigned char)ELF64_ST_INFO(STB_GLOBAL, type),
                                .st_shndx = (uint16_t)section,
                                .st_value = value,
                                .st_size = size};
    return s;
}

static inline uint32_t object_function(struct object_writer *w, const char *name, uint32_t section,
                                       uint64_t value, uint64_t size)
{
    return object_symbol(w, name, section, value, size, STT_FUNC);
}

static inline uint32_t object_undefined(struct object_writer *w, const char *name)
{
    return object_symbol(w, name, SHN_UNDEF, 0, 0, STT_NOTYPE);
}

/* A relocation section for `section`; returns its index. */
static inline uint32_t object_relocations(struct object_writer *w, uint32_t section)
{
    uint32_t s = object_section(w, ".rela", SHT_RELA, 0, 8, NULL, 0);
    w->sections[s].header.sh_info = section;
    w->sections[s].header.sh_entsize = sizeof(Elf64_Rela);
    return s;
}

static inline void object_relocate(struct object_writer *w, uint32_t relocations, uint64_t offset,
                                   uint32_t type, uint32_t symbol, int64_t addend)
{
    Elf64_Rela r = {offset, ELF64_R_INFO((uint64_t)symbol, type), addend};
    writer_append(&w->sections[relocations].bytes, &r, sizeof r);
}

static inline uint32_t writer_string(struct buffer *strings, const char *text)
{
    uint32_t at = (uint32_t)strings->len;
    writer_append(strings, text, strlen(text) + 1);
    return at;
}

/* The object's bytes; frees the writer. */
static inline struct buffer object_write(struct object_writer *w)
{
    struct buffer strings = {0}, out = {0};
    writer_string(&strings, "");
    for (uint32_t s = 1; s < w->symbol_count; s++)
        w->symbols[s].st_name = writer_string(&strings, w->symbol_names[s]);
    uint32_t symtab = object_section(w, ".symtab", SHT_SYMTAB, 0, 8, w->symbols,
                                     w->symbol_count * sizeof(Elf64_Sym));
    w->sections[symtab].header.sh_link = w->section_count;
    uint32_t strtab = object_section(w, ".strtab", SHT_STRTAB, 0, 1, NULL, 0);
    for (uint32_t s = 1; s < w->section_count; s++)
        w->sections[s].header.sh_name = writer_string(&strings, w->sections[s].name);
    writer_append(&w->sections[strtab].bytes, strings.data, strings.len);

    Elf64_Ehdr h = {.e_ident = {ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB, 1},
                    .e_type = ET_REL,
                    .e_machine = EM_X86_64,
                    .e_version = 1,
                    .e_ehsize = sizeof h,
                    .e_shentsize = sizeof(Elf64_Shdr),
                    .e_shnum = (uint16_t)w->section_count,
                    .e_shstrndx = (uint16_t)strtab};
    writer_append(&out, &h, sizeof h);
    for (uint32_t s = 1; s < w->section_count; s++) {
        w->sections[s].header.sh_offset = out.len;
        if (w->sections[s].header.sh_type != SHT_NOBITS)
            w->sections[s].header.sh_size = w->sections[s].bytes.len;
        if (w->sections[s].header.sh_type == SHT_RELA)
            w->sections[s].header.sh_link = symtab;
        writer_append(&out, w->sections[s].bytes.data, w->sections[s].bytes.len);
        buffer_free(&w->sections[s].bytes);
    }
    h.e_shoff = out.len;
    memcpy(out.data, &h, sizeof h);
    for (uint32_t s = 0; s < w->section_count; s++)
        writer_append(&out, &w->sections[s].header, sizeof(Elf64_Shdr));
    buffer_free(&strings);
    free(w);
    return out;
}

/* One unit of a line table (DWARF 4 or 5) around a program's opcodes. */
static inline void line_unit(struct buffer *out, uint16_t version, const void *program, size_t len)
{
    static const uint8_t tables[] = {
        1,    1,  1,  /* instruction size, operations, default statement */
        0xfb, 14, 13, /* line base -5, line range 14, opcode base 13 */
        0,    1,  1,  1, 1, 0, 0, 0, 1, 0, 0, 1, /* operand counts of opcodes 1 to 12 */
        0,    0, /* no directories, no files (their content does not matter) */
    };
    uint32_t header = sizeof tables;
    uint32_t unit = (version == 5 ? 4u : 2u) + 4 + header + (uint32_t)len;
    writer_append(out, &unit, sizeof unit);
    writer_append(out, &version, sizeof version);
    if (version == 5)
        writer_append(out, "\x08\x00", 2);
    writer_append(out, &header, sizeof header);
    writer_append(out, tables, sizeof tables);
    writer_append(out, program, len);
}

#endif
