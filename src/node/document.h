/*
 * Strict reading of YAML (and JSON, which is a subset of it) into structs, by tables of fields.
 *
 * Every complaint names line and column, the key, and what would be right. Refused: unknown and
 * doubled keys, wrong types, numbers out of range, more than one document, aliases that make the
 * text grow. Used for manifests and the node's configuration.
 */
#ifndef NODE_DOCUMENT_H
#define NODE_DOCUMENT_H

#include "base/bytes.h"
#include "base/error.h"

struct document;
struct document_node;

enum field_type {
    FIELD_COUNT,    /* uint32_t */
    FIELD_SIZE,     /* uint64_t bytes: 4096, 64KiB, 128MiB, 2GiB; rates too: 10MiB/s */
    FIELD_DURATION, /* uint64_t nanoseconds: 30s, 5ms, 10us, 1h, 2m, 100ns */
    FIELD_BOOL,     /* bool */
    FIELD_CHOICE,   /* int: index in `choices` ("a|b|c") */
    FIELD_TEXT,     /* char array of max + 1 bytes */
    FIELD_GROUP,    /* a mapping whose fields are in `fields`, of the same struct */
    FIELD_OWN,      /* read by `read` */
};

struct field {
    const char *name;
    enum field_type type;
    size_t offset;     /* of the member in the struct */
    uint64_t min, max; /* inclusive; FIELD_TEXT: longest length in max */
    const char *choices;
    const struct field *fields; /* ends with a NULL name */
    int (*read)(const struct document *, const struct document_node *, void *target,
                struct error *);
};

/* what: names the text in messages ("the manifest"). */
int document_parse(const void *text, size_t len, const char *what, struct document **out,
                   struct error *);
void document_free(struct document *);                              /* NULL is fine */
const struct document_node *document_root(const struct document *); /* NULL: an empty text */

/* Reads a mapping by its table. Fields that are absent keep their value. */
int document_read(const struct document *, const struct document_node *mapping,
                  const struct field *, void *target, struct error *);

/* For `read` functions. Each sets an error with the place when the node is of another kind. */
/* Text of a scalar; no NUL within. */
int document_text(const struct document *, const struct document_node *, const char **text,
                  size_t *len, struct error *);
int document_sequence(const struct document *, const struct document_node *, size_t max,
                      size_t *count, struct error *);
const struct document_node *document_item(const struct document *, const struct document_node *,
                                          size_t index);
int document_mapping(const struct document *, const struct document_node *, size_t max,
                     size_t *count, struct error *);
/* Pair `index` of a mapping. */
int document_pair(const struct document *, const struct document_node *, size_t index,
                  const char **key, size_t *key_len, const struct document_node **value,
                  struct error *);
/* An error at a node: "the manifest, line 3, column 5: <text>". */
int document_error(const struct document *, const struct document_node *, struct error *,
                   const char *format, ...) __attribute__((format(printf, 4, 5)));

/* A scalar as fields would be read, for values that come as text (options, environment). */
int field_parse(const struct field *, const char *text, void *target, struct error *);

#endif
