/*
 * atoll-cc: the compiler process of Atoll, the only program that links LLVM. The engine starts it
 * (engine/compiler_process.c); people do not need to.
 */
#define _GNU_SOURCE
#include "atoll-cc/confine.h"
#include "atoll-cc/server.h"
#include "base/file.h"
#include "crypto/hash.h"
#include "engine/compile_protocol.h"
#include "engine/lower.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#define EXIT_FAILED     1
#define EXIT_USAGE      2
#define PROGRAM_MAX_LEN (256u << 20)

static const char usage[] =
    "atoll-cc compiles WebAssembly modules for atoll, which starts it when it needs it.\n"
    "\n"
    "  atoll-cc --build-id   what the compiler calls itself: LLVM, lowering, hash of this program\n"
    "  atoll-cc --serve      serve the engine at descriptor 3 (atoll uses this)\n"
    "  atoll-cc --help       this text\n";

/* Everything that decides what code comes out: the versions, and this program's own bytes, so that
 * a changed program is never served by the cache of its predecessor. */
static int build_id_print(struct error *e)
{
    struct buffer self = {0};
    uint8_t hash[HASH_LEN];
    char hex[2 * HASH_LEN + 1];
    int rc = file_read("/proc/self/exe", PROGRAM_MAX_LEN, &self, e);
    if (rc < 0)
        return rc;
    hash_blake2b(self.data, self.len, NULL, 0, hash);
    buffer_free(&self);
    hash_hex(hash, hex);
    if (printf("%s program %.32s\n", lower_build_id(), hex) < 0 || fflush(stdout) != 0)
        return error_set_errno(e, ATOLL_EIO, "cannot write to standard output");
    return 0;
}

/* Keeps standard error and the socket, and makes sure that descriptors 0 and 1 lead nowhere. */
static int descriptors_prepare(struct error *e)
{
    int nowhere = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (nowhere < 0 || dup2(nowhere, 0) < 0 || dup2(nowhere, 1) < 0)
        return error_set_errno(e, 0, "cannot open /dev/null");
    if (close_range(COMPILE_SOCKET + 1, ~0u, 0) < 0)
        return error_set_errno(e, 0, "cannot close what was inherited");
    return 0;
}

static int serve(struct error *e)
{
    /* If the parent is gone already, the socket is at its end and serving ends at once. */
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
        return error_set_errno(e, 0, "cannot ask to end with the parent process");
    int rc = descriptors_prepare(e);
    if (rc == 0)
        rc = lower_initialize(e);
    /* The hash library reads its configuration when it is first used, and later cannot. */
    uint8_t hash[HASH_LEN];
    hash_sha256("", 0, hash);
    if (rc == 0)
        rc = confine_parent(e);
    return rc == 0 ? server_run(COMPILE_SOCKET, e) : rc;
}

int main(int argc, char **argv)
{
    struct error e = {0};
    int rc;
    if (argc == 2 && strcmp(argv[1], "--build-id") == 0) {
        rc = build_id_print(&e);
    } else if (argc == 2 && strcmp(argv[1], "--serve") == 0) {
        rc = serve(&e);
    } else {
        bool asked = argc == 2 && strcmp(argv[1], "--help") == 0;
        fputs(usage, asked ? stdout : stderr);
        return asked ? 0 : EXIT_USAGE;
    }
    if (rc == 0)
        return 0;
    fprintf(stderr, "atoll-cc: %s\n", e.text);
    return EXIT_FAILED;
}
