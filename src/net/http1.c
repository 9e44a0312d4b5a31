/*
 * The machine of http1.h.
 *
 *   START ─▶ LINE ─▶ HEADERS ─▶ GATE ─┬─▶ LENGTH ───────────────────────┬─▶ END ─▶ DONE
 *     ▲                               ├─▶ UNTIL_CLOSE ──────────────────┤
 *     │                               └─▶ SIZE ◀─▶ CHUNK ─▶ CHUNK_END   │
 *     │                                    └─▶ TRAILERS ────────────────┘
 *     └── http1_next ── DONE                         any ─▶ ERROR
 *
 * That events do not depend on how the input was cut rests on two things: a line is judged when its
 * line feed has come, or when it has grown past its limit, whichever is first in the bytes; and
 * what comes byte by byte (chunk sizes, trailers) is judged byte by byte.
 */
#include "net/http1.h"

#include "net/http1_head.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

enum state {
    START,
    LINE,
    HEADERS,
    GATE,
    LENGTH,
    UNTIL_CLOSE,
    SIZE,
    CHUNK,
    CHUNK_END,
    TRAILERS,
    END,
    DONE,
    ERROR,
};

/* Within SIZE and CHUNK_END. */
enum { SIZE_DIGITS, SIZE_EXTENSION, SIZE_LF };
enum { CHUNK_CR, CHUNK_LF };
/* Within TRAILERS. */
enum { TRAILER_START, TRAILER_NAME, TRAILER_VALUE, TRAILER_LF, TRAILER_LAST_LF };

/* A head that fits keeps its buffer between messages. */
#define TEXT_FIRST   1024
#define TEXT_KEPT    4096
#define HEADERS_KEPT 32

void http1_init(struct http1 *m, enum http1_role role)
{
    *m = (struct http1){.role = role, .body_max = HTTP1_BODY_MAX};
}

void http1_free(struct http1 *m)
{
    free(m->text);
    free(m->headers);
    *m = (struct http1){.role = m->role, .state = ERROR, .error_status = 400, .error_reason = ""};
}

const struct http_head *http1_head(const struct http1 *m)
{
    assert(m->state >= GATE);
    return &m->head;
}

void http1_body_max_set(struct http1 *m, uint64_t body_max)
{
    m->body_max = body_max;
}

void http1_body_setting_set(struct http1 *m, const char *setting)
{
    m->body_setting = setting;
}

void http1_response_to_head(struct http1 *m)
{
    assert(m->role == HTTP1_CLIENT);
    m->response_to_head = true;
}

bool http1_idle(const struct http1 *m)
{
    return m->state == START && m->line_state == 0 && m->interim_count == 0;
}

void http1_next(struct http1 *m)
{
    assert(m->state == DONE);
    struct http1 next = {
        .role = m->role,
        .body_max = HTTP1_BODY_MAX,
        .text = m->text,
        .text_capacity = m->text_capacity,
        .headers = m->headers,
        .header_capacity = m->header_capacity,
    };
    if (next.text_capacity > TEXT_KEPT) {
        free(next.text);
        next.text = NULL;
        next.text_capacity = 0;
    }
    if (next.header_capacity > HEADERS_KEPT) {
        free(next.headers);
        next.headers = NULL;
        next.header_capacity = 0;
    }
    *m = next;
}

static void refuse(struct http1 *m, struct http1_event *event, unsigned status, const char *reason)
{
    m->state = ERROR;
    m->error_status = status;
    m->error_reason = reason;
    *event = (struct http1_event){.kind = HTTP1_ERROR, .status = status, .reason = reason};
}

static void body_refuse(struct http1 *m, struct http1_event *event)
{
    snprintf(m->body_reason, sizeof m->body_reason,
             "the body is larger than the %llu bytes that are allowed%s%s",
             (unsigned long long)m->body_max, m->body_setting ? " by the setting " : "",
             m->body_setting ? m->body_setting : "");
    refuse(m, event, 413, m->body_reason);
}

/* ---- the head ---- */

static bool text_append(struct http1 *m, const char *piece, size_t len)
{
    if (len > m->text_capacity - m->text_len) {
        uint32_t capacity = m->text_capacity ? m->text_capacity : TEXT_FIRST;
        while (capacity < m->text_len + len)
            capacity *= 2;
        char *text = realloc(m->text, capacity);
        if (!text)
            return false;
        m->text = text;
        m->text_capacity = capacity;
    }
    memcpy(m->text + m->text_len, piece, len);
    m->text_len += (uint32_t)len;
    return true;
}

/* Whether so many more bytes of this line are too many. */
static struct http1_refusal line_room(const struct http1 *m, size_t piece)
{
    if (m->state != HEADERS)
        return m->text_len - m->line_start + piece > HTTP1_LINE_MAX + 2
                   ? http1_refuse(414, "the first line is longer than 8192 bytes")
                   : http1_accept;
    return m->text_len - m->headers_start + piece > HTTP1_HEADERS_BYTES + 2
               ? http1_refuse(431, "the header lines are longer than 16384 bytes")
               : http1_accept;
}

static struct http1_refusal first_line(struct http1 *m, size_t len)
{
    if (len == 0) {
        /* A client may end its last body with one line end too many (RFC 9112 §2.2). */
        if (m->role == HTTP1_CLIENT || m->line_state)
            return http1_refuse(400, "an empty line where a message should begin");
        m->line_state = 1;
        m->text_len = 0;
        m->state = START;
        return http1_accept;
    }
    m->state = HEADERS;
    m->headers_start = m->line_start = m->text_len;
    return m->role == HTTP1_SERVER ? http1_request_line(m->text, len)
                                   : http1_status_line(m->text, len);
}

static struct http1_refusal header_line(struct http1 *m, size_t len)
{
    if (++m->header_lines > HTTP1_HEADERS_MAX)
        return http1_refuse(431, "more than 100 header lines");
    const char *line = m->text + m->line_start;
    m->line_start = m->text_len;
    return http1_header_line(line, len);
}

static struct http1_refusal head_complete(struct http1 *m)
{
    if (m->header_lines > m->header_capacity) {
        uint32_t capacity = m->header_lines <= HEADERS_KEPT / 2 ? HEADERS_KEPT / 2
                            : m->header_lines <= HEADERS_KEPT   ? HEADERS_KEPT
                                                                : HTTP1_HEADERS_MAX;
        free(m->headers);
        m->header_capacity = 0;
        m->headers = malloc(capacity * sizeof *m->headers);
        if (!m->headers)
            return http1_refuse(503, "out of memory");
        m->header_capacity = capacity;
    }
    return http1_head_read(m->role == HTTP1_CLIENT, m->text, m->text_len, m->headers,
                           m->header_lines, &m->head);
}

/* A response of status 1xx is read and forgotten. */
static struct http1_refusal interim_pass(struct http1 *m)
{
    if (m->head.status == 101)
        return http1_refuse(400, "the server switched protocols unasked");
    if (++m->interim_count > HTTP1_INTERIM_MAX)
        return http1_refuse(400, "too many interim responses");
    m->state = START;
    m->text_len = m->line_start = m->header_lines = 0;
    return http1_accept;
}

/* Returns true when there is something to tell. */
static bool line_complete(struct http1 *m, struct http1_event *event)
{
    struct http1_refusal refusal = {0};
    size_t len = m->text_len - m->line_start;
    bool head = false;
    if (len < 2 || m->text[m->text_len - 2] != '\r') {
        refusal = http1_refuse(400, "a line ends with LF without CR");
    } else if (m->state != HEADERS) {
        refusal = first_line(m, len - 2);
    } else if (len > 2) {
        refusal = header_line(m, len - 2);
    } else {
        refusal = head_complete(m);
        head = !refusal.reason;
        if (head && m->role == HTTP1_CLIENT && m->head.status < 200) {
            refusal = interim_pass(m);
            head = false;
        }
    }
    if (refusal.reason) {
        refuse(m, event, refusal.status, refusal.reason);
        return true;
    }
    if (head) {
        m->state = GATE;
        event->kind = HTTP1_HEAD;
    }
    return head;
}

static size_t head_read(struct http1 *m, const uint8_t *data, size_t len, struct http1_event *event)
{
    size_t used = 0;
    while (used < len) {
        const char *piece = (const char *)data + used;
        if (m->state == START) {
            /* What cannot be a method is no request, such as a TLS greeting on a plain port. */
            if (!http_token_byte((uint8_t)*piece) && *piece != '\r' && *piece != '\n') {
                refuse(m, event, 400, "this is not HTTP");
                return used;
            }
            m->state = LINE;
        }
        const char *lf = memchr(piece, '\n', len - used);
        size_t piece_len = lf ? (size_t)(lf - piece) + 1 : len - used;
        const struct http1_refusal refusal = line_room(m, piece_len);
        if (refusal.reason) {
            refuse(m, event, refusal.status, refusal.reason);
            return used;
        }
        if (!text_append(m, piece, piece_len)) {
            refuse(m, event, 503, "out of memory");
            return used;
        }
        used += piece_len;
        if (lf && line_complete(m, event))
            break;
    }
    return used;
}

/* ---- the body ---- */

static bool response_without_body(const struct http1 *m)
{
    return m->response_to_head || m->head.status == 204 || m->head.status == 304;
}

/* Decides how the body is framed, and whether it may come. */
static void gate_pass(struct http1 *m, struct http1_event *event)
{
    if (m->role == HTTP1_CLIENT && response_without_body(m)) {
        m->state = END;
        return;
    }
    if (m->head.has_length && m->head.content_length > m->body_max) {
        body_refuse(m, event);
        return;
    }
    m->line_state = 0;
    m->left = m->head.content_length;
    if (m->head.chunked)
        m->state = SIZE;
    else if (m->left > 0)
        m->state = LENGTH;
    else if (m->role == HTTP1_CLIENT && !m->head.has_length)
        m->state = UNTIL_CLOSE;
    else
        m->state = END;
    if (m->state == UNTIL_CLOSE)
        m->head.keep_alive = false;
    if (m->head.expect_continue && m->state != END)
        event->kind = HTTP1_CONTINUE;
}

/* A piece of at most `left` bytes becomes an event. */
static size_t piece_read(struct http1 *m, const uint8_t *data, size_t len,
                         struct http1_event *event)
{
    size_t piece = len < m->left ? len : (size_t)m->left;
    if (piece == 0)
        return 0;
    m->left -= piece;
    m->body_len += piece;
    *event = (struct http1_event){.kind = HTTP1_BODY, .data = data, .len = piece};
    if (m->left == 0)
        m->state = m->state == LENGTH ? END : CHUNK_END;
    return piece;
}

static size_t rest_read(struct http1 *m, const uint8_t *data, size_t len, struct http1_event *event)
{
    uint64_t room = m->body_max - m->body_len;
    if (len == 0)
        return 0;
    if (room == 0) {
        body_refuse(m, event);
        return 0;
    }
    size_t piece = len < room ? len : (size_t)room;
    m->body_len += piece;
    *event = (struct http1_event){.kind = HTTP1_BODY, .data = data, .len = piece};
    return piece;
}

static int hex_digit(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static void size_complete(struct http1 *m, struct http1_event *event)
{
    m->line_state = 0;
    m->line_len = 0;
    if (m->left == 0)
        m->state = TRAILERS;
    else if (m->left > m->body_max - m->body_len)
        body_refuse(m, event);
    else
        m->state = CHUNK;
}

/* One byte of a chunk's first line. Returns why it is refused. */
static const char *size_byte(struct http1 *m, uint8_t c)
{
    if (++m->line_len > HTTP1_CHUNK_LINE)
        return "a chunk's first line is longer than 256 bytes";
    if (m->line_state == SIZE_EXTENSION) {
        if (++m->extension_bytes > HTTP1_EXTENSIONS)
            return "chunk extensions of more than 16384 bytes";
        if (c == '\r')
            m->line_state = SIZE_LF;
        else if (!http_value_byte(c) || c >= 0x80)
            return "control byte in a chunk extension";
        return NULL;
    }
    int value = hex_digit(c);
    if (value >= 0) {
        if (m->line_len > 16)
            return "a chunk size of more than 16 digits";
        m->left = m->line_len == 1 ? (uint64_t)value : m->left << 4 | (uint64_t)value;
    } else if (m->line_len == 1 || (c != '\r' && c != ';')) {
        return "a chunk size is not a hexadecimal number";
    } else {
        m->line_state = c == '\r' ? SIZE_LF : SIZE_EXTENSION;
    }
    return NULL;
}

static size_t size_read(struct http1 *m, const uint8_t *data, size_t len, struct http1_event *event)
{
    for (size_t used = 0; used < len; used++) {
        const char *reason = NULL;
        if (m->line_state != SIZE_LF) {
            reason = size_byte(m, data[used]);
        } else if (data[used] == '\n') {
            size_complete(m, event);
            return used + 1;
        } else {
            reason = "a chunk's first line does not end with CR LF";
        }
        if (reason) {
            refuse(m, event, 400, reason);
            return used;
        }
    }
    return len;
}

static size_t chunk_end_read(struct http1 *m, const uint8_t *data, size_t len,
                             struct http1_event *event)
{
    size_t used = 0;
    while (used < len) {
        if (data[used] != (m->line_state == CHUNK_CR ? '\r' : '\n')) {
            refuse(m, event, 400, "a chunk is longer than its size");
            return used;
        }
        used++;
        if (m->line_state == CHUNK_LF) {
            m->line_state = 0;
            m->state = SIZE;
            break;
        }
        m->line_state = CHUNK_LF;
    }
    return used;
}

/* One byte of the trailer section; false when it is refused. The section is over in state END. */
static bool trailer_byte(struct http1 *m, uint8_t c)
{
    switch (m->line_state) {
    case TRAILER_START:
        m->line_state = c == '\r' ? TRAILER_LAST_LF : TRAILER_NAME;
        return c == '\r' || http_token_byte(c);
    case TRAILER_NAME:
        if (c == ':')
            m->line_state = TRAILER_VALUE;
        return c == ':' || http_token_byte(c);
    case TRAILER_VALUE:
        if (c == '\r')
            m->line_state = TRAILER_LF;
        return c == '\r' || http_value_byte(c);
    case TRAILER_LF: m->line_state = TRAILER_START; return c == '\n';
    default: m->state = END; return c == '\n';
    }
}

static size_t trailers_read(struct http1 *m, const uint8_t *data, size_t len,
                            struct http1_event *event)
{
    size_t used = 0;
    while (used < len && m->state == TRAILERS) {
        if (++m->trailer_bytes > HTTP1_TRAILER_BYTES) {
            refuse(m, event, 431, "trailer lines of more than 8192 bytes");
            return used;
        }
        if (!trailer_byte(m, data[used])) {
            refuse(m, event, 400, "a malformed trailer line");
            return used;
        }
        used++;
    }
    return used;
}

size_t http1_read(struct http1 *m, const void *bytes, size_t len, struct http1_event *event)
{
    const uint8_t *data = bytes;
    size_t used = 0;
    *event = (struct http1_event){.kind = HTTP1_NONE};
    for (;;) {
        const uint8_t *rest = len ? data + used : NULL;
        size_t rest_len = len - used;
        uint8_t before = m->state;
        switch ((enum state)m->state) {
        case START:
        case LINE:
        case HEADERS: used += head_read(m, rest, rest_len, event); break;
        case GATE: gate_pass(m, event); break;
        case LENGTH:
        case CHUNK: used += piece_read(m, rest, rest_len, event); break;
        case UNTIL_CLOSE: used += rest_read(m, rest, rest_len, event); break;
        case SIZE: used += size_read(m, rest, rest_len, event); break;
        case CHUNK_END: used += chunk_end_read(m, rest, rest_len, event); break;
        case TRAILERS: used += trailers_read(m, rest, rest_len, event); break;
        case END:
            m->state = DONE;
            event->kind = HTTP1_END;
            break;
        case DONE: return used;
        case ERROR: refuse(m, event, m->error_status, m->error_reason); return used;
        }
        if (event->kind != HTTP1_NONE || m->state == before)
            return used;
    }
}

void http1_read_end(struct http1 *m, struct http1_event *event)
{
    *event = (struct http1_event){.kind = HTTP1_NONE};
    switch ((enum state)m->state) {
    case DONE: return;
    case START:
        if (http1_idle(m) || (m->role == HTTP1_SERVER && m->text_len == 0))
            return;
        break;
    case UNTIL_CLOSE:
        m->state = DONE;
        event->kind = HTTP1_END;
        return;
    case ERROR: refuse(m, event, m->error_status, m->error_reason); return;
    default: break;
    }
    refuse(m, event, 400, "the connection closed in the middle of a message");
}
