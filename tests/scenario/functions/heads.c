/*
 * Answers with the HTTP head that its input is: "STATUS\nname: value\n…"; with an empty input, with
 * the head of the request as output.
 */
#include <atoll.h>

#include <stdlib.h>
#include <string.h>

static char text[16384];

ATOLL_FUNCTION(heads)
{
    int64_t len = atoll_input_read(0, text, sizeof text - 1);
    if (len < 0)
        return 1;
    if (len == 0) {
        len = atoll_http_head(text, sizeof text);
        return len < 0 || atoll_output_write(text, (uint64_t)len) < 0;
    }
    char *fields = strchr(text, '\n');
    if (fields == NULL)
        return 2;
    fields++;
    int32_t rc = atoll_http_reply((uint32_t)strtoul(text, NULL, 10), fields,
                                  (uint32_t)(len - (fields - text)));
    return rc < 0 ? 3 : atoll_output_write("body", 4) < 0;
}
