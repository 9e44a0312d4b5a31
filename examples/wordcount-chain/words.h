/*
 * The words of a text with their counts: a table, and its form between calls.
 *
 *   u32 count | u8 length | bytes of the word, in lower case; and so on, in no order
 *
 * A word is letters; one longer than WORD_MAX counts by its first WORD_MAX letters. Bytes from 128
 * on count as letters, so that words of UTF-8 stay whole.
 */
#ifndef WORDS_H
#define WORDS_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define WORD_MAX    63u
#define TABLE_SLOTS (1u << 17)
#define WORDS_MAX   (TABLE_SLOTS / 2) /* different ones */

struct word {
    uint32_t count;
    uint8_t len;
    uint8_t text[WORD_MAX];
};

struct words {
    struct word table[TABLE_SLOTS]; /* 8 MiB, of which a call touches what it needs */
    uint32_t different;
    uint64_t total;
};

static inline bool letter(uint8_t c)
{
    return c >= 128 || (uint8_t)((c | 32) - 'a') < 26;
}

static inline uint8_t lower(uint8_t c)
{
    return c >= 'A' && c <= 'Z' ? (uint8_t)(c + 32) : c;
}

/* Adds a word in lower case; false when the table is full. */
static inline bool words_add(struct words *words, const uint8_t *text, uint8_t len, uint32_t count)
{
    uint32_t slot = 2166136261u; /* FNV-1a */
    for (uint8_t i = 0; i < len; i++)
        slot = (slot ^ text[i]) * 16777619u;
    slot ^= slot >> 15;
    for (;; slot++) {
        struct word *word = &words->table[slot % TABLE_SLOTS];
        if (word->count == 0) {
            if (words->different == WORDS_MAX)
                return false;
            words->different++;
            word->len = len;
            memcpy(word->text, text, len);
        } else if (word->len != len || memcmp(word->text, text, len) != 0) {
            continue;
        }
        word->count += count;
        words->total += count;
        return true;
    }
}

#endif
