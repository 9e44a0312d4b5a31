/*
 * Counts the words of a text, again and again, and prints the most frequent ones.
 *
 *   wordcount FILE [ROUNDS]
 *
 * One round is milliseconds; with many it runs long enough to be stopped in the middle. It prints a
 * line at every quarter, so that one sees where it was stopped, and every round must find the same.
 */
#include <ctype.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TABLE_SLOTS (1u << 15)
#define WORDS_SHOWN 10

struct word {
    const char *text;
    uint32_t len, count, hash;
};

static struct word table[TABLE_SLOTS];

static uint32_t word_hash(const char *text, uint32_t len)
{
    uint32_t hash = 2166136261u; /* FNV-1a */
    for (uint32_t i = 0; i < len; i++)
        hash = (hash ^ (uint8_t)text[i]) * 16777619u;
    return hash;
}

/* Returns 0, or -1 when the table is full. */
static int word_count(const char *text, uint32_t len)
{
    uint32_t hash = word_hash(text, len);
    for (uint32_t i = 0; i < TABLE_SLOTS; i++) {
        struct word *word = &table[(hash + i) % TABLE_SLOTS];
        if (!word->text)
            *word = (struct word){.text = text, .len = len, .hash = hash};
        else if (word->hash != hash || word->len != len || memcmp(word->text, text, len) != 0)
            continue;
        word->count++;
        return 0;
    }
    return -1;
}

/* Counts into the empty table; returns the number of words, or -1. */
static long text_count(const char *text, size_t size)
{
    long words = 0;
    memset(table, 0, sizeof table);
    for (size_t at = 0; at < size;) {
        size_t start = at;
        while (at < size && isalpha((unsigned char)text[at]))
            at++;
        if (at == start) {
            at++;
            continue;
        }
        if (word_count(text + start, (uint32_t)(at - start)) < 0)
            return -1;
        words++;
    }
    return words;
}

static int by_count(const void *a, const void *b)
{
    const struct word *x = a, *y = b;
    if (x->count != y->count)
        return x->count < y->count ? 1 : -1;
    uint32_t len = x->len < y->len ? x->len : y->len;
    int order = memcmp(x->text, y->text, len);
    return order ? order : (x->len > y->len) - (x->len < y->len);
}

static void most_frequent_print(void)
{
    uint32_t distinct = 0;
    for (uint32_t i = 0; i < TABLE_SLOTS; i++) {
        if (table[i].text)
            table[distinct++] = table[i];
    }
    qsort(table, distinct, sizeof *table, by_count);
    printf("%u different words\n", distinct);
    for (uint32_t i = 0; i < WORDS_SHOWN && i < distinct; i++)
        printf("%6u %.*s\n", table[i].count, (int)table[i].len, table[i].text);
}

static char *file_read(const char *path, size_t *size)
{
    FILE *file = fopen(path, "rb");
    char *text = NULL;
    size_t capacity = 0, got;
    *size = 0;
    if (!file) {
        perror(path);
        return NULL;
    }
    do {
        if (*size == capacity) {
            capacity = capacity ? 2 * capacity : 65536;
            char *larger = realloc(text, capacity);
            if (!larger)
                break;
            text = larger;
        }
        got = fread(text + *size, 1, capacity - *size, file);
        *size += got;
    } while (got > 0);
    fclose(file);
    return text;
}

int main(int argc, char **argv)
{
    if (argc < 2 || argc > 3) {
        fprintf(stderr, "usage: wordcount FILE [ROUNDS]\n");
        return 2;
    }
    long rounds = argc == 3 ? atol(argv[2]) : 1, words = 0;
    size_t size;
    char *text = file_read(argv[1], &size);
    if (!text || rounds < 1)
        return 1;
    for (long round = 1; round <= rounds; round++) {
        long found = text_count(text, size);
        if (found < 0 || (round > 1 && found != words)) {
            fprintf(stderr, "round %ld found %ld words, not %ld\n", round, found, words);
            return 1;
        }
        words = found;
        if (rounds >= 4 && round % (rounds / 4) == 0) {
            printf("%ld of %ld rounds\n", round, rounds);
            fflush(stdout);
        }
    }
    printf("%ld words\n", words);
    most_frequent_print();
    free(text);
    return 0;
}
