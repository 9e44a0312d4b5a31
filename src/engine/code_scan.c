/*
 * The instruction scan of admission: a second line behind the compiler, which never emits what is
 * refused here. It decodes linearly from function to function and does not see jumps into the
 * middle of an instruction.
 *
 * Whole categories are allowed, not single ones forbidden: an instruction that a later decoder
 * learns of is refused until someone has thought about it. Where an allowed category holds
 * instructions that reach beyond the sandbox, these are named.
 */
#include "engine/object.h"

#include <Zydis/Zydis.h>
#include <assert.h>

static const bool category_allowed[ZYDIS_CATEGORY_MAX_VALUE + 1] = {
    [ZYDIS_CATEGORY_ADOX_ADCX] = true,   [ZYDIS_CATEGORY_AVX] = true,
    [ZYDIS_CATEGORY_AVX2] = true,        [ZYDIS_CATEGORY_AVX2GATHER] = true,
    [ZYDIS_CATEGORY_AVX512] = true,      [ZYDIS_CATEGORY_AVX512_BITALG] = true,
    [ZYDIS_CATEGORY_AVX512_VBMI] = true, [ZYDIS_CATEGORY_AVX512_VP2INTERSECT] = true,
    [ZYDIS_CATEGORY_BINARY] = true,      [ZYDIS_CATEGORY_BITBYTE] = true,
    [ZYDIS_CATEGORY_BLEND] = true,       [ZYDIS_CATEGORY_BMI1] = true,
    [ZYDIS_CATEGORY_BMI2] = true,        [ZYDIS_CATEGORY_BROADCAST] = true,
    [ZYDIS_CATEGORY_CALL] = true,        [ZYDIS_CATEGORY_CMOV] = true,
    [ZYDIS_CATEGORY_COMPRESS] = true,    [ZYDIS_CATEGORY_COND_BR] = true,
    [ZYDIS_CATEGORY_CONFLICT] = true,    [ZYDIS_CATEGORY_CONVERT] = true,
    [ZYDIS_CATEGORY_DATAXFER] = true,    [ZYDIS_CATEGORY_EXPAND] = true,
    [ZYDIS_CATEGORY_FLAGOP] = true,      [ZYDIS_CATEGORY_FMA4] = true,
    [ZYDIS_CATEGORY_FP16] = true,        [ZYDIS_CATEGORY_GATHER] = true,
    [ZYDIS_CATEGORY_GFNI] = true,        [ZYDIS_CATEGORY_IFMA] = true,
    [ZYDIS_CATEGORY_KMASK] = true,       [ZYDIS_CATEGORY_LOGICAL] = true,
    [ZYDIS_CATEGORY_LOGICAL_FP] = true,  [ZYDIS_CATEGORY_LZCNT] = true,
    [ZYDIS_CATEGORY_MISC] = true,        [ZYDIS_CATEGORY_NOP] = true,
    [ZYDIS_CATEGORY_PCLMULQDQ] = true,   [ZYDIS_CATEGORY_POP] = true,
    [ZYDIS_CATEGORY_PREFETCH] = true,    [ZYDIS_CATEGORY_PUSH] = true,
    [ZYDIS_CATEGORY_RET] = true,         [ZYDIS_CATEGORY_ROTATE] = true,
    [ZYDIS_CATEGORY_SCATTER] = true,     [ZYDIS_CATEGORY_SEMAPHORE] = true,
    [ZYDIS_CATEGORY_SETCC] = true,       [ZYDIS_CATEGORY_SHIFT] = true,
    [ZYDIS_CATEGORY_SSE] = true,         [ZYDIS_CATEGORY_STRINGOP] = true,
    [ZYDIS_CATEGORY_STTNI] = true,       [ZYDIS_CATEGORY_TBM] = true,
    [ZYDIS_CATEGORY_UFMA] = true,        [ZYDIS_CATEGORY_UNCOND_BR] = true,
    [ZYDIS_CATEGORY_VBMI2] = true,       [ZYDIS_CATEGORY_VEX] = true,
    [ZYDIS_CATEGORY_VFMA] = true,        [ZYDIS_CATEGORY_VPCLMULQDQ] = true,
    [ZYDIS_CATEGORY_WIDENOP] = true,     [ZYDIS_CATEGORY_XOP] = true,
};

/* Categories that mix the harmless with the dangerous are allowed by instruction. */
static bool mnemonic_allowed(ZydisInstructionCategory category, ZydisMnemonic m)
{
    switch (category) {
    case ZYDIS_CATEGORY_RET: return m == ZYDIS_MNEMONIC_RET;
    case ZYDIS_CATEGORY_UNCOND_BR: return m == ZYDIS_MNEMONIC_JMP;
    case ZYDIS_CATEGORY_FLAGOP:
        return m == ZYDIS_MNEMONIC_CLC || m == ZYDIS_MNEMONIC_CLD || m == ZYDIS_MNEMONIC_CMC ||
               m == ZYDIS_MNEMONIC_LAHF || m == ZYDIS_MNEMONIC_SAHF || m == ZYDIS_MNEMONIC_STC;
    case ZYDIS_CATEGORY_MISC:
        return m == ZYDIS_MNEMONIC_LEA || m == ZYDIS_MNEMONIC_LEAVE || m == ZYDIS_MNEMONIC_LFENCE ||
               m == ZYDIS_MNEMONIC_MFENCE || m == ZYDIS_MNEMONIC_SFENCE ||
               m == ZYDIS_MNEMONIC_PAUSE || m == ZYDIS_MNEMONIC_UD0 || m == ZYDIS_MNEMONIC_UD1 ||
               m == ZYDIS_MNEMONIC_UD2;
    default: return true;
    }
}

/* The exceptions in the other categories: transactions, flags beyond the arithmetic ones, and
 * control and state registers that the host relies on. */
static bool mnemonic_refused(ZydisMnemonic m)
{
    switch (m) {
    case ZYDIS_MNEMONIC_XBEGIN:
    case ZYDIS_MNEMONIC_XEND:
    case ZYDIS_MNEMONIC_XTEST:
    case ZYDIS_MNEMONIC_POPF:
    case ZYDIS_MNEMONIC_POPFD:
    case ZYDIS_MNEMONIC_POPFQ:
    case ZYDIS_MNEMONIC_FXSAVE:
    case ZYDIS_MNEMONIC_FXSAVE64:
    case ZYDIS_MNEMONIC_FXRSTOR:
    case ZYDIS_MNEMONIC_FXRSTOR64:
    case ZYDIS_MNEMONIC_LDMXCSR:
    case ZYDIS_MNEMONIC_VLDMXCSR: return true;
    default: return false;
    }
}

/* mov, push and pop name segment registers in their opcode. */
static bool segment_moved(const ZydisDecodedInstruction *i)
{
    if (i->opcode_map == ZYDIS_OPCODE_MAP_DEFAULT)
        return i->opcode == 0x8c || i->opcode == 0x8e;
    if (i->opcode_map == ZYDIS_OPCODE_MAP_0F && i->encoding == ZYDIS_INSTRUCTION_ENCODING_LEGACY)
        return i->opcode == 0xa0 || i->opcode == 0xa1 || i->opcode == 0xa8 || i->opcode == 0xa9;
    return false;
}

/* fs and gs hold the host's thread pointers. The other segment prefixes mean nothing in 64-bit mode
 * and occur in alignment padding. */
static bool segment_used(const ZydisDecodedInstruction *i)
{
    return (i->attributes & (ZYDIS_ATTRIB_HAS_SEGMENT_FS | ZYDIS_ATTRIB_HAS_SEGMENT_GS)) != 0;
}

/* A direct branch whose target is outside the text. */
static bool branch_escapes(const ZydisDecodedInstruction *i, uint64_t offset, size_t len)
{
    if (i->meta.branch_type == ZYDIS_BRANCH_TYPE_NONE || !i->raw.imm[0].is_relative)
        return false;
    uint64_t target = offset + i->length + (uint64_t)i->raw.imm[0].value.s;
    return target >= len;
}

static const char *refusal(const ZydisDecodedInstruction *i, uint64_t offset, size_t len)
{
    if (!category_allowed[i->meta.category] || !mnemonic_allowed(i->meta.category, i->mnemonic) ||
        mnemonic_refused(i->mnemonic))
        return "is not one that generated code may have";
    if (i->attributes & ZYDIS_ATTRIB_IS_PRIVILEGED)
        return "is privileged";
    if (i->meta.branch_type == ZYDIS_BRANCH_TYPE_FAR)
        return "is a far transfer";
    if (segment_moved(i) || segment_used(i))
        return "uses a segment register";
    if (branch_escapes(i, offset, len))
        return "leaves the code image";
    return NULL;
}

/* Decodes [from, end); an instruction may not cross end. */
static int run_scan(const ZydisDecoder *decoder, const uint8_t *text, size_t len, uint64_t from,
                    uint64_t end, struct error *e)
{
    while (from < end) {
        ZydisDecodedInstruction i;
        if (!ZYAN_SUCCESS(
                ZydisDecoderDecodeInstruction(decoder, ZYAN_NULL, text + from, end - from, &i)))
            return error_set_at(e, ATOLL_ECOMPILE, from, UINT32_MAX,
                                "the generated code at offset %llu is not an instruction",
                                (unsigned long long)from);
        const char *reason = refusal(&i, from, len);
        if (reason)
            return error_set_at(e, ATOLL_ECOMPILE, from, UINT32_MAX,
                                "the generated code at offset %llu is refused: %s %s",
                                (unsigned long long)from, ZydisMnemonicGetString(i.mnemonic),
                                reason);
        from += i.length;
    }
    return 0;
}

int code_scan(const uint8_t *text, size_t len, const uint32_t *starts, uint32_t count,
              struct error *e)
{
    ZydisDecoder decoder;
    ZyanStatus status =
        ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
    assert(ZYAN_SUCCESS(status));
    uint64_t at = 0;
    for (uint32_t i = 0; i <= count; i++) {
        uint64_t end = i < count ? starts[i] : len;
        if (end < at || end > len)
            return error_set(e, ATOLL_EINVAL, "function starts are out of order or range");
        int rc = run_scan(&decoder, text, len, at, end, e);
        if (rc < 0)
            return rc;
        at = end;
    }
    return 0;
}
