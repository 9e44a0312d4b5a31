/* ELF64 as System V ABI, AMD64 supplement, chapter 4 describes it. Records may lie at any alignment
 * in a hostile file, so each is copied out before use. */
#include "engine/elf_object.h"

#include <stdlib.h>
#include <string.h>

static int corrupt(struct error *e, const char *what)
{
    return error_set(e, ATOLL_ECORRUPT, "the compiler's object file is malformed: %s", what);
}

static bool range_inside(uint64_t offset, uint64_t size, uint64_t len)
{
    return offset <= len && size <= len - offset;
}

static int header_check(const uint8_t *bytes, size_t len, Elf64_Ehdr *h, struct error *e)
{
    if (len < sizeof *h)
        return corrupt(e, "shorter than its header");
    memcpy(h, bytes, sizeof *h);
    if (memcmp(h->e_ident, ELFMAG, SELFMAG) != 0 || h->e_ident[EI_CLASS] != ELFCLASS64 ||
        h->e_ident[EI_DATA] != ELFDATA2LSB)
        return corrupt(e, "not ELF64, little-endian");
    if (h->e_type != ET_REL || h->e_machine != EM_X86_64)
        return corrupt(e, "not relocatable x86-64");
    if (h->e_shentsize != sizeof(Elf64_Shdr) || h->e_shnum == 0 ||
        h->e_shnum > ELF_OBJECT_SECTIONS ||
        !range_inside(h->e_shoff, (uint64_t)h->e_shnum * sizeof(Elf64_Shdr), len))
        return corrupt(e, "section headers out of range");
    if (h->e_shstrndx >= h->e_shnum)
        return corrupt(e, "no section names");
    return 0;
}

/* A string table is usable when its last byte is NUL: then every name in it ends. */
static bool strings_terminated(const uint8_t *data, uint64_t size)
{
    return data && size > 0 && data[size - 1] == '\0';
}

static int section_open(const uint8_t *bytes, size_t len, const Elf64_Shdr *h,
                        struct elf_section *s, struct error *e)
{
    s->type = h->sh_type;
    s->size = h->sh_size;
    s->flags = h->sh_flags;
    s->alignment = h->sh_addralign;
    s->link = h->sh_link;
    s->info = h->sh_info;
    s->name = "";
    if (h->sh_type == SHT_NOBITS || h->sh_type == SHT_NULL)
        return 0;
    if (!range_inside(h->sh_offset, h->sh_size, len))
        return corrupt(e, "a section lies outside the file");
    s->data = bytes + h->sh_offset;
    if (h->sh_type == SHT_RELA && h->sh_size % sizeof(Elf64_Rela) != 0)
        return corrupt(e, "a relocation section of odd size");
    return 0;
}

static int sections_open(const uint8_t *bytes, size_t len, const Elf64_Ehdr *h,
                         struct elf_object *o, struct error *e)
{
    Elf64_Shdr names;
    memcpy(&names, bytes + h->e_shoff + h->e_shstrndx * sizeof names, sizeof names);
    if (names.sh_type != SHT_STRTAB || !range_inside(names.sh_offset, names.sh_size, len) ||
        !strings_terminated(bytes + names.sh_offset, names.sh_size))
        return corrupt(e, "bad section names");
    for (uint32_t i = 0; i < h->e_shnum; i++) {
        Elf64_Shdr s;
        memcpy(&s, bytes + h->e_shoff + i * sizeof s, sizeof s);
        int rc = section_open(bytes, len, &s, &o->sections[i], e);
        if (rc < 0)
            return rc;
        if (s.sh_name >= names.sh_size)
            return corrupt(e, "a section's name lies outside its table");
        o->sections[i].name = (const char *)bytes + names.sh_offset + s.sh_name;
    }
    return 0;
}

static int symbols_open(struct elf_object *o, struct error *e)
{
    for (uint32_t i = 0; i < o->section_count; i++) {
        const struct elf_section *s = &o->sections[i];
        if (s->type == SHT_SYMTAB_SHNDX)
            return corrupt(e, "extended section numbers");
        if (s->type != SHT_SYMTAB)
            continue;
        if (o->symbols)
            return corrupt(e, "two symbol tables");
        if (s->link >= o->section_count || o->sections[s->link].type != SHT_STRTAB ||
            !strings_terminated(o->sections[s->link].data, o->sections[s->link].size))
            return corrupt(e, "bad symbol names");
        if (s->size % sizeof(Elf64_Sym) != 0 || s->size / sizeof(Elf64_Sym) > UINT32_MAX)
            return corrupt(e, "a symbol table of odd size");
        o->symbols = s->data;
        o->symbol_count = (uint32_t)(s->size / sizeof(Elf64_Sym));
        o->strings = (const char *)o->sections[s->link].data;
        o->strings_size = o->sections[s->link].size;
    }
    return 0;
}

int elf_object_open(const uint8_t *bytes, size_t len, struct elf_object *out, struct error *e)
{
    Elf64_Ehdr h;
    *out = (struct elf_object){0};
    int rc = header_check(bytes, len, &h, e);
    if (rc < 0)
        return rc;
    out->sections = calloc(h.e_shnum, sizeof *out->sections);
    if (!out->sections)
        return error_set(e, ATOLL_ENOMEM, "no memory for %u sections of an object", h.e_shnum);
    out->section_count = h.e_shnum;
    rc = sections_open(bytes, len, &h, out, e);
    if (rc == 0)
        rc = symbols_open(out, e);
    if (rc < 0)
        elf_object_close(out);
    return rc;
}

void elf_object_close(struct elf_object *o)
{
    free(o->sections);
    *o = (struct elf_object){0};
}

int elf_object_symbol(const struct elf_object *o, uint32_t index, struct elf_symbol *out,
                      struct error *e)
{
    if (index >= o->symbol_count)
        return corrupt(e, "a symbol number out of range");
    Elf64_Sym s;
    memcpy(&s, o->symbols + (size_t)index * sizeof s, sizeof s);
    if (s.st_name >= o->strings_size)
        return corrupt(e, "a symbol's name lies outside its table");
    if (s.st_shndx < SHN_LORESERVE && s.st_shndx >= o->section_count)
        return corrupt(e, "a symbol of a section that does not exist");
    *out = (struct elf_symbol){
        .name = o->strings + s.st_name,
        .value = s.st_value,
        .size = s.st_size,
        .section = s.st_shndx,
        .type = ELF64_ST_TYPE(s.st_info),
        .binding = ELF64_ST_BIND(s.st_info),
    };
    return 0;
}

struct elf_relocation elf_relocation_read(const struct elf_section *s, uint64_t index)
{
    Elf64_Rela r;
    memcpy(&r, s->data + index * sizeof r, sizeof r);
    return (struct elf_relocation){
        .offset = r.r_offset,
        .addend = r.r_addend,
        .type = (uint32_t)ELF64_R_TYPE(r.r_info),
        .symbol = (uint32_t)ELF64_R_SYM(r.r_info),
    };
}
