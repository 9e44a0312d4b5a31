/* What every decoder of the ledger must keep to, for the tests that have samples. */
#ifndef TESTS_LEDGER_CANONICAL_H
#define TESTS_LEDGER_CANONICAL_H

#include "ledger_again.h"

#include <stdlib.h>

/* Decodes a copy that ends where its memory ends, so that a sanitizer sees a byte read too far. */
static inline int canonical_try(again_function *again, struct slice bytes, struct buffer *out)
{
    struct error e = {0};
    uint8_t *copy = malloc(bytes.len ? bytes.len : 1);
    assert_non_null(copy);
    if (bytes.len)
        memcpy(copy, bytes.data, bytes.len);
    out->len = 0;
    int result = again(slice_of(copy, bytes.len), out, &e);
    if (result < 0)
        assert_true(e.code == result && e.text[0] != '\0');
    free(copy);
    return result;
}

static inline void canonical_expect_same(const char *name, struct slice found, struct slice wanted)
{
    if (!slice_equal(found, wanted))
        fail_msg("%s: %zu bytes were accepted and came back as %zu other ones", name, wanted.len,
                 found.len);
}

/*
 * The sample comes back as it is; no beginning of it and nothing longer is accepted; and with any
 * byte changed it is refused, or comes back as changed.
 */
static inline void canonical_check(const char *name, again_function *again, struct slice sample)
{
    struct buffer out = {0}, changed = {0};
    if (canonical_try(again, sample, &out) < 0)
        fail_msg("%s: the sample is refused", name);
    canonical_expect_same(name, slice_of_buffer(&out), sample);
    for (size_t len = 0; len < sample.len; len++)
        if (canonical_try(again, slice_of(sample.data, len), &out) == 0)
            fail_msg("%s: its first %zu of %zu bytes are accepted", name, len, sample.len);
    assert_true(buffer_append(&changed, sample.data, sample.len) && buffer_append(&changed, "", 1));
    if (canonical_try(again, slice_of_buffer(&changed), &out) == 0)
        fail_msg("%s: accepted with a byte after its end", name);
    changed.len--;
    static const uint8_t changes[] = {0x01, 0x80, 0xff};
    for (size_t i = 0; i < sample.len; i++) {
        for (size_t c = 0; c < sizeof changes; c++) {
            changed.data[i] = sample.data[i] ^ changes[c];
            if (canonical_try(again, slice_of_buffer(&changed), &out) == 0)
                canonical_expect_same(name, slice_of_buffer(&out), slice_of_buffer(&changed));
        }
        changed.data[i] = sample.data[i];
    }
    buffer_free(&out);
    buffer_free(&changed);
}

#endif
