/*
 * What the engine and atoll-cc say to each other, over a SOCK_SEQPACKET pair: one struct per
 * packet, descriptors beside it. Both ends run on one machine and are of one release, which the
 * greeting checks; sizes and ranges are checked all the same.
 *
 *   atoll-cc -> engine   HELLO, once
 *   engine -> atoll-cc   REQUEST, with a sealed memory file: the module
 *   atoll-cc -> engine   PROGRESS, any number; then RESULT, on success with a sealed memory file:
 * the artefact's bytes
 *
 * When the engine's end closes, atoll-cc stops what it does and exits.
 */
#ifndef ENGINE_COMPILE_PROTOCOL_H
#define ENGINE_COMPILE_PROTOCOL_H

#include "base/error.h"
#include "engine/abi.h"

#define COMPILE_PROTOCOL 1
/* The descriptor that atoll-cc finds its end at. */
#define COMPILE_SOCKET 3

enum compile_message_kind {
    COMPILE_HELLO = 1,
    COMPILE_REQUEST,
    COMPILE_PROGRESS,
    COMPILE_RESULT,
};

struct compile_hello {
    uint32_t kind, protocol, artefact_format;
};

struct compile_request {
    uint32_t kind, parallel; /* shard processes at once, at least 1 */
    uint64_t wasm_len;
    struct compile_options options;
};

struct compile_progress {
    uint32_t kind, done, total; /* shards */
};

struct compile_result {
    uint32_t kind;
    int32_t code; /* 0 or negative, as the error's */
    uint64_t artefact_len;
    uint64_t offset;
    uint32_t function;
    char text[sizeof((struct error *)0)->text];
};

union compile_message {
    uint32_t kind;
    struct compile_hello hello;
    struct compile_request request;
    struct compile_progress progress;
    struct compile_result result;
};

/* Sends one packet; fd < 0: none. -ATOLL_ELOST when the other end is gone. */
int compile_send(int socket, const void *message, size_t len, int fd, struct error *e);
/* Waits for one packet. It has the size its kind demands, else -ATOLL_EINVAL. *fd is the descriptor
 * that came with it (the caller closes it) or -1. -ATOLL_ELOST when the other end is gone. */
int compile_receive(int socket, union compile_message *message, int *fd, struct error *e);

/* Whether fd is a memory file of exactly len bytes that nobody can change any more. */
bool compile_file_sealed(int fd, uint64_t len);

#endif
