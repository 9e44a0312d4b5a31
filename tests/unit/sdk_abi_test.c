/* The guest's header as the host sees it: the same error codes, the layouts of WebAssembly. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "atoll/errors.h"

#define ATOLL_ABI_ONLY
#include <atoll.h>
#include <string.h>

#include "sdk_codes.h"

static void guest_and_host_have_the_same_error_codes(void **state)
{
    (void)state;
    int count = 0;
    for (const struct sdk_code *code = sdk_codes; code->name; code++, count++) {
        assert_int_equal(code->value, count);
        assert_string_equal(atoll_error_name(-code->value), code->name);
    }
    /* The host has no code that the guest lacks. */
    assert_string_equal(atoll_error_name(-count), "unknown error");
}

static void the_host_sees_the_layouts_of_the_guest(void **state)
{
    (void)state;
    assert_int_equal(sizeof(struct atoll_call_info), 248);
    assert_int_equal(sizeof(struct atoll_chain_opts), 48);
    assert_int_equal(sizeof(struct atoll_result), 48);
    assert_int_equal(sizeof(atoll_addr), 4);
    assert_int_equal(offsetof(struct atoll_call_info, deadline_ns), 32);
    assert_int_equal(offsetof(struct atoll_call_info, tenant), 80);
    assert_int_equal(offsetof(struct atoll_call_info, version), 208);
    assert_int_equal(offsetof(struct atoll_chain_opts, affinity_ptr), 24);
    assert_int_equal(offsetof(struct atoll_chain_opts, policy_len), 44);
    assert_int_equal(offsetof(struct atoll_result, queue_ns), 24);
    assert_int_equal(offsetof(struct atoll_result, node), 40);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(guest_and_host_have_the_same_error_codes),
        cmocka_unit_test(the_host_sees_the_layouts_of_the_guest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
