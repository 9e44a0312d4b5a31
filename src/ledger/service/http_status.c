/* How a replica is, over HTTP: its configuration, its health, its metrics (see http_route.h). */
#include "ledger/service/http_route.h"

#include "ledger/object/json.h"

#include <inttypes.h>
#include <stdio.h>

void route_config(struct http_view *v, struct http_request *r)
{
    cJSON *o = ledger_genesis_json(ledger_server_genesis(v->server));
    cJSON_AddNumberToObject(o, "replica", ledger_server_number(v->server));
    view_json(v, r, 200, o, 0);
}

static const char *phase_name(enum ledger_phase phase)
{
    static const char *const names[] = {
        [LEDGER_RECOVERING] = "recovering",   [LEDGER_NORMAL] = "normal",
        [LEDGER_VIEW_CHANGE] = "view change", [LEDGER_ABSTAINING] = "abstaining",
        [LEDGER_TRANSFER] = "transfer",       [LEDGER_QUARANTINE] = "quarantine",
        [LEDGER_STOPPED] = "stopped",         [LEDGER_ASTRAY] = "astray",
    };
    return names[phase];
}

void route_health(struct http_view *v, struct http_request *r)
{
    struct ledger_status status = view_status(v);
    bool well = status.phase != LEDGER_RECOVERING && status.phase != LEDGER_QUARANTINE &&
                status.phase != LEDGER_STOPPED;
    cJSON *o = cJSON_CreateObject();
    cJSON_AddStringToObject(o, "phase", phase_name(status.phase));
    if (status.why[0])
        cJSON_AddStringToObject(o, "why", status.why);
    view_json(v, r, well ? 200 : 503, o, 0);
}

struct metric {
    const char *name, *help;
    bool counter;
    uint64_t value;
};

static bool metric_write(struct buffer *out, const struct metric *m)
{
    char text[512];
    int len =
        snprintf(text, sizeof text,
                 "# HELP atoll_ledger_%s %s\n# TYPE atoll_ledger_%s %s\natoll_ledger_%s "
                 "%" PRIu64 "\n",
                 m->name, m->help, m->name, m->counter ? "counter" : "gauge", m->name, m->value);
    return buffer_append(out, text, (size_t)len);
}

void route_metrics(struct http_view *v, struct http_request *r)
{
    struct ledger_status s = view_status(v);
    struct links_counts l = ledger_server_links(v->server);
    const struct metric metrics[] = {
        {"phase",
         "0 recovering, 1 normal, 2 view change, 3 abstaining, 4 transfer, 5 quarantine, "
         "6 stopped, 7 astray",
         false, s.phase},
        {"view", "View that this replica is in.", false, s.view},
        {"batch_last", "Last batch in its ledger.", false, s.s_last},
        {"batch_prepared", "Last batch that it prepared.", false, s.s_prepared},
        {"batch_committed", "Last batch that is committed here.", false, s.s_committed},
        {"entries", "Entries of its ledger.", false, s.next_position},
        {"index_next", "Index of the next transaction.", false, s.next_index},
        {"pool_requests", "Requests that wait.", false, s.pool_requests},
        {"pool_bytes", "Bytes of them.", false, s.pool_bytes},
        {"transactions_total", "Transactions executed since the start.", true, s.transactions},
        {"batches_total", "Batches since the start.", true, s.batches},
        {"view_changes_total", "Views entered since the start.", true, s.view_changes},
        {"messages_dropped_total", "Messages that were no use.", true, s.messages_dropped},
        {"signatures_bad_total", "Signatures that were not valid.", true, s.signatures_bad},
        {"requests_busy_total", "Requests refused for want of room.", true, s.requests_busy},
        {"batches_refused_total", "Batches of a primary that were wrong.", true, s.batches_refused},
        {"equivocations_total", "Statements that contradict another of their signer.", true,
         s.equivocations},
        {"peers", "Replicas connected.", false, l.peers},
        {"clients", "Clients connected.", false, l.clients},
        {"links_refused_total", "Connections closed for what they said.", true, l.refused},
        {"links_turned_away_total", "Connections closed because too many came at once.", true,
         l.turned_away},
        {"links_dropped_total", "Messages that found no room or connection.", true, l.dropped},
        {"links_in_bytes_total", "Bytes from the network.", true, l.bytes_in},
        {"links_out_bytes_total", "Bytes to the network.", true, l.bytes_out},
        {"http_requests_total", "Requests to this view.", true, v->requests},
        {"http_problems_total", "Of them answered with a problem.", true, v->problems},
    };
    struct buffer out = {0};
    bool written = true;
    for (size_t i = 0; i < sizeof metrics / sizeof metrics[0] && written; i++)
        written = metric_write(&out, &metrics[i]);
    if (written)
        view_bytes(v, r, "text/plain; version=0.0.4", out.data, out.len);
    else
        view_problem(v, r, 503, "this replica has no memory for the answer");
    buffer_free(&out);
}
