/*
 * Takes bytes for what follows the head of a file of receipts: it opens whatever they are, takes a
 * receipt more, and has it, and all that it had, when it is opened again.
 */
#define _GNU_SOURCE
#include "../unit/ledger_objects.h"

#include "base/file.h"
#include "ledger/client/receipt_store.h"

#include <stdlib.h>
#include <unistd.h>

#define HEAD_LEN 48

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct service service;
static struct buffer receipt; /* of transaction 1000 */
static uint8_t head[HEAD_LEN];

/* A receipt to put in, and the head that a file of this service has. */
static void world_make(void)
{
    static struct batch batch;
    struct ledger_receipt_store *store;
    struct error e;
    char path[] = "/tmp/atoll-fuzz-XXXXXX";
    service_make(&service, 4);
    batch_make(&service, &batch, 0, 1, 1);
    batch_receipt(&service, &batch, 0, 7, &receipt);
    batch_free(&batch);
    int fd = mkstemp(path);
    int made = ledger_receipt_store_open(path, service.genesis.hash, &store, &e);
    ssize_t got = pread(fd, head, sizeof head, 0);
    assert(fd >= 0 && made == 0 && got == HEAD_LEN);
    (void)made, (void)got;
    ledger_receipt_store_close(store);
    close(fd);
    unlink(path);
}

static struct ledger_receipt_store *store_open(const char *path)
{
    struct ledger_receipt_store *store = NULL;
    struct error e;
    int opened = ledger_receipt_store_open(path, service.genesis.hash, &store, &e);
    /* More keys than a file serves are the only thing to refuse. */
    assert(opened == 0 || opened == -ATOLL_ELIMIT);
    (void)opened;
    return store;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (receipt.len == 0)
        world_make();
    struct error e;
    struct ledger_receipt_store_status before, after;
    struct buffer file = {0}, found = {0};
    char path[64];
    bool filled = buffer_append(&file, head, sizeof head) && buffer_append(&file, data, size);
    int fd = memory_file("receipts", file.data, file.len, file.len, false, false, &e);
    assert(filled && fd >= 0);
    (void)filled;
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    struct ledger_receipt_store *store = store_open(path);
    if (store) {
        int added = ledger_receipt_store_add(store, slice_of_buffer(&receipt), &e);
        assert(added == 0);
        (void)added;
        ledger_receipt_store_status(store, &before);
        ledger_receipt_store_close(store);
        store = store_open(path);
        ledger_receipt_store_status(store, &after);
        assert(after.receipts == before.receipts && after.bytes == before.bytes &&
               after.damaged_bytes == before.damaged_bytes);
        int result = ledger_receipt_store_find(store, 1000, &found, &e);
        assert(result == 0);
        (void)result;
        ledger_receipt_store_close(store);
    }
    close(fd);
    buffer_free(&file);
    buffer_free(&found);
    return 0;
}
