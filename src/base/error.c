/* The one place where errors are worded and errno becomes an ATOLL_E… code. Called from everywhere.
 */
#define _GNU_SOURCE
#include "base/error.h"

#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

static const char *const names[] = {
    [ATOLL_OK] = "ATOLL_OK",
    [ATOLL_EINVAL] = "ATOLL_EINVAL",
    [ATOLL_EFAULT] = "ATOLL_EFAULT",
    [ATOLL_EPERM] = "ATOLL_EPERM",
    [ATOLL_ENOENT] = "ATOLL_ENOENT",
    [ATOLL_EEXIST] = "ATOLL_EEXIST",
    [ATOLL_ENOMEM] = "ATOLL_ENOMEM",
    [ATOLL_ELIMIT] = "ATOLL_ELIMIT",
    [ATOLL_ETIMEDOUT] = "ATOLL_ETIMEDOUT",
    [ATOLL_ECANCELED] = "ATOLL_ECANCELED",
    [ATOLL_EBUSY] = "ATOLL_EBUSY",
    [ATOLL_EAGAIN] = "ATOLL_EAGAIN",
    [ATOLL_ESTALE] = "ATOLL_ESTALE",
    [ATOLL_ERANGE] = "ATOLL_ERANGE",
    [ATOLL_EBADF] = "ATOLL_EBADF",
    [ATOLL_EIO] = "ATOLL_EIO",
    [ATOLL_EUNAVAIL] = "ATOLL_EUNAVAIL",
    [ATOLL_ELOST] = "ATOLL_ELOST",
    [ATOLL_EREJECTED] = "ATOLL_EREJECTED",
    [ATOLL_ENOSYS] = "ATOLL_ENOSYS",
    [ATOLL_EDEADLK] = "ATOLL_EDEADLK",
    [ATOLL_ESIZE] = "ATOLL_ESIZE",
    [ATOLL_ETYPE] = "ATOLL_ETYPE",
    [ATOLL_ECORRUPT] = "ATOLL_ECORRUPT",
    [ATOLL_EEXPIRED] = "ATOLL_EEXPIRED",
    [ATOLL_EMALFORMED] = "ATOLL_EMALFORMED",
    [ATOLL_EINVALID] = "ATOLL_EINVALID",
    [ATOLL_EUNSUPPORTED] = "ATOLL_EUNSUPPORTED",
    [ATOLL_ELINK] = "ATOLL_ELINK",
    [ATOLL_ETRAP] = "ATOLL_ETRAP",
    [ATOLL_ECOMPILE] = "ATOLL_ECOMPILE",
    [ATOLL_ECPU] = "ATOLL_ECPU",
    [ATOLL_ESIGNATURE] = "ATOLL_ESIGNATURE",
    [ATOLL_EQUORUM] = "ATOLL_EQUORUM",
    [ATOLL_EPATH] = "ATOLL_EPATH",
};

const char *atoll_error_name(int code)
{
    unsigned number = code < 0 ? 0u - (unsigned)code : (unsigned)code;
    if (number < sizeof names / sizeof names[0] && names[number])
        return names[number];
    return "unknown error";
}

static int code_of_errno(int number)
{
    switch (number) {
    case EPERM:
    case EACCES:
    case EROFS: return ATOLL_EPERM;
    case ENOENT:
    case ENOTDIR:
    case ENODEV: return ATOLL_ENOENT;
    case EEXIST: return ATOLL_EEXIST;
    case EMFILE:
    case ENFILE:
    case ENOMEM: return ATOLL_ENOMEM;
    case EDQUOT:
    case ENOSPC: return ATOLL_ELIMIT;
    case EFBIG:
    case ENAMETOOLONG: return ATOLL_ESIZE;
    case ETIMEDOUT: return ATOLL_ETIMEDOUT;
    case ECANCELED: return ATOLL_ECANCELED;
    case EBUSY:
    case ETXTBSY: return ATOLL_EBUSY;
    case EAGAIN: return ATOLL_EAGAIN;
    case EBADF: return ATOLL_EBADF;
    case EINVAL: return ATOLL_EINVAL;
    case ENOSYS:
    case EOPNOTSUPP: return ATOLL_EUNAVAIL;
    default: return ATOLL_EIO;
    }
}

static int error_fill(struct error *e, int code, const char *format, va_list arguments)
    __attribute__((format(printf, 3, 0)));

static int error_fill(struct error *e, int code, const char *format, va_list arguments)
{
    /* Formatted aside first: an argument may point into e->text. */
    char text[sizeof e->text];
    vsnprintf(text, sizeof text, format, arguments);
    memcpy(e->text, text, sizeof text);
    e->code = -code;
    e->offset = ERROR_NOWHERE;
    e->function = UINT32_MAX;
    return -code;
}

int error_set(struct error *e, int code, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int result = error_fill(e, code, format, arguments);
    va_end(arguments);
    return result;
}

int error_set_at(struct error *e, int code, uint64_t offset, uint32_t function, const char *format,
                 ...)
{
    va_list arguments;
    va_start(arguments, format);
    int result = error_fill(e, code, format, arguments);
    va_end(arguments);
    e->offset = offset;
    e->function = function;
    return result;
}

int error_set_errno(struct error *e, int code, const char *format, ...)
{
    int number = errno;
    va_list arguments;
    va_start(arguments, format);
    int result = error_fill(e, code ? code : code_of_errno(number), format, arguments);
    va_end(arguments);
    char reason[128];
    size_t used = strlen(e->text);
    snprintf(e->text + used, sizeof e->text - used, ": %s",
             strerror_r(number, reason, sizeof reason));
    return result;
}

int error_prefix(struct error *e, const char *format, ...)
{
    char prefix[sizeof e->text], rest[sizeof e->text];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(prefix, sizeof prefix, format, arguments);
    va_end(arguments);
    memcpy(rest, e->text, sizeof rest);
    size_t used = strlen(prefix);
    memcpy(e->text, prefix, used + 1);
    snprintf(e->text + used, sizeof e->text - used, ": %s", rest);
    return e->code;
}
