/* Which addresses guests may reach and how fast (src/node/address.c, worker/shape.c). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "node/address.h"
#include "node/worker/shape.h"

#include <arpa/inet.h>
#include <stdlib.h>

static struct address address(const char *text)
{
    struct address a;
    uint8_t bytes[16];
    bool six = strchr(text, ':') != NULL;
    assert_int_equal(inet_pton(six ? AF_INET6 : AF_INET, text, bytes), 1);
    assert_true(address_from(bytes, six ? 16 : 4, &a));
    return a;
}

static void what_no_manifest_can_allow_is_refused_in_every_notation(void **state)
{
    (void)state;
    static const char *const never[] = {
        "127.0.0.1",
        "127.255.255.255",
        "0.0.0.0",
        "0.1.2.3",
        "169.254.169.254",
        "224.0.0.1",
        "239.1.1.1",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "fe80::1",
        "febf::1",
        "ff02::1",
        "::ffff:127.0.0.1",
        "::ffff:169.254.169.254",
        "::127.0.0.1",
        "64:ff9b::7f00:1",
        "::ffff:0:127.0.0.1",
        "2002:7f00:1::",
    };
    static const char *const fine[] = {"8.8.8.8",   "10.0.0.1",       "192.168.1.1",
                                       "128.0.0.1", "2001:db8::1",    "fec0::1",
                                       "fd00::1",   "::ffff:8.8.8.8", "168.254.1.1"};
    for (size_t k = 0; k < sizeof never / sizeof *never; k++) {
        struct address a = address(never[k]);
        if (!address_forbidden(&a))
            fail_msg("%s may be reached", never[k]);
    }
    for (size_t k = 0; k < sizeof fine / sizeof *fine; k++) {
        struct address a = address(fine[k]);
        if (address_forbidden(&a))
            fail_msg("%s may not be reached", fine[k]);
    }
}

static void an_ipv4_address_is_itself_inside_an_ipv6_one(void **state)
{
    (void)state;
    struct address a = address("::ffff:10.1.2.3"), b = address("10.1.2.3");
    assert_true(address_equal(&a, &b));
    assert_true(address_in(&a, "10.0.0.0/8"));
    uint8_t odd[5] = {0};
    assert_false(address_from(odd, 5, &a));
}

static void ranges_cover_what_they_say(void **state)
{
    (void)state;
    static const struct {
        const char *address, *host;
        bool in;
    } cases[] = {
        {"10.1.2.3", "10.1.2.3", true},          {"10.1.2.4", "10.1.2.3", false},
        {"10.1.2.3", "10.1.0.0/16", true},       {"10.2.2.3", "10.1.0.0/16", false},
        {"10.1.2.3", "10.1.2.2/31", true},       {"10.1.2.4", "10.1.2.2/31", false},
        {"8.8.8.8", "0.0.0.0/0", true},          {"2001:db8::5", "2001:db8::/32", true},
        {"2001:db9::5", "2001:db8::/32", false}, {"2001:db8::5", "2001:db8::4/127", true},
        {"10.1.2.3", "2001:db8::/32", false},    {"10.1.2.3", "10.1.2.3/33", false},
        {"10.1.2.3", "10.1.2.3/", false},        {"10.1.2.3", "10.1.2.3/8x", false},
        {"10.1.2.3", "db.internal", false},      {"10.1.2.3", "", false},
    };
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        struct address a = address(cases[k].address);
        if (address_in(&a, cases[k].host) != cases[k].in)
            fail_msg("%s in %s", cases[k].address, cases[k].host);
    }
}

#define SECOND 1000000000ll

/* Sends pieces of this size as fast as the bucket lets through; bytes after 5 s. */
static double sent_in_five_seconds(uint64_t rate, uint64_t burst, uint64_t piece)
{
    struct bucket b;
    int64_t now = 77;
    uint64_t sent = 0;
    bucket_begin(&b, rate, burst, now);
    while (now < 77 + 5 * SECOND) {
        int64_t at = bucket_wait(&b, now);
        if (at) {
            assert_true(at > now);
            now = at;
            continue;
        }
        bucket_charge(&b, piece, now);
        sent += piece;
        now += 1000; /* what the operation takes */
    }
    return (double)sent;
}

static void the_rate_holds_for_pieces_of_every_size(void **state)
{
    (void)state;
    static const uint64_t pieces[] = {1, 100, 1460, 65536, 1 << 20};
    const uint64_t rate = 10 << 20, burst = 1 << 20;
    for (size_t k = 1; k < sizeof pieces / sizeof *pieces; k++) {
        double wanted = 5.0 * (double)rate + (double)burst;
        double ratio = sent_in_five_seconds(rate, burst, pieces[k]) / wanted;
        assert_true(ratio > 0.95 && ratio < 1.05);
    }
    /* Slow ones, whose bytes come one at a time. */
    double sent = sent_in_five_seconds(100, 10, 1);
    assert_true(sent > 480 && sent < 540);
}

static void a_bucket_that_rests_fills_to_its_burst_and_no_further(void **state)
{
    (void)state;
    struct bucket b;
    bucket_begin(&b, 1000, 500, 0);
    bucket_charge(&b, 500, 0);
    assert_int_equal(bucket_wait(&b, 0), 1000001); /* one byte takes a millisecond */
    assert_int_equal(bucket_wait(&b, 3600 * SECOND), 0);
    assert_int_equal(b.tokens, 500);
    bucket_charge(&b, 1500, 3600 * SECOND); /* a debt of a second */
    int64_t at = bucket_wait(&b, 3600 * SECOND);
    assert_true(at > 3601 * SECOND && at < 3601 * SECOND + SECOND / 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_no_manifest_can_allow_is_refused_in_every_notation),
        cmocka_unit_test(an_ipv4_address_is_itself_inside_an_ipv6_one),
        cmocka_unit_test(ranges_cover_what_they_say),
        cmocka_unit_test(the_rate_holds_for_pieces_of_every_size),
        cmocka_unit_test(a_bucket_that_rests_fills_to_its_burst_and_no_further),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
