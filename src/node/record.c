/* See record.h. Pages of a megabyte, each waited for. */
#include "node/record.h"

struct reading {
    int (*record)(void *, const struct store_listed *, struct error *);
    void *context;
    uint8_t last[STORE_RECORD_KEY_MAX];
    size_t last_len;
    bool more, done;
    int code;
    struct error *error;
};

static void page_read(void *context, const struct gt_result *result)
{
    struct reading *s = context;
    struct store_listed record;
    s->done = true;
    s->more = result->value == 1;
    if (result->code != 0) {
        s->code = result->code;
        *s->error = *result->error;
        return;
    }
    for (size_t at = 0; s->code == 0 && store_list_next(result->data, result->len, &at, &record);) {
        s->code = s->record(s->context, &record, s->error);
        memcpy(s->last, record.key, record.key_len);
        s->last_len = record.key_len;
    }
}

int record_read_all(struct store *store, enum store_table table,
                    int (*record)(void *, const struct store_listed *, struct error *),
                    void *context, struct error *e)
{
    struct reading s = {.record = record, .context = context, .more = true, .error = e};
    while (s.more && s.code == 0) {
        s.done = false;
        s.code = store_list(store, table, "", 0, s.last, s.last_len, 1 << 20,
                            (struct gt_callback){page_read, &s}, e);
        while (s.code == 0 && !s.done)
            store_wait(store);
    }
    return s.code;
}
