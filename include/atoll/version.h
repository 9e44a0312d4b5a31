/* The version of the interface in atoll.h, and of the library behind it. */
#ifndef ATOLL_VERSION_H
#define ATOLL_VERSION_H

/* Before 1.0.0 a change of the minor number may break programs; a patch never does. */
#define ATOLL_VERSION_MAJOR 0
#define ATOLL_VERSION_MINOR 1
#define ATOLL_VERSION_PATCH 0
#define ATOLL_VERSION       "0.1.0"

#ifdef __cplusplus
extern "C" {
#endif

/* The library's own version, which is ATOLL_VERSION when header and library belong together. */
const char *atoll_version(void);

#ifdef __cplusplus
}
#endif

#endif
