/* Reading a file of the log from a disk that may have bad places (opening.h). */
#include "ledger/log/opening.h"

#define PIECE 4096u /* what a disk gives or does not */

/* One piece after the other; how many bytes came. */
static uint64_t pieces_load(struct ledger_log *log, int file, struct buffer *bytes,
                            struct log_unread *unread, struct error *e)
{
    const struct log_files *files = &log->files;
    uint64_t came = 0;
    for (uint64_t at = 0; at < bytes->len; at += PIECE) {
        size_t len = bytes->len - at < PIECE ? (size_t)(bytes->len - at) : PIECE;
        if (files->read(files->context, file, at, bytes->data + at, len, e) == 0) {
            came += len;
            continue;
        }
        memset(bytes->data + at, 0, len);
        unread->from = unread->to == 0 ? at : unread->from;
        unread->to = at + len;
    }
    return came;
}

bool log_bytes_blank(const struct buffer *bytes, uint64_t from)
{
    const uint8_t *rest = bytes->data + from;
    size_t len = bytes->len - (size_t)from;
    return len == 0 || (rest[0] == 0 && memcmp(rest, rest + 1, len - 1) == 0);
}

int log_file_load(struct ledger_log *log, int file, uint64_t len, struct buffer *bytes,
                  struct log_unread *unread, struct error *e)
{
    const struct log_files *files = &log->files;
    *unread = (struct log_unread){0};
    bytes->len = 0;
    if (!buffer_append(bytes, NULL, (size_t)len))
        return error_set(e, ATOLL_ENOMEM, "no memory to open the log");
    int rc = files->read(files->context, file, 0, bytes->data, bytes->len, e);
    if (rc != -ATOLL_EIO)
        return rc;
    return pieces_load(log, file, bytes, unread, e) > 0 ? 0 : -ATOLL_EIO;
}
