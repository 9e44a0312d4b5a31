/*
 * Takes bytes for the file DIR/lives, bare or as what is sealed in it: it opens whatever they are,
 * and what is written then is read again.
 */
#include "../unit/ledger_objects.h"

#include "base/file.h"
#include "ledger/object/sealed_file.h"
#include "ledger/service/lives.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct service service;
static char directory[] = "/tmp/atoll-fuzz-XXXXXX", path[64];

static void directory_remove(void)
{
    remove(path);
    remove(directory);
}

static void world_make(void)
{
    service_make(&service, 4);
    char *made = mkdtemp(directory);
    assert(made);
    (void)made;
    snprintf(path, sizeof path, "%s/lives", directory);
    atexit(directory_remove);
}

static struct lives *open_again(void)
{
    struct lives *lives = NULL;
    struct error e;
    int opened = lives_open(directory, &service.genesis, 1, 7, &lives, &e);
    assert(opened == 0 || opened == -ATOLL_ESTALE);
    (void)opened;
    return lives;
}

static void file_write(struct slice bytes)
{
    FILE *f = fopen(path, "w");
    bool written = f && fwrite(bytes.data, 1, bytes.len, f) == bytes.len && fclose(f) == 0;
    assert(written);
    (void)written;
}

/* Another replica starts once more than was known. */
static void go_on(void)
{
    struct buffer message = {0};
    struct error e;
    struct lives *lives = open_again();
    if (!lives)
        return;
    struct ledger_life_message life = {.sender = {UINT64_MAX, {3}}};
    bool made = ledger_life_write(&message, &life);
    int heard = lives_hear(lives, 0, slice_of_buffer(&message), &e);
    lives_close(lives);
    lives = open_again();
    message.len = 0;
    made = made && lives_write(lives, 0, &message);
    int read = ledger_life_decode(slice_of_buffer(&message), &life, &e);
    assert(made && heard == 0 && read == 0 && life.receiver.starts == UINT64_MAX);
    (void)made, (void)heard, (void)read;
    lives_close(lives);
    buffer_free(&message);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buffer file = {0};
    if (service.genesis_bytes.len == 0)
        world_make();
    file_write(slice_of(data, size));
    go_on();
    bool sealed = ledger_file_encode("atollliv", slice_of(data, size), service.genesis.hash, &file);
    assert(sealed);
    (void)sealed;
    file_write(slice_of_buffer(&file));
    go_on();
    buffer_free(&file);
    return 0;
}
