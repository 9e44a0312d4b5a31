/*
 * Sockets of guests: nothing but what the manifest's `net` names, at the rate that stands there.
 * The contract is sdk/c/include/atoll.h.
 *
 * A name of the manifest is looked up by the supervisor, and the answers are pinned for the rest of
 * the call: the guest connects to exactly the addresses that it was told for that name. What never
 * may be reached (address.h) is refused even if the manifest names it. This is looked at here; it
 * is decided by the supervisor, which makes the connections, since this process cannot (confine.h).
 *
 *   SOCKET_NEW ─ connect ─▶ SOCKET_ASKED ─ a socket came ─▶ SOCKET_GIVEN
 *        ▲                       │ refused                       │ the connection failed
 *        └───────────────────────┴───────────────────────────────┘
 *
 * Until a socket comes, the guest's descriptor is a duplicate of one that belongs to no network and
 * is shared by all; what would change that one is answered here.
 *
 * Reading and writing are functions of WASI. For calls that have sockets they go through here
 * first: one without tokens parks the call until there are some. There is no other way to the
 * network.
 */
#define _GNU_SOURCE
#include "node/address.h"
#include "node/worker/process.h"
#include "node/worker/shape.h"
#include "sandbox/wasi/preview1.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <unistd.h>

#define SOCKETS_MAX       64u /* that one call opens */
#define PINS_MAX          64u /* addresses that one call learns */
#define RATE_DEFAULT      (10ull << 20)
#define BURST_DEFAULT     (1ull << 20)
#define HOST_MAX          253u
#define LOOKUP_BYTES      17u
#define SOCKET_BUFFER_MAX (4 << 20)
#define ANSWER_NS         5000000000ull /* that the supervisor's answer may take */
#define UNSET             (-1)

enum option {
    OPTION_NODELAY = 1,
    OPTION_KEEPALIVE,
    OPTION_SEND_BUFFER,
    OPTION_RECEIVE_BUFFER,
    OPTIONS_END,
};
enum socket_type { SOCKET_STREAM = 1, SOCKET_DATAGRAM };
enum socket_stage { SOCKET_NEW, SOCKET_ASKED, SOCKET_GIVEN };

struct pin {
    struct address address;
    uint32_t entry; /* of the manifest's net */
};

struct open_socket {
    uint32_t guest_fd, family;
    enum socket_type type;
    enum socket_stage stage;
    uint32_t entry;           /* of the manifest's net, that it is connected by */
    int64_t deadline_ns;      /* of the guest's connect */
    int options[OPTIONS_END]; /* to be set when there is a socket; UNSET */
};

struct sockets {
    uint32_t count, pin_count, bucket_count;
    struct open_socket list[SOCKETS_MAX];
    struct pin pins[PINS_MAX];
    struct bucket buckets[]; /* per entry: out, in */
};

/* ---- what a call has ---- */

static struct sockets *sockets_of(struct faaslet *f)
{
    const struct manifest *m = &f->version->manifest;
    if (f->sockets)
        return f->sockets;
    struct sockets *s = calloc(1, sizeof *s + 2ull * m->net_count * sizeof *s->buckets);
    int64_t now = clock_monotonic_ns();
    for (uint32_t k = 0; s && k < m->net_count; k++) {
        uint64_t rate = m->net[k].rate ? m->net[k].rate : RATE_DEFAULT;
        uint64_t burst = m->net[k].burst ? m->net[k].burst : BURST_DEFAULT;
        bucket_begin(&s->buckets[2 * k], rate, burst, now);
        bucket_begin(&s->buckets[2 * k + 1], rate, burst, now);
    }
    f->sockets = s;
    return s;
}

void sockets_end(struct faaslet *f)
{
    wasi_close_sockets(f->wasi); /* now: the reset may come much later */
    free(f->sockets);
    f->sockets = NULL;
}

int sockets_begin(struct worker *w, struct error *e)
{
    w->unconnected[0] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    w->unconnected[1] = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    return w->unconnected[0] >= 0 && w->unconnected[1] >= 0
               ? 0
               : error_set_errno(e, 0, "cannot make the sockets of a worker");
}

static struct open_socket *socket_listed(const struct faaslet *f, uint32_t guest_fd)
{
    struct sockets *s = f->sockets;
    for (uint32_t k = 0; s && k < s->count; k++)
        if (s->list[k].guest_fd == guest_fd)
            return &s->list[k];
    return NULL;
}

/* NULL also for a number whose socket was closed, and which may mean a file by now. */
static struct open_socket *socket_find(const struct faaslet *f, uint32_t guest_fd)
{
    struct open_socket *o = socket_listed(f, guest_fd);
    return o && wasi_socket_fd(f->wasi, guest_fd) >= 0 ? o : NULL;
}

/* ---- opening ---- */

static enum host_status import_sock_open(struct host_call *hc)
{
    struct faaslet *f = faaslet_of(hc);
    uint32_t family = hc->slots[0].u32, type = hc->slots[1].u32, to = hc->slots[2].u32, guest_fd;
    struct error e;
    guest_other_call(f);
    if (!guest_range(hc->arena, to, sizeof guest_fd, GUEST_WRITE))
        return host_result_i32(hc, -ATOLL_EFAULT);
    if ((family != 4 && family != 6) || (type != SOCKET_STREAM && type != SOCKET_DATAGRAM))
        return host_result_i32(hc, -ATOLL_EINVAL);
    if (f->call->zygote || f->version->manifest.net_count == 0)
        return host_result_i32(hc, -ATOLL_EPERM);
    struct sockets *s = sockets_of(f);
    if (!s)
        return host_result_i32(hc, -ATOLL_ENOMEM);
    if (s->count == SOCKETS_MAX)
        return host_result_i32(hc, -ATOLL_ELIMIT);
    if (wasi_add_socket(f->wasi, f->worker->unconnected[type - 1], &guest_fd, &e) < 0)
        return host_result_i32(hc, -ATOLL_ELIMIT);
    struct open_socket *o = socket_listed(f, guest_fd); /* closed since, the number used again */
    o = o ? o : &s->list[s->count++];
    *o = (struct open_socket){.guest_fd = guest_fd, .family = family, .type = type};
    for (int k = 0; k < OPTIONS_END; k++)
        o->options[k] = UNSET;
    return host_result_i32(hc, guest_write(hc->arena, to, &guest_fd, sizeof guest_fd));
}

/* ---- connecting ---- */

/* The entry of the manifest that allows it, or UINT32_MAX. */
static uint32_t entry_allowing(const struct faaslet *f, const struct address *a, uint32_t port)
{
    const struct manifest *m = &f->version->manifest;
    const struct sockets *s = f->sockets;
    for (uint32_t k = 0; k < m->net_count; k++) {
        bool covers = address_in(a, m->net[k].host);
        for (uint32_t p = 0; !covers && p < s->pin_count; p++)
            covers = s->pins[p].entry == k && address_equal(&s->pins[p].address, a);
        if (covers && (m->net[k].port == 0 || m->net[k].port == port))
            return k;
    }
    return UINT32_MAX;
}

static int connect_allowed(const struct faaslet *f, const struct address *a, uint32_t port,
                           uint32_t *entry)
{
    if (port == 0 || port > UINT16_MAX)
        return -ATOLL_EINVAL;
    if (address_forbidden(a))
        return -ATOLL_EPERM;
    *entry = entry_allowing(f, a, port);
    return *entry == UINT32_MAX ? -ATOLL_EPERM : 0;
}

/* A connection under way: whether it stands now. */
static enum host_status connect_look(struct host_call *hc, struct open_socket *o, int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLOUT};
    int error = 0;
    socklen_t len = sizeof error;
    if (poll(&p, 1, 0) <= 0) {
        if (clock_monotonic_ns() >= o->deadline_ns)
            return host_result_i32(hc, -ATOLL_ETIMEDOUT);
        hc->park->deadline_ns = o->deadline_ns;
        hc->park->fd_count = 1;
        hc->park->fds[0] = p;
        return HOST_PARK;
    }
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) == 0 && !error)
        return host_result_i32(hc, 0);
    o->stage = SOCKET_NEW;
    return host_result_i32(hc, error == ETIMEDOUT ? -ATOLL_ETIMEDOUT : -ATOLL_EIO);
}

static int option_apply(int fd, uint32_t option, int value)
{
    static const struct {
        int level, name;
    } names[OPTIONS_END] = {
        [OPTION_NODELAY] = {IPPROTO_TCP, TCP_NODELAY},
        [OPTION_KEEPALIVE] = {SOL_SOCKET, SO_KEEPALIVE},
        [OPTION_SEND_BUFFER] = {SOL_SOCKET, SO_SNDBUF},
        [OPTION_RECEIVE_BUFFER] = {SOL_SOCKET, SO_RCVBUF},
    };
    return setsockopt(fd, names[option].level, names[option].name, &value, sizeof value);
}

/* The supervisor has answered. */
static enum host_status connect_given(struct host_call *hc, struct open_socket *o)
{
    struct faaslet *f = faaslet_of(hc);
    const struct answer *a = faaslet_answer(f);
    int fd = a->fd;
    o->stage = SOCKET_NEW;
    if (a->result < 0)
        return host_result_i32(hc, a->result < -100 ? -ATOLL_EIO : (int32_t)a->result);
    if (fd < 0 || wasi_replace_socket(f->wasi, o->guest_fd, fd) < 0)
        return host_result_i32(hc, -ATOLL_EIO);
    f->answer->fd = -1;
    o->stage = SOCKET_GIVEN;
    for (uint32_t k = OPTION_NODELAY; k < OPTIONS_END; k++)
        if (o->options[k] != UNSET)
            option_apply(fd, k, o->options[k]);
    return connect_look(hc, o, fd);
}

static enum host_status connect_ask(struct host_call *hc, struct open_socket *o,
                                    const struct address *a, uint16_t port)
{
    uint8_t payload[MESSAGE_CONNECT_LEN] = {(uint8_t)a->family, (uint8_t)o->type, (uint8_t)port,
                                            (uint8_t)(port >> 8)};
    uint64_t timeout_ns = hc->slots[4].u64;
    int64_t now = clock_monotonic_ns();
    bool forever = timeout_ns >= (uint64_t)(HOST_NO_DEADLINE - now);
    o->deadline_ns = forever ? HOST_NO_DEADLINE : now + (int64_t)timeout_ns;
    o->stage = SOCKET_ASKED;
    memcpy(payload + 4, a->bytes, sizeof a->bytes);
    /* One that does not want to wait for the connection waits for the answer still. */
    return faaslet_ask(hc, REQUEST_CONNECT, payload, sizeof payload, -1, ANSWER_NS);
}

static enum host_status import_sock_connect(struct host_call *hc)
{
    struct faaslet *f = faaslet_of(hc);
    uint32_t at = hc->slots[1].u32, len = hc->slots[2].u32, port = hc->slots[3].u32;
    uint8_t bytes[16];
    struct address address;
    guest_other_call(f);
    if ((len != 4 && len != 16) || !guest_range(hc->arena, at, len, GUEST_READ))
        return host_result_i32(hc, len != 4 && len != 16 ? -ATOLL_EINVAL : -ATOLL_EFAULT);
    struct open_socket *o = socket_find(f, hc->slots[0].u32);
    if (!o)
        return host_result_i32(hc, -ATOLL_EBADF);
    if (hc->resumed)
        return o->stage == SOCKET_ASKED ? connect_given(hc, o)
                                        : connect_look(hc, o, wasi_socket_fd(f->wasi, o->guest_fd));
    if (guest_read(hc->arena, bytes, at, len) < 0)
        return host_result_i32(hc, -ATOLL_EFAULT);
    if (o->stage == SOCKET_GIVEN && o->type == SOCKET_STREAM)
        return host_result_i32(hc, -ATOLL_EBUSY);
    address_from(bytes, len, &address);
    if (o->family < address.family)
        return host_result_i32(hc, -ATOLL_EINVAL);
    int rc = connect_allowed(f, &address, port, &o->entry);
    return rc < 0 ? host_result_i32(hc, rc) : connect_ask(hc, o, &address, (uint16_t)port);
}

/* Services have ports; a function has none. */
static enum host_status import_sock_bind(struct host_call *hc)
{
    struct faaslet *f = faaslet_of(hc);
    guest_other_call(f);
    if (!guest_range(hc->arena, hc->slots[1].u32, hc->slots[2].u32, GUEST_READ))
        return host_result_i32(hc, -ATOLL_EFAULT);
    return host_result_i32(hc, socket_find(f, hc->slots[0].u32) ? -ATOLL_EPERM : -ATOLL_EBADF);
}

static enum host_status import_sock_listen(struct host_call *hc)
{
    struct faaslet *f = faaslet_of(hc);
    guest_other_call(f);
    return host_result_i32(hc, socket_find(f, hc->slots[0].u32) ? -ATOLL_EPERM : -ATOLL_EBADF);
}

static enum host_status import_sock_opt(struct host_call *hc)
{
    struct faaslet *f = faaslet_of(hc);
    uint32_t option = hc->slots[1].u32;
    int64_t value = hc->slots[2].i64;
    guest_other_call(f);
    struct open_socket *o = socket_find(f, hc->slots[0].u32);
    if (!o)
        return host_result_i32(hc, -ATOLL_EBADF);
    if (option < OPTION_NODELAY || option >= OPTIONS_END)
        return host_result_i32(hc, -ATOLL_ENOSYS);
    bool buffer = option == OPTION_SEND_BUFFER || option == OPTION_RECEIVE_BUFFER;
    if (value < 0 || value > (buffer ? SOCKET_BUFFER_MAX : 1) ||
        (option == OPTION_NODELAY && o->type == SOCKET_DATAGRAM))
        return host_result_i32(hc, -ATOLL_EINVAL);
    o->options[option] = (int)value;
    int rc = o->stage == SOCKET_GIVEN
                 ? option_apply(wasi_socket_fd(f->wasi, o->guest_fd), option, (int)value)
                 : 0;
    return host_result_i32(hc, rc < 0 ? -ATOLL_EINVAL : 0);
}

/* ---- names ---- */

static uint32_t entry_named(const struct faaslet *f, const char *host)
{
    const struct manifest *m = &f->version->manifest;
    for (uint32_t k = 0; k < m->net_count; k++)
        if (strcasecmp(m->net[k].host, host) == 0)
            return k;
    return UINT32_MAX;
}

static void pin_add(struct sockets *s, const struct address *a, uint32_t entry)
{
    for (uint32_t k = 0; k < s->pin_count; k++)
        if (s->pins[k].entry == entry && address_equal(&s->pins[k].address, a))
            return;
    if (s->pin_count < PINS_MAX)
        s->pins[s->pin_count++] = (struct pin){*a, entry};
}

/* Pins what the supervisor found for every entry of that name, and tells the guest. */
static enum host_status lookup_answered(struct host_call *hc, const char *host)
{
    struct faaslet *f = faaslet_of(hc);
    const struct manifest *m = &f->version->manifest;
    const struct answer *a = faaslet_answer(f);
    uint64_t room = hc->slots[3].u64 / LOOKUP_BYTES;
    int64_t count = 0;
    if (a->result < 0)
        return host_result_i64(hc, a->result < -100 ? -ATOLL_EIO : a->result);
    for (uint32_t at = 0; at + LOOKUP_BYTES <= a->payload_len; at += LOOKUP_BYTES) {
        const uint8_t *found = a->payload + at;
        uint8_t told[LOOKUP_BYTES] = {0};
        struct address address;
        if (!address_from(found + 1, found[0] == 4 ? 4 : 16, &address) ||
            address_forbidden(&address))
            continue;
        for (uint32_t k = 0; k < m->net_count; k++)
            if (strcasecmp(m->net[k].host, host) == 0)
                pin_add(f->sockets, &address, k);
        told[0] = (uint8_t)address.family;
        memcpy(told + 1, address.bytes, sizeof address.bytes);
        uint32_t to = hc->slots[2].u32 + (uint32_t)count * LOOKUP_BYTES;
        if ((uint64_t)count < room && guest_write(hc->arena, to, told, sizeof told) < 0)
            return host_result_i64(hc, -ATOLL_EFAULT);
        count++;
    }
    return host_result_i64(hc, count ? count : -ATOLL_ENOENT);
}

static enum host_status import_resolve(struct host_call *hc)
{
    struct faaslet *f = faaslet_of(hc);
    uint32_t at = hc->slots[0].u32, len = hc->slots[1].u32, to = hc->slots[2].u32;
    uint64_t cap = hc->slots[3].u64;
    char host[HOST_MAX + 1];
    guest_other_call(f);
    if (!guest_range(hc->arena, at, len, GUEST_READ) || cap > UINT32_MAX ||
        !guest_range(hc->arena, to, cap, GUEST_WRITE))
        return host_result_i64(hc, -ATOLL_EFAULT);
    if (len == 0 || len > HOST_MAX)
        return host_result_i64(hc, -ATOLL_EINVAL);
    if (guest_read(hc->arena, host, at, len) < 0)
        return host_result_i64(hc, -ATOLL_EFAULT);
    host[len] = 0;
    if (strlen(host) != len)
        return host_result_i64(hc, -ATOLL_EINVAL);
    if (f->call->zygote || entry_named(f, host) == UINT32_MAX)
        return host_result_i64(hc, -ATOLL_EPERM);
    if (!sockets_of(f))
        return host_result_i64(hc, -ATOLL_ENOMEM);
    return hc->resumed ? lookup_answered(hc, host)
                       : faaslet_ask(hc, REQUEST_LOOKUP, host, len, -1, ANSWER_NS);
}

/* ---- shaping ---- */

/* When the operation may go ahead; 0 = now. */
static int64_t tokens_wait(struct faaslet *f, struct bucket *own, bool in, int64_t now)
{
    struct worker *w = f->worker;
    int64_t at = bucket_wait(own + in, now);
    pthread_mutex_lock(&w->lock);
    int64_t tenant = bucket_wait(&w->network[in], now);
    pthread_mutex_unlock(&w->lock);
    return at > tenant ? at : tenant;
}

static void tokens_take(struct faaslet *f, struct bucket *own, bool in, uint64_t bytes, int64_t now)
{
    struct worker *w = f->worker;
    bucket_charge(own + in, bytes, now);
    pthread_mutex_lock(&w->lock);
    bucket_charge(&w->network[in], bytes, now);
    pthread_mutex_unlock(&w->lock);
}

/* WASI's function, for a descriptor in slot 0 that may be a shaped socket. count_slot: where the
 * argument is that says where the number of bytes goes. */
static enum host_status shaped(struct host_call *hc, host_function wasi, bool in,
                               uint32_t count_slot)
{
    struct faaslet *f = faaslet_of(hc);
    uint32_t count_at = hc->slots[count_slot].u32, bytes;
    guest_other_call(f);
    const struct open_socket *o = socket_find(f, hc->slots[0].u32);
    if (!o)
        return wasi(hc);
    if (o->stage != SOCKET_GIVEN)
        return host_result_i32(hc, WASI_ENOTCONN);
    struct bucket *own = &f->sockets->buckets[2 * o->entry];
    int64_t now = clock_monotonic_ns(), at = tokens_wait(f, own, in, now);
    if (at) {
        hc->park->fd_count = 0;
        hc->park->deadline_ns = at;
        return HOST_PARK;
    }
    enum host_status status = wasi(hc);
    if (status == HOST_DONE && hc->slots[0].u32 == 0 &&
        guest_read(hc->arena, &bytes, count_at, sizeof bytes) == 0)
        tokens_take(f, own, in, bytes, now);
    return status;
}

/* What WASI has under the names below; the same for every module. */
static host_function wasi_fd_read, wasi_fd_write, wasi_sock_recv, wasi_sock_send,
    wasi_sock_shutdown, wasi_fd_renumber;

static enum host_status shaped_fd_read(struct host_call *hc)
{
    return shaped(hc, wasi_fd_read, true, 3);
}

static enum host_status shaped_fd_write(struct host_call *hc)
{
    return shaped(hc, wasi_fd_write, false, 3);
}

static enum host_status shaped_sock_recv(struct host_call *hc)
{
    return shaped(hc, wasi_sock_recv, true, 4);
}

static enum host_status shaped_sock_send(struct host_call *hc)
{
    return shaped(hc, wasi_sock_send, false, 4);
}

static enum host_status own_sock_shutdown(struct host_call *hc)
{
    struct faaslet *f = faaslet_of(hc);
    guest_other_call(f);
    const struct open_socket *o = socket_find(f, hc->slots[0].u32);
    return o && o->stage != SOCKET_GIVEN ? host_result_i32(hc, WASI_ENOTCONN)
                                         : wasi_sock_shutdown(hc);
}

/* A socket keeps its rate under its new number. */
static enum host_status own_fd_renumber(struct host_call *hc)
{
    struct faaslet *f = faaslet_of(hc);
    uint32_t from = hc->slots[0].u32, to = hc->slots[1].u32;
    guest_other_call(f);
    struct open_socket *moved = socket_find(f, from), *gone = socket_listed(f, to);
    enum host_status status = wasi_fd_renumber(hc);
    if (status != HOST_DONE || hc->slots[0].u32 != 0 || from == to)
        return status;
    if (moved && gone) {
        *gone = *moved;
        gone->guest_fd = to;
        *moved = f->sockets->list[--f->sockets->count];
    } else if (moved) {
        moved->guest_fd = to;
    }
    return status;
}

host_function wasi_shape(const char *name, size_t len, host_function wasi)
{
    static const struct {
        const char *name;
        host_function *wasi, shaped;
    } table[] = {
        {"fd_read", &wasi_fd_read, shaped_fd_read},
        {"fd_write", &wasi_fd_write, shaped_fd_write},
        {"sock_recv", &wasi_sock_recv, shaped_sock_recv},
        {"sock_send", &wasi_sock_send, shaped_sock_send},
        {"sock_shutdown", &wasi_sock_shutdown, own_sock_shutdown},
        {"fd_renumber", &wasi_fd_renumber, own_fd_renumber},
    };
    for (size_t k = 0; k < sizeof table / sizeof *table; k++) {
        if (strlen(table[k].name) != len || memcmp(table[k].name, name, len) != 0)
            continue;
        __atomic_store_n(table[k].wasi, wasi, __ATOMIC_RELAXED);
        return table[k].shaped;
    }
    return wasi;
}

const struct import_entry imports_net[] = {
    {"sock_open", "iii:i", import_sock_open},
    {"sock_connect", "iiiil:i", import_sock_connect},
    {"sock_bind", "iiii:i", import_sock_bind},
    {"sock_listen", "ii:i", import_sock_listen},
    {"sock_opt", "iil:i", import_sock_opt},
    {"resolve", "iiil:l", import_resolve},
    {0},
};
