/*
 * multipart/form-data (RFC 7578) read from bytes, strictly and without keeping any: uploads stream
 * through it. Pieces go in, events come out, whatever the cuts, as in http1.h.
 *
 *   --boundary CRLF
 *   Content-Disposition: form-data; name="module"; filename="score.wasm" CRLF
 *   Content-Type: application/wasm CRLF
 *   CRLF
 *   bytes
 *   CRLF --boundary CRLF … CRLF --boundary-- [CRLF]
 *
 * Refused: text before the first or after the last boundary, a line end without CR, a part without
 * a name, backslashes in names, unknown parameters, Content-Transfer-Encoding other than binary.
 */
#ifndef NET_MULTIPART_H
#define NET_MULTIPART_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MULTIPART_BOUNDARY_MAX 70 /* RFC 2046 §5.1.1 */
#define MULTIPART_PARTS_MAX    16
#define MULTIPART_HEADERS_MAX  2048 /* bytes of one part's header lines */
#define MULTIPART_NAME_MAX     63
#define MULTIPART_FILENAME_MAX 255
#define MULTIPART_TYPE_MAX     127

struct multipart_part {
    char name[MULTIPART_NAME_MAX + 1];
    char filename[MULTIPART_FILENAME_MAX + 1]; /* "" when none was given; never a path to use */
    char type[MULTIPART_TYPE_MAX + 1];         /* "" when none was given */
};

enum multipart_event_kind {
    MULTIPART_NONE, /* more bytes are needed, or the form is over and only takes its last CRLF */
    MULTIPART_PART, /* a part begins: `part` is ready until MULTIPART_PART_END */
    MULTIPART_DATA, /* bytes of the part: data and len */
    MULTIPART_PART_END,
    MULTIPART_END, /* the last boundary */
    MULTIPART_ERROR,
};

struct multipart_event {
    enum multipart_event_kind kind;
    const uint8_t *data;
    size_t len;
    const char *reason; /* of ERROR: a static sentence */
};

/* Fields but `part` are private. It holds no resources. */
struct multipart {
    struct multipart_part part;
    uint8_t state;
    bool named;
    uint32_t parts, matched, borrowed, line_len, headers_len, epilogue;
    uint32_t delimiter_len;
    char delimiter[MULTIPART_BOUNDARY_MAX + 5]; /* CR LF "--" boundary */
    char line[MULTIPART_HEADERS_MAX + 1];
    const char *error;
};

/* Starts with a request's Content-Type: ATOLL_ETYPE when it is not multipart/form-data with a valid
 * boundary. */
int multipart_init(struct multipart *, const char *content_type, struct error *);
/* Takes bytes and tells at most one event; returns how many it took. Call it again with the rest
 * until it says MULTIPART_NONE. */
size_t multipart_read(struct multipart *, const void *data, size_t len, struct multipart_event *);
/* True once the last boundary has been read: a body that ends earlier was cut off. */
bool multipart_complete(const struct multipart *);

#endif
