/* Counts the words of its input; the output has the form of words.h. */
#include "../words.h"

#include <atoll.h>
#include <atoll_text.h>

static ATOLL_PER_CALL struct words words;

static bool text_count(const uint8_t *text, uint64_t len)
{
    uint8_t word[WORD_MAX];
    for (uint64_t at = 0; at < len; at++) {
        uint8_t letters = 0;
        for (; at < len && letter(text[at]); at++) {
            if (letters < WORD_MAX)
                word[letters++] = lower(text[at]);
        }
        if (letters > 0 && !words_add(&words, word, letters, 1))
            return false;
    }
    return true;
}

static bool words_output(void)
{
    uint8_t room[4096];
    uint64_t used = 0;
    for (uint32_t i = 0; i < TABLE_SLOTS; i++) {
        const struct word *word = &words.table[i];
        if (word->count == 0)
            continue;
        if (sizeof room - used < 5 + WORD_MAX) {
            if (atoll_output_write(room, used) < 0)
                return false;
            used = 0;
        }
        memcpy(room + used, &word->count, 4);
        room[used + 4] = word->len;
        memcpy(room + used + 5, word->text, word->len);
        used += 5u + word->len;
    }
    return atoll_output_write(room, used) >= 0;
}

ATOLL_FUNCTION(wordcount_count)
{
    atoll_addr text;
    if (atoll_input_map(&text) < 0)
        return 0; /* nothing in, nothing out */
    if (!text_count(atoll_pointer(text), (uint64_t)atoll_input_size()))
        atoll_fail_string(2, "the text has too many different words");
    return !words_output();
}
