/* Checkpoint files: a stopped guest program written to a file, and brought back in another process.
 */
#ifndef CLI_CHECKPOINT_H
#define CLI_CHECKPOINT_H

#include "cli/guest.h"
#include "crypto/key.h"

/* What the command line must know of a program besides its state. */
struct checkpoint_call {
    uint32_t function; /* whose results are due, in the primary module */
    bool print_results;
};

struct checkpoint_size {
    uint64_t file_bytes, page_bytes;
};

/* Writes the suspended guest, signed with the user's key. It stays suspended. */
int checkpoint_write(const struct guest *, const struct checkpoint_call *, const char *path,
                     struct checkpoint_size *, struct error *);

/* Reads the file, if it is signed by one of the keys, and makes the suspended guest. config serves
 * as for wasi_restore. On failure *out is empty. */
int checkpoint_read(const char *path, const uint8_t (*trusted)[KEY_PUBLIC_LEN],
                    uint32_t trusted_count, const struct wasi_config *config, struct guest *out,
                    struct checkpoint_call *call, struct error *);

#endif
