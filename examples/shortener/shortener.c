/*
 * A URL shortener over HTTP.
 *
 *   POST, body: a URL        201, Location and body: the short form "…/ID"
 *   GET …/ID  or  ?id=ID     302, Location: the URL
 *   GET …/ID?count           200, body: how often it was followed
 *
 * Ids come from a counter, so two never meet; a multiplication modulo 2^36 makes them look unlike
 * their neighbours (they are no secrets). URLs and how often they were followed lie in two shared
 * maps, which do one operation after the other wherever they are asked from.
 */
#include <atoll.h>
#include <atoll_http.h>
#include <atoll_text.h>

#define URL_MAX   2048u
#define ID_LEN    7u
#define ID_SPREAD 0x5deece66dull /* odd, so that no two counts become one */
#define ID_MASK   0xfffffffffull

static const char digits[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/* The key of a map operation, and room for a value behind it. */
struct record {
    uint32_t key_len;
    char key[ID_LEN];
    char value[URL_MAX];
};
#define RECORD_HEAD (sizeof(uint32_t) + ID_LEN)

static int32_t reply(uint32_t status, const char *headers, size_t len, const char *body)
{
    if (atoll_http_reply(status, headers, (uint32_t)len) < 0)
        return 1;
    return atoll_output_string(body) < 0;
}

static int32_t refuse(uint32_t status, const char *why)
{
    static const char plain[] = "content-type: text/plain\n";
    return reply(status, plain, sizeof plain - 1, why);
}

static atoll_h object(uint32_t type, const char *key)
{
    atoll_h handle = atoll_obj_open(type, key, (uint32_t)strlen(key), 0);
    if (handle < 0)
        atoll_fail_string(2, "the shortener's objects are not there");
    return handle;
}

static bool url_valid(const char *url, int64_t len)
{
    if (len < 8 || (memcmp(url, "http://", 7) != 0 && memcmp(url, "https:/", 7) != 0))
        return false;
    for (int64_t i = 0; i < len; i++) {
        if (url[i] <= ' ' || url[i] > '~')
            return false;
    }
    return true;
}

static void id_make(char id[ID_LEN])
{
    int64_t count = atoll_obj_op(object(ATOLL_O_COUNTER, "shortener/next"), ATOLL_COUNTER_ADD, 1, 0,
                                 NULL, 0, NULL, 0, ATOLL_FOREVER);
    if (count < 0)
        atoll_fail_string(3, "no id can be had");
    uint64_t number = (uint64_t)count * ID_SPREAD & ID_MASK;
    for (unsigned i = 0; i < ID_LEN; i++, number /= 62)
        id[i] = digits[number % 62];
}

static int32_t shorten(void)
{
    struct record record = {.key_len = ID_LEN};
    char room[128];
    struct atoll_text location = ATOLL_TEXT(room);
    int64_t len = atoll_input_read(0, record.value, URL_MAX);
    if (atoll_input_size() > (int64_t)URL_MAX)
        return refuse(413, "a URL has at most 2048 bytes\n");
    while (len > 0 && (record.value[len - 1] == '\n' || record.value[len - 1] == '\r'))
        len--;
    if (!url_valid(record.value, len))
        return refuse(400, "the body is a URL with http or https\n");
    id_make(record.key);
    if (atoll_obj_op(object(ATOLL_O_MAP, "shortener/urls"), ATOLL_MAP_PUT, 0, 0, &record,
                     RECORD_HEAD + (uint64_t)len, NULL, 0, ATOLL_FOREVER) < 0)
        atoll_fail_string(4, "the URL cannot be kept");
    atoll_text_string(&location, "location: ?id=");
    atoll_text_add(&location, record.key, ID_LEN);
    atoll_text_string(&location, "\n");
    if (atoll_http_reply(201, room, (uint32_t)location.len) < 0)
        return 1;
    return atoll_output_write(record.key, ID_LEN) < 0 || atoll_output_string("\n") < 0;
}

/* The id of a request: ?id=ID, or the last part of the path. */
static struct atoll_http_text id_find(const struct atoll_http_request *request)
{
    struct atoll_http_text id = request->path;
    if (request->query.len > 3 && memcmp(request->query.text, "id=", 3) == 0) {
        id = (struct atoll_http_text){request->query.text + 3, request->query.len - 3};
        return atoll_http_take(&id, '&');
    }
    for (uint32_t i = id.len; i > 0; i--) {
        if (id.text[i - 1] == '/')
            return (struct atoll_http_text){id.text + i, id.len - i};
    }
    return id;
}

static bool count_wanted(const struct atoll_http_request *request)
{
    const struct atoll_http_text *query = &request->query;
    return query->len >= 5 && memcmp(query->text + query->len - 5, "count", 5) == 0;
}

static int64_t followed(const struct record *record, int64_t more)
{
    int64_t count = 0;
    int64_t status = atoll_obj_op(object(ATOLL_O_MAP, "shortener/followed"), ATOLL_MAP_INCR, more,
                                  0, record, RECORD_HEAD, &count, sizeof count, ATOLL_FOREVER);
    return status < 0 ? status : count;
}

static int32_t follow(const struct atoll_http_request *request)
{
    struct record record = {.key_len = ID_LEN};
    char room[URL_MAX + 32], number[24];
    struct atoll_text location = ATOLL_TEXT(room), text = ATOLL_TEXT(number);
    struct atoll_http_text id = id_find(request);
    if (id.len != ID_LEN)
        return refuse(404, "no such id\n");
    memcpy(record.key, id.text, ID_LEN);
    int64_t len = atoll_obj_op(object(ATOLL_O_MAP, "shortener/urls"), ATOLL_MAP_GET, 0, 0, &record,
                               RECORD_HEAD, record.value, URL_MAX, ATOLL_FOREVER);
    if (len == -ATOLL_ENOENT)
        return refuse(404, "no such id\n");
    if (len < 0)
        return 1;
    if (count_wanted(request)) {
        atoll_text_i64(&text, followed(&record, 0));
        atoll_text_string(&text, "\n");
        return atoll_text_output(&text) < 0;
    }
    if (followed(&record, 1) < 0)
        return 1;
    atoll_text_string(&location, "location: ");
    atoll_text_add(&location, record.value, (size_t)len);
    atoll_text_string(&location, "\n");
    return reply(302, room, location.len, "");
}

ATOLL_FUNCTION(shortener)
{
    static ATOLL_PER_CALL struct atoll_http_request request;
    if (atoll_http_request_read(&request) < 0)
        atoll_fail_string(2, "this function answers HTTP requests");
    if (atoll_http_is(request.method, "POST"))
        return shorten();
    if (atoll_http_is(request.method, "GET"))
        return follow(&request);
    return reply(405, "allow: GET, POST\n", 17, "");
}
