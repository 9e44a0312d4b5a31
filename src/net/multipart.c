/*
 * The form reader.
 *
 *   FIRST ─▶ AFTER ─┬─▶ LINES ─▶ DATA ─▶ AFTER        AFTER: behind "--boundary"
 *                   └─▶ EPILOGUE
 *
 * The delimiter is CR LF "--" boundary, and a boundary holds no CR: so when bytes that looked like
 * a delimiter turn out not to be one, none of them but the first can begin another, and the ones
 * matched so far are told from the delimiter itself. Nothing of the data is ever kept.
 */
#include "net/multipart.h"

#include "net/http_header.h"

#include <assert.h>
#include <stdio.h>

enum state { FIRST, AFTER, AFTER_CR, AFTER_DASH, LINES, DATA, PART_END, EPILOGUE, FAILED };

/* ---- the boundary and the fields of a part ---- */

/* RFC 2046 §5.1.1, without the space. */
static bool boundary_byte(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c && strchr("'()+_,-./:=?", c));
}

/* A list "; name=value" at *at: takes one parameter off it. False when malformed. Values are tokens
 * or quoted strings without backslashes. */
static bool parameter_next(const char **at, const char **name, size_t *name_len, const char **value,
                           size_t *value_len)
{
    const char *p = *at;
    p += strspn(p, " \t");
    if (*p++ != ';')
        return false;
    p += strspn(p, " \t");
    *name = p;
    while (http_token_byte((uint8_t)*p))
        p++;
    *name_len = (size_t)(p - *name);
    if (*name_len == 0 || *p++ != '=')
        return false;
    if (*p == '"') {
        *value = ++p;
        p += strcspn(p, "\"\\");
        *value_len = (size_t)(p - *value);
        if (*p++ != '"')
            return false;
    } else {
        *value = p;
        while (boundary_byte(*p) || http_token_byte((uint8_t)*p))
            p++;
        *value_len = (size_t)(p - *value);
        if (*value_len == 0)
            return false;
    }
    *at = p + strspn(p, " \t");
    return true;
}

int multipart_init(struct multipart *m, const char *content_type, struct error *e)
{
    memset(m, 0, sizeof *m);
    m->state = FIRST;
    m->matched = 2; /* the first delimiter has no line end before it */
    size_t type_len = content_type ? strcspn(content_type, "; \t") : 0;
    if (!content_type || !http_text_is(content_type, type_len, "multipart/form-data"))
        return error_set(e, ATOLL_ETYPE, "the body must be multipart/form-data");
    const char *at = content_type + type_len, *name, *value, *boundary = NULL;
    size_t name_len, value_len, boundary_len = 0;
    while (*at) {
        if (!parameter_next(&at, &name, &name_len, &value, &value_len))
            return error_set(e, ATOLL_ETYPE, "the parameters of the Content-Type are malformed");
        if (!http_text_is(name, name_len, "boundary"))
            continue;
        if (boundary)
            return error_set(e, ATOLL_ETYPE, "the Content-Type has two boundaries");
        boundary = value;
        boundary_len = value_len;
    }
    if (boundary_len == 0 || boundary_len > MULTIPART_BOUNDARY_MAX)
        return error_set(e, ATOLL_ETYPE, "the Content-Type has no boundary of 1 to %d bytes",
                         MULTIPART_BOUNDARY_MAX);
    for (size_t i = 0; i < boundary_len; i++) {
        if (!boundary_byte(boundary[i]))
            return error_set(e, ATOLL_ETYPE, "the boundary has a byte that is not allowed in one");
    }
    m->delimiter_len = (uint32_t)boundary_len + 4;
    memcpy(m->delimiter, "\r\n--", 4);
    memcpy(m->delimiter + 4, boundary, boundary_len);
    return 0;
}

static const char *text_take(char *out, size_t cap, const char *value, size_t len)
{
    if (len >= cap)
        return "the name, file name or type of a part is too long";
    memcpy(out, value, len);
    out[len] = 0;
    return NULL;
}

static const char *disposition_read(struct multipart *m, const char *value)
{
    size_t type_len = strcspn(value, "; \t");
    const char *at = value + type_len, *name, *text, *reason = NULL;
    size_t name_len, text_len;
    bool filed = false;
    if (!http_text_is(value, type_len, "form-data"))
        return "a part's Content-Disposition is not form-data";
    if (m->named)
        return "a part has Content-Disposition twice";
    while (*at && !reason) {
        if (!parameter_next(&at, &name, &name_len, &text, &text_len))
            return "a part's Content-Disposition is malformed";
        if (name_len == 4 && memcmp(name, "name", 4) == 0 && !m->named && text_len > 0) {
            m->named = true;
            reason = text_take(m->part.name, sizeof m->part.name, text, text_len);
        } else if (name_len == 8 && memcmp(name, "filename", 8) == 0 && !filed) {
            filed = true;
            reason = text_take(m->part.filename, sizeof m->part.filename, text, text_len);
        } else {
            return "a part's Content-Disposition has a parameter that is empty, doubled or unknown";
        }
    }
    return reason;
}

/* A header line without its end, NUL-terminated. */
static const char *line_read(struct multipart *m, char *line, size_t len)
{
    size_t name_len = 0;
    while (http_token_byte((uint8_t)line[name_len]))
        name_len++;
    if (name_len == 0 || line[name_len] != ':')
        return "a part's header line does not begin with a name and a colon";
    char *value = line + name_len + 1;
    for (char *p = value; p < line + len; p++) {
        if (!http_value_byte((uint8_t)*p))
            return "control byte in a part's header line";
    }
    value += strspn(value, " \t");
    size_t value_len = strlen(value);
    while (value_len > 0 && (value[value_len - 1] == ' ' || value[value_len - 1] == '\t'))
        value[--value_len] = 0;
    if (http_text_is(line, name_len, "content-disposition"))
        return disposition_read(m, value);
    if (http_text_is(line, name_len, "content-type"))
        return m->part.type[0] ? "a part has Content-Type twice"
                               : text_take(m->part.type, sizeof m->part.type, value, value_len);
    if (http_text_is(line, name_len, "content-transfer-encoding") &&
        !http_text_is(value, value_len, "binary"))
        return "a part's Content-Transfer-Encoding is refused: send the bytes as they are";
    return NULL;
}

/* ---- the machine ---- */

static void fail(struct multipart *m, struct multipart_event *event, const char *reason)
{
    m->state = FAILED;
    m->error = reason;
    *event = (struct multipart_event){.kind = MULTIPART_ERROR, .reason = reason};
}

static void part_begin(struct multipart *m, struct multipart_event *event)
{
    if (++m->parts > MULTIPART_PARTS_MAX) {
        fail(m, event, "a form of more than 16 parts");
        return;
    }
    memset(&m->part, 0, sizeof m->part);
    m->named = false;
    m->line_len = m->headers_len = 0;
    m->state = LINES;
}

/* One byte outside of data and header lines. */
static void mark_byte(struct multipart *m, char c, struct multipart_event *event)
{
    switch ((enum state)m->state) {
    case FIRST:
        if (c != m->delimiter[m->matched])
            fail(m, event, "the body does not begin with its boundary");
        else if (++m->matched == m->delimiter_len)
            m->state = AFTER;
        return;
    case AFTER:
        if (c == '\r')
            m->state = AFTER_CR;
        else if (c == '-' && m->parts > 0)
            m->state = AFTER_DASH;
        else
            fail(m, event, "a boundary is followed by something else than a line end or --");
        return;
    case AFTER_CR:
        if (c == '\n')
            part_begin(m, event);
        else
            fail(m, event, "a boundary's line ends with CR without LF");
        return;
    case AFTER_DASH:
        if (c != '-') {
            fail(m, event, "a boundary is followed by a single -");
            return;
        }
        m->state = EPILOGUE;
        event->kind = MULTIPART_END;
        return;
    default:
        if (m->epilogue >= 2 || c != "\r\n"[m->epilogue++])
            fail(m, event, "text behind the last boundary");
    }
}

static size_t line_bytes(struct multipart *m, const uint8_t *data, size_t len,
                         struct multipart_event *event)
{
    for (size_t used = 0; used < len; used++) {
        if (++m->headers_len > MULTIPART_HEADERS_MAX) {
            fail(m, event, "the header lines of a part are longer than 2048 bytes");
            return used;
        }
        m->line[m->line_len++] = (char)data[used];
        if (data[used] != '\n')
            continue;
        size_t line_len = m->line_len;
        m->line_len = 0;
        if (line_len < 2 || m->line[line_len - 2] != '\r') {
            fail(m, event, "a part's header line ends with LF without CR");
            return used;
        }
        m->line[line_len - 2] = 0;
        if (line_len == 2) {
            if (!m->named) {
                fail(m, event, "a part without a name");
                return used;
            }
            m->state = DATA;
            /* An empty part may have its boundary right behind the empty line, whose end then is
             * the delimiter's too; but it is no data. */
            m->matched = m->borrowed = 2;
            event->kind = MULTIPART_PART;
            return used + 1;
        }
        const char *reason = line_read(m, m->line, line_len - 2);
        if (reason) {
            fail(m, event, reason);
            return used;
        }
    }
    return len;
}

/* Bytes of a part up to its delimiter. */
static size_t data_bytes(struct multipart *m, const uint8_t *data, size_t len,
                         struct multipart_event *event)
{
    size_t used = 0;
    while (used < len) {
        if (m->matched == 0) {
            const uint8_t *cr = memchr(data + used, '\r', len - used);
            size_t plain = cr ? (size_t)(cr - data) : len;
            if (plain > 0) {
                *event =
                    (struct multipart_event){.kind = MULTIPART_DATA, .data = data, .len = plain};
                return plain;
            }
        }
        if ((char)data[used] == m->delimiter[m->matched]) {
            used++;
            if (++m->matched == m->delimiter_len) {
                m->state = PART_END;
                return used;
            }
            continue;
        }
        uint32_t told = m->matched - m->borrowed;
        const uint8_t *text = (const uint8_t *)m->delimiter + m->borrowed;
        m->matched = m->borrowed = 0;
        if (told > 0) {
            *event = (struct multipart_event){.kind = MULTIPART_DATA, .data = text, .len = told};
            return used;
        }
    }
    return used;
}

size_t multipart_read(struct multipart *m, const void *bytes, size_t len,
                      struct multipart_event *event)
{
    const uint8_t *data = bytes;
    size_t used = 0;
    *event = (struct multipart_event){.kind = MULTIPART_NONE};
    for (;;) {
        if (m->state == FAILED) {
            fail(m, event, m->error);
            return used;
        }
        if (m->state == PART_END) {
            m->state = AFTER;
            event->kind = MULTIPART_PART_END;
            return used;
        }
        if (used == len)
            return used;
        if (m->state == LINES)
            used += line_bytes(m, data + used, len - used, event);
        else if (m->state == DATA)
            used += data_bytes(m, data + used, len - used, event);
        else
            mark_byte(m, (char)data[used++], event);
        if (event->kind != MULTIPART_NONE)
            return used;
    }
}

bool multipart_complete(const struct multipart *m)
{
    return m->state == EPILOGUE;
}
