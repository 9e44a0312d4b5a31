/* Finding a transaction in a ledger and making its receipt (src/ledger/check/lookup.h). */
#include "ledger_story.h"

#include "ledger/check/lookup.h"

static int story_read(void *context, uint64_t position, struct buffer *out, uint8_t *type,
                      struct error *e)
{
    const struct copy *c = context;
    assert_true(position < c->count);
    (void)e;
    *type = c->entries[position].type;
    return buffer_append(out, c->entries[position].bytes.data, c->entries[position].bytes.len)
               ? 0
               : -ATOLL_ENOMEM;
}

static void every_transaction_is_found_and_its_receipt_holds(void **state)
{
    (void)state;
    struct copy c;
    struct error e;
    struct ledger_keys keys = ledger_keys_of(&made.cluster->genesis);
    copy_open(&c);
    struct ledger_entry_source source = {&c, story_read, c.count};
    for (uint64_t index = 0; index <= 17; index++) {
        struct ledger_lookup found = {0};
        struct ledger_receipt_info info;
        struct buffer receipt = {0};
        int rc = ledger_lookup_tx(&source, index, &found, &e);
        assert_int_equal(rc, index == 0 || index == 17 ? -ATOLL_ENOENT : 0);
        if (rc == 0) {
            rc = ledger_lookup_receipt(&source, &made.cluster->genesis, &found, &receipt, &e);
            if (rc != 0)
                fail_msg("index %llu: %s", (unsigned long long)index, e.text);
            rc = ledger_receipt_verify(slice_of_buffer(&receipt), &keys, NULL, &info, &e);
            if (rc != 0)
                fail_msg("index %llu: %s", (unsigned long long)index, e.text);
            assert_int_equal(info.receipt.tx.index, index);
            source.end = found.position + 1; /* as long as its evidence has not come */
            receipt.len = 0;
            assert_int_equal(
                ledger_lookup_receipt(&source, &made.cluster->genesis, &found, &receipt, &e),
                -ATOLL_EAGAIN);
            source.end = c.count;
        }
        buffer_free(&receipt);
        ledger_lookup_free(&found);
    }
    copy_close(&c);
}

/* What reading gives instead of an entry. */
struct spoilt {
    struct copy copy;
    size_t at;   /* the entry that cannot be read; SIZE_MAX: none */
    bool failed; /* it was asked for */
};

static int spoilt_read(void *context, uint64_t position, struct buffer *out, uint8_t *type,
                       struct error *e)
{
    struct spoilt *s = context;
    if (position != s->at)
        return story_read(&s->copy, position, out, type, e);
    s->failed = true;
    *type = LEDGER_ENTRY_PP;
    return error_set(e, ATOLL_EIO, "it cannot be read");
}

static int receipt_of(struct spoilt *s, uint64_t index, struct error *e)
{
    struct ledger_entry_source source = {s, spoilt_read, s->copy.count};
    struct ledger_lookup found = {0};
    struct buffer receipt = {0};
    int rc = ledger_lookup_tx(&source, index, &found, e);
    if (rc == 0)
        rc = ledger_lookup_receipt(&source, &made.cluster->genesis, &found, &receipt, e);
    buffer_free(&receipt);
    ledger_lookup_free(&found);
    return rc;
}

static void what_cannot_be_read_or_makes_no_sense_gives_no_receipt(void **state)
{
    (void)state;
    struct error e;
    struct spoilt s = {.at = SIZE_MAX};
    copy_open(&s.copy);
    size_t pp = pp_find(&s.copy, LEDGER_KIND_NORMAL, 3), end = s.copy.count;
    uint64_t index = pp_at(&s.copy, pp).first_index;
    assert_int_equal(receipt_of(&s, index, &e), 0);
    for (s.at = 0; s.at < end; s.at++) { /* whatever is asked for and fails is told */
        s.failed = false;
        int rc = receipt_of(&s, index, &e);
        assert_int_equal(rc, s.failed ? -ATOLL_EIO : 0);
    }
    s.at = SIZE_MAX;
    s.copy.entries[pp + 1].bytes.len = 7; /* a transaction without an index */
    assert_int_equal(receipt_of(&s, index, &e), -ATOLL_ECORRUPT);
    copy_close(&s.copy);

    copy_open(&s.copy); /* a transaction without a batch */
    s.copy.entries[pp].type = LEDGER_ENTRY_VCSET;
    assert_int_equal(receipt_of(&s, index, &e), -ATOLL_ECORRUPT);
    assert_non_null(strstr(e.text, "has no batch"));
    copy_close(&s.copy);

    copy_open(&s.copy); /* evidence of fewer than its bits say */
    size_t evidence = entry_find(&s.copy, LEDGER_ENTRY_EVIDENCE, pp, CLUSTER_P - 1);
    s.copy.entries[evidence].bytes.data[16] ^= 8;
    assert_int_equal(receipt_of(&s, index, &e), -ATOLL_ECORRUPT);
    copy_close(&s.copy);

    copy_open(&s.copy); /* a batch that is said to be longer than it is */
    struct ledger_pp longer = pp_at(&s.copy, pp);
    longer.count++;
    pp_put(&s.copy, pp, &longer);
    assert_true(receipt_of(&s, index, &e) < 0);
    copy_close(&s.copy);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_transaction_is_found_and_its_receipt_holds),
        cmocka_unit_test(what_cannot_be_read_or_makes_no_sense_gives_no_receipt),
    };
    if (sodium_init() < 0)
        return 1;
    return cmocka_run_group_tests(tests, story_make, story_drop);
}
