/* Processor features and levels (src/engine/cpu.c). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "engine/cpu.h"

#include <string.h>

static void each_level_includes_the_one_below(void **state)
{
    (void)state;
    uint64_t v2 = cpu_level_features(CPU_V2), v3 = cpu_level_features(CPU_V3),
             v4 = cpu_level_features(CPU_V4);
    assert_int_equal(v2 & ~v3, 0);
    assert_int_equal(v3 & ~v4, 0);
    assert_true(v2 != 0 && v2 != v3 && v3 != v4);
    assert_true(v3 >> CPU_FEATURE_AVX2 & 1);
    assert_true(v4 >> CPU_FEATURE_AVX512VL & 1);
    assert_false(v3 >> CPU_FEATURE_AVX512F & 1);
}

static void native_is_what_this_machine_has(void **state)
{
    (void)state;
    assert_int_equal(cpu_level_features(CPU_NATIVE), cpu_features());
    assert_int_equal(cpu_identity(), cpu_identity());
}

/* The compiler's own check of the same processor must agree. */
static void features_agree_with_the_compilers_detection(void **state)
{
    (void)state;
    __builtin_cpu_init();
#define AGREE(feature, name) \
    assert_int_equal(cpu_features() >> (feature) & 1, __builtin_cpu_supports(name) != 0)
    AGREE(CPU_FEATURE_SSE3, "sse3");
    AGREE(CPU_FEATURE_SSSE3, "ssse3");
    AGREE(CPU_FEATURE_SSE4_1, "sse4.1");
    AGREE(CPU_FEATURE_SSE4_2, "sse4.2");
    AGREE(CPU_FEATURE_POPCNT, "popcnt");
    AGREE(CPU_FEATURE_AVX, "avx");
    AGREE(CPU_FEATURE_AVX2, "avx2");
    AGREE(CPU_FEATURE_FMA, "fma");
    AGREE(CPU_FEATURE_BMI1, "bmi");
    AGREE(CPU_FEATURE_BMI2, "bmi2");
    AGREE(CPU_FEATURE_AVX512F, "avx512f");
    AGREE(CPU_FEATURE_AVX512BW, "avx512bw");
    AGREE(CPU_FEATURE_AVX512VL, "avx512vl");
    AGREE(CPU_FEATURE_AVX512VBMI2, "avx512vbmi2");
    AGREE(CPU_FEATURE_AVX512BF16, "avx512bf16");
    AGREE(CPU_FEATURE_AES, "aes");
    AGREE(CPU_FEATURE_PCLMUL, "pclmul");
    AGREE(CPU_FEATURE_VPCLMULQDQ, "vpclmulqdq");
    AGREE(CPU_FEATURE_GFNI, "gfni");
}

static void a_missing_feature_is_named(void **state)
{
    (void)state;
    struct error e;
    assert_int_equal(cpu_require(cpu_features(), &e), 0);
    assert_int_equal(cpu_require(0, &e), 0);
    unsigned missing = 0;
    for (unsigned f = 0; f < CPU_FEATURE_COUNT; f++) {
        if (cpu_features() >> f & 1)
            continue;
        missing++;
        assert_int_equal(cpu_require(1ull << f, &e), -ATOLL_ECPU);
        assert_non_null(strstr(e.text, cpu_feature_name((enum cpu_feature)f)));
    }
    assert_true(missing > 0); /* fma4 and avx512fp16 exist on no processor together */
    assert_int_equal(cpu_require(1ull << 63, &e), -ATOLL_ECPU);
    assert_int_equal(cpu_require(UINT64_MAX, &e), -ATOLL_ECPU);
}

static void every_feature_and_level_has_a_name_of_its_own(void **state)
{
    (void)state;
    for (unsigned f = 0; f < CPU_FEATURE_COUNT; f++) {
        assert_non_null(cpu_feature_name((enum cpu_feature)f));
        for (unsigned g = 0; g < f; g++)
            assert_string_not_equal(cpu_feature_name((enum cpu_feature)f),
                                    cpu_feature_name((enum cpu_feature)g));
    }
    assert_string_equal(cpu_level_name(CPU_V3), "v3");
    assert_string_equal(cpu_level_name(CPU_NATIVE), "native");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_level_includes_the_one_below),
        cmocka_unit_test(native_is_what_this_machine_has),
        cmocka_unit_test(features_agree_with_the_compilers_detection),
        cmocka_unit_test(a_missing_feature_is_named),
        cmocka_unit_test(every_feature_and_level_has_a_name_of_its_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
