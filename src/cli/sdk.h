/*
 * Where the SDK of functions lies: c/ (headers, sources for guests, the native shim) and
 * templates/. $ATOLL_SDK, or share/atoll/sdk of the installation that this program belongs to, or
 * the tree that it was built from.
 */
#ifndef CLI_SDK_H
#define CLI_SDK_H

#include <limits.h>
#include <stdbool.h>

/* False when it is in none of these places. */
bool sdk_find(char path[static PATH_MAX]);

#endif
