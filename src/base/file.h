/* Files as the project uses them: read whole, replace atomically, anonymous and sealed. */
#ifndef BASE_FILE_H
#define BASE_FILE_H

#include "base/bytes.h"
#include "base/error.h"

#include <sys/types.h>

/* Opens a regular file for reading: the descriptor, or ATOLL_ESIZE beyond max_len, ATOLL_ETYPE for
 * what is no regular file (a pipe is not waited for). */
int file_open_regular(const char *path, size_t max_len, struct error *e);
/* Appends the whole regular file at path to out; ATOLL_ESIZE beyond max_len. */
int file_read(const char *path, size_t max_len, struct buffer *out, struct error *e);
/* The same from an open descriptor, from its current position to its end. */
int file_read_fd(int fd, const char *name, size_t max_len, struct buffer *out, struct error *e);
/* Replaces path by these bytes: temporary file beside it, fsync, rename, fsync of the directory.
 * After a crash at any moment path holds the old bytes or the new ones. -ATOLL_ETYPE when path is a
 * directory, a device or anything else that is no regular file: that stays as it is. */
int file_replace(const char *path, const void *data, size_t len, mode_t mode, struct error *e);
/* Makes the name of a file that was made or renamed durable: fsync of its directory. */
int file_name_sync(const char *path, struct error *e);
/* Writes everything, across short writes and EINTR. */
int file_write_all(int fd, const void *data, size_t len, struct error *e);
/* The same at an offset of a file; the descriptor's position stays. A failure may leave a part. */
int file_write_at(int fd, const void *data, size_t len, uint64_t offset, struct error *e);
/* Reads exactly len bytes at an offset of a file, across short reads and EINTR; the descriptor's
 * position stays. ATOLL_ESIZE when the file ends before. */
int file_read_at(int fd, void *to, size_t len, uint64_t offset, struct error *e);
/* mkdir -p with the given mode for what it makes. */
int directory_make(const char *path, mode_t mode, struct error *e);

/* An anonymous memory file with these bytes from offset 0, size bytes long (the rest holes). When
 * sealed, it can be neither written, grown nor shrunk from then on. Returns the descriptor or a
 * negative code. executable asks for MFD_EXEC where the kernel knows it. */
int memory_file(const char *name, const void *data, size_t len, size_t size, bool sealed,
                bool executable, struct error *e);
/* Seals one made unsealed. */
int memory_file_seal(int fd, struct error *e);

#endif
