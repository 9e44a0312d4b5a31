/* See pins.h: a hash table of lists, whose members also stand in one list by age. */
#include "node/pins.h"

#include "crypto/siphash.h"

#include <ctype.h>
#include <stdlib.h>
#include <sys/queue.h>
#include <sys/random.h>

#define BUCKETS  4096u
#define HOST_MAX 253u

struct pin {
    LIST_ENTRY(pin) bucket;
    TAILQ_ENTRY(pin) age;
    struct address address;
    char host[]; /* in small letters */
};
LIST_HEAD(bucket, pin);
TAILQ_HEAD(ages, pin);

struct pins {
    uint32_t count;
    uint8_t key[SIPHASH_KEY_LEN]; /* names come from outside */
    struct ages ages;             /* the oldest first */
    struct bucket buckets[BUCKETS];
};

struct pins *pins_create(void)
{
    struct pins *p = calloc(1, sizeof *p);
    if (!p)
        return NULL;
    TAILQ_INIT(&p->ages);
    if (getrandom(p->key, sizeof p->key, 0) == (ssize_t)sizeof p->key)
        return p;
    free(p);
    return NULL;
}

static void pin_remove(struct pins *p, struct pin *one)
{
    LIST_REMOVE(one, bucket);
    TAILQ_REMOVE(&p->ages, one, age);
    free(one);
    p->count--;
}

void pins_destroy(struct pins *p)
{
    while (p && !TAILQ_EMPTY(&p->ages))
        pin_remove(p, TAILQ_FIRST(&p->ages));
    free(p);
}

/* The name in small letters; 0 when it is none. */
static size_t host_copy(char to[static HOST_MAX + 1], const char *host)
{
    size_t len = strlen(host);
    if (len > HOST_MAX)
        return 0;
    for (size_t k = 0; k <= len; k++)
        to[k] = (char)tolower((unsigned char)host[k]);
    return len;
}

static struct pin *pin_find(const struct pins *p, const char *lower, size_t len,
                            const struct address *a)
{
    const struct bucket *all = &p->buckets[siphash(p->key, lower, len) % BUCKETS];
    struct pin *one;
    LIST_FOREACH(one, all, bucket)
    if (address_equal(&one->address, a) && strcmp(one->host, lower) == 0)
        return one;
    return NULL;
}

void pins_add(struct pins *p, const char *host, const struct address *a)
{
    char lower[HOST_MAX + 1];
    size_t len = host_copy(lower, host);
    struct pin *one = len ? pin_find(p, lower, len, a) : NULL;
    if (one) {
        TAILQ_REMOVE(&p->ages, one, age);
        TAILQ_INSERT_TAIL(&p->ages, one, age);
        return;
    }
    if (!len || !(one = malloc(sizeof *one + len + 1)))
        return;
    if (p->count == PINS_MAX)
        pin_remove(p, TAILQ_FIRST(&p->ages));
    one->address = *a;
    memcpy(one->host, lower, len + 1);
    LIST_INSERT_HEAD(&p->buckets[siphash(p->key, lower, len) % BUCKETS], one, bucket);
    TAILQ_INSERT_TAIL(&p->ages, one, age);
    p->count++;
}

bool pins_have(const struct pins *p, const char *host, const struct address *a)
{
    char lower[HOST_MAX + 1];
    size_t len = host_copy(lower, host);
    return len && pin_find(p, lower, len, a);
}
