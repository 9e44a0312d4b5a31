/*
 * The error codes of Atoll, shared by host and guest.
 *
 * Functions return 0 or a negative code: `return -ATOLL_EINVAL`. Guests see the same numbers, so a
 * code never changes its meaning and none is ever reused.
 */
#ifndef ATOLL_ERRORS_H
#define ATOLL_ERRORS_H

enum {
    ATOLL_OK = 0,
    ATOLL_EINVAL = 1,        /* an argument is outside its documented range */
    ATOLL_EFAULT = 2,        /* a guest range does not lie in guest memory with the needed right */
    ATOLL_EPERM = 3,         /* not permitted; also when existence must not leak */
    ATOLL_ENOENT = 4,        /* no such thing */
    ATOLL_EEXIST = 5,        /* exists already */
    ATOLL_ENOMEM = 6,        /* memory, slots or mappings are exhausted */
    ATOLL_ELIMIT = 7,        /* a stated limit would be passed */
    ATOLL_ETIMEDOUT = 8,     /* the deadline passed first */
    ATOLL_ECANCELED = 9,     /* cancelled by someone entitled to */
    ATOLL_EBUSY = 10,        /* in use in a way that forbids the operation now */
    ATOLL_EAGAIN = 11,       /* would wait; try again */
    ATOLL_ESTALE = 12,       /* refers to an older version */
    ATOLL_ERANGE = 13,       /* offset or length out of range */
    ATOLL_EBADF = 14,        /* not an open handle of the caller */
    ATOLL_EIO = 15,          /* the operating system failed an input or output */
    ATOLL_EUNAVAIL = 16,     /* a needed service or kernel feature is missing */
    ATOLL_ELOST = 17,        /* the process or node that ran it died */
    ATOLL_EREJECTED = 18,    /* refused before it began */
    ATOLL_ENOSYS = 19,       /* no such operation */
    ATOLL_EDEADLK = 20,      /* would never finish */
    ATOLL_ESIZE = 21,        /* too large or too small */
    ATOLL_ETYPE = 22,        /* of another type */
    ATOLL_ECORRUPT = 23,     /* stored bytes are damaged, truncated or forged */
    ATOLL_EEXPIRED = 24,     /* was valid once */
    ATOLL_EMALFORMED = 25,   /* module: the bytes are not a WebAssembly binary */
    ATOLL_EINVALID = 26,     /* module: well formed, but does not validate */
    ATOLL_EUNSUPPORTED = 27, /* module: uses a feature this engine does not have */
    ATOLL_ELINK = 28,        /* an import is missing or of another type */
    ATOLL_ETRAP = 29,        /* the guest trapped */
    ATOLL_ECOMPILE = 30,     /* the compiler process failed or was killed */
    ATOLL_ECPU = 31,         /* the processor lacks a needed feature */
    ATOLL_ESIGNATURE = 32,   /* not signed by a trusted key */
    ATOLL_EQUORUM = 33,      /* ledger: not signed by enough of the replicas */
    ATOLL_EPATH = 34,        /* ledger: a Merkle path leads elsewhere */
};

#ifdef __cplusplus
extern "C" {
#endif

/* The constant's name, e.g. "ATOLL_EINVAL", for a code of either sign; "unknown error" otherwise.
 */
const char *atoll_error_name(int code);

#ifdef __cplusplus
}
#endif

#endif
