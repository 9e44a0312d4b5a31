/* A map from strings to counters with open addressing: hashing of bytes, comparisons, cache misses.
 * The words are drawn from a skewed distribution, as words are. */
#include "kernel.h"

#include <stdbool.h>

enum { WORDS = 20000, WORD_MAX = 16, SLOTS = 1 << 15, LOOKUPS = 200000 };

struct entry {
    char key[WORD_MAX];
    uint32_t length, hash, count;
};

static char words[WORDS][WORD_MAX];
static struct entry map[SLOTS];

static void words_make(void)
{
    uint64_t random = 5;
    for (int w = 0; w < WORDS; w++) {
        int length = 3 + (int)(random_next(&random) % 11);
        for (int i = 0; i < length; i++)
            words[w][i] = (char)('a' + random_next(&random) % 26);
        words[w][length] = 0;
    }
}

/* FNV-1a; also finds the length. */
static uint32_t key_hash(const char *key, uint32_t *length)
{
    uint32_t hash = 2166136261u, i = 0;
    for (; key[i]; i++)
        hash = (hash ^ (uint8_t)key[i]) * 16777619u;
    *length = i;
    return hash;
}

/* Written out: the measurement is of compilers, not of two C libraries. */
static bool key_equal(const char *a, const char *b, uint32_t length)
{
    for (uint32_t i = 0; i < length; i++)
        if (a[i] != b[i])
            return false;
    return true;
}

static struct entry *map_find(const char *key)
{
    uint32_t length, hash = key_hash(key, &length);
    for (uint32_t at = hash & (SLOTS - 1);; at = (at + 1) & (SLOTS - 1)) {
        struct entry *entry = &map[at];
        if (entry->length == 0) {
            memcpy(entry->key, key, WORD_MAX);
            entry->length = length;
            entry->hash = hash;
            return entry;
        }
        if (entry->hash == hash && entry->length == length && key_equal(entry->key, key, length))
            return entry;
    }
}

double run(int repeat)
{
    words_make();
    memset(map, 0, sizeof map);
    uint64_t random = 9;
    for (int r = 0; r < repeat; r++)
        for (int i = 0; i < LOOKUPS; i++) {
            uint32_t draw = random_next(&random) % WORDS;
            if (i & 1)
                draw = (uint32_t)((uint64_t)draw * draw / WORDS);
            map_find(words[draw])->count++;
        }
    uint64_t sum = 1;
    for (int i = 0; i < SLOTS; i++)
        sum = (sum ^ map[i].count ^ (uint64_t)map[i].hash << 20) * 0x9E3779B97F4A7C15u;
    return checksum_bits(sum);
}
