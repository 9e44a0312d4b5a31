/*
 * Batch verification (ed25519_batch.h).
 *
 * A piece of at most `capacity` items goes through these steps:
 *
 *   read    S canonical? key known in this piece? k = SHA-512(R ‖ A ‖ message) mod L
 *   decode  all keys and all R, eight at a time where the processor can
 *   judge   the sum over a group (ed25519_straus.h, ed25519_pippenger.h); halves of it when it is
 *           not zero; single checks at the end
 *
 * Keys of the piece lie in a table with open addressing. Its hash is keyed with random words, so
 * that nobody can send keys that all fall on one place. Few are looked through without it.
 */
#include "crypto/ed25519_batch.h"

#include "base/bytes.h"
#include "base/random.h"
#include "crypto/ed25519_equation.h"
#include "crypto/ed25519_ifma.h"
#include "crypto/ed25519_pippenger.h"
#include "crypto/ed25519_straus.h"
#include "crypto/hash.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define SINGLES_MAX 8 /* a group with a bad signature is not halved below this */
/* A sum over fewer costs more than single checks. */
#define GROUP_MIN_PORTABLE 8
#define GROUP_MIN_IFMA     2
/* Sums of up to so many signatures go by rows of doublings, those of more by buckets. */
#define FEW_MAX 128
/* Among up to so many signatures a key is looked for without the table. */
#define SEEN_MAX 15

#define ALIGNMENT 64
#define NO_KEY    UINT32_MAX

struct batch_key {
    const uint8_t *bytes;
    struct point point;
    struct point_lanes cached;
    struct scalar_sum sum; /* of z·k over the group `group` */
    uint32_t group;
    bool decoded;
};

struct batch_signature {
    struct point_lanes commitment; /* R */
    struct scalar s, k;
    size_t item;
    uint32_t key;
    bool decoded;
};

struct ed25519_batch {
    size_t capacity, slots; /* slots: a power of two, at least twice the capacity */
    enum ed25519_kernel kernel;
    struct pippenger *pippenger;
    struct straus *straus;              /* NULL: without the vector kernel */
    struct batch_signature *signatures; /* those read so far, `count` of them */
    size_t count;
    struct batch_key *keys;
    uint32_t key_count, group;
    uint32_t *slot; /* of the table: a key's index or NO_KEY */
    uint64_t hash_word[4];
    uint64_t (*coefficients)[2];
    uint32_t *group_keys;
    const struct ed25519_item *items;
    bool *valid;
    uint64_t singles; /* checked so */
};

void ed25519_batch_destroy(struct ed25519_batch *b)
{
    if (!b)
        return;
    pippenger_destroy(b->pippenger);
    straus_destroy(b->straus);
    free(b->signatures);
    free(b->keys);
    free(b->slot);
    free(b->coefficients);
    free(b->group_keys);
    free(b);
}

static int kernel_choose(enum ed25519_kernel *kernel, struct error *e)
{
    bool ifma = ifma_available();
    if (*kernel == ED25519_KERNEL_IFMA && !ifma)
        return error_set(e, ATOLL_ECPU,
                         "this processor has no AVX-512 IFMA: use the portable "
                         "verifier");
    if (*kernel == ED25519_KERNEL_BEST)
        *kernel = ifma ? ED25519_KERNEL_IFMA : ED25519_KERNEL_PORTABLE;
    return 0;
}

static bool room_allocate(struct ed25519_batch *b)
{
    for (b->slots = 2; b->slots < 2 * b->capacity;)
        b->slots *= 2;
    size_t n = b->capacity;
    b->pippenger = pippenger_create(2 * n + 1, b->kernel);
    if (b->kernel == ED25519_KERNEL_IFMA &&
        !(b->straus = straus_create(2 * (n < FEW_MAX ? n : FEW_MAX))))
        return false;
    b->signatures = aligned_alloc(ALIGNMENT, align_up(n * sizeof *b->signatures, ALIGNMENT));
    b->keys = aligned_alloc(ALIGNMENT, align_up(n * sizeof *b->keys, ALIGNMENT));
    b->slot = malloc(b->slots * sizeof *b->slot);
    b->coefficients = malloc(n * sizeof *b->coefficients);
    b->group_keys = malloc(n * sizeof *b->group_keys);
    return b->pippenger && b->signatures && b->keys && b->slot && b->coefficients && b->group_keys;
}

int ed25519_batch_create(size_t capacity, enum ed25519_kernel kernel, struct ed25519_batch **out,
                         struct error *e)
{
    *out = NULL;
    if (capacity < 1 || capacity > ED25519_BATCH_MAX)
        return error_set(e, ATOLL_EINVAL, "a batch of %zu signatures: it takes 1 to %d", capacity,
                         ED25519_BATCH_MAX);
    int result = kernel_choose(&kernel, e);
    if (result < 0)
        return result;
    struct ed25519_batch *b = calloc(1, sizeof *b);
    if (b) {
        b->capacity = capacity;
        b->kernel = kernel;
        if (room_allocate(b)) {
            *out = b;
            return 0;
        }
    }
    ed25519_batch_destroy(b);
    return error_set(e, ATOLL_ENOMEM, "no memory for a batch of %zu signatures", capacity);
}

/* ---- read ---- */

static size_t key_slot(const struct ed25519_batch *b, const uint8_t *bytes)
{
    uint64_t hash = 0;
    for (size_t i = 0; i < 4; i++) {
        unsigned __int128 product = (unsigned __int128)(load_u64(bytes + 8 * i) ^ b->hash_word[i]) *
                                    (b->hash_word[(i + 1) % 4] | 1);
        hash += (uint64_t)product ^ (uint64_t)(product >> 64);
    }
    return (size_t)(hash ^ hash >> 32) & (b->slots - 1);
}

/* A new key, undecoded. */
static uint32_t key_append(struct ed25519_batch *b, const uint8_t *bytes)
{
    assert(b->key_count < b->capacity);
    b->keys[b->key_count].bytes = bytes;
    b->keys[b->key_count].group = 0;
    return b->key_count++;
}

/* The key's index; a new one is put at the end. */
static uint32_t key_find_hashed(struct ed25519_batch *b, const uint8_t *bytes)
{
    size_t at = key_slot(b, bytes);
    for (; b->slot[at] != NO_KEY; at = (at + 1) & (b->slots - 1))
        if (memcmp(b->keys[b->slot[at]].bytes, bytes, ED25519_KEY_LEN) == 0)
            return b->slot[at];
    b->slot[at] = b->key_count;
    return key_append(b, bytes);
}

/* The same, among few. */
static uint32_t key_find(struct ed25519_batch *b, const uint8_t *bytes)
{
    for (uint32_t i = 0; i < b->key_count; i++)
        if (memcmp(b->keys[i].bytes, bytes, ED25519_KEY_LEN) == 0)
            return i;
    return key_append(b, bytes);
}

/* Negative without random bytes. Few need no table. */
static int table_clear(struct ed25519_batch *b, size_t count)
{
    if (count <= SEEN_MAX)
        return 0;
    memset(b->slot, 0xff, b->slots * sizeof *b->slot);
    return random_bytes(b->hash_word, sizeof b->hash_word);
}

static void items_read(struct ed25519_batch *b, size_t count)
{
    b->count = b->key_count = 0;
    b->group = 0;
    for (size_t i = 0; i < count; i++) {
        const struct ed25519_item *item = &b->items[i];
        struct batch_signature *signature = &b->signatures[b->count];
        b->valid[i] = false;
        if (!scalar_from_canonical(item->signature + 32, &signature->s))
            continue;
        uint8_t hash[HASH_SHA512_LEN];
        const struct hash_part parts[] = {{item->signature, 32},
                                          {item->public_key, ED25519_KEY_LEN},
                                          {item->message, item->message_len}};
        hash_sha512_parts(parts, 3, hash);
        signature->k = scalar_from_hash(hash);
        signature->item = i;
        signature->key = count <= SEEN_MAX ? key_find(b, item->public_key)
                                           : key_find_hashed(b, item->public_key);
        b->count++;
    }
}

/* ---- decode ---- */

/* The i-th encoding to decode: first the keys, then the R of the signatures. */
static const uint8_t *encoding_at(const struct ed25519_batch *b, size_t i)
{
    return i < b->key_count ? b->keys[i].bytes
                            : b->items[b->signatures[i - b->key_count].item].signature;
}

static void decoded_set(struct ed25519_batch *b, size_t i, bool decoded, const struct point *point)
{
    if (i < b->key_count) {
        struct batch_key *key = &b->keys[i];
        key->decoded = decoded;
        if (decoded) {
            key->point = *point;
            key->cached = point_cache(point);
        }
    } else {
        struct batch_signature *signature = &b->signatures[i - b->key_count];
        signature->decoded = decoded;
        if (decoded)
            signature->commitment = point_cache(point);
    }
}

static void points_decode(struct ed25519_batch *b)
{
    size_t count = b->key_count + b->count;
    for (size_t at = 0; at < count;) {
        struct point points[IFMA_LANES];
        size_t taken = b->kernel == ED25519_KERNEL_IFMA ? IFMA_LANES : 1;
        unsigned decoded;
        if (b->kernel == ED25519_KERNEL_IFMA) {
            const uint8_t *bytes[IFMA_LANES];
            for (size_t j = 0; j < IFMA_LANES; j++)
                bytes[j] = encoding_at(b, at + j < count ? at + j : at);
            decoded = ifma_decode(bytes, points);
        } else {
            decoded = point_decode(encoding_at(b, at), &points[0]);
        }
        for (size_t j = 0; j < taken && at + j < count; j++)
            decoded_set(b, at + j, decoded >> j & 1, &points[j]);
        at += taken;
    }
}

/* Leaves only signatures whose points exist; of the others the verdict is known. */
static void signatures_sift(struct ed25519_batch *b)
{
    size_t kept = 0;
    for (size_t i = 0; i < b->count; i++) {
        const struct batch_signature *signature = &b->signatures[i];
        if (signature->decoded && b->keys[signature->key].decoded) {
            if (kept != i)
                b->signatures[kept] = *signature;
            kept++;
        }
    }
    b->count = kept;
}

/* ---- judge ---- */

static int coefficients_draw(struct ed25519_batch *b, size_t count)
{
    int result = random_bytes(b->coefficients, count * sizeof *b->coefficients);
    for (size_t i = 0; result == 0 && i < count; i++)
        if ((b->coefficients[i][0] | b->coefficients[i][1]) == 0)
            b->coefficients[i][0] = 1;
    return result;
}

/* Adds z·k to the sum of the signature's key; keys new to the group are listed. */
static size_t key_add(struct ed25519_batch *b, const struct batch_signature *signature,
                      const uint64_t z[2], size_t listed)
{
    struct batch_key *key = &b->keys[signature->key];
    if (key->group != b->group) {
        key->group = b->group;
        key->sum = (struct scalar_sum){{0}};
        b->group_keys[listed++] = signature->key;
    }
    scalar_sum_add(&key->sum, &signature->k, z);
    return listed;
}

/* The sum over signatures [from, to): base·B, the `listed` keys by what they were given, and the
 * commitments by their coefficients. Of few by rows, of many by buckets. */
static struct point few_sum(struct ed25519_batch *b, size_t from, size_t to,
                            const struct scalar *base, size_t listed)
{
    for (size_t i = 0; i < listed; i++) {
        struct batch_key *key = &b->keys[b->group_keys[i]];
        struct scalar scalar = scalar_sum_reduce(&key->sum);
        straus_add(b->straus, &key->cached, &scalar);
    }
    for (size_t i = from; i < to; i++) {
        const uint64_t *z = b->coefficients[i - from];
        struct scalar scalar = {{z[0], z[1], 0, 0}};
        straus_add(b->straus, &b->signatures[i].commitment, &scalar);
    }
    return straus_sum(b->straus, base);
}

static struct point many_sum(struct ed25519_batch *b, size_t from, size_t to,
                             const struct scalar *base, size_t listed)
{
    struct point_lanes base_cached = point_cache(&point_base);
    pippenger_add_full(b->pippenger, &base_cached, base);
    for (size_t i = 0; i < listed; i++) {
        struct batch_key *key = &b->keys[b->group_keys[i]];
        struct scalar scalar = scalar_sum_reduce(&key->sum);
        pippenger_add_full(b->pippenger, &key->cached, &scalar);
    }
    for (size_t i = from; i < to; i++)
        pippenger_add_short(b->pippenger, &b->signatures[i].commitment, b->coefficients[i - from]);
    return pippenger_sum(b->pippenger);
}

/* 1 when the sum over signatures [from, to) is of small order, 0 when not, negative without random
 * bytes. */
static int group_judge(struct ed25519_batch *b, size_t from, size_t to)
{
    int result = coefficients_draw(b, to - from);
    if (result < 0)
        return result;
    b->group++;
    struct scalar_sum base_sum = {{0}};
    size_t listed = 0;
    for (size_t i = from; i < to; i++) {
        const struct batch_signature *signature = &b->signatures[i];
        scalar_sum_add(&base_sum, &signature->s, b->coefficients[i - from]);
        listed = key_add(b, signature, b->coefficients[i - from], listed);
    }
    struct scalar base = scalar_sum_reduce(&base_sum);
    base = scalar_negate(&base);
    bool few = b->straus && to - from <= FEW_MAX;
    struct point sum = (few ? few_sum : many_sum)(b, from, to, &base, listed);
    return point_is_small(&sum);
}

static int singles_judge(struct ed25519_batch *b, size_t from, size_t to)
{
    int all = 1;
    b->singles += to - from;
    for (size_t i = from; i < to; i++) {
        const struct batch_signature *signature = &b->signatures[i];
        bool good = equation_holds(b->kernel == ED25519_KERNEL_IFMA, &signature->s, &signature->k,
                                   &b->keys[signature->key].point, &signature->commitment);
        b->valid[signature->item] = good;
        all &= good;
    }
    return all;
}

/* Gives verdicts on [from, to); guilty: it is known that some are bad. 1 when all are good, 0 when
 * not, negative without random bytes. Recursion is as deep as the group can be halved. */
static int range_judge(struct ed25519_batch *b, size_t from, size_t to, bool guilty)
{
    size_t least = b->kernel == ED25519_KERNEL_IFMA ? GROUP_MIN_IFMA : GROUP_MIN_PORTABLE;
    if (to - from < least || (guilty && to - from <= SINGLES_MAX))
        return singles_judge(b, from, to);
    int good = guilty ? 0 : group_judge(b, from, to);
    if (good < 0)
        return good;
    if (good) {
        for (size_t i = from; i < to; i++)
            b->valid[b->signatures[i].item] = true;
        return 1;
    }
    if (to - from <= SINGLES_MAX)
        return singles_judge(b, from, to);
    size_t middle = from + (to - from) / 2;
    int left = range_judge(b, from, middle, false);
    if (left < 0)
        return left;
    /* What is bad then lies in the right half, if all of the left are good. */
    int right = range_judge(b, middle, to, left == 1);
    return right < 0 ? right : 0;
}

int ed25519_batch_verify(struct ed25519_batch *b, const struct ed25519_item *items, size_t count,
                         bool *valid, struct error *e)
{
    int result = 0;
    for (size_t done = 0; result >= 0 && done < count;) {
        size_t piece = count - done < b->capacity ? count - done : b->capacity;
        b->items = items + done;
        b->valid = valid + done;
        result = table_clear(b, piece);
        if (result < 0)
            break;
        items_read(b, piece);
        points_decode(b);
        signatures_sift(b);
        result = b->count > 0 ? range_judge(b, 0, b->count, false) : 1;
        done += piece;
    }
    if (result >= 0)
        return 0;
    memset(valid, 0, count * sizeof *valid);
    return error_set(e, ATOLL_EUNAVAIL,
                     "cannot verify signatures: the kernel gives no random bytes");
}

uint64_t ed25519_batch_singles(const struct ed25519_batch *b)
{
    return b->singles;
}
