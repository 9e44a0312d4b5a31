/*
 * Messages of views that we have not entered: held, within bounds for every peer, until we have.
 * The new primary's pps follow its NewView at once, and checking that takes a while.
 */
#include "ledger/replica/core.h"

void early_hold(struct ledger_replica *r, uint16_t from, struct slice message)
{
    struct early *early = &r->early[from];
    if (!early->messages &&
        !(early->messages = calloc(EARLY_MESSAGES_MAX, sizeof *early->messages)))
        return;
    if (early->count == EARLY_MESSAGES_MAX || early->bytes + message.len > EARLY_BYTES_MAX)
        return; /* it will be sent again */
    struct buffer *b = &early->messages[early->count];
    *b = (struct buffer){0};
    if (!buffer_append(b, message.data, message.len))
        return;
    early->count++;
    early->bytes += message.len;
}

/* We entered a view: what was held for it is heard now. What is for a later one is held again. */
void early_replay(struct ledger_replica *r)
{
    for (uint16_t i = 0; i < r->n; i++) {
        struct early before = r->early[i];
        r->early[i] = (struct early){0};
        for (size_t k = 0; k < before.count; k++) {
            ledger_on_message(r, i, before.messages[k].data, before.messages[k].len);
            buffer_free(&before.messages[k]);
        }
        free(before.messages);
    }
}

void early_free(struct ledger_replica *r)
{
    for (unsigned i = 0; r->early && i < r->n; i++) {
        for (size_t k = 0; k < r->early[i].count; k++)
            buffer_free(&r->early[i].messages[k]);
        free(r->early[i].messages);
    }
    free(r->early);
}
