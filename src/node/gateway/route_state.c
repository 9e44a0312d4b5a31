/*
 * State by HTTP: whole values and ranges, versions as ETags, entries, lists of keys.
 *
 * Reading goes to the global tier, where one read is one moment of one version. Up to READ_AT_ONCE
 * bytes are read in one go; larger values are streamed in pieces, and a value that changes on the
 * way ends the connection instead of mixing versions. Changes go through the local tier, so that a
 * function called next sees them.
 *
 * A key in the path is percent-decoded and may hold slashes and any byte but NUL; a segment "." or
 * ".." needs its slash as %2F. Entries: POST …/KEY/entries appends the body, GET …/KEY?entries=FROM
 * brings NDJSON with the bytes as base64.
 */
#define _GNU_SOURCE
#include "node/gateway/exchange.h"

#include "node/gateway/range.h"
#include "state/state.h"
#include "store/store.h"

#include <stdlib.h>

#define READ_AT_ONCE    (16ull << 20)
#define PIECE           (1u << 20)
#define LIST_BYTES      (512u << 10)
#define ENTRIES_MAX     1000u
#define ENTRIES_BYTES   (1u << 20)
#define VALUE_BYTES_MAX (1ull << 30) /* one PUT */

static struct gt *tier(const struct exchange *x)
{
    return store_gt(x->node->store);
}

static struct gt_key key_of(const struct exchange *x, size_t len)
{
    return (struct gt_key){.tenant = x->tenant, .key = x->text, .key_len = len};
}

/* Answers 400 for a key that is none. */
static bool key_check(struct exchange *x, size_t len)
{
    if (len > 0 && len <= GT_KEY_MAX)
        return true;
    exchange_problem(x, 400, "a key has 1 to %d bytes", GT_KEY_MAX);
    return false;
}

/* When an operation could not even begin. */
static void begun(struct exchange *x, int rc, const struct error *e)
{
    if (rc != 0)
        exchange_error(x, e);
}

static void etag_write(uint64_t version, char out[static 32])
{
    snprintf(out, 32, "\"%llu\"", (unsigned long long)version);
}

/* The version of an If-Match field: GT_VERSION_ANY without one, -1 with 400 answered. "*" means
 * that the key must exist, which a version cannot say: it is refused. */
static bool if_match(struct exchange *x, uint64_t *version)
{
    const char *text = exchange_header(x, "if-match");
    char *end;
    *version = GT_VERSION_ANY;
    if (text == NULL)
        return true;
    unsigned long long number = text[0] == '"' ? strtoull(text + 1, &end, 10) : 0;
    if (text[0] != '"' || text[1] < '0' || text[1] > '9' || strcmp(end, "\"") != 0) {
        exchange_problem(x, 400, "If-Match must be one version in quotes, as ETag gives it");
        return false;
    }
    *version = number;
    return true;
}

/* ---- reading a value ---- */

struct reading {
    uint64_t size, version, off, end; /* what is still to be sent: [off, end) */
    bool partial, waiting;
    uint8_t *bytes;
    struct gt_span span;
};

static void reading_free(struct exchange *x)
{
    struct reading *r = x->own;
    x->own = NULL;
    if (r)
        free(r->bytes);
    free(r);
}

static void reading_gone(struct exchange *x)
{
    struct reading *r = x->own;
    x->gone = x->drained = NULL;
    if (r->waiting)
        return; /* the piece that is being read finds out */
    reading_free(x);
    exchange_drop(x);
}

struct value_fields {
    char etag[32], range[96], length[32];
};

static void fields_add(struct exchange_headers *h, struct value_fields *f, const struct reading *r)
{
    etag_write(r->version, f->etag);
    exchange_headers_add(h, "etag", f->etag);
    exchange_headers_add(h, "accept-ranges", "bytes");
    exchange_headers_add(h, "content-type", "application/octet-stream");
    if (r->partial) {
        snprintf(f->range, sizeof f->range, "bytes %llu-%llu/%llu", (unsigned long long)r->off,
                 (unsigned long long)r->end - 1, (unsigned long long)r->size);
        exchange_headers_add(h, "content-range", f->range);
    }
}

static void bytes_done(void *context, const void *body, size_t len)
{
    (void)body;
    (void)len;
    free(context);
}

static void whole_read(void *context, const struct gt_result *result)
{
    struct exchange *x = context;
    struct reading *r = x->own;
    struct exchange_headers headers = {0};
    struct value_fields fields;
    r->waiting = false;
    x->gone = NULL;
    if (result->code != 0) {
        reading_free(x);
        exchange_error(x, result->error);
        return;
    }
    if (result->version !=
        r->version) { /* changed since it was looked at: its size may have, too */
        reading_free(x);
        exchange_problem(x, 409, "the value changed while it was read; try again");
        return;
    }
    fields_add(&headers, &fields, r);
    struct http_response response = {.status = r->partial ? 206 : 200,
                                     .headers = headers.list,
                                     .header_count = headers.count,
                                     .body = r->bytes,
                                     .body_len = r->end - r->off,
                                     .release = bytes_done,
                                     .release_context = r->bytes};
    r->bytes = NULL;
    reading_free(x);
    exchange_respond(x, &response);
}

static void piece_next(struct exchange *x);

static void piece_read(void *context, const struct gt_result *result)
{
    struct exchange *x = context;
    struct reading *r = x->own;
    r->waiting = false;
    bool good = result->code == 0 && result->version == r->version && x->gone != NULL;
    int rc = good ? exchange_stream_write(x, r->bytes, r->span.len) : -ATOLL_ELOST;
    if (rc == 0) {
        r->off += r->span.len;
        piece_next(x);
    } else if (rc != -ATOLL_EAGAIN) {
        x->gone = x->drained = NULL;
        reading_free(x);
        exchange_drop(x);
    }
}

static void piece_next(struct exchange *x)
{
    struct reading *r = x->own;
    struct error e;
    if (r->off == r->end) {
        x->gone = x->drained = NULL;
        reading_free(x);
        exchange_stream_end(x);
        return;
    }
    if (r->waiting)
        return;
    struct gt_key key = key_of(x, x->text_len);
    uint64_t left = r->end - r->off;
    r->span = (struct gt_span){r->off, r->bytes, left < PIECE ? left : PIECE};
    r->waiting = true;
    if (tier(x)->ops->getrange(tier(x), &key, 0, &r->span, 1, (struct gt_callback){piece_read, x},
                               &e) != 0) {
        r->waiting = false;
        x->gone = x->drained = NULL;
        reading_free(x);
        exchange_drop(x);
    }
}

static void value_send(struct exchange *x)
{
    struct reading *r = x->own;
    struct error e;
    bool stream = r->end - r->off > READ_AT_ONCE;
    r->bytes = malloc(stream ? PIECE : r->end - r->off + 1);
    int rc = r->bytes ? 0 : error_set(&e, ATOLL_ENOMEM, "no memory to read a value");
    x->gone = reading_gone;
    if (rc == 0 && stream) {
        struct exchange_headers headers = {0};
        struct value_fields fields;
        fields_add(&headers, &fields, r);
        struct http_response response = {.status = r->partial ? 206 : 200,
                                         .headers = headers.list,
                                         .header_count = headers.count};
        rc = exchange_stream_begin(x, &response, &e);
        if (rc == 0) {
            x->drained = piece_next;
            piece_next(x);
            return;
        }
    } else if (rc == 0) {
        struct gt_key key = key_of(x, x->text_len);
        r->span = (struct gt_span){r->off, r->bytes, r->end - r->off};
        r->waiting = true;
        rc = tier(x)->ops->getrange(tier(x), &key, 0, &r->span, 1,
                                    (struct gt_callback){whole_read, x}, &e);
        if (rc == 0)
            return;
    }
    x->gone = NULL;
    reading_free(x);
    exchange_error(x, &e);
}

static void value_found(void *context, const struct gt_result *result)
{
    struct exchange *x = context;
    struct reading *r = x->own;
    char etag[32];
    x->gone = NULL;
    if (result->code != 0) {
        reading_free(x);
        exchange_error(x, result->error);
        return;
    }
    const char *none = exchange_header(x, "if-none-match"), *range = exchange_header(x, "range");
    r->size = r->end = result->size;
    r->version = result->version;
    etag_write(r->version, etag);
    enum range_kind kind = range ? range_parse(range, r->size, &r->off, &r->end) : RANGE_NONE;
    r->partial = kind == RANGE_GOOD;
    if (none && strcmp(none, etag) == 0) {
        reading_free(x);
        struct exchange_headers headers = {0};
        exchange_headers_add(&headers, "etag", etag);
        exchange_respond(x, &(struct http_response){.status = 304,
                                                    .headers = headers.list,
                                                    .header_count = headers.count});
    } else if (kind == RANGE_UNSATISFIABLE) {
        struct exchange_headers headers = {0};
        char whole[48];
        snprintf(whole, sizeof whole, "bytes */%llu", (unsigned long long)r->size);
        exchange_headers_add(&headers, "content-range", whole);
        reading_free(x);
        exchange_problem_with(x, 416, &headers, "the range lies outside the value");
    } else {
        value_send(x);
    }
}

/* ---- entries ---- */

static void base64_write(const uint8_t *p, size_t len, struct buffer *out)
{
    static const char letters[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < len; i += 3) {
        uint32_t bits = (uint32_t)p[i] << 16 | (i + 1 < len ? (uint32_t)p[i + 1] << 8 : 0) |
                        (i + 2 < len ? p[i + 2] : 0);
        char four[4] = {letters[bits >> 18], letters[bits >> 12 & 63],
                        i + 1 < len ? letters[bits >> 6 & 63] : '=',
                        i + 2 < len ? letters[bits & 63] : '='};
        buffer_append(out, four, 4);
    }
}

static void entries_read(void *context, const struct gt_result *result)
{
    struct exchange *x = context;
    struct buffer out = {0};
    const uint8_t *at = result->data;
    uint64_t from = *(const uint64_t *)x->own;
    free(x->own);
    x->own = NULL;
    if (result->code != 0) {
        exchange_error(x, result->error);
        return;
    }
    for (size_t i = 0; i < result->count; i++) {
        char head[64];
        int len = snprintf(head, sizeof head, "{\"index\":%llu,\"base64\":\"",
                           (unsigned long long)(from + i));
        buffer_append(&out, head, (size_t)len);
        base64_write(at, result->lens[i], &out);
        buffer_append(&out, "\"}\n", 3);
        at += result->lens[i];
    }
    struct exchange_headers headers = {0};
    char count[32];
    snprintf(count, sizeof count, "%llu", (unsigned long long)result->entries);
    exchange_headers_add(&headers, "content-type", "application/x-ndjson");
    exchange_headers_add(&headers, "atoll-entries", count);
    struct http_response response = {.status = 200,
                                     .headers = headers.list,
                                     .header_count = headers.count,
                                     .body = out.data,
                                     .body_len = out.len};
    exchange_respond(x, &response);
    buffer_free(&out);
}

static void entries_begin(struct exchange *x, const struct gt_key *key, uint64_t from)
{
    struct error e;
    uint64_t *kept = malloc(sizeof *kept);
    if (kept == NULL) {
        exchange_problem(x, 503, "no memory to read entries");
        return;
    }
    *kept = from;
    x->own = kept;
    int rc = tier(x)->ops->entries(tier(x), key, from, ENTRIES_MAX, ENTRIES_BYTES,
                                   (struct gt_callback){entries_read, x}, &e);
    if (rc != 0) {
        x->own = NULL;
        free(kept);
    }
    begun(x, rc, &e);
}

static void value_handle(struct exchange *x)
{
    static const char *const known[] = {"entries", NULL};
    uint64_t from = 0;
    struct error e;
    struct gt_key key = key_of(x, x->text_len);
    if (!key_check(x, x->text_len) || !exchange_query_only(x, known))
        return;
    int rc = exchange_query_count(x, "entries", &from);
    if (rc == 0)
        entries_begin(x, &key, from);
    if (rc != -ATOLL_ENOENT)
        return;
    x->own = calloc(1, sizeof(struct reading));
    if (x->own == NULL) {
        exchange_problem(x, 503, "no memory to read a value");
        return;
    }
    rc = tier(x)->ops->stat(tier(x), &key, (struct gt_callback){value_found, x}, &e);
    if (rc != 0)
        reading_free(x);
    begun(x, rc, &e);
}

/* ---- changing a value ---- */

static void changed(void *context, const struct gt_result *result)
{
    struct exchange *x = context;
    struct exchange_headers headers = {0};
    char etag[32];
    x->gone = NULL;
    if (result->code != 0) {
        exchange_error(x, result->error);
        return;
    }
    etag_write(result->version, etag);
    exchange_headers_add(&headers, "etag", etag);
    struct http_response response = {.status = result->version == 1 ? 201 : 200,
                                     .headers = headers.list,
                                     .header_count = headers.count};
    exchange_respond(x, &response);
}

static void removed(void *context, const struct gt_result *result)
{
    struct exchange *x = context;
    x->gone = NULL;
    if (result->code != 0)
        exchange_error(x, result->error);
    else
        exchange_respond(x, &(struct http_response){.status = 204});
}

/* The answer still comes; it goes nowhere. */
static void change_unwatched(struct exchange *x)
{
    x->gone = NULL;
}

static void body_release(void *context)
{
    free(context);
}

/* Sets len bytes at off; size GT_SIZE_KEEP with grow, or the new size. */
static void value_change(struct exchange *x, uint64_t off, bool whole)
{
    struct buffer body = http_request_body_take(x->request);
    struct gt_range range = {.off = off, .bytes = body.data, .len = body.len, .merge = GT_SET};
    struct gt_commit commit = {.size = whole ? body.len : GT_SIZE_KEEP,
                               .flags = GT_DURABLE | (whole ? 0 : GT_GROW),
                               .range_count = body.len > 0,
                               .ranges = &range,
                               .release = body_release,
                               .release_context = body.data};
    struct gt_key key = key_of(x, x->text_len);
    struct error e;
    if (!if_match(x, &commit.expect_version)) {
        buffer_free(&body);
        return;
    }
    x->gone = change_unwatched;
    int rc = state_commit(x->node->state, &key, &commit, (struct gt_callback){changed, x}, &e);
    if (rc != 0) {
        x->gone = NULL;
        exchange_error(x, &e);
    }
}

static void put_handle(struct exchange *x)
{
    if (!key_check(x, x->text_len))
        return;
    if (exchange_header(x, "content-range")) {
        exchange_problem(x, 400, "PUT replaces the whole value; PATCH changes a part of it");
        return;
    }
    value_change(x, 0, true);
}

/* PATCH with Content-Range: bytes FIRST-LAST followed by /SIZE or /star, or ?offset=N. */
static void patch_handle(struct exchange *x)
{
    static const char *const known[] = {"offset", NULL};
    char text[24];
    uint64_t off = 0, last;
    const char *range = exchange_header(x, "content-range");
    if (!key_check(x, x->text_len) || !exchange_query_only(x, known))
        return;
    int rc = exchange_query(x, "offset", text, sizeof text);
    if (rc == -ATOLL_EINVAL)
        return;
    bool digits = rc > 0 && strspn(text, "0123456789") == (size_t)rc && rc < 20;
    if (digits && range == NULL) {
        off = strtoull(text, NULL, 10);
    } else if (rc >= 0 || range == NULL || !content_range_parse(range, &off, &last) ||
               last - off + 1 != x->request->body_len) {
        exchange_problem(x, 400,
                         "say where the bytes go: ?offset=N, or Content-Range: bytes "
                         "FIRST-LAST/* that fits the body");
        return;
    }
    value_change(x, off, false);
}

static void delete_handle(struct exchange *x)
{
    struct gt_key key = key_of(x, x->text_len);
    struct error e;
    if (!key_check(x, x->text_len))
        return;
    x->gone = change_unwatched;
    int rc = state_delete(x->node->state, &key, GT_DURABLE, (struct gt_callback){removed, x}, &e);
    if (rc != 0) {
        x->gone = NULL;
        exchange_error(x, &e);
    }
}

static void appended(void *context, const struct gt_result *result)
{
    struct exchange *x = context;
    if (result->code != 0) {
        exchange_error(x, result->error);
        return;
    }
    cJSON *o = cJSON_CreateObject();
    cJSON_AddNumberToObject(o, "index", (double)result->value);
    exchange_json(x, 201, o);
}

static void append_handle(struct exchange *x)
{
    static const char suffix[] = "/entries";
    size_t tail = sizeof suffix - 1;
    struct error e;
    if (x->text_len <= tail || memcmp(x->text + x->text_len - tail, suffix, tail) != 0) {
        exchange_problem(x, 405, "POST appends an entry: the path ends with /entries");
        return;
    }
    if (!key_check(x, x->text_len - tail))
        return;
    struct gt_key key = key_of(x, x->text_len - tail);
    const void *bytes = x->request->body_len ? x->request->body : (const uint8_t *)"";
    begun(x,
          tier(x)->ops->append(tier(x), &key, bytes, x->request->body_len, GT_DURABLE,
                               (struct gt_callback){appended, x}, &e),
          &e);
}

/* ---- lists ---- */

static void listed(void *context, const struct gt_result *result)
{
    struct exchange *x = context;
    struct gt_listed one;
    if (result->code != 0) {
        exchange_error(x, result->error);
        return;
    }
    struct buffer out = {0};
    buffer_append(&out, "{\"keys\":[", 9);
    size_t count = 0;
    for (size_t at = 0; gt_list_next(result->data, result->len, &at, &one); count++) {
        char rest[128];
        buffer_append(&out, count ? ",{\"key\":" : "{\"key\":", count ? 8 : 7);
        http_json_string(&out, (const char *)one.key, one.key_len);
        int len =
            snprintf(rest, sizeof rest, ",\"size\":%llu,\"version\":%llu,\"entries\":%u}",
                     (unsigned long long)one.size, (unsigned long long)one.version, one.entries);
        buffer_append(&out, rest, (size_t)len);
    }
    const char *end = result->value == 1 ? "],\"more\":true}" : "],\"more\":false}";
    buffer_append(&out, end, strlen(end));
    struct exchange_headers headers = {0};
    exchange_headers_add(&headers, "content-type", "application/json");
    struct http_response response = {.status = 200,
                                     .headers = headers.list,
                                     .header_count = headers.count,
                                     .body = out.data,
                                     .body_len = out.len};
    exchange_respond(x, &response);
    buffer_free(&out);
}

static void list_handle(struct exchange *x)
{
    static const char *const known[] = {"prefix", "after", NULL};
    char after[GT_KEY_MAX + 1];
    struct error e;
    if (!exchange_query_only(x, known))
        return;
    int prefix_len = exchange_query(x, "prefix", x->text, sizeof x->text);
    int after_len =
        prefix_len == -ATOLL_EINVAL ? prefix_len : exchange_query(x, "after", after, sizeof after);
    if (prefix_len == -ATOLL_EINVAL || after_len == -ATOLL_EINVAL)
        return;
    struct gt_key prefix = key_of(x, prefix_len > 0 ? (size_t)prefix_len : 0);
    begun(x,
          tier(x)->ops->list(tier(x), &prefix, after, after_len > 0 ? (size_t)after_len : 0,
                             LIST_BYTES, (struct gt_callback){listed, x}, &e),
          &e);
}

#define VALUE "/v1/state/{tenant}/{rest}"

const struct route routes_state[] = {
    {.method = HTTP_GET, .pattern = VALUE, .handle = value_handle, .scopes = SCOPE_STATE_READ},
    {.method = HTTP_PUT,
     .pattern = VALUE,
     .handle = put_handle,
     .scopes = SCOPE_STATE_WRITE,
     .body_max = VALUE_BYTES_MAX},
    {.method = HTTP_PATCH,
     .pattern = VALUE,
     .handle = patch_handle,
     .scopes = SCOPE_STATE_WRITE,
     .body_max = VALUE_BYTES_MAX},
    {.method = HTTP_DELETE, .pattern = VALUE, .handle = delete_handle, .scopes = SCOPE_STATE_WRITE},
    {.method = HTTP_POST,
     .pattern = VALUE,
     .handle = append_handle,
     .scopes = SCOPE_STATE_WRITE,
     .body_max = GT_ENTRY_MAX},
    {.method = HTTP_GET,
     .pattern = "/v1/state/{tenant}",
     .handle = list_handle,
     .scopes = SCOPE_STATE_READ},
    {0},
};
