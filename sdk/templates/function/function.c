/* Greets whoever the input names. */
#include <atoll.h>
#include <atoll_text.h>

ATOLL_FUNCTION(greet)
{
    char name[64], room[128];
    struct atoll_text answer = ATOLL_TEXT(room);
    int64_t len = atoll_input_read(0, name, sizeof name);
    if (len < 0 || atoll_input_size() > (int64_t)sizeof name)
        atoll_fail_string(2, "a name has at most 64 bytes");
    atoll_text_string(&answer, "Hello, ");
    if (len > 0)
        atoll_text_add(&answer, name, (size_t)len);
    else
        atoll_text_string(&answer, "world");
    atoll_text_string(&answer, "!\n");
    return atoll_text_output(&answer) < 0;
}
