/* Reads the processor's features (Intel SDM volume 2A, CPUID; AMD APM volume 3, appendix E). */
#include "engine/cpu.h"

#include <cpuid.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

/* Register state that the operating system must have enabled (XCR0) for a feature to be usable. */
enum cpu_state { STATE_SSE, STATE_AVX, STATE_AVX512 };
#define XCR0_AVX    0x06u
#define XCR0_AVX512 0xe6u

struct feature {
    const char *name;
    uint32_t leaf, subleaf;
    uint8_t reg, bit; /* 0 eax, 1 ebx, 2 ecx, 3 edx */
    uint8_t state;
};

static const struct feature features[CPU_FEATURE_COUNT] = {
    [CPU_FEATURE_CX16] = {"cx16", 1, 0, 2, 13, STATE_SSE},
    [CPU_FEATURE_LAHF] = {"lahf", 0x80000001, 0, 2, 0, STATE_SSE},
    [CPU_FEATURE_POPCNT] = {"popcnt", 1, 0, 2, 23, STATE_SSE},
    [CPU_FEATURE_SSE3] = {"sse3", 1, 0, 2, 0, STATE_SSE},
    [CPU_FEATURE_SSSE3] = {"ssse3", 1, 0, 2, 9, STATE_SSE},
    [CPU_FEATURE_SSE4_1] = {"sse4.1", 1, 0, 2, 19, STATE_SSE},
    [CPU_FEATURE_SSE4_2] = {"sse4.2", 1, 0, 2, 20, STATE_SSE},
    [CPU_FEATURE_AVX] = {"avx", 1, 0, 2, 28, STATE_AVX},
    [CPU_FEATURE_AVX2] = {"avx2", 7, 0, 1, 5, STATE_AVX},
    [CPU_FEATURE_BMI1] = {"bmi1", 7, 0, 1, 3, STATE_SSE},
    [CPU_FEATURE_BMI2] = {"bmi2", 7, 0, 1, 8, STATE_SSE},
    [CPU_FEATURE_F16C] = {"f16c", 1, 0, 2, 29, STATE_AVX},
    [CPU_FEATURE_FMA] = {"fma", 1, 0, 2, 12, STATE_AVX},
    [CPU_FEATURE_LZCNT] = {"lzcnt", 0x80000001, 0, 2, 5, STATE_SSE},
    [CPU_FEATURE_MOVBE] = {"movbe", 1, 0, 2, 22, STATE_SSE},
    [CPU_FEATURE_XSAVE] = {"osxsave", 1, 0, 2, 27, STATE_SSE},
    [CPU_FEATURE_AVX512F] = {"avx512f", 7, 0, 1, 16, STATE_AVX512},
    [CPU_FEATURE_AVX512BW] = {"avx512bw", 7, 0, 1, 30, STATE_AVX512},
    [CPU_FEATURE_AVX512CD] = {"avx512cd", 7, 0, 1, 28, STATE_AVX512},
    [CPU_FEATURE_AVX512DQ] = {"avx512dq", 7, 0, 1, 17, STATE_AVX512},
    [CPU_FEATURE_AVX512VL] = {"avx512vl", 7, 0, 1, 31, STATE_AVX512},
    [CPU_FEATURE_AVX512IFMA] = {"avx512ifma", 7, 0, 1, 21, STATE_AVX512},
    [CPU_FEATURE_AVX512VBMI] = {"avx512vbmi", 7, 0, 2, 1, STATE_AVX512},
    [CPU_FEATURE_AVX512VBMI2] = {"avx512vbmi2", 7, 0, 2, 6, STATE_AVX512},
    [CPU_FEATURE_AVX512VNNI] = {"avx512vnni", 7, 0, 2, 11, STATE_AVX512},
    [CPU_FEATURE_AVX512BITALG] = {"avx512bitalg", 7, 0, 2, 12, STATE_AVX512},
    [CPU_FEATURE_AVX512VPOPCNTDQ] = {"avx512vpopcntdq", 7, 0, 2, 14, STATE_AVX512},
    [CPU_FEATURE_AVX512BF16] = {"avx512bf16", 7, 1, 0, 5, STATE_AVX512},
    [CPU_FEATURE_AVX512FP16] = {"avx512fp16", 7, 0, 3, 23, STATE_AVX512},
    [CPU_FEATURE_AVX512VP2INTERSECT] = {"avx512vp2intersect", 7, 0, 3, 8, STATE_AVX512},
    [CPU_FEATURE_AVXVNNI] = {"avxvnni", 7, 1, 0, 4, STATE_AVX},
    [CPU_FEATURE_AVXIFMA] = {"avxifma", 7, 1, 0, 23, STATE_AVX},
    [CPU_FEATURE_AVXVNNIINT8] = {"avxvnniint8", 7, 1, 3, 4, STATE_AVX},
    [CPU_FEATURE_AVXVNNIINT16] = {"avxvnniint16", 7, 1, 3, 10, STATE_AVX},
    [CPU_FEATURE_AVXNECONVERT] = {"avxneconvert", 7, 1, 3, 5, STATE_AVX},
    [CPU_FEATURE_AES] = {"aes", 1, 0, 2, 25, STATE_SSE},
    [CPU_FEATURE_VAES] = {"vaes", 7, 0, 2, 9, STATE_AVX},
    [CPU_FEATURE_PCLMUL] = {"pclmul", 1, 0, 2, 1, STATE_SSE},
    [CPU_FEATURE_VPCLMULQDQ] = {"vpclmulqdq", 7, 0, 2, 10, STATE_AVX},
    [CPU_FEATURE_SHA] = {"sha", 7, 0, 1, 29, STATE_SSE},
    [CPU_FEATURE_SHA512] = {"sha512", 7, 1, 0, 0, STATE_AVX},
    [CPU_FEATURE_GFNI] = {"gfni", 7, 0, 2, 8, STATE_SSE},
    [CPU_FEATURE_ADX] = {"adx", 7, 0, 1, 19, STATE_SSE},
    [CPU_FEATURE_PREFETCHWT] = {"prfchw", 0x80000001, 0, 2, 8, STATE_SSE},
    [CPU_FEATURE_SSE4A] = {"sse4a", 0x80000001, 0, 2, 6, STATE_SSE},
    [CPU_FEATURE_FMA4] = {"fma4", 0x80000001, 0, 2, 16, STATE_AVX},
    [CPU_FEATURE_XOP] = {"xop", 0x80000001, 0, 2, 11, STATE_AVX},
    [CPU_FEATURE_TBM] = {"tbm", 0x80000001, 0, 2, 21, STATE_SSE},
};

#define BIT(feature) (1ull << (feature))
static const uint64_t level_v2 = BIT(CPU_FEATURE_CX16) | BIT(CPU_FEATURE_LAHF) |
                                 BIT(CPU_FEATURE_POPCNT) | BIT(CPU_FEATURE_SSE3) |
                                 BIT(CPU_FEATURE_SSSE3) | BIT(CPU_FEATURE_SSE4_1) |
                                 BIT(CPU_FEATURE_SSE4_2);
static const uint64_t level_v3 =
    BIT(CPU_FEATURE_AVX) | BIT(CPU_FEATURE_AVX2) | BIT(CPU_FEATURE_BMI1) | BIT(CPU_FEATURE_BMI2) |
    BIT(CPU_FEATURE_F16C) | BIT(CPU_FEATURE_FMA) | BIT(CPU_FEATURE_LZCNT) | BIT(CPU_FEATURE_MOVBE) |
    BIT(CPU_FEATURE_XSAVE);
static const uint64_t level_v4 = BIT(CPU_FEATURE_AVX512F) | BIT(CPU_FEATURE_AVX512BW) |
                                 BIT(CPU_FEATURE_AVX512CD) | BIT(CPU_FEATURE_AVX512DQ) |
                                 BIT(CPU_FEATURE_AVX512VL);

static uint64_t detected, identity;
static pthread_once_t detect_once = PTHREAD_ONCE_INIT;

static uint64_t register_states_enabled(void)
{
    uint32_t a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_OSXSAVE))
        return 0;
    uint32_t low, high;
    __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (uint64_t)high << 32 | low;
}

static bool feature_present(const struct feature *f, uint64_t states)
{
    uint64_t needed = f->state == STATE_AVX512 ? XCR0_AVX512 : f->state == STATE_AVX ? XCR0_AVX : 0;
    if ((states & needed) != needed)
        return false;
    uint32_t r[4];
    if (!__get_cpuid_count(f->leaf, f->subleaf, &r[0], &r[1], &r[2], &r[3]))
        return false;
    return r[f->reg] >> f->bit & 1;
}

static void features_detect(void)
{
    uint64_t states = register_states_enabled();
    for (unsigned i = 0; i < CPU_FEATURE_COUNT; i++)
        if (feature_present(&features[i], states))
            detected |= BIT(i);
    /* Tuning follows the model: mix vendor, family, model and stepping into the identity. */
    uint32_t a = 0, b = 0, c = 0, d = 0;
    identity = detected * 0x9e3779b97f4a7c15ull;
    if (__get_cpuid(0, &a, &b, &c, &d))
        identity = (identity ^ b ^ (uint64_t)d << 32 ^ c) * 0x9e3779b97f4a7c15ull;
    if (__get_cpuid(1, &a, &b, &c, &d))
        identity = (identity ^ a) * 0x9e3779b97f4a7c15ull;
}

uint64_t cpu_features(void)
{
    pthread_once(&detect_once, features_detect);
    return detected;
}

uint64_t cpu_identity(void)
{
    pthread_once(&detect_once, features_detect);
    return identity;
}

const char *cpu_feature_name(enum cpu_feature feature)
{
    return (unsigned)feature < CPU_FEATURE_COUNT ? features[feature].name : "unknown";
}

uint64_t cpu_level_features(enum cpu_level level)
{
    switch (level) {
    case CPU_NATIVE: return cpu_features();
    case CPU_V2: return level_v2;
    case CPU_V3: return level_v2 | level_v3;
    case CPU_V4: return level_v2 | level_v3 | level_v4;
    }
    return UINT64_MAX;
}

const char *cpu_level_name(enum cpu_level level)
{
    switch (level) {
    case CPU_NATIVE: return "native";
    case CPU_V2: return "v2";
    case CPU_V3: return "v3";
    case CPU_V4: return "v4";
    }
    return "unknown";
}

int cpu_require(uint64_t required, struct error *e)
{
    uint64_t missing = required & ~cpu_features();
    if (!missing)
        return 0;
    char names[256] = "";
    size_t used = 0;
    for (unsigned i = 0; i < 64; i++) {
        if (!(missing >> i & 1))
            continue;
        int wrote = snprintf(names + used, sizeof names - used, "%s%s", used ? ", " : "",
                             cpu_feature_name((enum cpu_feature)i));
        if (wrote < 0 || (size_t)wrote >= sizeof names - used)
            break;
        used += (size_t)wrote;
    }
    return error_set(e, ATOLL_ECPU,
                     "this processor lacks %s, which the code was compiled for; compile it for a "
                     "lower CPU level",
                     names);
}
