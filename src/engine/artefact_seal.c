/* Sealing, and artefacts as files of their own (artefact_save, artefact_load of compile.h). */
#include "engine/artefact_seal.h"

#include "base/file.h"
#include "engine/compile.h"
#include "engine/cpu.h"

#include <string.h>

static void mac_make(const uint8_t id[static HASH_LEN], const uint8_t key[static HASH_LEN],
                     const uint8_t mac_key[static KEY_MAC_LEN], uint8_t out[static HASH_LEN])
{
    uint8_t both[2 * HASH_LEN];
    memcpy(both, id, HASH_LEN);
    memcpy(both + HASH_LEN, key, HASH_LEN);
    hash_blake2b(both, sizeof both, mac_key, KEY_MAC_LEN, out);
}

void seal_make(const uint8_t id[static HASH_LEN], const uint8_t key[static HASH_LEN],
               const uint8_t mac_key[static KEY_MAC_LEN], uint8_t out[static SEAL_LEN])
{
    memcpy(out, key, HASH_LEN);
    mac_make(id, key, mac_key, out + HASH_LEN);
}

int seal_open(const uint8_t *file, size_t len, const uint8_t mac_key[static KEY_MAC_LEN],
              struct artefact **out, struct error *e)
{
    *out = NULL;
    if (len < SEAL_LEN)
        return error_set(e, ATOLL_ECORRUPT, "the artefact file is cut off");
    size_t body = len - SEAL_LEN;
    const uint8_t *seal = file + body;
    uint8_t id[HASH_LEN], expected[HASH_LEN];
    hash_blake2b(file, body, NULL, 0, id);
    mac_make(id, seal, mac_key, expected);
    if (!hash_equal(expected, seal + HASH_LEN))
        return error_set(e, ATOLL_ECORRUPT,
                         "the artefact was changed, or was not made with this user's key");
    int rc = artefact_open_known(file, body, id, out, e);
    if (rc == 0)
        memcpy((*out)->key, seal, HASH_LEN);
    return rc;
}

int artefact_save(const struct artefact *a, const char *path, struct error *e)
{
    uint8_t mac_key[KEY_MAC_LEN], seal[SEAL_LEN];
    struct buffer file = {0};
    int rc = key_artefact_mac(mac_key, e);
    if (rc == 0)
        rc = artefact_bytes(a, &file, e);
    if (rc < 0) {
        buffer_free(&file);
        return rc;
    }
    seal_make(a->id, a->key, mac_key, seal);
    if (buffer_append(&file, seal, sizeof seal))
        rc = file_replace(path, file.data, file.len, 0644, e);
    else
        rc = error_set(e, ATOLL_ENOMEM, "no memory to save an artefact");
    buffer_free(&file);
    return rc;
}

int artefact_load(const char *path, struct artefact **out, struct error *e)
{
    uint8_t mac_key[KEY_MAC_LEN];
    struct buffer file = {0};
    *out = NULL;
    int rc = key_artefact_mac(mac_key, e);
    if (rc == 0)
        rc = file_read(path, ARTEFACT_FILE_MAX, &file, e);
    if (rc == 0 && (rc = seal_open(file.data, file.len, mac_key, out, e)) < 0)
        rc = error_prefix(e, "%s", path);
    buffer_free(&file);
    if (rc == 0 && (rc = cpu_require((*out)->cpu_features, e)) < 0) {
        artefact_release(*out);
        *out = NULL;
    }
    return rc;
}
