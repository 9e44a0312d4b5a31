/*
 * State with a type: vectors, matrices, sparse matrices, vectors that many add to.
 *
 * Each is a mapping of shared memory: `items` are the bytes that all calls on the node see. What is
 * written through it moves to other nodes with push. Opening for writing marks everything as to be
 * pushed when asked; pushing with ATOLL_PUSH_DIRTY sends what changed (these values are tracked).
 *
 * Functions return 0, or -ATOLL_E… of the import that failed with nothing left open.
 */
#ifndef ATOLL_STATE_H
#define ATOLL_STATE_H

#include <atoll.h>
#include <string.h>

/* Opens and maps [off, off + len) of a value; len 0 maps to its end. `size` is as in
 * atoll_state_open. */
static inline int32_t atoll_state_attach(const char *key, uint64_t size, uint32_t flags,
                                         uint64_t off, uint64_t len, atoll_h *handle, void **bytes,
                                         uint64_t *mapped)
{
    uint32_t prot = ATOLL_S_READ | (flags & ATOLL_S_WRITE);
    atoll_addr address = 0;
    atoll_h h = atoll_state_open(key, (uint32_t)strlen(key), size, flags | ATOLL_S_READ);
    if (h < 0)
        return h;
    int64_t whole = atoll_state_size(h);
    int32_t error = whole < 0 ? (int32_t)whole : 0;
    if (!error && len == 0 && off < (uint64_t)whole)
        len = (uint64_t)whole - off;
    if (!error)
        error = atoll_state_map(h, off, len, prot, &address);
    if (error) {
        (void)atoll_state_close(h);
        return error;
    }
    *handle = h;
    *bytes = atoll_pointer(address);
    *mapped = len;
    return 0;
}

static inline void atoll_state_detach(atoll_h handle, const void *bytes)
{
    (void)atoll_state_unmap(atoll_address(bytes));
    (void)atoll_state_close(handle);
}

/* ---- vectors of doubles ---- */

struct atoll_vector {
    double *items;
    uint64_t count;
    atoll_h handle;
};

/* `count` 0 takes the vector as it is. With ATOLL_S_CREATE a new one is zero. */
static inline int32_t atoll_vector_open(struct atoll_vector *vector, const char *key,
                                        uint64_t count, uint32_t flags)
{
    void *bytes = NULL;
    uint64_t mapped = 0;
    if (count > UINT64_MAX / sizeof(double))
        return -ATOLL_ERANGE;
    int32_t error = atoll_state_attach(key, count * sizeof(double), flags, 0, 0, &vector->handle,
                                       &bytes, &mapped);
    if (error)
        return error;
    vector->items = (double *)bytes;
    vector->count = mapped / sizeof(double);
    return 0;
}

static inline void atoll_vector_close(struct atoll_vector *vector)
{
    atoll_state_detach(vector->handle, vector->items);
    vector->items = NULL;
    vector->count = 0;
}

/* Makes it global. Returns the version. */
static inline int64_t atoll_vector_push(const struct atoll_vector *vector, uint32_t flags)
{
    return atoll_state_push(vector->handle, 0, 0, flags, 0);
}

/* ---- vectors that many nodes add to ----
 *
 * Each node works on its own copy without waiting. A sync sends what was added here since the last
 * one and takes in what others added: no addition is lost, whatever the order.
 */

static inline int32_t atoll_sum_vector_open(struct atoll_vector *vector, const char *key,
                                            uint64_t count, uint32_t flags)
{
    int32_t error = atoll_vector_open(vector, key, count, flags | ATOLL_S_WRITE | ATOLL_S_TRACK);
    if (error)
        return error;
    error = atoll_state_merge(vector->handle, 0, 0, ATOLL_M_ADD_F64);
    if (error)
        atoll_vector_close(vector);
    return error;
}

static inline int32_t atoll_sum_vector_sync(const struct atoll_vector *vector)
{
    int64_t version = atoll_state_push(vector->handle, 0, 0, ATOLL_PUSH_DIRTY, 0);
    return version < 0 ? (int32_t)version : atoll_state_pull(vector->handle, 0, 0, 0);
}

/* ---- matrices of doubles, row by row ----
 *
 *   0  "ATMX" | u32 bytes of an item | u64 rows | u64 columns | zeros to 64 | items
 */

#define ATOLL_MATRIX_HEAD 64u

struct atoll_matrix_head {
    char magic[4];
    uint32_t item_bytes;
    uint64_t rows, columns;
    uint8_t zero[40];
};

struct atoll_matrix {
    double *items; /* of row first_row; item (r, c) is items[(r - first_row) * columns + c] */
    uint64_t rows, columns;     /* of the whole */
    uint64_t first_row, mapped; /* the rows that are mapped */
    atoll_h handle;
};

/* Creates a matrix of zeros; ATOLL_EEXIST when there is a value. */
static inline int32_t atoll_matrix_create(const char *key, uint64_t rows, uint64_t columns)
{
    struct atoll_matrix_head head = {.magic = {'A', 'T', 'M', 'X'},
                                     .item_bytes = sizeof(double),
                                     .rows = rows,
                                     .columns = columns};
    uint64_t items, bytes;
    if (__builtin_mul_overflow(rows, columns, &items) ||
        __builtin_mul_overflow(items, sizeof(double), &bytes) ||
        __builtin_add_overflow(bytes, ATOLL_MATRIX_HEAD, &bytes))
        return -ATOLL_ERANGE;
    atoll_h handle = atoll_state_open(key, (uint32_t)strlen(key), bytes,
                                      ATOLL_S_WRITE | ATOLL_S_CREATE | ATOLL_S_EXCL);
    if (handle < 0)
        return handle;
    int64_t written = atoll_state_write(handle, 0, &head, sizeof head);
    (void)atoll_state_close(handle);
    return written < 0 ? (int32_t)written : 0;
}

static inline int32_t atoll_matrix_head_read(atoll_h handle, struct atoll_matrix *matrix)
{
    struct atoll_matrix_head head;
    uint64_t items, bytes;
    int64_t got = atoll_state_read(handle, 0, &head, sizeof head);
    if (got < 0)
        return (int32_t)got;
    if (got < (int64_t)sizeof head || memcmp(head.magic, "ATMX", 4) != 0 ||
        head.item_bytes != sizeof(double) ||
        __builtin_mul_overflow(head.rows, head.columns, &items) ||
        __builtin_mul_overflow(items, sizeof(double), &bytes) ||
        atoll_state_size(handle) != (int64_t)(bytes + ATOLL_MATRIX_HEAD))
        return -ATOLL_ETYPE;
    matrix->rows = head.rows;
    matrix->columns = head.columns;
    return 0;
}

/* Maps `count` rows from `first` on, of a matrix that exists; count 0 maps to the last.
 * ATOLL_ETYPE when the value is no matrix, ATOLL_ERANGE when it has no such rows. */
static inline int32_t atoll_matrix_open(struct atoll_matrix *matrix, const char *key,
                                        uint64_t first, uint64_t count, uint32_t flags)
{
    uint32_t prot = ATOLL_S_READ | (flags & ATOLL_S_WRITE);
    atoll_addr address = 0;
    atoll_h handle = atoll_state_open(key, (uint32_t)strlen(key), 0, flags | ATOLL_S_READ);
    if (handle < 0)
        return handle;
    int32_t error = atoll_matrix_head_read(handle, matrix);
    if (!error && (first > matrix->rows || count > matrix->rows - first))
        error = -ATOLL_ERANGE;
    if (!error) {
        uint64_t row_bytes = matrix->columns * sizeof(double);
        matrix->handle = handle;
        matrix->first_row = first;
        matrix->mapped = count ? count : matrix->rows - first;
        error = atoll_state_map(handle, ATOLL_MATRIX_HEAD + first * row_bytes,
                                matrix->mapped * row_bytes, prot, &address);
    }
    if (error)
        (void)atoll_state_close(handle);
    else
        matrix->items = (double *)atoll_pointer(address);
    return error;
}

static inline double *atoll_matrix_row(const struct atoll_matrix *matrix, uint64_t row)
{
    return matrix->items + (row - matrix->first_row) * matrix->columns;
}

/* Makes the mapped rows global. Returns the version. */
static inline int64_t atoll_matrix_push(const struct atoll_matrix *matrix, uint32_t flags)
{
    uint64_t row_bytes = matrix->columns * sizeof(double);
    int64_t version = atoll_state_push(matrix->handle, 0, ATOLL_MATRIX_HEAD, flags, 0);
    if (version < 0)
        return version;
    return atoll_state_push(matrix->handle, ATOLL_MATRIX_HEAD + matrix->first_row * row_bytes,
                            matrix->mapped * row_bytes, flags, 0);
}

static inline void atoll_matrix_close(struct atoll_matrix *matrix)
{
    atoll_state_detach(matrix->handle, matrix->items);
    matrix->items = NULL;
}

/* ---- sparse matrices, compressed by columns ----
 *
 * Three values: NAME/offs (u64 per column and one more: where each column begins), NAME/idx (u32:
 * the row of each item), NAME/val (f32: the items).
 */

struct atoll_sparse {
    uint64_t columns;      /* of the whole */
    uint64_t first, count; /* the columns that are mapped */
    uint64_t *offs;        /* of column `first` and those after it: count + 1 */
    uint32_t *idx;         /* from offs[0] on */
    float *val;
    atoll_h handles[3];
};

static inline int32_t atoll_sparse_part(const char *name, const char *part, uint64_t size,
                                        uint32_t flags, uint64_t off, uint64_t len, atoll_h *handle,
                                        void **bytes)
{
    char key[ATOLL_KEY_MAX + 1];
    uint64_t mapped;
    size_t name_len = strlen(name), part_len = strlen(part);
    if (name_len + part_len > ATOLL_KEY_MAX)
        return -ATOLL_EINVAL;
    memcpy(key, name, name_len);
    memcpy(key + name_len, part, part_len + 1);
    return atoll_state_attach(key, size, flags, off, len, handle, bytes, &mapped);
}

static inline void atoll_sparse_close(struct atoll_sparse *sparse)
{
    const void *parts[] = {sparse->offs, sparse->idx, sparse->val};
    for (int i = 0; i < 3; i++) {
        if (parts[i])
            atoll_state_detach(sparse->handles[i], parts[i]);
    }
    *sparse = (struct atoll_sparse){0};
}

/* Opens the idx and val of items [from, to); all of them in a new matrix of `size` items. */
static inline int32_t atoll_sparse_items(struct atoll_sparse *sparse, const char *name,
                                         uint64_t size, uint32_t flags, uint64_t from, uint64_t to)
{
    void *idx = NULL, *val = NULL;
    /* A range without items has nothing to map. */
    if (from == to)
        return 0;
    int32_t error = atoll_sparse_part(name, "/idx", size * 4, flags, from * 4, (to - from) * 4,
                                      &sparse->handles[1], &idx);
    sparse->idx = (uint32_t *)idx;
    if (!error)
        error = atoll_sparse_part(name, "/val", size * 4, flags, from * 4, (to - from) * 4,
                                  &sparse->handles[2], &val);
    sparse->val = (float *)val;
    return error;
}

/* Creates a matrix with room for `nonzeros` items and maps all of it for writing: fill offs, idx
 * and val. Close it, or push its parts first. */
static inline int32_t atoll_sparse_create(struct atoll_sparse *sparse, const char *name,
                                          uint64_t columns, uint64_t nonzeros)
{
    uint32_t flags = ATOLL_S_WRITE | ATOLL_S_CREATE;
    void *offs = NULL;
    *sparse = (struct atoll_sparse){.columns = columns, .count = columns};
    int32_t error = atoll_sparse_part(name, "/offs", (columns + 1) * 8, flags, 0, 0,
                                      &sparse->handles[0], &offs);
    sparse->offs = (uint64_t *)offs;
    if (!error)
        error = atoll_sparse_items(sparse, name, nonzeros, flags, 0, nonzeros);
    if (error)
        atoll_sparse_close(sparse);
    return error;
}

/* Maps columns [first, first + count) for reading, and of the items only theirs; count 0 maps to
 * the last. ATOLL_ECORRUPT when offs decreases, ATOLL_ERANGE when there are no such columns. */
static inline int32_t atoll_sparse_open(struct atoll_sparse *sparse, const char *name,
                                        uint64_t first, uint64_t count)
{
    void *offs = NULL;
    *sparse = (struct atoll_sparse){0};
    int32_t error =
        atoll_sparse_part(name, "/offs", 0, ATOLL_S_READ, 0, 0, &sparse->handles[0], &offs);
    if (error)
        return error;
    sparse->offs = (uint64_t *)offs;
    int64_t bytes = atoll_state_size(sparse->handles[0]);
    sparse->columns = bytes < 16 ? 0 : (uint64_t)bytes / 8 - 1;
    if (first >= sparse->columns || count > sparse->columns - first) {
        atoll_sparse_close(sparse);
        return -ATOLL_ERANGE;
    }
    sparse->first = first;
    sparse->count = count ? count : sparse->columns - first;
    uint64_t from = sparse->offs[first], to = sparse->offs[first + sparse->count];
    error =
        from > to ? -ATOLL_ECORRUPT : atoll_sparse_items(sparse, name, 0, ATOLL_S_READ, from, to);
    if (error)
        atoll_sparse_close(sparse);
    return error;
}

/* The items of a mapped column: their rows, values and number. */
static inline uint64_t atoll_sparse_column(const struct atoll_sparse *sparse, uint64_t column,
                                           const uint32_t **idx, const float **val)
{
    uint64_t from = sparse->offs[column], base = sparse->offs[sparse->first];
    uint64_t end = sparse->offs[column + 1], last = sparse->offs[sparse->first + sparse->count];
    if (from < base || end < from || end > last)
        return 0;
    *idx = sparse->idx + (from - base);
    *val = sparse->val + (from - base);
    return end - from;
}

#endif
