/*
 * Host functions with arbitrary arguments: a real guest (tests/guest/functions/garbage.c) makes the
 * calls that the input describes, in a worker without threads. Whatever they are, the worker
 * neither crashes nor hangs, and the next call runs as if nothing had been. The module is compiled
 * by $ATOLL_CC, else by the build's own atoll-cc.
 */
#include "bare_worker.h"

#include <assert.h>

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct bare_worker *worker;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    worker = bare_worker_create(
        "garbage",
        "{\"name\":\"acme/garbage\",\"limits\":{\"memory\":\"16MiB\",\"output\":\"1MiB\"},"
        "\"config\":{\"noop\":\"value\"},\"state\":[{\"prefix\":\"\",\"rights\":\"rwld\"}],"
        "\"net\":[{\"host\":\"noop\",\"port\":1},{\"host\":\"203.0.113.0/24\"}]}");
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1 || size > 8192)
        return 0;
    bare_worker_run(worker, data + 1, size - 1, data[0] & 1 ? "GET /\nhost: here\n" : NULL);
    bare_worker_run(worker, "", 0, NULL);
    assert(worker->result.status == CALL_OK && load_u64(worker->output) == 0);
    assert(worker->worker.slots_used == 0 && worker->worker.memory_used == 0);
    return 0;
}
