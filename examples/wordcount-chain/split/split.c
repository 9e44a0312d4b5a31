/*
 * Counts the words of a text with many calls at once: cuts its input between words, has each piece
 * counted by a call of wordcount-count, merges what they return, and prints the most frequent
 * words.
 *
 * `chunk` under config is how many bytes a piece has, about.
 */
#include "../words.h"

#include <atoll.h>
#include <atoll_map.h>
#include <atoll_text.h>
#include <stdlib.h>

#define PIECES_MAX  4096u
#define CHUNK_BYTES (1u << 20)
#define SHOWN       10u

static ATOLL_PER_CALL struct words words;
static ATOLL_PER_CALL struct atoll_span pieces[PIECES_MAX];

static uint64_t chunk_bytes(void)
{
    char text[21];
    int64_t len = atoll_config("chunk", 5, text, sizeof text - 1);
    if (len < 1 || len > (int64_t)sizeof text - 1)
        return CHUNK_BYTES;
    text[len] = 0;
    uint64_t bytes = strtoull(text, NULL, 10);
    return bytes ? bytes : CHUNK_BYTES;
}

static uint32_t text_cut(const uint8_t *text, uint64_t len)
{
    uint64_t chunk = chunk_bytes(), from = 0;
    uint32_t count = 0;
    if (chunk < len / PIECES_MAX + 1)
        chunk = len / PIECES_MAX + 1;
    while (from < len) {
        uint64_t to = len - from > chunk ? from + chunk : len;
        while (to < len && letter(text[to]))
            to++;
        pieces[count++] = (struct atoll_span){text + from, to - from};
        from = to;
    }
    return count;
}

/* Adds what one piece's call returned. */
static int32_t piece_merge(void *context, uint32_t index, const struct atoll_result *result)
{
    atoll_addr address;
    (void)context;
    (void)index;
    if (result->status != ATOLL_ST_OK)
        atoll_fail_string(2, "a piece could not be counted");
    if (result->out_len == 0)
        return 0;
    if (atoll_result_map(result->id, &address) < 0)
        return 1;
    const uint8_t *at = atoll_pointer(address), *end = at + result->out_len;
    while (end - at > 5) {
        uint32_t count;
        uint8_t len = at[4];
        memcpy(&count, at, 4);
        if (len < 1 || len > WORD_MAX || end - at < 5 + len || count == 0)
            return 1;
        if (!words_add(&words, at + 5, len, count))
            atoll_fail_string(3, "the text has too many different words");
        at += 5 + len;
    }
    return at != end;
}

static int most_first(const void *a, const void *b)
{
    const struct word *x = a, *y = b;
    if (x->count != y->count)
        return x->count < y->count ? 1 : -1;
    uint8_t len = x->len < y->len ? x->len : y->len;
    int order = memcmp(x->text, y->text, len);
    return order ? order : x->len - y->len;
}

static int32_t words_print(void)
{
    char room[1024];
    struct atoll_text text = ATOLL_TEXT(room);
    uint32_t different = 0;
    for (uint32_t i = 0; i < TABLE_SLOTS; i++) {
        if (words.table[i].count)
            words.table[different++] = words.table[i];
    }
    qsort(words.table, different, sizeof words.table[0], most_first);
    atoll_text_u64(&text, words.total);
    atoll_text_string(&text, " words, ");
    atoll_text_u64(&text, different);
    atoll_text_string(&text, " different\n");
    for (uint32_t i = 0; i < SHOWN && i < different; i++) {
        atoll_text_u64(&text, words.table[i].count);
        atoll_text_string(&text, " ");
        atoll_text_add(&text, words.table[i].text, words.table[i].len);
        atoll_text_string(&text, "\n");
    }
    return atoll_text_output(&text) < 0;
}

ATOLL_FUNCTION(wordcount)
{
    atoll_addr text;
    if (atoll_input_map(&text) == 0) {
        uint32_t count = text_cut(atoll_pointer(text), (uint64_t)atoll_input_size());
        if (atoll_map("wordcount-count", pieces, count, NULL, piece_merge, NULL) != 0)
            atoll_fail_string(4, "the pieces could not be counted");
    }
    return words_print();
}
