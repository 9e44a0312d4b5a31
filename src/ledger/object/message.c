/* Messages between replicas; formats in message.h. Those with clients: client_message.c. */
#include "ledger/object/message.h"

#include "ledger/object/message_parts.h"
#include "ledger/object/write.h"

#include <assert.h>

const char *ledger_message_name(unsigned type)
{
    switch ((enum ledger_message_type)type) {
    case LEDGER_MESSAGE_PRE_PREPARE: return "pre_prepare";
    case LEDGER_MESSAGE_PREPARE: return "prepare";
    case LEDGER_MESSAGE_COMMIT: return "commit";
    case LEDGER_MESSAGE_VIEW_CHANGE: return "view_change";
    case LEDGER_MESSAGE_NEW_VIEW: return "new_view";
    case LEDGER_MESSAGE_EVIDENCE: return "evidence";
    case LEDGER_MESSAGE_CONTENT: return "content";
    case LEDGER_MESSAGE_LEDGER: return "ledger";
    case LEDGER_MESSAGE_CHECKPOINT: return "checkpoint";
    case LEDGER_MESSAGE_STATUS: return "status";
    case LEDGER_MESSAGE_FETCH_BATCH: return "fetch_batch";
    case LEDGER_MESSAGE_FETCH_CONTENT: return "fetch_content";
    case LEDGER_MESSAGE_FETCH_EVIDENCE: return "fetch_evidence";
    case LEDGER_MESSAGE_FETCH_NEW_VIEW: return "fetch_new_view";
    case LEDGER_MESSAGE_FETCH_LEDGER: return "fetch_ledger";
    case LEDGER_MESSAGE_FETCH_CHECKPOINT: return "fetch_checkpoint";
    case LEDGER_MESSAGE_RELAY: return "relay";
    case LEDGER_MESSAGE_LIFE: return "life";
    case LEDGER_MESSAGE_HELLO: return "hello";
    case LEDGER_MESSAGE_REQUEST: return "request";
    case LEDGER_MESSAGE_BUNDLE: return "bundle";
    case LEDGER_MESSAGE_FETCH_RECEIPT: return "fetch_receipt";
    case LEDGER_MESSAGE_REPLY: return "reply";
    case LEDGER_MESSAGE_REPLYX: return "replyx";
    case LEDGER_MESSAGE_RECEIPT: return "receipt";
    case LEDGER_MESSAGE_REFUSAL: return "refusal";
    }
    return "unknown";
}

/* ---- what all messages need ---- */

struct ledger_reader ledger_message_open(struct slice message, enum ledger_message_type type)
{
    struct ledger_reader r = ledger_reader_of(message, ledger_message_name(type));
    if (message.len > LEDGER_MESSAGE_MAX)
        ledger_read_fail(&r, ATOLL_ELIMIT, "it is longer than a message may be");
    if (ledger_read_u8(&r) != type)
        ledger_read_fail(&r, ATOLL_ECORRUPT, "it is a message of another type");
    return r;
}

/* A message of one object, whose own decoder reads what follows the type. */
static int object_open(struct slice message, enum ledger_message_type type, struct slice *object,
                       struct error *e)
{
    struct ledger_reader r = ledger_message_open(message, type);
    size_t left = (size_t)(r.end - r.at);
    *object = (struct slice){ledger_read_raw(&r, left), left};
    return ledger_read_end(&r, e);
}

static bool object_write(struct buffer *out, enum ledger_message_type type, const void *object,
                         size_t len)
{
    uint8_t *at = buffer_extend(out, 1 + len);
    if (!at)
        return false;
    put_raw(put_u8(at, (uint8_t)type), object, len);
    return true;
}

bool ledger_message_begin(struct ledger_message_writer *w, struct buffer *out,
                          enum ledger_message_type type, const void *head, size_t head_len)
{
    if (!object_write(out, type, head, head_len) || !buffer_append_u32(out, 0))
        return false;
    *w = (struct ledger_message_writer){.out = out, .count_at = out->len - 4};
    return true;
}

static bool message_item(struct ledger_message_writer *w, struct slice item)
{
    uint8_t *at = buffer_extend(w->out, 4 + item.len);
    if (!at)
        return false;
    put_bytes(at, item);
    w->count++;
    return true;
}

void ledger_message_end(struct ledger_message_writer *w)
{
    store_u32(w->out->data + w->count_at, w->count);
}

/* ---- lists ---- */

/* Sets the list to its items once the whole message proved good; walks them with `skip`. */
void ledger_read_list(struct ledger_reader *r, uint32_t max, size_t item_len,
                      void (*skip)(struct ledger_reader *), struct ledger_list *list)
{
    list->left = ledger_read_count(r, max, item_len, "it has too many items");
    const uint8_t *from = r->at;
    for (uint32_t i = 0; r->code == 0 && i < list->left; i++)
        skip(r);
    list->rest = ledger_read_since(r, from);
}

/* Takes the next item of a list that has been read well before. */
static bool list_open(struct ledger_list *list, struct ledger_reader *r)
{
    if (list->left == 0)
        return false;
    *r = ledger_reader_of(list->rest, "list");
    return true;
}

static void list_close(struct ledger_list *list, const struct ledger_reader *r)
{
    assert(r->code == 0);
    list->left--;
    list->rest = (struct slice){r->at, (size_t)(r->end - r->at)};
}

static void body_skip(struct ledger_reader *r)
{
    ledger_read_bytes(r, LEDGER_BODY_MAX, "one of its requests is longer than one may be");
}

static void tx_skip(struct ledger_reader *r)
{
    ledger_read_bytes(r, LEDGER_TX_MAX, "one of its transactions is longer than one may be");
}

bool ledger_list_next_bytes(struct ledger_list *list, struct slice *item)
{
    struct ledger_reader r;
    if (!list_open(list, &r))
        return false;
    *item = ledger_read_bytes(&r, LEDGER_MESSAGE_MAX, "");
    list_close(list, &r);
    return true;
}

static struct ledger_batch_item item_read(struct ledger_reader *r)
{
    struct ledger_batch_item item = {0};
    unsigned inlined = ledger_read_u8(r);
    if (inlined == 0)
        item.hash = ledger_read_raw(r, HASH_LEN);
    else if (inlined == 1)
        item.body =
            ledger_read_bytes(r, LEDGER_BODY_MAX, "one of its requests is longer than one may be");
    else
        ledger_read_fail(r, ATOLL_ECORRUPT, "a body is neither named nor inlined");
    return item;
}

static void item_skip(struct ledger_reader *r)
{
    item_read(r);
}

bool ledger_list_next_item(struct ledger_list *list, struct ledger_batch_item *item)
{
    struct ledger_reader r;
    if (!list_open(list, &r))
        return false;
    *item = item_read(&r);
    list_close(list, &r);
    return true;
}

static struct ledger_list_entry entry_read(struct ledger_reader *r)
{
    struct ledger_list_entry entry = {.type = ledger_read_u8(r)};
    if (entry.type < LEDGER_ENTRY_GENESIS || entry.type > LEDGER_ENTRY_NEW_VIEW)
        ledger_read_fail(r, ATOLL_ECORRUPT, "one of its entries has an unknown type");
    entry.payload =
        ledger_read_bytes(r, LEDGER_ENTRY_MAX, "one of its entries is longer than one may be");
    return entry;
}

static void entry_skip(struct ledger_reader *r)
{
    entry_read(r);
}

bool ledger_list_next_entry(struct ledger_list *list, struct ledger_list_entry *entry)
{
    struct ledger_reader r;
    if (!list_open(list, &r))
        return false;
    *entry = entry_read(&r);
    list_close(list, &r);
    return true;
}

/* ---- pre-prepare ---- */

bool ledger_pre_prepare_begin(struct ledger_message_writer *w, struct buffer *out,
                              const struct ledger_pp *pp, struct slice evidence)
{
    uint8_t *at = buffer_extend(out, 1 + LEDGER_PP_SIGNED_LEN + 4 + evidence.len + 4);
    if (!at)
        return false;
    at = put_u8(at, LEDGER_MESSAGE_PRE_PREPARE);
    ledger_pp_encode_signed(pp, at);
    at = put_bytes(at + LEDGER_PP_SIGNED_LEN, evidence);
    put_u32(at, 0);
    *w = (struct ledger_message_writer){.out = out, .count_at = out->len - 4};
    return true;
}

bool ledger_pre_prepare_body(struct ledger_message_writer *w, struct slice body)
{
    uint8_t *at = buffer_extend(w->out, 1 + 4 + body.len);
    if (!at)
        return false;
    put_bytes(put_u8(at, 1), body);
    w->count++;
    return true;
}

bool ledger_pre_prepare_hash(struct ledger_message_writer *w,
                             const uint8_t body_hash[static HASH_LEN])
{
    uint8_t *at = buffer_extend(w->out, 1 + HASH_LEN);
    if (!at)
        return false;
    put_raw(put_u8(at, 0), body_hash, HASH_LEN);
    w->count++;
    return true;
}

int ledger_pre_prepare_decode(struct slice message, struct ledger_pre_prepare_message *m,
                              struct error *e)
{
    struct ledger_reader r = ledger_message_open(message, LEDGER_MESSAGE_PRE_PREPARE);
    ledger_read_pp_signed(&r, &m->pp);
    m->evidence = ledger_read_bytes(&r, LEDGER_MESSAGE_MAX, "its evidence is too long");
    ledger_read_list(&r, LEDGER_BATCH_MAX, 5, item_skip, &m->items);
    if (m->items.left != m->pp.count)
        ledger_read_fail(&r, ATOLL_ECORRUPT, "it has not as many bodies as its batch");
    if ((m->evidence.len == 0) != (m->pp.evidence_bits == 0))
        ledger_read_fail(&r, ATOLL_ECORRUPT, "its evidence is not what its batch names");
    int result = ledger_read_end(&r, e);
    struct ledger_evidence evidence;
    if (result == 0 && m->evidence.len)
        result = ledger_evidence_decode(m->evidence, &evidence, e);
    if (result == 0 && m->evidence.len && evidence.bits != m->pp.evidence_bits)
        result =
            error_set(e, ATOLL_ECORRUPT,
                      "the pre_prepare cannot be read: its evidence is not what its batch names");
    return result;
}

/* ---- prepare, commit ---- */

bool ledger_prepare_write(struct buffer *out, const struct ledger_prepare *p)
{
    uint8_t object[LEDGER_PREPARE_SIGNED_LEN];
    ledger_prepare_encode_signed(p, object);
    return object_write(out, LEDGER_MESSAGE_PREPARE, object, sizeof object);
}

int ledger_prepare_message_decode(struct slice message, struct ledger_prepare *p, struct error *e)
{
    struct slice object;
    int result = object_open(message, LEDGER_MESSAGE_PREPARE, &object, e);
    return result < 0 ? result : ledger_prepare_decode_signed(object, p, e);
}

bool ledger_commit_write(struct buffer *out, const struct ledger_commit *c)
{
    uint8_t object[LEDGER_COMMIT_LEN];
    ledger_commit_encode(c, object);
    return object_write(out, LEDGER_MESSAGE_COMMIT, object, sizeof object);
}

int ledger_commit_message_decode(struct slice message, struct ledger_commit *c, struct error *e)
{
    struct slice object;
    int result = object_open(message, LEDGER_MESSAGE_COMMIT, &object, e);
    return result < 0 ? result : ledger_commit_decode(object, c, e);
}

/* ---- view change, new view ---- */

bool ledger_view_change_write(struct buffer *out, struct slice signed_bytes)
{
    return object_write(out, LEDGER_MESSAGE_VIEW_CHANGE, signed_bytes.data, signed_bytes.len);
}

int ledger_view_change_message_decode(struct slice message, struct ledger_view_change *vc,
                                      struct slice *signed_bytes, struct error *e)
{
    struct slice object;
    int result = object_open(message, LEDGER_MESSAGE_VIEW_CHANGE, &object, e);
    if (result == 0 && signed_bytes)
        *signed_bytes = object;
    return result < 0 ? result : ledger_view_change_decode_signed(object, vc, e);
}

bool ledger_new_view_write(struct buffer *out, struct slice signed_bytes, struct slice vcset)
{
    uint8_t *at = buffer_extend(out, 1 + 4 + signed_bytes.len + 4 + vcset.len);
    if (!at)
        return false;
    put_bytes(put_bytes(put_u8(at, LEDGER_MESSAGE_NEW_VIEW), signed_bytes), vcset);
    return true;
}

int ledger_new_view_message_decode(struct slice message, struct ledger_new_view_message *m,
                                   struct error *e)
{
    struct ledger_reader r = ledger_message_open(message, LEDGER_MESSAGE_NEW_VIEW);
    m->signed_bytes = ledger_read_bytes(&r, LEDGER_MESSAGE_MAX, "its new view is too long");
    m->vcset_bytes = ledger_read_bytes(&r, LEDGER_MESSAGE_MAX, "its view changes are too long");
    int result = ledger_read_end(&r, e);
    if (result == 0)
        result = ledger_new_view_decode_signed(m->signed_bytes, &m->nv, e);
    if (result == 0)
        result = ledger_vcset_decode(m->vcset_bytes, &m->vcset, e);
    return result;
}

/* ---- evidence, contents ---- */

bool ledger_evidence_write(struct buffer *out, const struct ledger_pp *pp, struct slice evidence)
{
    uint8_t *at = buffer_extend(out, 1 + LEDGER_PP_SIGNED_LEN + evidence.len);
    if (!at)
        return false;
    at = put_u8(at, LEDGER_MESSAGE_EVIDENCE);
    ledger_pp_encode_signed(pp, at);
    put_raw(at + LEDGER_PP_SIGNED_LEN, evidence.data, evidence.len);
    return true;
}

int ledger_evidence_message_decode(struct slice message, struct ledger_evidence_message *m,
                                   struct error *e)
{
    struct ledger_reader r = ledger_message_open(message, LEDGER_MESSAGE_EVIDENCE);
    ledger_read_pp_signed(&r, &m->pp);
    size_t left = (size_t)(r.end - r.at);
    m->evidence_bytes = (struct slice){ledger_read_raw(&r, left), left};
    int result = ledger_read_end(&r, e);
    if (result == 0)
        result = ledger_evidence_decode(m->evidence_bytes, &m->evidence, e);
    if (result == 0 && (m->evidence.view != m->pp.view || m->evidence.seqno != m->pp.seqno))
        result =
            error_set(e, ATOLL_ECORRUPT,
                      "the evidence cannot be read: it is for another batch than the one with it");
    return result;
}

bool ledger_content_begin(struct ledger_message_writer *w, struct buffer *out,
                          const struct ledger_content *c)
{
    uint8_t head[HASH_LEN + 8 + 1 + 8 + 4], *at = head;
    at = put_raw(at, c->batch_root, HASH_LEN);
    at = put_u64(at, c->seqno);
    at = put_u8(at, (uint8_t)c->kind);
    at = put_u64(at, c->first_index);
    put_u32(at, c->count);
    return ledger_message_begin(w, out, LEDGER_MESSAGE_CONTENT, head, sizeof head);
}

bool ledger_content_tx(struct ledger_message_writer *w, struct slice tx)
{
    return message_item(w, tx);
}

int ledger_content_decode(struct slice message, struct ledger_content *c, struct error *e)
{
    struct ledger_reader r = ledger_message_open(message, LEDGER_MESSAGE_CONTENT);
    ledger_read_copy(&r, c->batch_root, HASH_LEN);
    c->seqno = ledger_read_u64(&r);
    unsigned kind = ledger_read_u8(&r);
    c->kind = (enum ledger_kind)kind;
    c->first_index = ledger_read_u64(&r);
    c->count = ledger_read_u32(&r);
    ledger_read_kind(&r, kind, c->count);
    ledger_read_list(&r, LEDGER_BATCH_MAX, 4, tx_skip, &c->txs);
    if (c->txs.left != c->count)
        ledger_read_fail(&r, ATOLL_ECORRUPT, "it has not as many transactions as it says");
    return ledger_read_end(&r, e);
}

/* ---- state transfer ---- */

bool ledger_entries_begin(struct ledger_message_writer *w, struct buffer *out, uint64_t from,
                          uint64_t end)
{
    uint8_t head[16];
    put_u64(put_u64(head, from), end);
    return ledger_message_begin(w, out, LEDGER_MESSAGE_LEDGER, head, sizeof head);
}

bool ledger_entries_entry(struct ledger_message_writer *w, uint8_t type, struct slice payload)
{
    uint8_t *at = buffer_extend(w->out, 1 + 4 + payload.len);
    if (!at)
        return false;
    put_bytes(put_u8(at, type), payload);
    w->count++;
    return true;
}

int ledger_entries_decode(struct slice message, struct ledger_entries *m, struct error *e)
{
    struct ledger_reader r = ledger_message_open(message, LEDGER_MESSAGE_LEDGER);
    m->from = ledger_read_u64(&r);
    m->end = ledger_read_u64(&r);
    ledger_read_list(&r, LEDGER_ENTRIES_MAX, 5, entry_skip, &m->entries);
    if (m->from > m->end || m->entries.left > m->end - m->from)
        ledger_read_fail(&r, ATOLL_ECORRUPT, "it has entries beyond the end of its ledger");
    return ledger_read_end(&r, e);
}

bool ledger_chunk_write(struct buffer *out, const struct ledger_chunk *c)
{
    assert(c->chunk < c->chunks && c->data.len <= LEDGER_CHUNK_MAX);
    uint8_t *at = buffer_extend(out, 1 + 8 + 4 + 4 + 4 + c->data.len);
    if (!at)
        return false;
    at = put_u8(at, LEDGER_MESSAGE_CHECKPOINT);
    at = put_u64(at, c->seqno);
    at = put_u32(at, c->chunk);
    at = put_u32(at, c->chunks);
    put_bytes(at, c->data);
    return true;
}

int ledger_chunk_decode(struct slice message, struct ledger_chunk *c, struct error *e)
{
    struct ledger_reader r = ledger_message_open(message, LEDGER_MESSAGE_CHECKPOINT);
    c->seqno = ledger_read_u64(&r);
    c->chunk = ledger_read_u32(&r);
    c->chunks = ledger_read_u32(&r);
    c->data = ledger_read_bytes(&r, LEDGER_CHUNK_MAX, "its chunk is longer than one may be");
    if (c->chunk >= c->chunks)
        ledger_read_fail(&r, ATOLL_ECORRUPT, "its chunk is beyond the last one");
    return ledger_read_end(&r, e);
}

bool ledger_status_write(struct buffer *out, const struct ledger_status_message *s)
{
    uint8_t object[40];
    uint8_t *at = put_u64(object, s->view);
    at = put_u64(at, s->vc_sent);
    at = put_u64(at, s->last);
    at = put_u64(at, s->committed);
    put_u64(at, s->final_position);
    return object_write(out, LEDGER_MESSAGE_STATUS, object, sizeof object);
}

int ledger_status_decode(struct slice message, struct ledger_status_message *s, struct error *e)
{
    struct ledger_reader r = ledger_message_open(message, LEDGER_MESSAGE_STATUS);
    s->view = ledger_read_u64(&r);
    s->vc_sent = ledger_read_u64(&r);
    s->last = ledger_read_u64(&r);
    s->committed = ledger_read_u64(&r);
    s->final_position = ledger_read_u64(&r);
    return ledger_read_end(&r, e);
}

static uint8_t *life_put(uint8_t *at, const struct ledger_life *life)
{
    return put_raw(put_u64(at, life->starts), life->mark, LEDGER_LIFE_MARK_LEN);
}

bool ledger_life_write(struct buffer *out, const struct ledger_life_message *m)
{
    uint8_t object[2 * (8 + LEDGER_LIFE_MARK_LEN)];
    life_put(life_put(object, &m->sender), &m->receiver);
    return object_write(out, LEDGER_MESSAGE_LIFE, object, sizeof object);
}

static void life_read(struct ledger_reader *r, struct ledger_life *life)
{
    life->starts = ledger_read_u64(r);
    ledger_read_copy(r, life->mark, LEDGER_LIFE_MARK_LEN);
}

int ledger_life_decode(struct slice message, struct ledger_life_message *m, struct error *e)
{
    struct ledger_reader r = ledger_message_open(message, LEDGER_MESSAGE_LIFE);
    life_read(&r, &m->sender);
    life_read(&r, &m->receiver);
    return ledger_read_end(&r, e);
}

/* ---- fetches ---- */

bool ledger_fetch_write(struct buffer *out, const struct ledger_fetch *f)
{
    uint8_t object[8 + 8 + 4 + HASH_LEN], *at = object;
    switch (f->type) {
    case LEDGER_MESSAGE_FETCH_BATCH: at = put_u64(at, f->seqno); break;
    case LEDGER_MESSAGE_FETCH_EVIDENCE:
        at = put_raw(put_u64(at, f->seqno), f->link, HASH_LEN);
        break;
    case LEDGER_MESSAGE_FETCH_CONTENT: at = put_raw(at, f->batch_root, HASH_LEN); break;
    case LEDGER_MESSAGE_FETCH_NEW_VIEW: at = put_u64(at, f->view); break;
    case LEDGER_MESSAGE_FETCH_LEDGER:
        at = put_u32(put_u64(put_u64(at, f->from), f->until), f->max_bytes);
        at = put_raw(at, f->link, HASH_LEN);
        break;
    case LEDGER_MESSAGE_FETCH_CHECKPOINT: at = put_u32(put_u64(at, f->seqno), f->chunk); break;
    default: assert(false);
    }
    return object_write(out, f->type, object, (size_t)(at - object));
}

int ledger_fetch_decode(struct slice message, struct ledger_fetch *f, struct error *e)
{
    unsigned type = ledger_message_type(message);
    *f = (struct ledger_fetch){.type = (enum ledger_message_type)type};
    struct ledger_reader r = ledger_message_open(message, f->type);
    switch (f->type) {
    case LEDGER_MESSAGE_FETCH_BATCH: f->seqno = ledger_read_u64(&r); break;
    case LEDGER_MESSAGE_FETCH_EVIDENCE:
        f->seqno = ledger_read_u64(&r);
        ledger_read_copy(&r, f->link, HASH_LEN);
        break;
    case LEDGER_MESSAGE_FETCH_CONTENT: ledger_read_copy(&r, f->batch_root, HASH_LEN); break;
    case LEDGER_MESSAGE_FETCH_NEW_VIEW: f->view = ledger_read_u64(&r); break;
    case LEDGER_MESSAGE_FETCH_LEDGER:
        f->from = ledger_read_u64(&r);
        f->until = ledger_read_u64(&r);
        f->max_bytes = ledger_read_u32(&r);
        ledger_read_copy(&r, f->link, HASH_LEN);
        if (f->from >= f->until)
            ledger_read_fail(&r, ATOLL_ECORRUPT, "it asks for no entry");
        break;
    case LEDGER_MESSAGE_FETCH_CHECKPOINT:
        f->seqno = ledger_read_u64(&r);
        f->chunk = ledger_read_u32(&r);
        break;
    default: ledger_read_fail(&r, ATOLL_ECORRUPT, "it is not a fetch");
    }
    return ledger_read_end(&r, e);
}

/* ---- bodies: RELAY and REQUEST ---- */

bool ledger_bodies_begin(struct ledger_message_writer *w, struct buffer *out,
                         enum ledger_message_type type)
{
    assert(type == LEDGER_MESSAGE_RELAY || type == LEDGER_MESSAGE_REQUEST);
    return ledger_message_begin(w, out, type, NULL, 0);
}

bool ledger_bodies_body(struct ledger_message_writer *w, struct slice body)
{
    return message_item(w, body);
}

int ledger_bodies_decode(struct slice message, struct ledger_list *bodies, struct error *e)
{
    unsigned type = ledger_message_type(message);
    struct ledger_reader r = ledger_message_open(message, (enum ledger_message_type)type);
    if (type != LEDGER_MESSAGE_RELAY && type != LEDGER_MESSAGE_REQUEST)
        ledger_read_fail(&r, ATOLL_ECORRUPT, "it is a message of another type");
    ledger_read_list(&r, LEDGER_MESSAGE_BODIES_MAX, 4, body_skip, bodies);
    if (bodies->left == 0)
        ledger_read_fail(&r, ATOLL_ECORRUPT, "it has no requests");
    return ledger_read_end(&r, e);
}
