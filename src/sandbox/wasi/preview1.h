/*
 * The numbers of WASI preview 1 (module wasi_snapshot_preview1), and the list of its functions.
 * Structures are little-endian in guest memory; their offsets stand where they are read or written.
 */
#ifndef SANDBOX_WASI_PREVIEW1_H
#define SANDBOX_WASI_PREVIEW1_H

#include "engine/host.h"

#include <stdint.h>

/* Every function: name, parameters, result; i = i32, I = i64. */
#define PREVIEW1_FUNCTIONS(X)                  \
    X(args_get, "ii", "i")                     \
    X(args_sizes_get, "ii", "i")               \
    X(environ_get, "ii", "i")                  \
    X(environ_sizes_get, "ii", "i")            \
    X(clock_res_get, "ii", "i")                \
    X(clock_time_get, "iIi", "i")              \
    X(fd_advise, "iIIi", "i")                  \
    X(fd_allocate, "iII", "i")                 \
    X(fd_close, "i", "i")                      \
    X(fd_datasync, "i", "i")                   \
    X(fd_fdstat_get, "ii", "i")                \
    X(fd_fdstat_set_flags, "ii", "i")          \
    X(fd_fdstat_set_rights, "iII", "i")        \
    X(fd_filestat_get, "ii", "i")              \
    X(fd_filestat_set_size, "iI", "i")         \
    X(fd_filestat_set_times, "iIIi", "i")      \
    X(fd_pread, "iiiIi", "i")                  \
    X(fd_prestat_get, "ii", "i")               \
    X(fd_prestat_dir_name, "iii", "i")         \
    X(fd_pwrite, "iiiIi", "i")                 \
    X(fd_read, "iiii", "i")                    \
    X(fd_readdir, "iiiIi", "i")                \
    X(fd_renumber, "ii", "i")                  \
    X(fd_seek, "iIii", "i")                    \
    X(fd_sync, "i", "i")                       \
    X(fd_tell, "ii", "i")                      \
    X(fd_write, "iiii", "i")                   \
    X(path_create_directory, "iii", "i")       \
    X(path_filestat_get, "iiiii", "i")         \
    X(path_filestat_set_times, "iiiiIIi", "i") \
    X(path_link, "iiiiiii", "i")               \
    X(path_open, "iiiiiIIii", "i")             \
    X(path_readlink, "iiiiii", "i")            \
    X(path_remove_directory, "iii", "i")       \
    X(path_rename, "iiiiii", "i")              \
    X(path_symlink, "iiiii", "i")              \
    X(path_unlink_file, "iii", "i")            \
    X(poll_oneoff, "iiii", "i")                \
    X(proc_exit, "i", "")                      \
    X(proc_raise, "i", "i")                    \
    X(random_get, "ii", "i")                   \
    X(sched_yield, "", "i")                    \
    X(sock_accept, "iii", "i")                 \
    X(sock_recv, "iiiiii", "i")                \
    X(sock_send, "iiiii", "i")                 \
    X(sock_shutdown, "ii", "i")

#define X(name, params, results) enum host_status preview1_##name(struct host_call *);
PREVIEW1_FUNCTIONS(X)
#undef X

enum {
    WASI_SUCCESS = 0,
    WASI_E2BIG = 1,
    WASI_EACCES = 2,
    WASI_EADDRINUSE = 3,
    WASI_EADDRNOTAVAIL = 4,
    WASI_EAFNOSUPPORT = 5,
    WASI_EAGAIN = 6,
    WASI_EALREADY = 7,
    WASI_EBADF = 8,
    WASI_EBADMSG = 9,
    WASI_EBUSY = 10,
    WASI_ECANCELED = 11,
    WASI_ECHILD = 12,
    WASI_ECONNABORTED = 13,
    WASI_ECONNREFUSED = 14,
    WASI_ECONNRESET = 15,
    WASI_EDEADLK = 16,
    WASI_EDESTADDRREQ = 17,
    WASI_EDOM = 18,
    WASI_EDQUOT = 19,
    WASI_EEXIST = 20,
    WASI_EFAULT = 21,
    WASI_EFBIG = 22,
    WASI_EHOSTUNREACH = 23,
    WASI_EIDRM = 24,
    WASI_EILSEQ = 25,
    WASI_EINPROGRESS = 26,
    WASI_EINTR = 27,
    WASI_EINVAL = 28,
    WASI_EIO = 29,
    WASI_EISCONN = 30,
    WASI_EISDIR = 31,
    WASI_ELOOP = 32,
    WASI_EMFILE = 33,
    WASI_EMLINK = 34,
    WASI_EMSGSIZE = 35,
    WASI_EMULTIHOP = 36,
    WASI_ENAMETOOLONG = 37,
    WASI_ENETDOWN = 38,
    WASI_ENETRESET = 39,
    WASI_ENETUNREACH = 40,
    WASI_ENFILE = 41,
    WASI_ENOBUFS = 42,
    WASI_ENODEV = 43,
    WASI_ENOENT = 44,
    WASI_ENOEXEC = 45,
    WASI_ENOLCK = 46,
    WASI_ENOLINK = 47,
    WASI_ENOMEM = 48,
    WASI_ENOMSG = 49,
    WASI_ENOPROTOOPT = 50,
    WASI_ENOSPC = 51,
    WASI_ENOSYS = 52,
    WASI_ENOTCONN = 53,
    WASI_ENOTDIR = 54,
    WASI_ENOTEMPTY = 55,
    WASI_ENOTRECOVERABLE = 56,
    WASI_ENOTSOCK = 57,
    WASI_ENOTSUP = 58,
    WASI_ENOTTY = 59,
    WASI_ENXIO = 60,
    WASI_EOVERFLOW = 61,
    WASI_EOWNERDEAD = 62,
    WASI_EPERM = 63,
    WASI_EPIPE = 64,
    WASI_EPROTO = 65,
    WASI_EPROTONOSUPPORT = 66,
    WASI_EPROTOTYPE = 67,
    WASI_ERANGE = 68,
    WASI_EROFS = 69,
    WASI_ESPIPE = 70,
    WASI_ESRCH = 71,
    WASI_ESTALE = 72,
    WASI_ETIMEDOUT = 73,
    WASI_ETXTBSY = 74,
    WASI_EXDEV = 75,
    WASI_ENOTCAPABLE = 76,
};

enum wasi_filetype {
    WASI_FILETYPE_UNKNOWN = 0,
    WASI_FILETYPE_BLOCK_DEVICE = 1,
    WASI_FILETYPE_CHARACTER_DEVICE = 2,
    WASI_FILETYPE_DIRECTORY = 3,
    WASI_FILETYPE_REGULAR_FILE = 4,
    WASI_FILETYPE_SOCKET_DGRAM = 5,
    WASI_FILETYPE_SOCKET_STREAM = 6,
    WASI_FILETYPE_SYMBOLIC_LINK = 7,
};

#define WASI_RIGHT_FD_DATASYNC             (1ull << 0)
#define WASI_RIGHT_FD_READ                 (1ull << 1)
#define WASI_RIGHT_FD_SEEK                 (1ull << 2)
#define WASI_RIGHT_FD_FDSTAT_SET_FLAGS     (1ull << 3)
#define WASI_RIGHT_FD_SYNC                 (1ull << 4)
#define WASI_RIGHT_FD_TELL                 (1ull << 5)
#define WASI_RIGHT_FD_WRITE                (1ull << 6)
#define WASI_RIGHT_FD_ADVISE               (1ull << 7)
#define WASI_RIGHT_FD_ALLOCATE             (1ull << 8)
#define WASI_RIGHT_PATH_CREATE_DIRECTORY   (1ull << 9)
#define WASI_RIGHT_PATH_CREATE_FILE        (1ull << 10)
#define WASI_RIGHT_PATH_LINK_SOURCE        (1ull << 11)
#define WASI_RIGHT_PATH_LINK_TARGET        (1ull << 12)
#define WASI_RIGHT_PATH_OPEN               (1ull << 13)
#define WASI_RIGHT_FD_READDIR              (1ull << 14)
#define WASI_RIGHT_PATH_READLINK           (1ull << 15)
#define WASI_RIGHT_PATH_RENAME_SOURCE      (1ull << 16)
#define WASI_RIGHT_PATH_RENAME_TARGET      (1ull << 17)
#define WASI_RIGHT_PATH_FILESTAT_GET       (1ull << 18)
#define WASI_RIGHT_PATH_FILESTAT_SET_SIZE  (1ull << 19)
#define WASI_RIGHT_PATH_FILESTAT_SET_TIMES (1ull << 20)
#define WASI_RIGHT_FD_FILESTAT_GET         (1ull << 21)
#define WASI_RIGHT_FD_FILESTAT_SET_SIZE    (1ull << 22)
#define WASI_RIGHT_FD_FILESTAT_SET_TIMES   (1ull << 23)
#define WASI_RIGHT_PATH_SYMLINK            (1ull << 24)
#define WASI_RIGHT_PATH_REMOVE_DIRECTORY   (1ull << 25)
#define WASI_RIGHT_PATH_UNLINK_FILE        (1ull << 26)
#define WASI_RIGHT_POLL_FD_READWRITE       (1ull << 27)
#define WASI_RIGHT_SOCK_SHUTDOWN           (1ull << 28)
#define WASI_RIGHT_SOCK_ACCEPT             (1ull << 29)
#define WASI_RIGHTS_ALL                    ((1ull << 30) - 1)

enum {
    WASI_FDFLAG_APPEND = 1,
    WASI_FDFLAG_DSYNC = 2,
    WASI_FDFLAG_NONBLOCK = 4,
    WASI_FDFLAG_RSYNC = 8,
    WASI_FDFLAG_SYNC = 16,
    WASI_FDFLAGS_ALL = 31,
};

enum {
    WASI_OFLAG_CREAT = 1,
    WASI_OFLAG_DIRECTORY = 2,
    WASI_OFLAG_EXCL = 4,
    WASI_OFLAG_TRUNC = 8,
    WASI_OFLAGS_ALL = 15,
};

enum {
    WASI_FSTFLAG_ATIM = 1,
    WASI_FSTFLAG_ATIM_NOW = 2,
    WASI_FSTFLAG_MTIM = 4,
    WASI_FSTFLAG_MTIM_NOW = 8,
    WASI_FSTFLAGS_ALL = 15,
};

enum {
    WASI_ADVICE_NORMAL,
    WASI_ADVICE_SEQUENTIAL,
    WASI_ADVICE_RANDOM,
    WASI_ADVICE_WILLNEED,
    WASI_ADVICE_DONTNEED,
    WASI_ADVICE_NOREUSE,
};

enum { WASI_LOOKUP_SYMLINK_FOLLOW = 1 };
enum { WASI_WHENCE_SET, WASI_WHENCE_CUR, WASI_WHENCE_END };
enum { WASI_CLOCK_REALTIME, WASI_CLOCK_MONOTONIC, WASI_CLOCK_PROCESS, WASI_CLOCK_THREAD };
#define WASI_CLOCKS 4

enum { WASI_EVENT_CLOCK, WASI_EVENT_FD_READ, WASI_EVENT_FD_WRITE };
enum { WASI_SUBCLOCK_ABSTIME = 1 };
enum { WASI_EVENT_HANGUP = 1 };

enum { WASI_RIFLAG_PEEK = 1, WASI_RIFLAG_WAITALL = 2 };
enum { WASI_ROFLAG_DATA_TRUNCATED = 1 };
enum { WASI_SDFLAG_RD = 1, WASI_SDFLAG_WR = 2 };

#endif
