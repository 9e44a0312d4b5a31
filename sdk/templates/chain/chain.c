/*
 * Adds numbers, one a line, with many calls at once.
 *
 * The first call cuts its input at line ends and starts a call of `part` for each piece; what those
 * return is added up. Both are in this module: ATOLL_TABLE_INDEX(part) is the other entry.
 */
#include <atoll.h>
#include <atoll_map.h>
#include <atoll_text.h>

#define PARTS 16u

static int32_t number_output(int64_t number)
{
    char room[24];
    struct atoll_text text = ATOLL_TEXT(room);
    atoll_text_i64(&text, number);
    return atoll_text_output(&text) < 0;
}

/* Adds the decimal numbers of a text; 0 or -1. The sum is modulo 2^64. */
static int numbers_add(const char *text, uint64_t len, int64_t *sum)
{
    uint64_t total = 0;
    for (uint64_t at = 0; at < len;) {
        uint64_t number = 0, digits = 0;
        int negative = text[at] == '-';
        for (at += negative; at < len && text[at] >= '0' && text[at] <= '9'; at++, digits++)
            number = 10 * number + (uint64_t)(text[at] - '0');
        if (at < len && text[at] != '\n')
            return -1;
        if (digits == 0 && negative)
            return -1;
        at++;
        total += negative ? 0 - number : number;
    }
    *sum = (int64_t)total;
    return 0;
}

static int32_t part(void)
{
    atoll_addr input;
    int64_t sum;
    if (atoll_input_map(&input) < 0)
        return number_output(0);
    if (numbers_add(atoll_pointer(input), (uint64_t)atoll_input_size(), &sum) < 0)
        atoll_fail_string(2, "a line is no number");
    return number_output(sum);
}

/* The end of the line that byte `at` lies in. */
static uint64_t line_end(const char *text, uint64_t at, uint64_t len)
{
    while (at < len && text[at] != '\n')
        at++;
    return at < len ? at + 1 : len;
}

static int64_t result_number(const struct atoll_result *result)
{
    char text[24];
    int64_t number = 0, len;
    if (result->status != ATOLL_ST_OK)
        atoll_fail_string(2, "a part failed");
    len = atoll_result_read(result->id, 0, text, sizeof text);
    if (len < 0 || numbers_add(text, (uint64_t)len, &number) < 0)
        atoll_fail_string(3, "a part's result is no number");
    return number;
}

ATOLL_FUNCTION(chain)
{
    atoll_call_t ids[PARTS];
    struct atoll_result results[PARTS];
    atoll_addr input;
    uint32_t started = 0;
    uint64_t sum = 0;
    if (atoll_input_map(&input) < 0)
        return number_output(0);
    const char *text = atoll_pointer(input);
    uint64_t len = (uint64_t)atoll_input_size();
    for (uint64_t from = 0; from < len;) {
        uint64_t to = line_end(text, from + len / PARTS, len);
        if (started == PARTS - 1)
            to = len;
        if (atoll_chain_fn(ATOLL_TABLE_INDEX(part), text + from, to - from, NULL, &ids[started]) <
            0)
            return 1;
        started++;
        from = to;
    }
    if (atoll_await_all(ids, started, results) < 0)
        return 1;
    for (uint32_t i = 0; i < started; i++)
        sum += (uint64_t)result_number(&results[i]);
    return number_output((int64_t)sum);
}
