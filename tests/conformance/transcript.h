/*
 * What engines say about a batch of modules, as text that can be compared line by line.
 *
 * A transcript is a sequence of records:
 *
 *   module N CONFIGURATION     which module of the batch, how it was compiled (engine's only)
 *   NAME VALUE …               an exported function and its results, unsigned decimals
 *   NAME ! CLASS               it trapped
 *   end                        the record is complete
 *
 * Used by the differential test: differential.c compares, oracle.c and subject.c write.
 */
#ifndef CONFORMANCE_TRANSCRIPT_H
#define CONFORMANCE_TRANSCRIPT_H

#include "base/bytes.h"

#define TRANSCRIPT_LINES 40u
#define TRANSCRIPT_NAMES 8u /* configurations */
#define TRANSCRIPT_BATCH 64u

struct record {
    const char *lines[TRANSCRIPT_LINES]; /* inside the transcript's text */
    uint32_t count;
    bool begun, complete;
};

struct transcript {
    struct buffer text;
    struct record records[TRANSCRIPT_BATCH][TRANSCRIPT_NAMES];
};

/* Splits t->text, which it changes, into records. names: configurations in the order of records;
 * NULL = there is one and it has no name. */
void transcript_parse(struct transcript *, const char *const *names, uint32_t name_count);
void transcript_free(struct transcript *);

/* The class of a line that tells of a trap, else NULL. */
const char *transcript_trap(const char *line);

#endif
