/* See local.h. */
#define _GNU_SOURCE
#include "ledger/service/local.h"

#include "base/file.h"
#include "base/random.h"
#include "crypto/secret.h"
#include "ledger/kv/smallbank.h"

#include <arpa/inet.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

void ledger_local_defaults(struct ledger_local_settings *s)
{
    *s = (struct ledger_local_settings){.name = "local",
                                        .replicas = 4,
                                        .first_port = 7100,
                                        .pipeline = 4,
                                        .max_batch = 800,
                                        .checkpoint_interval = 1000,
                                        .view_timeout_us = 2000000,
                                        .accounts = 500000,
                                        .balance = 100000};
}

/* The genesis, and the bytes that it points to, while it is put together. */
struct parts {
    struct ledger_genesis genesis;
    char names[LEDGER_REPLICAS_MAX][LEDGER_NAME_MAX];
    char addresses[LEDGER_REPLICAS_MAX][64];
    uint8_t replicas[LEDGER_REPLICAS_MAX][KEY_PUBLIC_LEN],
        members[LEDGER_REPLICAS_MAX][KEY_PUBLIC_LEN];
};

static int key_make(const char *directory, const char *name,
                    uint8_t key_bytes[static KEY_PUBLIC_LEN], struct error *e)
{
    char path[PATH_MAX];
    struct secret *key;
    int rc = secret_generate(&key, e);
    if (rc != 0)
        return rc;
    snprintf(path, sizeof path, "%s/%s", directory, name);
    rc = secret_write(key, path, NULL, e);
    memcpy(key_bytes, secret_public(key), KEY_PUBLIC_LEN);
    secret_destroy(key);
    return rc;
}

static int replica_make(const char *directory, const struct ledger_local_settings *s, uint32_t i,
                        struct parts *p, struct ledger_configuration *c, struct error *e)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/replica-%u", directory, i);
    snprintf(p->names[i], sizeof p->names[i], "member-%u", i);
    snprintf(p->addresses[i], sizeof p->addresses[i], "127.0.0.1:%u", s->first_port + i);
    int rc = directory_make(path, 0700, e);
    if (rc == 0)
        rc = key_make(path, "replica.key", p->replicas[i], e);
    if (rc == 0)
        rc = key_make(path, "member.key", p->members[i], e);
    c->members[i] =
        (struct ledger_member){slice_of(p->names[i], strlen(p->names[i])), p->members[i]};
    c->replicas[i] =
        (struct ledger_node){p->replicas[i], i, slice_of(p->addresses[i], strlen(p->addresses[i]))};
    return rc;
}

/* Encodes it, and has it checked like anybody's. */
static int genesis_make(struct ledger_genesis *g, struct buffer *out, struct error *e)
{
    struct ledger_genesis check;
    if (random_bytes(g->nonce, sizeof g->nonce) != 0 ||
        random_bytes(g->bucket_key, sizeof g->bucket_key) != 0)
        return error_set(e, ATOLL_EUNAVAIL, "the kernel gives no random bytes");
    if (!ledger_genesis_encode(g, out))
        return error_set(e, ATOLL_ENOMEM, "no memory for a genesis");
    return ledger_genesis_decode(slice_of_buffer(out), &check, e);
}

static int genesis_write(const char *directory, uint32_t replicas, const struct buffer *bytes,
                         struct error *e)
{
    char path[PATH_MAX];
    int rc = 0;
    for (uint32_t i = 0; i < replicas && rc == 0; i++) {
        snprintf(path, sizeof path, "%s/replica-%u/genesis", directory, i);
        rc = file_replace(path, bytes->data, bytes->len, 0644, e);
    }
    snprintf(path, sizeof path, "%s/genesis", directory);
    return rc == 0 ? file_replace(path, bytes->data, bytes->len, 0644, e) : rc;
}

int ledger_local_make(const char *directory, const struct ledger_local_settings *s, struct error *e)
{
    char path[PATH_MAX];
    uint8_t state[SMALLBANK_STATE_LEN];
    struct buffer bytes = {0};
    if (s->replicas < LEDGER_REPLICAS_MIN || s->replicas > LEDGER_REPLICAS_MAX)
        return error_set(e, ATOLL_EINVAL, "a ledger has %d to %d replicas", LEDGER_REPLICAS_MIN,
                         LEDGER_REPLICAS_MAX);
    snprintf(path, sizeof path, "%s/genesis", directory);
    if (access(path, F_OK) == 0)
        return error_set(e, ATOLL_EEXIST, "there is a ledger in %s already", directory);
    struct parts *p = calloc(1, sizeof *p);
    if (p == NULL)
        return error_set(e, ATOLL_ENOMEM, "no memory for a genesis");
    smallbank_state_encode(s->accounts, s->balance, s->balance, state);
    p->genesis = (struct ledger_genesis){
        .name = slice_of(s->name, strlen(s->name)),
        .pipeline = s->pipeline,
        .bucket_bits = LEDGER_BUCKET_BITS_MAX,
        .procedures = PROCEDURE_FAMILY_SMALLBANK,
        .state = slice_of(state, sizeof state),
        .configuration = {.max_batch = s->max_batch,
                          .checkpoint_interval = s->checkpoint_interval,
                          .view_timeout_us = s->view_timeout_us,
                          .member_count = s->replicas,
                          .replica_count = s->replicas},
    };
    int rc = directory_make(directory, 0700, e);
    for (uint32_t i = 0; i < s->replicas && rc == 0; i++)
        rc = replica_make(directory, s, i, p, &p->genesis.configuration, e);
    if (rc == 0)
        rc = genesis_make(&p->genesis, &bytes, e);
    if (rc == 0)
        rc = genesis_write(directory, s->replicas, &bytes, e);
    buffer_free(&bytes);
    free(p);
    return rc;
}

static bool port_is_free(uint16_t port)
{
    struct sockaddr_in at = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    bool free_ = fd >= 0 && bind(fd, (struct sockaddr *)&at, sizeof at) == 0;
    if (fd >= 0)
        close(fd);
    return free_;
}

uint16_t ledger_local_ports(uint32_t count)
{
    uint16_t first;
    for (int attempt = 0; attempt < 100; attempt++) {
        uint32_t i = 0;
        if (random_bytes(&first, sizeof first) != 0)
            return 0;
        first = (uint16_t)(10000 + first % 20000);
        while (i < count && port_is_free((uint16_t)(first + i)))
            i++;
        if (i == count)
            return first;
    }
    return 0;
}
