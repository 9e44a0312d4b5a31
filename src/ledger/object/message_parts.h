/* What the two files of messages, message.c and client_message.c, share. */
#ifndef LEDGER_OBJECT_MESSAGE_PARTS_H
#define LEDGER_OBJECT_MESSAGE_PARTS_H

#include "ledger/object/message.h"
#include "ledger/object/read.h"

/* A reader behind the type, which must be this one. */
struct ledger_reader ledger_message_open(struct slice message, enum ledger_message_type);
/* Reads a list of items that take at least item_len bytes, each with skip. */
void ledger_read_list(struct ledger_reader *, uint32_t max, size_t item_len,
                      void (*skip)(struct ledger_reader *), struct ledger_list *);
/* Begins a message that is a head and a list; an item of bytes for it. False: no memory. */
bool ledger_message_begin(struct ledger_message_writer *, struct buffer *out,
                          enum ledger_message_type, const void *head, size_t head_len);

#endif
