/* The file of receipts, cut off and damaged everywhere (src/ledger/client/receipt_store.c). */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "ledger_objects.h"
#include "scratch_directory.h"

#include "base/file.h"
#include "ledger/client/receipt_store.h"

#include <string.h>

#define RECEIPTS 6

static struct service service;
static struct batch batch;
static struct buffer receipts[RECEIPTS]; /* of transactions 9000 … */
static char path[PATH_MAX];

static int world_setup(void **state)
{
    scratch_create(state);
    snprintf(path, sizeof path, "%s/receipts", scratch);
    service_make(&service, 4);
    batch_make(&service, &batch, 0, 9, RECEIPTS);
    for (uint32_t i = 0; i < RECEIPTS; i++)
        batch_receipt(&service, &batch, i, 7, &receipts[i]);
    return 0;
}

static int world_teardown(void **state)
{
    for (uint32_t i = 0; i < RECEIPTS; i++)
        buffer_free(&receipts[i]);
    batch_free(&batch);
    service_free(&service);
    return scratch_destroy(state);
}

static struct ledger_receipt_store *store_open(void)
{
    struct ledger_receipt_store *store;
    struct error e;
    if (ledger_receipt_store_open(path, service.genesis.hash, &store, &e) < 0)
        fail_msg("%s", e.text);
    return store;
}

static void add(struct ledger_receipt_store *store, uint32_t i)
{
    struct error e;
    assert_int_equal(ledger_receipt_store_add(store, slice_of_buffer(&receipts[i]), &e), 0);
}

static bool has(struct ledger_receipt_store *store, uint32_t i)
{
    struct buffer out = {0};
    struct error e;
    int result = ledger_receipt_store_find(store, 9000 + i, &out, &e);
    assert_true(result == 0 || result == -ATOLL_ENOENT);
    if (result == 0)
        assert_true(slice_equal(slice_of_buffer(&out), slice_of_buffer(&receipts[i])));
    buffer_free(&out);
    return result == 0;
}

static struct ledger_receipt_store_status status_of(const struct ledger_receipt_store *store)
{
    struct ledger_receipt_store_status status;
    ledger_receipt_store_status(store, &status);
    return status;
}

/* The file with two keys' reservations and all receipts; ends[i] is the file's length after the
 * i-th record. */
static void file_fill(struct buffer *bytes, size_t ends[static RECEIPTS + 2])
{
    struct error e;
    unlink(path);
    struct ledger_receipt_store *store = store_open();
    size_t n = 0;
    for (uint32_t i = 0; i < RECEIPTS; i++) {
        if (i % 3 == 1) {
            assert_int_equal(ledger_receipt_store_reserve(
                                 store, secret_public(service.clients[i / 3]), 500 + i, &e),
                             0);
            ends[n++] = (size_t)status_of(store).bytes;
        }
        add(store, i);
        ends[n++] = (size_t)status_of(store).bytes;
    }
    assert_int_equal(ledger_receipt_store_sync(store, &e), 0);
    ledger_receipt_store_close(store);
    assert_int_equal(file_read(path, 1 << 20, bytes, &e), 0);
}

static void what_was_kept_is_there_after_opening_again(void **state)
{
    (void)state;
    struct buffer bytes = {0};
    size_t ends[RECEIPTS + 2];
    file_fill(&bytes, ends);
    struct ledger_receipt_store *store = store_open();
    for (uint32_t i = 0; i < RECEIPTS; i++)
        assert_true(has(store, i));
    assert_false(has(store, RECEIPTS));
    assert_int_equal(status_of(store).receipts, RECEIPTS);
    assert_int_equal(status_of(store).highest_index, 9000 + RECEIPTS - 1);
    assert_int_equal(status_of(store).damaged_bytes, 0);
    assert_int_equal(ledger_receipt_store_next(store, secret_public(service.clients[0])), 501);
    assert_int_equal(ledger_receipt_store_next(store, secret_public(service.clients[1])), 504);
    assert_int_equal(ledger_receipt_store_next(store, secret_public(service.clients[2])), 1);
    ledger_receipt_store_close(store);
    buffer_free(&bytes);
}

static void receipts_are_found_in_whatever_order_they_came(void **state)
{
    (void)state;
    unlink(path);
    struct ledger_receipt_store *store = store_open();
    static const uint32_t order[] = {3, 0, 5, 1, 4};
    for (unsigned i = 0; i < 5; i++) {
        add(store, order[i]);
        assert_true(has(store, order[i]) && has(store, order[0]));
    }
    assert_false(has(store, 2));
    ledger_receipt_store_close(store);
}

static void receipts_are_found_by_their_requests_too(void **state)
{
    (void)state;
    struct buffer out = {0};
    struct error e;
    uint8_t hash[HASH_LEN];
    unlink(path);
    struct ledger_receipt_store *store = store_open();
    for (uint32_t i = 0; i < RECEIPTS - 1; i++)
        add(store, i);
    for (uint32_t i = 0; i < RECEIPTS; i++) {
        struct ledger_receipt receipt;
        assert_int_equal(ledger_receipt_decode(slice_of_buffer(&receipts[i]), &receipt, &e), 0);
        ledger_request_hash(receipt.body.fields, hash);
        int result = ledger_receipt_store_find_request(store, hash, &out, &e);
        assert_int_equal(result, i < RECEIPTS - 1 ? 0 : -ATOLL_ENOENT);
        if (result == 0)
            assert_true(slice_equal(slice_of_buffer(&out), slice_of_buffer(&receipts[i])));
    }
    hash[31] ^= 1; /* the same first bytes */
    assert_int_equal(ledger_receipt_store_find_request(store, hash, &out, &e), -ATOLL_ENOENT);
    ledger_receipt_store_close(store);
    buffer_free(&out);
}

static void a_file_cut_off_anywhere_keeps_every_whole_record(void **state)
{
    (void)state;
    struct buffer bytes = {0};
    size_t ends[RECEIPTS + 2];
    struct error e;
    file_fill(&bytes, ends);
    for (size_t len = 0; len < bytes.len; len += len % 64 == 0 ? 1 : 7) {
        assert_int_equal(file_replace(path, bytes.data, len, 0600, &e), 0);
        struct ledger_receipt_store *store = store_open();
        uint64_t whole = 0;
        for (size_t i = 0; i < RECEIPTS + 2; i++)
            whole += ends[i] <= len;
        /* Records 1 and 5 are the reservations. */
        uint64_t reservations = (uint64_t)(whole > 1) + (uint64_t)(whole > 5);
        assert_int_equal(status_of(store).receipts, whole - reservations);
        if (whole > 1)
            assert_int_equal(ledger_receipt_store_next(store, secret_public(service.clients[0])),
                             501);
        assert_int_equal(status_of(store).damaged_bytes, 0);
        /* And it goes on from there. */
        add(store, RECEIPTS - 1);
        ledger_receipt_store_close(store);
        store = store_open();
        assert_true(has(store, RECEIPTS - 1));
        ledger_receipt_store_close(store);
    }
    buffer_free(&bytes);
}

static void a_damaged_record_is_passed_over_and_numbers_go_on_further_up(void **state)
{
    (void)state;
    struct buffer bytes = {0};
    size_t ends[RECEIPTS + 2];
    struct error e;
    file_fill(&bytes, ends);
    for (size_t at = 48; at < ends[RECEIPTS]; at += 37) {
        size_t hit = 0;
        while (ends[hit] <= at)
            hit++;
        bytes.data[at] ^= 0x10;
        assert_int_equal(file_replace(path, bytes.data, bytes.len, 0600, &e), 0);
        bytes.data[at] ^= 0x10;
        struct ledger_receipt_store *store = store_open();
        bool was_reservation = hit == 1 || hit == 5;
        assert_int_equal(status_of(store).receipts, RECEIPTS - (was_reservation ? 0 : 1));
        assert_int_equal(status_of(store).damaged_bytes, ends[hit] - (hit ? ends[hit - 1] : 48));
        if (hit != 5)
            assert_true(ledger_receipt_store_next(store, secret_public(service.clients[1])) >=
                        504 + LEDGER_RECEIPT_STORE_SKIP);
        ledger_receipt_store_close(store);
    }
    buffer_free(&bytes);
}

static void pages_that_never_reached_the_disk_do_not_hide_later_ones(void **state)
{
    (void)state;
    struct buffer bytes = {0};
    size_t ends[RECEIPTS + 2];
    struct error e;
    file_fill(&bytes, ends);
    memset(bytes.data + ends[2], 0, ends[5] - ends[2]);
    assert_int_equal(file_replace(path, bytes.data, bytes.len, 0600, &e), 0);
    struct ledger_receipt_store *store = store_open();
    assert_true(has(store, 0) && has(store, 1) && has(store, RECEIPTS - 1));
    assert_int_equal(status_of(store).damaged_bytes, ends[5] - ends[2]);
    ledger_receipt_store_close(store);
    buffer_free(&bytes);
}

static void a_file_has_one_owner_and_one_ledger(void **state)
{
    (void)state;
    struct ledger_receipt_store *second;
    struct error e;
    uint8_t other[HASH_LEN] = {1};
    unlink(path);
    struct ledger_receipt_store *store = store_open();
    assert_int_equal(ledger_receipt_store_open(path, service.genesis.hash, &second, &e),
                     -ATOLL_EBUSY);
    ledger_receipt_store_close(store);
    assert_int_equal(ledger_receipt_store_open(path, other, &second, &e), -ATOLL_EINVAL);
    static const char text[64] = "something else altogether, and long enough";
    assert_int_equal(file_replace(path, text, sizeof text, 0600, &e), 0);
    assert_int_equal(ledger_receipt_store_open(path, other, &second, &e), -ATOLL_ECORRUPT);
    unlink(path);
}

static void only_receipts_of_transactions_are_taken(void **state)
{
    (void)state;
    struct buffer whole = {0};
    struct error e;
    unlink(path);
    struct ledger_receipt_store *store = store_open();
    batch_receipt(&service, &batch, UINT32_MAX, 7, &whole);
    assert_int_equal(ledger_receipt_store_add(store, slice_of_buffer(&whole), &e), -ATOLL_ECORRUPT);
    assert_int_equal(ledger_receipt_store_add(store, text_slice("no receipt"), &e),
                     -ATOLL_ECORRUPT);
    assert_int_equal(status_of(store).receipts, 0);
    ledger_receipt_store_close(store);
    buffer_free(&whole);
}

static void damage_after_opening_is_noticed(void **state)
{
    (void)state;
    struct buffer out = {0};
    struct error e;
    unlink(path);
    struct ledger_receipt_store *store = store_open();
    add(store, 0);
    FILE *file = fopen(path, "r+b");
    assert_non_null(file);
    assert_true(fseek(file, 300, SEEK_SET) == 0 && fputc(0x5a, file) == 0x5a);
    fclose(file);
    assert_int_equal(ledger_receipt_store_find(store, 9000, &out, &e), -ATOLL_ECORRUPT);
    ledger_receipt_store_close(store);
    buffer_free(&out);
}

struct visitor {
    uint64_t last;
    unsigned whole, damaged, stop_at;
};

static int visit(void *context, uint64_t index, struct slice receipt, const struct error *damage)
{
    struct visitor *v = context;
    assert_true(index > v->last);
    assert_true((receipt.len == 0) == (damage != NULL));
    v->last = index;
    v->whole += damage == NULL;
    v->damaged += damage != NULL;
    return v->whole + v->damaged == v->stop_at ? 7 : 0;
}

static void all_are_visited_in_order_and_damaged_ones_are_told(void **state)
{
    (void)state;
    struct visitor all = {0}, some = {.stop_at = 2};
    struct error e;
    unlink(path);
    struct ledger_receipt_store *store = store_open();
    static const uint32_t order[] = {3, 0, 5, 1, 4, 2};
    for (unsigned i = 0; i < RECEIPTS; i++)
        add(store, order[i]);
    FILE *file = fopen(path, "r+b");
    assert_non_null(file);
    assert_true(fseek(file, 300, SEEK_SET) == 0 && fputc(0x5a, file) == 0x5a);
    fclose(file);
    assert_int_equal(ledger_receipt_store_visit(store, visit, &all, &e), 0);
    assert_int_equal(all.whole, RECEIPTS - 1);
    assert_int_equal(all.damaged, 1);
    assert_int_equal(ledger_receipt_store_visit(store, visit, &some, &e), 7);
    assert_int_equal(some.whole + some.damaged, 2);
    ledger_receipt_store_close(store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_kept_is_there_after_opening_again),
        cmocka_unit_test(receipts_are_found_in_whatever_order_they_came),
        cmocka_unit_test(receipts_are_found_by_their_requests_too),
        cmocka_unit_test(a_file_cut_off_anywhere_keeps_every_whole_record),
        cmocka_unit_test(a_damaged_record_is_passed_over_and_numbers_go_on_further_up),
        cmocka_unit_test(pages_that_never_reached_the_disk_do_not_hide_later_ones),
        cmocka_unit_test(a_file_has_one_owner_and_one_ledger),
        cmocka_unit_test(only_receipts_of_transactions_are_taken),
        cmocka_unit_test(damage_after_opening_is_noticed),
        cmocka_unit_test(all_are_visited_in_order_and_damaged_ones_are_told),
    };
    return cmocka_run_group_tests(tests, world_setup, world_teardown);
}
