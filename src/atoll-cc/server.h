/* The serving loop of atoll-cc. */
#ifndef ATOLL_CC_SERVER_H
#define ATOLL_CC_SERVER_H

#include "base/error.h"

/* Greets the engine at the other end of socket and compiles what it sends, one module after the
 * other. 0 when the engine has closed its end; negative when serving cannot go on. */
int server_run(int socket, struct error *e);

#endif
