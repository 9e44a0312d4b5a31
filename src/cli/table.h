/* Tables for people: columns as wide as their widest cell, numbers to the right. */
#ifndef CLI_TABLE_H
#define CLI_TABLE_H

#include <stdbool.h>
#include <stdio.h>

#define TABLE_COLUMNS_MAX 16

struct table;

/* heads: NULL-terminated; a head that begins with '>' is of a column aligned right. */
struct table *table_create(const char *const *heads);
/* The next cell of the current row, printf-like; a row ends by itself. */
void table_cell(struct table *, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Prints (without heads when there is no row) and frees. */
void table_print(struct table *, FILE *);

/* "1.5 KiB", "12.3 µs" into a buffer. */
const char *text_bytes(double bytes, char out[static 24]);
const char *text_duration(double ns, char out[static 24]);

#endif
