/*
 * The program atoll-cc as seen from the engine: found, identified, started, asked, stopped. Used by
 * compile.c only.
 */
#ifndef ENGINE_COMPILER_PROCESS_H
#define ENGINE_COMPILER_PROCESS_H

#include "base/bytes.h"
#include "engine/compile_protocol.h"

#include <sys/types.h>

#define COMPILER_BUILD_ID_MAX 256

/* The path of atoll-cc: $ATOLL_CC, else beside this executable, else ../libexec/atoll of its
 * directory. -ATOLL_ENOENT when there is none. */
int compiler_find(char *out, size_t cap, struct error *e);

/* What the program calls itself (atoll-cc --build-id). Asking takes a process start with LLVM, so
 * the answer is kept in directory (NULL = not at all) until the program's file changes. */
int compiler_build_id(const char *program, const char *directory,
                      char out[static COMPILER_BUILD_ID_MAX], struct error *e);

/* A running atoll-cc; pid 0 = none. Zero-initialise. */
struct compiler_process {
    pid_t pid;
    int socket;
};

/* Starts the program and reads its greeting. The process dies with the thread that starts it. */
int compiler_start(struct compiler_process *, const char *program, struct error *e);
/* Ends it, also in the midst of a compilation, and reaps it. */
void compiler_stop(struct compiler_process *);
/* After -ATOLL_ELOST: reaps it and says how it ended, in words. */
void compiler_bury(struct compiler_process *, char *how, size_t cap);

/* Sends a module to compile; answers are read with compile_receive. */
int compiler_ask(struct compiler_process *, const uint8_t *wasm, size_t len,
                 const struct compile_options *, unsigned parallel, struct error *e);

#endif
