/*
 * Keeps figures about all the numbers it was ever called with: how many, sum, least, greatest.
 *
 * They lie in one value of state. The global lock, a pull before and a push after make calls follow
 * each other, on whichever nodes they run.
 */
#include <atoll.h>
#include <atoll_text.h>
#include <stdlib.h>

static const char key[] = "figures";

struct figures {
    double count, sum, least, greatest;
};

static void figures_add(struct figures *figures, double number)
{
    if (figures->count == 0 || number < figures->least)
        figures->least = number;
    if (figures->count == 0 || number > figures->greatest)
        figures->greatest = number;
    figures->count++;
    figures->sum += number;
}

static int32_t figures_output(const struct figures *figures)
{
    char room[256];
    struct atoll_text text = ATOLL_TEXT(room);
    atoll_text_string(&text, "count ");
    atoll_text_fixed(&text, figures->count, 0);
    atoll_text_string(&text, ", sum ");
    atoll_text_fixed(&text, figures->sum, 3);
    atoll_text_string(&text, ", least ");
    atoll_text_fixed(&text, figures->least, 3);
    atoll_text_string(&text, ", greatest ");
    atoll_text_fixed(&text, figures->greatest, 3);
    atoll_text_string(&text, "\n");
    return atoll_text_output(&text) < 0;
}

static int64_t figures_update(atoll_h handle, double number, struct figures *figures)
{
    int64_t status = atoll_state_lock(handle, ATOLL_LOCK_WRITE, ATOLL_SCOPE_GLOBAL, ATOLL_FOREVER);
    if (status >= 0 && atoll_state_version(handle, 1) > 0)
        status = atoll_state_pull(handle, 0, 0, 0);
    if (status >= 0)
        status = atoll_state_read(handle, 0, figures, sizeof *figures);
    if (status < 0)
        return status;
    figures_add(figures, number);
    status = atoll_state_write(handle, 0, figures, sizeof *figures);
    return status < 0 ? status : atoll_state_push(handle, 0, 0, ATOLL_PUSH_DURABLE, 0);
}

ATOLL_FUNCTION(state)
{
    char input[64], *end;
    struct figures figures = {0};
    int64_t len = atoll_input_read(0, input, sizeof input - 1);
    if (len < 0)
        return 1;
    input[len] = 0;
    double number = strtod(input, &end);
    if (end == input || (*end && *end != '\n'))
        atoll_fail_string(2, "the input is one number");
    atoll_h handle = atoll_state_open(key, sizeof key - 1, sizeof figures,
                                      ATOLL_S_READ | ATOLL_S_WRITE | ATOLL_S_CREATE);
    if (handle < 0 || figures_update(handle, number, &figures) < 0)
        return 1;
    return figures_output(&figures);
}
