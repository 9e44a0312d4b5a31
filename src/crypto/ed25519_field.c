/* Powers, roots and bytes of the field modulo 2^255 - 19 (ed25519_field.h). */
#include "crypto/ed25519_field.h"

#include "base/bytes.h"

#include <string.h>

const struct field field_zero = {{0}};
const struct field field_one = {{1}};
const struct field field_d = {
    {0x34dca135978a3, 0x1a8283b156ebd, 0x5e7a26001c029, 0x739c663a03cbb, 0x52036cee2b6ff}};
const struct field field_2d = {
    {0x69b9426b2f159, 0x35050762add7a, 0x3cf44c0038052, 0x6738cc7407977, 0x2406d9dc56dff}};
static const struct field root_of_minus_one = {
    {0x61b274a0ea0b0, 0xd5a5fc8f189d, 0x7ef5e9cbd0c60, 0x78595a6804c9e, 0x2b8324804fc1d}};

struct field field_from_bytes(const uint8_t bytes[static 32])
{
    uint64_t w0 = load_u64(bytes), w1 = load_u64(bytes + 8), w2 = load_u64(bytes + 16),
             w3 = load_u64(bytes + 24);
    return (struct field){{
        w0 & FIELD_LIMB_MASK,
        (w0 >> 51 | w1 << 13) & FIELD_LIMB_MASK,
        (w1 >> 38 | w2 << 26) & FIELD_LIMB_MASK,
        (w2 >> 25 | w3 << 39) & FIELD_LIMB_MASK,
        (w3 >> 12) & FIELD_LIMB_MASK,
    }};
}

/* The representation below p. After two carries the value is below 2p, with limbs of 51 bits but
 * for a limb 0 that may be 18 too large at most; adding 19 then overflows 2^255 exactly when the
 * value is at least p. */
static struct field field_canonical(const struct field *a)
{
    struct field t = field_carry(field_carry(*a));
    uint64_t over = (t.limb[0] + 19) >> FIELD_LIMB_BITS;
    for (int i = 1; i < FIELD_LIMBS; i++)
        over = (t.limb[i] + over) >> FIELD_LIMB_BITS;
    t.limb[0] += 19 * over;
    for (int i = 0; i < FIELD_LIMBS - 1; i++) {
        t.limb[i + 1] += t.limb[i] >> FIELD_LIMB_BITS;
        t.limb[i] &= FIELD_LIMB_MASK;
    }
    t.limb[4] &= FIELD_LIMB_MASK;
    return t;
}

void field_to_bytes(const struct field *a, uint8_t out[static 32])
{
    struct field t = field_canonical(a);
    store_u64(out, t.limb[0] | t.limb[1] << 51);
    store_u64(out + 8, t.limb[1] >> 13 | t.limb[2] << 38);
    store_u64(out + 16, t.limb[2] >> 26 | t.limb[3] << 25);
    store_u64(out + 24, t.limb[3] >> 39 | t.limb[4] << 12);
}

bool field_equal(const struct field *a, const struct field *b)
{
    struct field x = field_canonical(a), y = field_canonical(b);
    return memcmp(&x, &y, sizeof x) == 0;
}

bool field_is_zero(const struct field *a)
{
    return field_equal(a, &field_zero);
}

unsigned field_is_odd(const struct field *a)
{
    return (unsigned)(field_canonical(a).limb[0] & 1);
}

/* a^(2^250 - 1), and a^11 by the way, which the inverse needs. */
static struct field power_2_250_minus_1(const struct field *a, struct field *a11)
{
    struct field a2 = field_square(a);
    struct field t = field_square_times(&a2, 2);
    struct field a9 = field_multiply(a, &t);
    *a11 = field_multiply(&a9, &a2);
    t = field_square(a11);
    struct field run5 = field_multiply(&t, &a9); /* runN: exponent of N ones */
    t = field_square_times(&run5, 5);
    struct field run10 = field_multiply(&t, &run5);
    t = field_square_times(&run10, 10);
    struct field run20 = field_multiply(&t, &run10);
    t = field_square_times(&run20, 20);
    t = field_multiply(&t, &run20);
    t = field_square_times(&t, 10);
    struct field run50 = field_multiply(&t, &run10);
    t = field_square_times(&run50, 50);
    struct field run100 = field_multiply(&t, &run50);
    t = field_square_times(&run100, 100);
    t = field_multiply(&t, &run100);
    t = field_square_times(&t, 50);
    return field_multiply(&t, &run50);
}

struct field field_power_2_252_minus_3(const struct field *a)
{
    struct field a11;
    struct field t = power_2_250_minus_1(a, &a11);
    t = field_square_times(&t, 2);
    return field_multiply(&t, a);
}

/* p - 2 = 2^255 - 21 = (2^250 - 1)·2^5 + 11. */
struct field field_invert(const struct field *a)
{
    struct field a11;
    struct field t = power_2_250_minus_1(a, &a11);
    t = field_square_times(&t, 5);
    return field_multiply(&t, &a11);
}

bool field_root_settle(const struct field *u, const struct field *v, struct field *r)
{
    struct field square = field_square(r);
    struct field check = field_multiply(&square, v);
    if (field_equal(&check, u))
        return true;
    struct field minus_u = field_negate(u);
    if (!field_equal(&check, &minus_u))
        return false;
    *r = field_multiply(r, &root_of_minus_one);
    return true;
}
