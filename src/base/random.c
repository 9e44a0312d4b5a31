/* Random bytes (random.h). */
#include "base/random.h"

#include "atoll/errors.h"

#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <string.h>
#include <sys/random.h>

#define STORE_BYTES 512u
#define LARGE       128u /* more than this at once is not worth a copy */

/* The bytes that are left lie at the end; before them are zeros. */
static _Thread_local struct {
    uint8_t bytes[STORE_BYTES];
    size_t left;
} store;

static int kernel_bytes(void *to, size_t len)
{
    for (size_t done = 0; done < len;) {
        ssize_t got = getrandom((uint8_t *)to + done, len - done, 0);
        if (got < 0 && errno != EINTR) {
            return -ATOLL_EUNAVAIL;
        }
        done += got > 0 ? (size_t)got : 0;
    }
    return 0;
}

void random_drop(void)
{
    explicit_bzero(store.bytes, sizeof store.bytes);
    store.left = 0;
}

static pthread_once_t once = PTHREAD_ONCE_INIT;

static void forks_watch(void)
{
    pthread_atfork(NULL, NULL, random_drop);
}

int random_bytes(void *to, size_t len)
{
    if (len > LARGE) {
        return kernel_bytes(to, len);
    }
    if (store.left < len) {
        pthread_once(&once, forks_watch);
        int result = kernel_bytes(store.bytes, sizeof store.bytes);
        if (result != 0) {
            random_drop();
            return result;
        }
        store.left = sizeof store.bytes;
    }
    uint8_t *from = store.bytes + sizeof store.bytes - store.left;
    memcpy(to, from, len);
    explicit_bzero(from, len);
    store.left -= len;
    return 0;
}
