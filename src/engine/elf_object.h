/*
 * A bounded reader of ELF64 relocatable objects for x86-64, as much of them as LLVM emits. Every
 * offset is checked when it is used; nothing is copied. The bytes must outlive the struct. Used by
 * object.c only.
 */
#ifndef ENGINE_ELF_OBJECT_H
#define ENGINE_ELF_OBJECT_H

#include "base/error.h"

#include <elf.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ELF_OBJECT_SECTIONS 65000u

struct elf_section {
    const char *name;    /* NUL-terminated, inside the object */
    const uint8_t *data; /* NULL for SHT_NOBITS */
    uint64_t size, flags, alignment;
    uint32_t type, link, info;
};

struct elf_symbol {
    const char *name;
    uint64_t value, size;
    uint16_t section; /* SHN_UNDEF, SHN_ABS, … or an index below section_count */
    uint8_t type, binding;
};

struct elf_relocation {
    uint64_t offset;
    int64_t addend;
    uint32_t type, symbol;
};

struct elf_object {
    struct elf_section *sections; /* owned */
    uint32_t section_count;
    const uint8_t *symbols; /* Elf64_Sym records */
    uint32_t symbol_count;
    const char *strings; /* of the symbols */
    uint64_t strings_size;
};

int elf_object_open(const uint8_t *bytes, size_t len, struct elf_object *out, struct error *e);
void elf_object_close(struct elf_object *);

/* index < symbol_count, else -ATOLL_ECORRUPT. */
int elf_object_symbol(const struct elf_object *, uint32_t index, struct elf_symbol *out,
                      struct error *e);

static inline uint64_t elf_relocation_count(const struct elf_section *s)
{
    return s->size / sizeof(Elf64_Rela);
}
/* index < elf_relocation_count of a SHT_RELA section. */
struct elf_relocation elf_relocation_read(const struct elf_section *, uint64_t index);

#endif
