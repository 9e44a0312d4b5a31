/* `atoll ledger keygen`: a signing key for a replica, a member or a client. */
#include "cli/ledger/ledger.h"
#include "cli/report.h"
#include "crypto/secret.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct request {
    const char *passphrase_file;
    bool json, show;
};

static int key_make(const struct request *r, const char *path, struct secret **key, struct error *e)
{
    char *passphrase;
    int rc = ledger_passphrase_read(r->passphrase_file, &passphrase, e);
    if (rc == 0 && r->show)
        rc = secret_read(path, passphrase, key, e);
    else if (rc == 0 && (rc = secret_generate(key, e)) == 0)
        rc = secret_write(*key, path, passphrase, e);
    if (passphrase)
        explicit_bzero(passphrase, strlen(passphrase));
    free(passphrase);
    return rc;
}

static void key_print(const struct request *r, const struct secret *key)
{
    char hex[2 * KEY_PUBLIC_LEN + 1];
    hash_hex(secret_public(key), hex);
    if (!r->json) {
        printf("%s\n", hex);
        return;
    }
    cJSON *o = cJSON_CreateObject();
    cJSON_AddStringToObject(o, "public_key", hex);
    json_print(o, false);
}

static int keygen_run(int argc, char **argv)
{
    struct request r = {0};
    const struct option_spec options[] = {
        {"passphrase-file", 0, OPTION_TEXT, "FILE",
         "seal the key under the first line of this file", &r.passphrase_file, NULL},
        {"show", 0, OPTION_FLAG, NULL, "print the public key of a key file that exists", &r.show,
         NULL},
        {"json", 0, OPTION_FLAG, NULL, "print one JSON object", &r.json, NULL},
    };
    struct text_list operands = {0};
    struct secret *key = NULL;
    struct error e;
    int code;
    if (!ledger_options(&command_ledger_keygen, options, 3, argc, argv, 1, 1, &operands, &code))
        return code;
    if (key_make(&r, operands.items[0], &key, &e) != 0) {
        ledger_report(&e);
        code = e.code == -ATOLL_ECORRUPT ? EXIT_REFUSED : exit_code_of(&e);
    } else {
        key_print(&r, key);
        code = EXIT_OK;
    }
    secret_destroy(key);
    free(operands.items);
    return code;
}

const struct command command_ledger_keygen = {
    .name = "ledger keygen",
    .usage = "[OPTIONS] FILE",
    .summary = "make a signing key",
    .description =
        "Makes an Ed25519 signing key in FILE (mode 0600) and prints its public key, 64\n"
        "hexadecimal digits. A file that exists is never overwritten.\n\n"
        "Exit code: 0, or\n"
        "  2    the command line is wrong\n"
        "  125  the file exists already, or a file cannot be read or written\n"
        "  126  the passphrase does not open the key, or it is no key",
    .run = keygen_run,
};
