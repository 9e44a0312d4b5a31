/* `atoll ledger genesis`: what all replicas and verifiers of a ledger agree on beforehand. */
#include "base/file.h"
#include "cli/ledger/ledger.h"
#include "cli/report.h"
#include "crypto/key.h"
#include "ledger/service/local.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct request {
    struct ledger_local_settings settings;
    const char *name, *output, *local;
    struct text_list replicas;
    uint64_t count, port, pipeline, batch, checkpoint, accounts;
    int64_t timeout_ns;
    bool json;
};

/* ADDRESS,KEY,MEMBER,MEMBERKEY */
static int replica_parse(struct genesis_draft *d, const char *text, struct error *e)
{
    const char *at = text, *fields[4];
    size_t lens[4];
    char hex[LEDGER_ADDRESS_MAX];
    uint8_t key[KEY_PUBLIC_LEN], member_key[KEY_PUBLIC_LEN];
    for (int k = 0; k < 4; k++) {
        fields[k] = at;
        lens[k] = strcspn(at, ",");
        at += lens[k];
        bool ends_well = k < 3 ? *at == ',' : *at == 0;
        at += k < 3 && ends_well;
        if (lens[k] == 0 || lens[k] >= LEDGER_ADDRESS_MAX || !ends_well)
            return error_set(e, ATOLL_EINVAL,
                             "--replica wants ADDRESS:PORT,KEY,MEMBER,MEMBERKEY, not \"%s\"", text);
    }
    snprintf(hex, sizeof hex, "%.*s", (int)lens[1], fields[1]);
    int rc = key_public_parse(hex, key, e);
    snprintf(hex, sizeof hex, "%.*s", (int)lens[3], fields[3]);
    if (rc == 0)
        rc = key_public_parse(hex, member_key, e);
    if (rc == 0)
        rc = genesis_draft_add(d, slice_of(fields[0], lens[0]), key, slice_of(fields[2], lens[2]),
                               member_key, e);
    return rc;
}

static int genesis_write(const struct request *r, struct error *e)
{
    struct genesis_draft *d;
    struct buffer bytes = {0};
    int rc = genesis_draft_create(&r->settings.terms, &d, e);
    for (size_t i = 0; i < r->replicas.count && rc == 0; i++)
        rc = replica_parse(d, r->replicas.items[i], e);
    if (rc == 0)
        rc = genesis_draft_encode(d, &bytes, e);
    if (rc == 0)
        rc = file_replace(r->output, bytes.data, bytes.len, 0644, e);
    buffer_free(&bytes);
    genesis_draft_destroy(d);
    return rc;
}

static int genesis_show(const char *path, bool json, struct error *e)
{
    struct ledger_genesis *g = malloc(sizeof *g);
    struct buffer bytes = {0};
    char hex[2 * HASH_LEN + 1];
    int rc = g ? ledger_genesis_read(path, &bytes, g, e) : error_set(e, ATOLL_ENOMEM, "no memory");
    if (rc != 0) {
        free(g);
        return rc;
    }
    const struct ledger_configuration *c = &g->configuration;
    hash_hex(g->hash, hex);
    if (json) {
        cJSON *o = cJSON_CreateObject(), *list = cJSON_AddArrayToObject(o, "replicas");
        cJSON_AddStringToObject(o, "genesis", hex);
        cJSON_AddNumberToObject(o, "pipeline", g->pipeline);
        cJSON_AddNumberToObject(o, "max_batch", c->max_batch);
        cJSON_AddNumberToObject(o, "checkpoint_interval", c->checkpoint_interval);
        cJSON_AddNumberToObject(o, "view_timeout_us", (double)c->view_timeout_us);
        for (uint32_t i = 0; i < c->replica_count; i++) {
            char text[LEDGER_ADDRESS_MAX + 1], key[2 * HASH_LEN + 1];
            cJSON *one = cJSON_CreateObject();
            snprintf(text, sizeof text, "%.*s", (int)c->replicas[i].address.len,
                     (const char *)c->replicas[i].address.data);
            hash_hex(c->replicas[i].public_key, key);
            cJSON_AddStringToObject(one, "address", text);
            cJSON_AddStringToObject(one, "public_key", key);
            cJSON_AddItemToArray(list, one);
        }
        json_print(o, false);
    } else {
        printf("ledger   %.*s\ngenesis  %s\nreplicas %u, of which %u may be faulty\n",
               (int)g->name.len, (const char *)g->name.data, hex, c->replica_count,
               ledger_faulty_max(c));
        for (uint32_t i = 0; i < c->replica_count; i++)
            printf("  %2u  %.*s, of %.*s\n", i, (int)c->replicas[i].address.len,
                   (const char *)c->replicas[i].address.data,
                   (int)c->members[c->replicas[i].member].name.len,
                   (const char *)c->members[c->replicas[i].member].name.data);
    }
    buffer_free(&bytes);
    free(g);
    return 0;
}

/* Options hold wide numbers; the genesis has narrower ones, which its decoder judges. */
static uint32_t narrow(uint64_t wide)
{
    return wide > UINT32_MAX ? UINT32_MAX : (uint32_t)wide;
}

static int genesis_make(struct request *r, struct error *e)
{
    struct ledger_local_settings *s = &r->settings;
    s->replicas = narrow(r->count);
    s->terms.pipeline = narrow(r->pipeline);
    s->terms.max_batch = narrow(r->batch);
    s->terms.checkpoint_interval = narrow(r->checkpoint);
    s->terms.accounts = narrow(r->accounts);
    s->terms.view_timeout_us = (uint64_t)(r->timeout_ns / 1000);
    if (r->port == 0 || r->port + s->replicas > 65536)
        return error_set(e, ATOLL_EINVAL, "there is no port %" PRIu64, r->port);
    s->first_port = (uint16_t)r->port;
    if (r->local)
        return ledger_local_make(r->local, s, e);
    if (r->output == NULL)
        return error_set(e, ATOLL_EINVAL, "where to? give --output FILE, or --local DIR");
    return genesis_write(r, e);
}

static int genesis_run(int argc, char **argv)
{
    struct request r = {0};
    ledger_local_defaults(&r.settings);
    r.count = r.settings.replicas;
    r.port = r.settings.first_port;
    r.pipeline = r.settings.terms.pipeline;
    r.batch = r.settings.terms.max_batch;
    r.checkpoint = r.settings.terms.checkpoint_interval;
    r.accounts = r.settings.terms.accounts;
    r.timeout_ns = (int64_t)r.settings.terms.view_timeout_us * 1000;
    const struct option_spec options[] = {
        {"output", 'o', OPTION_TEXT, "FILE", "write the genesis here", &r.output, NULL},
        {"replica", 0, OPTION_LIST, "R",
         "a replica: ADDRESS:PORT,KEY,MEMBER,MEMBERKEY (public keys\n"
         "of keygen, MEMBER: name of who runs it); at least four times",
         &r.replicas, NULL},
        {"local", 0, OPTION_TEXT, "DIR",
         "instead: keys, genesis and directories of a whole ledger on\n"
         "this machine",
         &r.local, NULL},
        {"replicas", 'n', OPTION_COUNT, "N", "--local: how many (default 4)", &r.count, NULL},
        {"port", 0, OPTION_COUNT, "PORT", "--local: of the first replica (default 7100)", &r.port,
         NULL},
        {"name", 0, OPTION_TEXT, "NAME", "name of the ledger (default: local)",
         &r.settings.terms.name, NULL},
        {"pipeline", 0, OPTION_COUNT, "P", "batches under way at once (default 4)", &r.pipeline,
         NULL},
        {"batch", 0, OPTION_COUNT, "N", "transactions in a batch at most (default 800)", &r.batch,
         NULL},
        {"checkpoint", 0, OPTION_COUNT, "C", "batches between checkpoints (default 1000)",
         &r.checkpoint, NULL},
        {"timeout", 0, OPTION_DURATION, "TIME",
         "how long backups wait for the primary (default 2s)", &r.timeout_ns, NULL},
        {"accounts", 0, OPTION_COUNT, "N", "SmallBank accounts to begin with (default 500000)",
         &r.accounts, NULL},
        {"json", 0, OPTION_FLAG, NULL, "print one JSON object", &r.json, NULL},
    };
    struct text_list operands = {0};
    struct error e;
    char path[4096];
    int code;
    if (!ledger_options(&command_ledger_genesis, options, sizeof options / sizeof options[0], argc,
                        argv, 0, 1, &operands, &code))
        return code;
    int rc = operands.count ? 0 : genesis_make(&r, &e);
    snprintf(path, sizeof path, "%s%s",
             operands.count ? operands.items[0]
             : r.local      ? r.local
             : r.output     ? r.output
                            : "",
             !operands.count && r.local ? "/genesis" : "");
    if (rc == 0)
        rc = genesis_show(path, r.json, &e);
    if (rc != 0)
        ledger_report(&e);
    free(operands.items);
    free(r.replicas.items);
    return rc == 0 ? EXIT_OK : exit_code_of(&e);
}

const struct command command_ledger_genesis = {
    .name = "ledger genesis",
    .usage = "--replica R... -o FILE | --local DIR | FILE",
    .summary = "make or show a genesis",
    .description =
        "Makes the genesis of a new ledger: who runs it, under which keys, with what\n"
        "limits. Every replica has a copy; its hash is the ledger's identity. With a FILE\n"
        "alone, shows it.\n\n"
        "Exit code: 0, or\n"
        "  2    the command line is wrong\n"
        "  125  such a ledger cannot be, there is one already, or a file cannot be read\n"
        "  126  the file is no genesis",
    .run = genesis_run,
};
