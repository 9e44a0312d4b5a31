/*
 * Text and bytes put together piece by piece, in memory of a fixed size.
 *
 *     char room[256];
 *     struct atoll_text text = ATOLL_TEXT(room);
 *     atoll_text_string(&text, "sum ");
 *     atoll_text_i64(&text, sum);
 *     if (atoll_text_output(&text) < 0)
 *         return 1;
 *
 * What does not fit is left out as a whole and remembered: `overflowed` stays set, and
 * atoll_text_output refuses such a text. Nothing here allocates or pulls in printf.
 */
#ifndef ATOLL_TEXT_H
#define ATOLL_TEXT_H

#include <atoll.h>
#include <stdbool.h>
#include <string.h>

struct atoll_text {
    char *bytes;
    size_t len, room;
    bool overflowed;
};

#define ATOLL_TEXT(array) {(array), 0, sizeof(array), false}

static inline void atoll_text_add(struct atoll_text *text, const void *bytes, size_t len)
{
    if (len > text->room - text->len) {
        text->overflowed = true;
        return;
    }
    if (len > 0)
        memcpy(text->bytes + text->len, bytes, len);
    text->len += len;
}

static inline void atoll_text_string(struct atoll_text *text, const char *string)
{
    atoll_text_add(text, string, strlen(string));
}

static inline void atoll_text_u64(struct atoll_text *text, uint64_t number)
{
    char digits[20];
    size_t at = sizeof digits;
    do {
        digits[--at] = (char)('0' + number % 10);
        number /= 10;
    } while (number > 0);
    atoll_text_add(text, digits + at, sizeof digits - at);
}

static inline void atoll_text_i64(struct atoll_text *text, int64_t number)
{
    if (number < 0)
        atoll_text_add(text, "-", 1);
    atoll_text_u64(text, number < 0 ? 0 - (uint64_t)number : (uint64_t)number);
}

/* With `places` (at most 9) digits behind the point, rounded half away from zero. Numbers that are
 * not finite or reach 1e15 are written "nan", "inf", "-inf" or "big". */
static inline void atoll_text_fixed(struct atoll_text *text, double number, unsigned places)
{
    uint64_t scale = 1;
    if (!(number - number == 0) || number >= 1e15 || number <= -1e15) {
        atoll_text_string(text, number != number       ? "nan"
                                : number - number == 0 ? "big"
                                : number > 0           ? "inf"
                                                       : "-inf");
        return;
    }
    for (unsigned i = 0; i < places && i < 9; i++)
        scale *= 10;
    if (number < 0) {
        atoll_text_add(text, "-", 1);
        number = -number;
    }
    uint64_t whole = (uint64_t)number;
    uint64_t part = (uint64_t)((number - (double)whole) * (double)scale + 0.5);
    whole += part >= scale;
    part = part >= scale ? 0 : part;
    atoll_text_u64(text, whole);
    if (scale == 1)
        return;
    atoll_text_add(text, ".", 1);
    for (uint64_t digit = scale / 10; digit > part && digit > 1; digit /= 10)
        atoll_text_add(text, "0", 1);
    atoll_text_u64(text, part);
}

/* Appends the text to the call's output: its length, or -ATOLL_ESIZE when something was left out.
 */
static inline int64_t atoll_text_output(const struct atoll_text *text)
{
    return text->overflowed ? -ATOLL_ESIZE : atoll_output_write(text->bytes, text->len);
}

/* Writes a NUL-terminated string to the output. */
static inline int64_t atoll_output_string(const char *string)
{
    return atoll_output_write(string, strlen(string));
}

/* Logs a NUL-terminated string. */
static inline int32_t atoll_log_string(uint32_t level, const char *string)
{
    return atoll_log(level, string, (uint32_t)strlen(string));
}

/* Ends the call with a NUL-terminated message. */
static inline _Noreturn void atoll_fail_string(int32_t code, const char *string)
{
    atoll_fail(code, string, (uint32_t)strlen(string));
}

#endif
