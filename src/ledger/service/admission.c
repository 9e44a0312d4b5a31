/* See admission.h. A bucket is the time at which it will have drained: what it holds is how far
 * that lies ahead. */
#include "ledger/service/admission.h"

#include "base/random.h"

#include <netinet/in.h>
#include <string.h>

#define WAYS           4
#define SOURCE_LEN_MAX 9
#define SECOND_US      1000000u

/* What names a source: a letter for the family, and its bytes. */
static size_t source_bytes(const struct sockaddr *from, uint8_t out[static SOURCE_LEN_MAX])
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
    out[0] = 0;
    if (from->sa_family == AF_INET) {
        memcpy(&v4, from, sizeof v4);
        out[0] = 4;
        memcpy(out + 1, &v4.sin_addr, 4);
        return 5;
    }
    if (from->sa_family != AF_INET6)
        return 1;
    memcpy(&v6, from, sizeof v6);
    bool is_v4 = memcmp(&v6.sin6_addr, mapped, sizeof mapped) == 0;
    out[0] = is_v4 ? 4 : 6;
    memcpy(out + 1, (const uint8_t *)&v6.sin6_addr + (is_v4 ? 12 : 0), is_v4 ? 4 : 8);
    return is_v4 ? 5 : 9;
}

bool admission_same_source(const struct sockaddr *a, const struct sockaddr *b)
{
    uint8_t one[SOURCE_LEN_MAX], other[SOURCE_LEN_MAX];
    size_t len = source_bytes(a, one);
    return len == source_bytes(b, other) && memcmp(one, other, len) == 0;
}

int admission_init(struct admission *a, struct error *e)
{
    *a = (struct admission){0};
    return random_bytes(a->key, sizeof a->key) == 0
               ? 0
               : error_set(e, ATOLL_EUNAVAIL, "the kernel gives no random bytes");
}

/* The source's entry, or the one that has drained longest in its place, as if it were new. */
static struct admission_source *source_find(struct admission *a, uint64_t name)
{
    struct admission_source *set = &a->sources[name % (ADMISSION_SOURCES / WAYS) * WAYS];
    struct admission_source *least = set;
    for (unsigned i = 0; i < WAYS; i++) {
        if (set[i].name == name)
            return &set[i];
        if (set[i].until_us < least->until_us)
            least = &set[i];
    }
    *least = (struct admission_source){.name = name};
    return least;
}

static bool has_room(uint64_t until_us, uint64_t now_us, uint64_t burst, uint64_t rate)
{
    return until_us <= now_us || until_us - now_us <= (burst - 1) * (SECOND_US / rate);
}

static void fill(uint64_t *until_us, uint64_t now_us, uint64_t rate)
{
    *until_us = (*until_us > now_us ? *until_us : now_us) + SECOND_US / rate;
}

bool admission_ask(struct admission *a, const struct sockaddr *from, bool replica, uint64_t now_us)
{
    uint8_t bytes[SOURCE_LEN_MAX];
    size_t len = source_bytes(from, bytes);
    struct admission_source *source = source_find(a, siphash(a->key, bytes, len));
    if (!has_room(source->until_us, now_us, ADMISSION_SOURCE_BURST, ADMISSION_SOURCE_RATE) ||
        (!replica && !has_room(a->all_until_us, now_us, ADMISSION_ALL_BURST, ADMISSION_ALL_RATE)))
        return false;
    fill(&source->until_us, now_us, ADMISSION_SOURCE_RATE);
    if (!replica)
        fill(&a->all_until_us, now_us, ADMISSION_ALL_RATE);
    return true;
}
