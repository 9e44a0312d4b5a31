/* The instruction scan of admission (src/engine/code_scan.c). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "engine/object.h"

#include <stdlib.h>

struct sample {
    const char *name;
    const char *bytes;
    size_t len;
};
#define SAMPLE(name, bytes) {name, bytes, sizeof(bytes) - 1}

static int scan(const void *bytes, size_t len, struct error *e)
{
    uint8_t *copy = malloc(len + 1); /* so that a sanitizer sees a read beyond */
    assert_non_null(copy);
    memcpy(copy, bytes, len);
    int rc = code_scan(copy, len, NULL, 0, e);
    free(copy);
    return rc;
}

static void instructions_that_leave_the_sandbox_are_refused(void **state)
{
    (void)state;
    static const struct sample samples[] = {
        SAMPLE("syscall", "\x0f\x05"),
        SAMPLE("sysenter", "\x0f\x34"),
        SAMPLE("sysret", "\x48\x0f\x07"),
        SAMPLE("sysexit", "\x0f\x35"),
        SAMPLE("int 0x80", "\xcd\x80"),
        SAMPLE("int3", "\xcc"),
        SAMPLE("int1", "\xf1"),
        SAMPLE("iretq", "\x48\xcf"),
        SAMPLE("far call", "\xff\x18"),
        SAMPLE("far jump", "\x48\xff\x28"),
        SAMPLE("far return", "\xcb"),
        SAMPLE("far return, popping", "\xca\x08\x00"),
        SAMPLE("hlt", "\xf4"),
        SAMPLE("in al, 1", "\xe4\x01"),
        SAMPLE("in eax, dx", "\xed"),
        SAMPLE("out dx, al", "\xee"),
        SAMPLE("insb", "\x6c"),
        SAMPLE("rep outsd", "\xf3\x6f"),
        SAMPLE("cli", "\xfa"),
        SAMPLE("sti", "\xfb"),
        SAMPLE("std", "\xfd"),
        SAMPLE("popfq", "\x9d"),
        SAMPLE("ldmxcsr", "\x0f\xae\x10"),
        SAMPLE("vldmxcsr", "\xc5\xf8\xae\x10"),
        SAMPLE("mov ds, eax", "\x8e\xd8"),
        SAMPLE("mov eax, gs", "\x8c\xe8"),
        SAMPLE("push fs", "\x0f\xa0"),
        SAMPLE("pop gs", "\x0f\xa9"),
        SAMPLE("lfs eax, [rax]", "\x0f\xb4\x00"),
        SAMPLE("lss eax, [rax]", "\x0f\xb2\x00"),
        SAMPLE("wrpkru", "\x0f\x01\xef"),
        SAMPLE("rdpkru", "\x0f\x01\xee"),
        SAMPLE("xrstor", "\x0f\xae\x28"),
        SAMPLE("xrstors", "\x0f\xc7\x18"),
        SAMPLE("xsave", "\x0f\xae\x20"),
        SAMPLE("xsaveopt", "\x0f\xae\x30"),
        SAMPLE("xgetbv", "\x0f\x01\xd0"),
        SAMPLE("xsetbv", "\x0f\x01\xd1"),
        SAMPLE("fxrstor", "\x0f\xae\x08"),
        SAMPLE("wrfsbase", "\xf3\x48\x0f\xae\xd0"),
        SAMPLE("wrgsbase", "\xf3\x48\x0f\xae\xd8"),
        SAMPLE("rdfsbase", "\xf3\x48\x0f\xae\xc0"),
        SAMPLE("swapgs", "\x0f\x01\xf8"),
        SAMPLE("lgdt", "\x0f\x01\x10"),
        SAMPLE("sgdt", "\x0f\x01\x00"),
        SAMPLE("lmsw", "\x0f\x01\xf0"),
        SAMPLE("mov cr0, rax", "\x0f\x22\xc0"),
        SAMPLE("mov rax, dr7", "\x0f\x21\xf8"),
        SAMPLE("wrmsr", "\x0f\x30"),
        SAMPLE("rdmsr", "\x0f\x32"),
        SAMPLE("rdtsc", "\x0f\x31"),
        SAMPLE("rdtscp", "\x0f\x01\xf9"),
        SAMPLE("rdpmc", "\x0f\x33"),
        SAMPLE("rdrand", "\x0f\xc7\xf0"),
        SAMPLE("rdseed", "\x0f\xc7\xf8"),
        SAMPLE("rdpid", "\xf3\x0f\xc7\xf8"),
        SAMPLE("cpuid", "\x0f\xa2"),
        SAMPLE("monitor", "\x0f\x01\xc8"),
        SAMPLE("mwait", "\x0f\x01\xc9"),
        SAMPLE("umwait", "\xf2\x0f\xae\xf0"),
        SAMPLE("vmcall", "\x0f\x01\xc1"),
        SAMPLE("vmmcall", "\x0f\x01\xd9"),
        SAMPLE("enclu", "\x0f\x01\xd7"),
        SAMPLE("clflush", "\x0f\xae\x38"),
        SAMPLE("invlpg", "\x0f\x01\x38"),
        SAMPLE("wbinvd", "\x0f\x09"),
        SAMPLE("xbegin", "\xc7\xf8\x00\x00\x00\x00"),
        SAMPLE("xend", "\x0f\x01\xd5"),
        SAMPLE("xabort", "\xc6\xf8\x00"),
        SAMPLE("xtest", "\x0f\x01\xd6"),
        SAMPLE("fxsave", "\x0f\xae\x00"),
        SAMPLE("iretd", "\xcf"),
        SAMPLE("senduipi", "\xf3\x0f\xc7\xf0"),
        SAMPLE("fld st0", "\xd9\xc0"),
        SAMPLE("emms", "\x0f\x77"),
        SAMPLE("mov rax, fs:[0]", "\x64\x48\x8b\x04\x25\x00\x00\x00\x00"),
        SAMPLE("mov gs:[rax], ecx", "\x65\x89\x08"),
        SAMPLE("not an instruction", "\x06"),
    };
    struct error e;
    unsigned passed = 0;
    for (size_t i = 0; i < sizeof samples / sizeof *samples; i++) {
        if (scan(samples[i].bytes, samples[i].len, &e) == -ATOLL_ECOMPILE)
            continue;
        print_error("%s was let through\n", samples[i].name);
        passed++;
    }
    assert_int_equal(passed, 0);
}

static void what_the_compiler_emits_is_accepted(void **state)
{
    (void)state;
    static const struct sample samples[] = {
        SAMPLE("push rbp; mov rbp, rsp; pop rbp; ret", "\x55\x48\x89\xe5\x5d\xc3"),
        SAMPLE("ud1 (a trap)", "\x67\x0f\xb9\x40\x03"),
        SAMPLE("ud2", "\x0f\x0b"),
        SAMPLE("padding with a cs prefix", "\x66\x2e\x0f\x1f\x84\x00\x00\x00\x00\x00"),
        SAMPLE("idiv ecx", "\xf7\xf9"),
        SAMPLE("rep movsb; rep stosb", "\xf3\xa4\xf3\xaa"),
        SAMPLE("lock cmpxchg16b", "\xf0\x48\x0f\xc7\x0e"),
        SAMPLE("xchg; mfence; pause", "\x87\x08\x0f\xae\xf0\xf3\x90"),
        SAMPLE("call rax; jmp rcx", "\xff\xd0\xff\xe1"),
        SAMPLE("vzeroupper", "\xc5\xf8\x77"),
        SAMPLE("vfmadd231pd ymm0, ymm1, ymm2", "\xc4\xe2\xf5\xb8\xc2"),
        SAMPLE("vpgatherdd", "\xc4\xe2\x6d\x90\x04\x08"),
        SAMPLE("popcnt, lzcnt, tzcnt", "\xf3\x0f\xb8\xc1\xf3\x0f\xbd\xc1\xf3\x0f\xbc\xc1"),
        SAMPLE("bzhi, pdep, rorx",
               "\xc4\xe2\x78\xf5\xc1\xc4\xe2\x7b\xf5\xc1\xc4\xe3\x7b\xf0\xc1\x05"),
        SAMPLE("roundsd, pshufb, pmulhrsw",
               "\x66\x0f\x3a\x0b\xc1\x08\x66\x0f\x38\x00\xc1\x66\x0f\x38\x0b\xc1"),
        SAMPLE("vpternlogd zmm", "\x62\xf3\x75\x48\x25\xc2\x80"),
        SAMPLE("kmovw", "\xc5\xf8\x92\xc8"),
        SAMPLE("seto, cmovo, bt", "\x0f\x90\xc0\x0f\x40\xc1\x0f\xa3\xc8"),
        SAMPLE("cwd, cdq, cqo", "\x66\x99\x99\x48\x99"),
        SAMPLE("cld", "\xfc"),
    };
    struct error e;
    for (size_t i = 0; i < sizeof samples / sizeof *samples; i++) {
        if (scan(samples[i].bytes, samples[i].len, &e) != 0)
            fail_msg("%s was refused: %s", samples[i].name, e.text);
    }
}

static void a_branch_out_of_the_code_is_refused(void **state)
{
    (void)state;
    struct error e;
    assert_int_equal(scan("\xeb\xfe", 2, &e), 0);               /* jmp to itself */
    assert_int_equal(scan("\xeb\x00", 2, &e), -ATOLL_ECOMPILE); /* jmp to the end */
    assert_int_equal(scan("\xeb\xfd", 2, &e), -ATOLL_ECOMPILE); /* jmp before the start */
    assert_int_equal(scan("\x90\x74\xfd", 3, &e), 0);           /* je to the start */
    assert_int_equal(scan("\xe8\xff\xff\xff\x7f", 5, &e), -ATOLL_ECOMPILE); /* call far away */
}

static void a_function_start_inside_an_instruction_is_refused(void **state)
{
    (void)state;
    static const uint8_t text[] = {0xb8, 0x90, 0x90, 0x90, 0x90, 0xc3}; /* mov eax, …; ret */
    struct error e;
    assert_int_equal(code_scan(text, sizeof text, (const uint32_t[]){0, 5}, 2, &e), 0);
    assert_int_equal(code_scan(text, sizeof text, (const uint32_t[]){0, 2}, 2, &e),
                     -ATOLL_ECOMPILE);
}

static void the_last_function_may_not_be_cut_off(void **state)
{
    (void)state;
    struct error e;
    assert_int_equal(scan("\xc3\xb8\x01", 3, &e), -ATOLL_ECOMPILE);
    assert_int_equal(e.offset, 1);
}

static void starts_out_of_order_or_beyond_the_text_are_refused(void **state)
{
    (void)state;
    static const uint8_t text[] = {0xc3, 0xc3};
    struct error e;
    assert_int_equal(code_scan(text, 2, (const uint32_t[]){1, 0}, 2, &e), -ATOLL_EINVAL);
    assert_int_equal(code_scan(text, 2, (const uint32_t[]){3}, 1, &e), -ATOLL_EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(instructions_that_leave_the_sandbox_are_refused),
        cmocka_unit_test(what_the_compiler_emits_is_accepted),
        cmocka_unit_test(a_branch_out_of_the_code_is_refused),
        cmocka_unit_test(a_function_start_inside_an_instruction_is_refused),
        cmocka_unit_test(the_last_function_may_not_be_cut_off),
        cmocka_unit_test(starts_out_of_order_or_beyond_the_text_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
