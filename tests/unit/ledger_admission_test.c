/* How many handshakes strangers may cost a replica (src/ledger/service/admission). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "ledger/service/admission.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>

#define START_US UINT64_C(1000000000)

static struct admission all;

static int setup(void **state)
{
    struct error e;
    (void)state;
    return admission_init(&all, &e);
}

static struct sockaddr_storage v4(uint32_t host)
{
    struct sockaddr_storage s = {0};
    struct sockaddr_in in = {.sin_family = AF_INET,
                             .sin_addr.s_addr = htonl(host),
                             .sin_port = htons((uint16_t)(host * 7))};
    memcpy(&s, &in, sizeof in);
    return s;
}

static struct sockaddr_storage v6(const char *text)
{
    struct sockaddr_storage s = {0};
    struct sockaddr_in6 in = {.sin6_family = AF_INET6};
    assert_int_equal(inet_pton(AF_INET6, text, &in.sin6_addr), 1);
    memcpy(&s, &in, sizeof in);
    return s;
}

/* How many of `count` that come at once from the source are served. */
static unsigned served(struct sockaddr_storage from, bool replica, uint64_t now_us, unsigned count)
{
    unsigned n = 0;
    for (unsigned i = 0; i < count; i++)
        n += admission_ask(&all, (struct sockaddr *)&from, replica, now_us);
    return n;
}

static void a_source_has_its_burst_and_then_its_rate(void **state)
{
    (void)state;
    assert_int_equal(served(v4(1), false, START_US, 2 * ADMISSION_SOURCE_BURST),
                     ADMISSION_SOURCE_BURST);
    assert_int_equal(served(v4(1), false, START_US + 1000000, 2 * ADMISSION_SOURCE_RATE),
                     ADMISSION_SOURCE_RATE);
    uint64_t rested = START_US + UINT64_C(1000000) * (ADMISSION_SOURCE_BURST + 60);
    assert_int_equal(served(v4(1), false, rested, 2 * ADMISSION_SOURCE_BURST),
                     ADMISSION_SOURCE_BURST);
}

static void one_source_does_not_use_up_what_another_has(void **state)
{
    (void)state;
    served(v4(1), false, START_US, 10 * ADMISSION_SOURCE_BURST);
    assert_int_equal(served(v4(2), false, START_US, 10), 10);
}

static void all_sources_together_have_a_burst_and_a_rate(void **state)
{
    (void)state;
    unsigned n = 0;
    for (uint32_t host = 0; host < 4 * ADMISSION_ALL_BURST; host++)
        n += served(v4(host), false, START_US, 1);
    assert_int_equal(n, ADMISSION_ALL_BURST);
    for (uint32_t host = 0; host < 4 * ADMISSION_ALL_BURST; host++)
        n += served(v4(host), false, START_US + 1000000, 1);
    /* The interval between two is rounded down to a microsecond. */
    assert_in_range(n, ADMISSION_ALL_BURST + ADMISSION_ALL_RATE,
                    ADMISSION_ALL_BURST + ADMISSION_ALL_RATE + 1);
}

static void a_crowd_of_strangers_does_not_keep_replicas_out(void **state)
{
    (void)state;
    for (uint32_t host = 100; host < 100 + 2 * ADMISSION_ALL_BURST; host++)
        served(v4(host), false, START_US, 1);
    assert_int_equal(served(v4(1), false, START_US, 1), 0);
    assert_int_equal(served(v4(1), true, START_US, 1), 1);
    /* But they have their own limit, too. */
    assert_int_equal(served(v4(2), true, START_US, 10 * ADMISSION_SOURCE_BURST),
                     ADMISSION_SOURCE_BURST);
}

static void more_sources_than_are_remembered_are_still_bounded_together(void **state)
{
    (void)state;
    unsigned n = 0;
    for (unsigned round = 0; round < 4; round++)
        for (uint32_t host = 0; host < 3 * ADMISSION_SOURCES; host++)
            n += served(v4(host), false, START_US, 1);
    assert_int_equal(n, ADMISSION_ALL_BURST);
}

static void a_source_is_an_ipv4_address_or_a_64_of_ipv6(void **state)
{
    (void)state;
    struct sockaddr_storage plain = v4(0x01020304), mapped = v6("::ffff:1.2.3.4"),
                            one = v6("2001:db8:1:2::1"), other = v6("2001:db8:1:2:ffff::7"),
                            far = v6("2001:db8:1:3::1"), port = v4(0x01020304);
    ((struct sockaddr_in *)&port)->sin_port = 77;
    struct sockaddr *a = (struct sockaddr *)&plain;
    assert_true(admission_same_source(a, (struct sockaddr *)&mapped));
    assert_true(admission_same_source(a, (struct sockaddr *)&port));
    assert_true(admission_same_source((struct sockaddr *)&one, (struct sockaddr *)&other));
    assert_false(admission_same_source((struct sockaddr *)&one, (struct sockaddr *)&far));
    assert_false(admission_same_source(a, (struct sockaddr *)&one));
    served(one, false, START_US, 10 * ADMISSION_SOURCE_BURST);
    assert_int_equal(served(other, false, START_US, 1), 0);
    assert_int_equal(served(far, false, START_US, 1), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_source_has_its_burst_and_then_its_rate, setup),
        cmocka_unit_test_setup(one_source_does_not_use_up_what_another_has, setup),
        cmocka_unit_test_setup(all_sources_together_have_a_burst_and_a_rate, setup),
        cmocka_unit_test_setup(a_crowd_of_strangers_does_not_keep_replicas_out, setup),
        cmocka_unit_test_setup(more_sources_than_are_remembered_are_still_bounded_together, setup),
        cmocka_unit_test_setup(a_source_is_an_ipv4_address_or_a_64_of_ipv6, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
