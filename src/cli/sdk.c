/* See sdk.h: by $ATOLL_SDK, beside the installed command, or in the source it was built from. */
#define _GNU_SOURCE
#include "cli/sdk.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static bool sdk_at(char path[static PATH_MAX], const char *directory, const char *below)
{
    char header[PATH_MAX];
    return snprintf(path, PATH_MAX, "%s%s", directory, below) < PATH_MAX &&
           snprintf(header, sizeof header, "%s/c/include/atoll.h", path) < PATH_MAX &&
           access(header, R_OK) == 0;
}

bool sdk_find(char path[static PATH_MAX])
{
    const char *own = getenv("ATOLL_SDK");
    char self[PATH_MAX];
    if (own && *own)
        return sdk_at(path, own, "");
    ssize_t len = readlink("/proc/self/exe", self, sizeof self - 1);
    if (len > 0) {
        self[len] = 0;
        *strrchr(self, '/') = 0;
        if (sdk_at(path, self, "/../share/atoll/sdk"))
            return true;
    }
    return sdk_at(path, ATOLL_SDK_SOURCE, "");
}
