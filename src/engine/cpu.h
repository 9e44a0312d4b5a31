/*
 * What the processor can do, as far as generated code depends on it.
 *
 * An artefact records the features its code may use; it is loaded only where all of them exist.
 * Captured images and `atoll doctor` use the same names. A feature counts only when the operating
 * system saves the registers it needs.
 */
#ifndef ENGINE_CPU_H
#define ENGINE_CPU_H

#include "base/error.h"
#include "engine/abi.h"

/* Bit numbers of a feature set. Part of the artefact format: append only. */
enum cpu_feature {
    CPU_FEATURE_CX16,
    CPU_FEATURE_LAHF,
    CPU_FEATURE_POPCNT,
    CPU_FEATURE_SSE3,
    CPU_FEATURE_SSSE3,
    CPU_FEATURE_SSE4_1,
    CPU_FEATURE_SSE4_2,
    CPU_FEATURE_AVX,
    CPU_FEATURE_AVX2,
    CPU_FEATURE_BMI1,
    CPU_FEATURE_BMI2,
    CPU_FEATURE_F16C,
    CPU_FEATURE_FMA,
    CPU_FEATURE_LZCNT,
    CPU_FEATURE_MOVBE,
    CPU_FEATURE_XSAVE,
    CPU_FEATURE_AVX512F,
    CPU_FEATURE_AVX512BW,
    CPU_FEATURE_AVX512CD,
    CPU_FEATURE_AVX512DQ,
    CPU_FEATURE_AVX512VL,
    CPU_FEATURE_AVX512IFMA,
    CPU_FEATURE_AVX512VBMI,
    CPU_FEATURE_AVX512VBMI2,
    CPU_FEATURE_AVX512VNNI,
    CPU_FEATURE_AVX512BITALG,
    CPU_FEATURE_AVX512VPOPCNTDQ,
    CPU_FEATURE_AVX512BF16,
    CPU_FEATURE_AVX512FP16,
    CPU_FEATURE_AVX512VP2INTERSECT,
    CPU_FEATURE_AVXVNNI,
    CPU_FEATURE_AVXIFMA,
    CPU_FEATURE_AVXVNNIINT8,
    CPU_FEATURE_AVXVNNIINT16,
    CPU_FEATURE_AVXNECONVERT,
    CPU_FEATURE_AES,
    CPU_FEATURE_VAES,
    CPU_FEATURE_PCLMUL,
    CPU_FEATURE_VPCLMULQDQ,
    CPU_FEATURE_SHA,
    CPU_FEATURE_SHA512,
    CPU_FEATURE_GFNI,
    CPU_FEATURE_ADX,
    CPU_FEATURE_PREFETCHWT,
    CPU_FEATURE_SSE4A,
    CPU_FEATURE_FMA4,
    CPU_FEATURE_XOP,
    CPU_FEATURE_TBM,
    CPU_FEATURE_COUNT,
};

/* "avx2", "sse4.1", …; "unknown" beyond the list. */
const char *cpu_feature_name(enum cpu_feature);

/* The features of this machine. Asked of the processor once. Thread-safe. */
uint64_t cpu_features(void);

/* The features that code for a level may use (CPU_NATIVE: those of this machine). */
uint64_t cpu_level_features(enum cpu_level);

/* "native", "v2", "v3", "v4". */
const char *cpu_level_name(enum cpu_level);

/* 0 when this machine has every feature of the set, else -ATOLL_ECPU naming those it lacks. */
int cpu_require(uint64_t features, struct error *e);

/* A number that differs where CPU_NATIVE may yield different code: features and processor model. */
uint64_t cpu_identity(void);

#endif
