/* See local.h. */
#define _GNU_SOURCE
#include "ledger/service/local.h"

#include "base/file.h"
#include "base/random.h"
#include "crypto/secret.h"
#include "ledger/kv/smallbank.h"
#include "ledger/object/entry.h"

#include <arpa/inet.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

void ledger_local_defaults(struct ledger_local_settings *s)
{
    *s = (struct ledger_local_settings){.terms = {.name = "local",
                                                  .pipeline = 4,
                                                  .max_batch = 800,
                                                  .checkpoint_interval = 1000,
                                                  .view_timeout_us = 2000000,
                                                  .accounts = 500000,
                                                  .balance = 100000},
                                        .replicas = 4,
                                        .first_port = 7100};
}

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
                        struct genesis_draft *draft, struct error *e)
{
    char path[PATH_MAX], member[32], address[32];
    uint8_t key[KEY_PUBLIC_LEN], member_key[KEY_PUBLIC_LEN];
    snprintf(path, sizeof path, "%s/replica-%u", directory, i);
    snprintf(member, sizeof member, "member-%u", i);
    snprintf(address, sizeof address, "127.0.0.1:%u", s->first_port + i);
    int rc = directory_make(path, 0700, e);
    if (rc == 0)
        rc = key_make(path, "replica.key", key, e);
    if (rc == 0)
        rc = key_make(path, "member.key", member_key, e);
    if (rc == 0)
        rc = genesis_draft_add(draft, slice_of(address, strlen(address)), key,
                               slice_of(member, strlen(member)), member_key, e);
    return rc;
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
    struct buffer bytes = {0};
    struct genesis_draft *draft = NULL;
    if (s->replicas < LEDGER_REPLICAS_MIN || s->replicas > LEDGER_REPLICAS_MAX)
        return error_set(e, ATOLL_EINVAL, "a ledger has %d to %d replicas", LEDGER_REPLICAS_MIN,
                         LEDGER_REPLICAS_MAX);
    snprintf(path, sizeof path, "%s/genesis", directory);
    if (access(path, F_OK) == 0)
        return error_set(e, ATOLL_EEXIST, "there is a ledger in %s already", directory);
    snprintf(path, sizeof path, "%s/replica-0/replica.key", directory);
    if (access(path, F_OK) == 0)
        return error_set(e, ATOLL_EEXIST,
                         "%s holds keys of a ledger that was not finished: remove it, or take "
                         "another directory",
                         directory);
    int rc = genesis_draft_create(&s->terms, &draft, e);
    if (rc == 0)
        rc = directory_make(directory, 0700, e);
    for (uint32_t i = 0; i < s->replicas && rc == 0; i++)
        rc = replica_make(directory, s, i, draft, e);
    if (rc == 0)
        rc = genesis_draft_encode(draft, &bytes, e);
    if (rc == 0)
        rc = genesis_write(directory, s->replicas, &bytes, e);
    buffer_free(&bytes);
    genesis_draft_destroy(draft);
    return rc;
}

int ledger_local_read(const char *directory, struct ledger_local_settings *s, struct error *e)
{
    char path[PATH_MAX];
    struct buffer bytes = {0};
    struct ledger_genesis *g = malloc(sizeof *g);
    snprintf(path, sizeof path, "%s/genesis", directory);
    int rc = g ? file_read(path, LEDGER_ENTRY_MAX, &bytes, e)
               : error_set(e, ATOLL_ENOMEM, "no memory for a genesis");
    if (rc == 0)
        rc = ledger_genesis_decode(slice_of_buffer(&bytes), g, e);
    if (rc == 0) {
        const struct ledger_configuration *c = &g->configuration;
        *s = (struct ledger_local_settings){.terms = {.name = "",
                                                      .pipeline = g->pipeline,
                                                      .max_batch = c->max_batch,
                                                      .checkpoint_interval = c->checkpoint_interval,
                                                      .view_timeout_us = c->view_timeout_us},
                                            .replicas = c->replica_count};
        if (g->state.len == SMALLBANK_STATE_LEN) {
            s->terms.accounts = (uint32_t)load_u64(g->state.data);
            s->terms.balance = (int64_t)load_u64(g->state.data + 8);
        }
    }
    buffer_free(&bytes);
    free(g);
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
