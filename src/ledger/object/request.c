/* Requests, bodies and bundles; formats in request.h. */
#include "ledger/object/request.h"

#include "ledger/object/read.h"
#include "ledger/object/tag.h"
#include "ledger/object/write.h"

#include <assert.h>

static const char args_long[] = "its arguments are longer than a body may be";

/* ---- requests ---- */

/* What a request and a member of a bundle have in common. */
static uint8_t *tail_put(uint8_t *at, const struct ledger_request *request)
{
    at = put_u64(at, request->reqno);
    at = put_u64(at, request->min_index);
    at = put_u32(at, request->proc);
    at = put_bytes(at, request->args);
    return put_u32(at, request->flags);
}

static void tail_read(struct ledger_reader *r, struct ledger_request *request)
{
    request->reqno = ledger_read_u64(r);
    request->min_index = ledger_read_u64(r);
    request->proc = ledger_read_u32(r);
    request->args = ledger_read_bytes(r, LEDGER_BODY_MAX, args_long);
    request->flags = ledger_read_u32(r);
    if (request->flags)
        ledger_read_fail(r, ATOLL_ECORRUPT, "it has flags that are not defined");
}

bool ledger_request_encode(const struct ledger_request *request, struct buffer *out)
{
    assert(request->args.len <= LEDGER_BODY_MAX);
    uint8_t *at = buffer_extend(out, LEDGER_REQUEST_FIXED_LEN + request->args.len);
    if (!at)
        return false;
    at = put_raw(at, request->genesis, sizeof request->genesis);
    at = put_raw(at, request->client, sizeof request->client);
    tail_put(at, request);
    return true;
}

static void request_read(struct ledger_reader *r, struct ledger_request *request)
{
    ledger_read_copy(r, request->genesis, sizeof request->genesis);
    ledger_read_copy(r, request->client, sizeof request->client);
    tail_read(r, request);
}

int ledger_request_decode(struct slice fields, struct ledger_request *request, struct error *e)
{
    struct ledger_reader r = ledger_reader_of(fields, "request");
    request_read(&r, request);
    return ledger_read_end(&r, e);
}

void ledger_request_hash(struct slice fields, uint8_t out[static HASH_LEN])
{
    ledger_hash(LEDGER_TAG_REQUEST, fields.data, fields.len, out);
}

/* ---- bodies ---- */

bool ledger_body_encode_alone(struct slice fields,
                              const uint8_t signature[static ED25519_SIGNATURE_LEN],
                              struct buffer *out)
{
    uint8_t *at = buffer_extend(out, 1 + fields.len + ED25519_SIGNATURE_LEN);
    if (!at)
        return false;
    at = put_u8(at, LEDGER_BODY_ALONE);
    at = put_raw(at, fields.data, fields.len);
    put_raw(at, signature, ED25519_SIGNATURE_LEN);
    return true;
}

static void place_read(struct ledger_reader *r, struct ledger_body *body)
{
    body->count = ledger_read_u32(r);
    body->position = ledger_read_u32(r);
    body->path_len = ledger_read_count(r, LEDGER_BUNDLE_PATH_MAX, HASH_LEN,
                                       "its path is longer than that of any bundle");
    body->path = (const struct merkle_hash *)ledger_read_raw(r, (size_t)body->path_len * HASH_LEN);
    if (body->count > LEDGER_BUNDLE_MAX)
        ledger_read_fail(r, ATOLL_ELIMIT, "its bundle has too many members");
    else if (body->position >= body->count)
        ledger_read_fail(r, ATOLL_ECORRUPT, "its place is outside of its bundle");
}

int ledger_body_decode(struct slice bytes, struct ledger_body *body, struct error *e)
{
    struct ledger_reader r = ledger_reader_of(bytes, "request body");
    *body = (struct ledger_body){.bytes = bytes};
    if (bytes.len > LEDGER_BODY_MAX)
        ledger_read_fail(&r, ATOLL_ELIMIT, "it is longer than a body may be");
    unsigned form = ledger_read_u8(&r);
    const uint8_t *fields = r.at;
    request_read(&r, &body->request);
    if (r.code == 0)
        body->fields = ledger_read_since(&r, fields);
    body->signature = ledger_read_raw(&r, ED25519_SIGNATURE_LEN);
    body->form = form == LEDGER_BODY_MEMBER ? LEDGER_BODY_MEMBER : LEDGER_BODY_ALONE;
    if (form == LEDGER_BODY_MEMBER)
        place_read(&r, body);
    else if (form != LEDGER_BODY_ALONE)
        ledger_read_fail(&r, ATOLL_ECORRUPT, "it is neither a lone request nor a bundle's");
    return ledger_read_end(&r, e);
}

void ledger_body_hash(struct slice bytes, uint8_t out[static HASH_LEN])
{
    ledger_hash(LEDGER_TAG_BODY, bytes.data, bytes.len, out);
}

void ledger_body_signature(const struct ledger_body *body, const uint8_t hash[static HASH_LEN],
                           struct ledger_signature *out)
{
    memcpy(out->hash, hash, HASH_LEN);
    out->public_key = body->fields.data + HASH_LEN; /* of the bytes: the body may go first */
    out->signature = body->signature;
}

/* H("atoll.bundle.v1", …): what a client signs for a bundle of these many members and this root. */
static void bundle_hash(const uint8_t genesis[static HASH_LEN],
                        const uint8_t client[static ED25519_KEY_LEN], uint32_t count,
                        const struct merkle_hash *root, uint8_t out[static HASH_LEN])
{
    uint8_t fields[HASH_LEN + ED25519_KEY_LEN + 4 + HASH_LEN], *at = fields;
    at = put_raw(at, genesis, HASH_LEN);
    at = put_raw(at, client, ED25519_KEY_LEN);
    at = put_u32(at, count);
    put_raw(at, root->bytes, HASH_LEN);
    ledger_hash(LEDGER_TAG_BUNDLE, fields, sizeof fields, out);
}

/* What the client signed for a member of a bundle. */
static bool member_hash(struct ledger_body_memo *m, const struct ledger_body *body,
                        const uint8_t req_hash[static HASH_LEN], uint8_t hash[static HASH_LEN])
{
    struct merkle_hash leaf = merkle_leaf(req_hash, HASH_LEN), root;
    const uint8_t *client = body->request.client;
    if (!merkle_path_root_after(&m->walk, &leaf, body->position, body->count, body->path,
                                body->path_len, &root))
        return false;
    if (m->count != body->count || memcmp(m->root.bytes, root.bytes, HASH_LEN) != 0 ||
        memcmp(m->client, client, ED25519_KEY_LEN) != 0) {
        bundle_hash(body->request.genesis, client, body->count, &root, m->hash);
        m->count = body->count;
        m->root = root;
        memcpy(m->client, client, ED25519_KEY_LEN);
    }
    memcpy(hash, m->hash, HASH_LEN);
    return true;
}

int ledger_body_check_after(struct ledger_body_memo *m, const struct ledger_body *body,
                            const uint8_t genesis[static HASH_LEN],
                            uint8_t req_hash[static HASH_LEN], struct ledger_signature *left,
                            struct error *e)
{
    uint8_t hash[HASH_LEN];
    if (memcmp(body->request.genesis, genesis, HASH_LEN) != 0)
        return error_set(e, ATOLL_EINVAL,
                         "the request is for another service (its genesis differs)");
    if (ed25519_key_is_small(body->request.client))
        return error_set(e, ATOLL_EPERM,
                         "the request's client key has small order: anyone can sign with it");
    ledger_request_hash(body->fields, req_hash);
    if (body->form != LEDGER_BODY_MEMBER)
        memcpy(hash, req_hash, HASH_LEN);
    else if (!member_hash(m, body, req_hash, hash))
        return error_set(e, ATOLL_EPATH,
                         "the path of member %u of a bundle of %u has %u hashes, not what that "
                         "place asks for",
                         body->position, body->count, body->path_len);
    ledger_body_signature(body, hash, left);
    return 0;
}

int ledger_body_check(const struct ledger_body *body, const uint8_t genesis[static HASH_LEN],
                      uint8_t req_hash[static HASH_LEN], struct ledger_signature *left,
                      struct error *e)
{
    struct ledger_body_memo memo;
    memo.walk.size = memo.walk.index = 0; /* all else is looked at only after these */
    memo.count = 0;
    return ledger_body_check_after(&memo, body, genesis, req_hash, left, e);
}

/* ---- bundles ---- */

bool ledger_bundle_encode(const struct ledger_request *requests, uint32_t count,
                          const uint8_t signature[static ED25519_SIGNATURE_LEN], struct buffer *out)
{
    assert(count >= 1 && count <= LEDGER_BUNDLE_MAX);
    size_t len = HASH_LEN + ED25519_KEY_LEN + 4 + ED25519_SIGNATURE_LEN;
    for (uint32_t i = 0; i < count; i++)
        len += LEDGER_MEMBER_FIXED_LEN + requests[i].args.len;
    assert(len <= LEDGER_BUNDLE_BYTES_MAX);
    uint8_t *at = buffer_extend(out, len);
    if (!at)
        return false;
    at = put_raw(at, requests->genesis, HASH_LEN);
    at = put_raw(at, requests->client, ED25519_KEY_LEN);
    at = put_u32(at, count);
    for (uint32_t i = 0; i < count; i++) {
        assert(memcmp(requests[i].genesis, requests->genesis, HASH_LEN) == 0 &&
               memcmp(requests[i].client, requests->client, ED25519_KEY_LEN) == 0);
        at = tail_put(at, &requests[i]);
    }
    put_raw(at, signature, ED25519_SIGNATURE_LEN);
    return true;
}

bool ledger_bundle_hash_of(const struct ledger_request *requests, uint32_t count,
                           uint8_t out[static HASH_LEN])
{
    struct merkle_frontier frontier = {0};
    struct buffer fields = {0};
    struct error e;
    bool done = true;
    for (uint32_t i = 0; done && i < count; i++) {
        fields.len = 0;
        done = ledger_request_encode(&requests[i], &fields);
        if (!done)
            break;
        uint8_t req_hash[HASH_LEN];
        ledger_request_hash(slice_of_buffer(&fields), req_hash);
        struct merkle_hash leaf = merkle_leaf(req_hash, HASH_LEN);
        done = merkle_frontier_append(&frontier, &leaf, &e) == 0;
    }
    buffer_free(&fields);
    struct merkle_hash root = merkle_frontier_root(&frontier);
    bundle_hash(requests->genesis, requests->client, count, &root, out);
    return done;
}

int ledger_bundle_decode(struct slice bytes, struct ledger_bundle *bundle, struct error *e)
{
    struct ledger_reader r = ledger_reader_of(bytes, "bundle");
    struct ledger_request member;
    if (bytes.len > LEDGER_BUNDLE_BYTES_MAX)
        ledger_read_fail(&r, ATOLL_ELIMIT, "it is longer than a bundle may be");
    ledger_read_copy(&r, bundle->genesis, HASH_LEN);
    ledger_read_copy(&r, bundle->client, ED25519_KEY_LEN);
    bundle->count = ledger_read_count(&r, LEDGER_BUNDLE_MAX, LEDGER_MEMBER_FIXED_LEN,
                                      "it has too many members");
    if (bundle->count == 0)
        ledger_read_fail(&r, ATOLL_ECORRUPT, "it has no members");
    const uint8_t *members = r.at;
    for (uint32_t i = 0; r.code == 0 && i < bundle->count; i++)
        tail_read(&r, &member);
    bundle->members = ledger_read_since(&r, members);
    bundle->signature = ledger_read_raw(&r, ED25519_SIGNATURE_LEN);
    return ledger_read_end(&r, e);
}

/* A member as the request that it stands for. The bundle decoded well, so this cannot fail. */
static struct slice member_read(const struct ledger_bundle *bundle, struct ledger_reader *r)
{
    struct ledger_request request;
    const uint8_t *from = r->at;
    tail_read(r, &request);
    assert(r->code == 0 && r->at <= bundle->members.data + bundle->members.len);
    return ledger_read_since(r, from);
}

/* The hashes of all members and the tree over them. */
static int tree_grow(const struct ledger_bundle *bundle, struct merkle_tree *tree,
                     uint8_t (*req_hashes)[HASH_LEN], struct error *e)
{
    struct ledger_reader r = ledger_reader_of(bundle->members, "bundle");
    uint8_t head[HASH_LEN + ED25519_KEY_LEN], req_hash[HASH_LEN];
    put_raw(put_raw(head, bundle->genesis, HASH_LEN), bundle->client, ED25519_KEY_LEN);
    int result = 0;
    for (uint32_t i = 0; result == 0 && i < bundle->count; i++) {
        ledger_hash_two(LEDGER_TAG_REQUEST, slice_of(head, sizeof head), member_read(bundle, &r),
                        req_hash);
        if (req_hashes)
            memcpy(req_hashes[i], req_hash, HASH_LEN);
        struct merkle_hash leaf = merkle_leaf(req_hash, HASH_LEN);
        result = merkle_tree_append(tree, &leaf, e);
    }
    return result;
}

static int member_write(const struct ledger_bundle *bundle, struct slice member, uint32_t position,
                        const struct merkle_tree *tree, struct buffer *out, struct error *e)
{
    struct merkle_hash path[MERKLE_LEVELS];
    int path_len = merkle_tree_path(tree, position, bundle->count, path, e);
    if (path_len < 0)
        return path_len;
    size_t path_bytes = (size_t)path_len * HASH_LEN;
    size_t len =
        1 + HASH_LEN + ED25519_KEY_LEN + member.len + ED25519_SIGNATURE_LEN + 12 + path_bytes;
    if (len > LEDGER_BODY_MAX)
        return error_set(e, ATOLL_ELIMIT,
                         "member %u of the bundle makes a body of %zu bytes; %d are allowed",
                         position, len, LEDGER_BODY_MAX);
    uint8_t *at = buffer_extend(out, len);
    if (!at)
        return error_set(e, ATOLL_ENOMEM, "no memory for the bodies of a bundle");
    at = put_u8(at, LEDGER_BODY_MEMBER);
    at = put_raw(at, bundle->genesis, HASH_LEN);
    at = put_raw(at, bundle->client, ED25519_KEY_LEN);
    at = put_raw(at, member.data, member.len);
    at = put_raw(at, bundle->signature, ED25519_SIGNATURE_LEN);
    at = put_u32(at, bundle->count);
    at = put_u32(at, position);
    at = put_u32(at, (uint32_t)path_len);
    put_raw(at, path, path_bytes);
    return 0;
}

int ledger_bundle_open(const struct ledger_bundle *bundle, struct buffer *out, size_t *ends,
                       uint8_t (*req_hashes)[HASH_LEN], uint8_t hash[static HASH_LEN],
                       struct error *e)
{
    struct merkle_tree *tree;
    int result = merkle_tree_create(&tree, e);
    if (result < 0)
        return result;
    result = tree_grow(bundle, tree, req_hashes, e);
    struct ledger_reader r = ledger_reader_of(bundle->members, "bundle");
    out->len = 0;
    for (uint32_t i = 0; result == 0 && i < bundle->count; i++) {
        result = member_write(bundle, member_read(bundle, &r), i, tree, out, e);
        ends[i] = out->len;
    }
    struct merkle_hash root = merkle_tree_root(tree);
    bundle_hash(bundle->genesis, bundle->client, bundle->count, &root, hash);
    merkle_tree_destroy(tree);
    return result;
}
