/*
 * Uses state in every way that a function can, for tests of nodes: "ACT". Ends with 0, or with the
 * number of the line at which something was not as the contract says.
 *
 *   all        values, mappings, entries, locks, lists: by itself
 *   garbage    the same imports with arguments that make no sense
 *   put, get   writes a mark to "kept" unpushed, looks for it
 *   hold       takes the global lock of "held" and never ends
 *   die        writes to "kept" and to a LOCAL value and never ends
 *   look       whether the LOCAL value is as `die` left it
 *   add        once ADDERS calls do it: adds to "sum/total" for some time, by merging, what nobody
 *              can foresee; puts out how much
 */
#include <atoll.h>
#include <atoll_text.h>

#include <string.h>

#define EXPECT(condition)    \
    do {                     \
        if (!(condition))    \
            return __LINE__; \
    } while (0)
#define CHUNK      65536u
#define RW         (ATOLL_S_READ | ATOLL_S_WRITE)
#define ADDERS     8
#define PUSHES     2
#define PUSH_EVERY 10000000

static uint8_t bytes[3 * CHUNK];

static atoll_h value_open(const char *key, uint64_t size, uint32_t flags)
{
    return atoll_state_open(key, (uint32_t)strlen(key), size, flags);
}

static int32_t act_bytes(void)
{
    uint8_t room[16];
    atoll_h h = value_open("v", 2 * CHUNK + 100, RW | ATOLL_S_CREATE);
    EXPECT(h >= 0);
    EXPECT(atoll_state_size(h) == 2 * CHUNK + 100);
    EXPECT(atoll_state_version(h, 0) == 0 && atoll_state_version(h, 1) == 0);
    EXPECT(atoll_state_write(h, CHUNK - 2, "abcd", 4) == 4);
    EXPECT(atoll_state_read(h, CHUNK - 4, room, 8) == 8);
    EXPECT(memcmp(room, "\0\0abcd\0\0", 8) == 0);
    EXPECT(atoll_state_read(h, 2 * CHUNK + 99, room, 8) == 1);
    EXPECT(atoll_state_read(h, 2 * CHUNK + 100, room, 8) == 0);
    EXPECT(atoll_state_write(h, 2 * CHUNK + 99, "ab", 2) == -ATOLL_ERANGE);
    EXPECT(atoll_state_push(h, 0, 0, ATOLL_PUSH_DIRTY, 0) == 1);
    EXPECT(atoll_state_version(h, 0) == 1 && atoll_state_version(h, 1) == 1);
    EXPECT(atoll_state_push(h, 0, 0, ATOLL_PUSH_IFVER | ATOLL_PUSH_DURABLE, 1) == 2);
    EXPECT(atoll_state_push(h, 0, 0, ATOLL_PUSH_IFVER, 1) == -ATOLL_ESTALE);
    EXPECT(atoll_state_write(h, 0, "lost", 4) == 4);
    EXPECT(atoll_state_pull(h, 0, 0, ATOLL_PULL_DISCARD) == 0);
    EXPECT(atoll_state_read(h, 0, room, 4) == 4 && memcmp(room, "\0\0\0\0", 4) == 0);
    EXPECT(atoll_state_resize(h, CHUNK) == 0 && atoll_state_size(h) == CHUNK);
    EXPECT(atoll_state_push(h, 0, 0, 0, 0) == 3);
    EXPECT(value_open("v", 5, RW) == -ATOLL_ESIZE);
    EXPECT(value_open("v", 0, RW | ATOLL_S_CREATE | ATOLL_S_EXCL) == -ATOLL_EEXIST);
    EXPECT(value_open("absent", 0, RW) == -ATOLL_ENOENT);
    EXPECT(value_open("secret", 8, RW | ATOLL_S_CREATE) == -ATOLL_EPERM);
    EXPECT(value_open("@other/v", 8, RW) == -ATOLL_EPERM);
    EXPECT(value_open("v", 0, RW | ATOLL_S_LAZY) == -ATOLL_ENOSYS);
    EXPECT(atoll_state_close(h) == 0 && atoll_state_close(h) == -ATOLL_EBADF);
    return 0;
}

static int32_t act_maps(void)
{
    atoll_addr a, b, c;
    atoll_h h = value_open("m", 3 * CHUNK, RW | ATOLL_S_CREATE | ATOLL_S_TRACK);
    EXPECT(h >= 0);
    EXPECT(atoll_state_map(h, 100, CHUNK, RW, &a) == 0);
    EXPECT(atoll_state_map(h, 100, CHUNK, RW, &b) == 0 && a == b);
    EXPECT(atoll_state_map(h, 0, 3 * CHUNK, ATOLL_S_READ, &c) == 0 && c != a);
    uint8_t *writes = atoll_pointer(a);
    const uint8_t *reads = atoll_pointer(c);
    memset(writes, 7, 10);
    EXPECT(reads[99] == 0 && reads[100] == 7 && reads[109] == 7 && reads[110] == 0);
    EXPECT(atoll_state_push(h, 0, 0, ATOLL_PUSH_DIRTY, 0) == 1);
    memset(writes, 8, 5);
    EXPECT(atoll_state_pull(h, 0, 0, 0) == 0 && reads[100] == 8);
    EXPECT(atoll_state_pull(h, 0, 0, ATOLL_PULL_DISCARD) == 0 && reads[100] == 7);
    EXPECT(atoll_state_map(h, 0, 3 * CHUNK + 1, RW, &b) == -ATOLL_ERANGE);
    EXPECT(atoll_state_map(h, 0, 0, RW, &b) == -ATOLL_EINVAL);
    EXPECT(atoll_state_map(h, 0, 1, ATOLL_S_WRITE, &b) == -ATOLL_EINVAL);
    EXPECT(atoll_state_close(h) == 0);
    writes[0] = 9; /* a mapping outlives its handle */
    EXPECT(reads[100] == 9);
    EXPECT(atoll_state_unmap(a) == 0 && atoll_state_unmap(a) == 0);
    EXPECT(atoll_state_unmap(a) == -ATOLL_ENOENT);
    EXPECT(atoll_state_unmap(c) == 0);
    return 0;
}

static int32_t act_merge(void)
{
    atoll_addr a;
    atoll_h h = value_open("sum", 16, RW | ATOLL_S_CREATE);
    EXPECT(h >= 0 && atoll_state_merge(h, 0, 8, ATOLL_M_ADD_I64) == 0);
    EXPECT(atoll_state_map(h, 0, 16, RW, &a) == 0);
    int64_t *sum = atoll_pointer(a);
    *sum += 5;
    EXPECT(atoll_state_push(h, 0, 0, ATOLL_PUSH_DIRTY, 0) == 1 && *sum == 5);
    *sum += 1;
    EXPECT(atoll_state_merge(h, 0, 8, ATOLL_M_XOR) == -ATOLL_EBUSY);
    EXPECT(atoll_state_merge(h, 4, 8, ATOLL_M_XOR) == -ATOLL_EINVAL);
    EXPECT(atoll_state_push(h, 0, 0, ATOLL_PUSH_DIRTY, 0) == 2);
    sum[1] = 3;
    EXPECT(atoll_state_push(h, 0, 0, ATOLL_PUSH_DIRTY, 0) == 2); /* unmarked */
    EXPECT(atoll_state_dirty(h, 8, 0) == 0 && atoll_state_dirty(h, 17, 0) == -ATOLL_ERANGE);
    EXPECT(atoll_state_push(h, 0, 0, ATOLL_PUSH_DIRTY, 0) == 3);
    return 0;
}

static int32_t act_entries(void)
{
    uint64_t lens[8];
    char room[16];
    atoll_h h = value_open("log", 0, RW | ATOLL_S_CREATE);
    EXPECT(h >= 0 && atoll_state_entries(h, 0, 8, room, sizeof room, lens) == 0);
    EXPECT(atoll_state_append(h, "first", 5) == 0 && atoll_state_append(h, "", 0) == 1);
    EXPECT(atoll_state_append(h, bytes, ATOLL_ENTRY_MAX) == 2);
    EXPECT(atoll_state_append(h, bytes, ATOLL_ENTRY_MAX + 1) == -ATOLL_ESIZE);
    EXPECT(atoll_state_entries(h, 0, 8, room, sizeof room, lens) == 2);
    EXPECT(lens[0] == 5 && lens[1] == 0 && memcmp(room, "first", 5) == 0);
    EXPECT(atoll_state_entries(h, 2, 8, room, sizeof room, lens) == -ATOLL_ESIZE);
    EXPECT(lens[0] == ATOLL_ENTRY_MAX);
    EXPECT(atoll_state_entries(h, 2, 8, bytes, sizeof bytes, lens) == 1);
    EXPECT(atoll_state_clear(h) == 0 && atoll_state_append(h, "x", 1) == 0);
    return 0;
}

static int32_t act_locks(void)
{
    atoll_h h = value_open("l", 8, RW | ATOLL_S_CREATE);
    for (uint32_t scope = 0; scope < 2; scope++) {
        EXPECT(atoll_state_unlock(h, scope) == -ATOLL_ENOENT);
        int64_t token = atoll_state_lock(h, ATOLL_LOCK_WRITE, scope, 0);
        EXPECT(scope ? token > 0 : token == 0);
        EXPECT(atoll_state_lock(h, ATOLL_LOCK_READ, scope, 0) == -ATOLL_EDEADLK);
        EXPECT(atoll_state_write(h, 0, "x", 1) == 1);
        EXPECT(atoll_state_push(h, 0, 0, 0, 0) > 0);
        EXPECT(atoll_state_unlock(h, scope) == 0);
    }
    EXPECT(atoll_state_lock(h, 2, 0, 0) == -ATOLL_EINVAL);
    return 0;
}

static int32_t act_keys(void)
{
    char room[64];
    EXPECT(value_open("list/b", 1, RW | ATOLL_S_CREATE) >= 0);
    atoll_h h = value_open("list/a", 1, RW | ATOLL_S_CREATE);
    EXPECT(atoll_state_list("list/", 5, "", 0, room, sizeof room) == 0); /* none is global */
    EXPECT(atoll_state_push(h, 0, 0, 0, 0) == 1);
    EXPECT(atoll_state_push(value_open("list/b", 0, RW), 0, 0, 0, 0) == 1);
    EXPECT(atoll_state_list("list/", 5, "", 0, room, sizeof room) == 14);
    EXPECT(memcmp(room, "list/a\0list/b", 14) == 0);
    EXPECT(atoll_state_list("list/", 5, "list/a", 6, room, sizeof room) == 7);
    EXPECT(atoll_state_list("list/", 5, "", 0, room, 6) == -ATOLL_ESIZE);
    EXPECT(atoll_state_delete("list/a", 6) == 0);
    EXPECT(atoll_state_delete("list/a", 6) == -ATOLL_ENOENT);
    EXPECT(atoll_state_pull(h, 0, 0, 0) == -ATOLL_ESTALE);
    EXPECT(atoll_state_delete("secret", 6) == -ATOLL_EPERM);
    return 0;
}

static int32_t act_objects(void)
{
    int64_t count;
    uint32_t key[3] = {4, 0x79656b61, 0};
    uint8_t room[64];
    atoll_h c = atoll_obj_open(ATOLL_O_COUNTER, "c", 1, 10);
    EXPECT(c >= 0 && atoll_obj_op(c, ATOLL_COUNTER_ADD, -15, 0, 0, 0, &count, 8, 0) == -5);
    EXPECT(count == -5);
    EXPECT(atoll_obj_op(c, 99, 0, 0, 0, 0, 0, 0, 0) == -ATOLL_ENOSYS);
    EXPECT(atoll_obj_open(ATOLL_O_MAP, "c", 1, 0) == -ATOLL_ETYPE);
    atoll_h m = atoll_obj_open(ATOLL_O_MAP, "m", 1, 0);
    EXPECT(atoll_obj_op(m, ATOLL_MAP_PUT, 0, 0, key, 12, 0, 0, 0) == 1);
    EXPECT(atoll_obj_op(m, ATOLL_MAP_GET, 0, 0, key, 8, room, sizeof room, 0) == 4);
    EXPECT(atoll_obj_op(m, ATOLL_MAP_GET, 0, 0, key, 8, room, 3, 0) == -ATOLL_ESIZE);
    atoll_h q = atoll_obj_open(ATOLL_O_QUEUE, "q", 1, 0);
    EXPECT(atoll_obj_op(q, ATOLL_QUEUE_POP, 0, 0, 0, 0, room, 64, 0) == -ATOLL_EAGAIN);
    EXPECT(atoll_obj_op(q, ATOLL_QUEUE_POP, 0, 0, 0, 0, room, 64, 1000000) == -ATOLL_ETIMEDOUT);
    EXPECT(atoll_obj_op(q, ATOLL_QUEUE_PUSH, 0, 0, "item", 4, 0, 0, 0) == 1);
    EXPECT(atoll_obj_op(q, ATOLL_QUEUE_POP, 0, 0, 0, 0, room, 64, 0) == 4);
    atoll_h cell = atoll_obj_open(ATOLL_O_CELL, "cell", 4, 0);
    EXPECT(atoll_obj_op(cell, ATOLL_CELL_SET, 0, 0, "held", 4, 0, 0, 0) == 1);
    EXPECT(atoll_obj_op(cell, ATOLL_CELL_GET, 0, 0, 0, 0, room, 64, 0) == 1);
    EXPECT(memcmp(room, "\4\0\0\0held", 8) == 0);
    EXPECT(atoll_obj_op(cell, ATOLL_CELL_CAS, 7, 0, "x", 1, 0, 0, 0) == -ATOLL_ESTALE);
    EXPECT(atoll_state_size(c) == -ATOLL_EBADF && atoll_state_close(c) == 0);
    return 0;
}

static int32_t act_garbage(void)
{
    static const uint64_t values[] = {0, 1, 7, 0xfffff000, UINT32_MAX, 1ull << 40, UINT64_MAX};
    const int n = sizeof values / sizeof *values;
    atoll_h h = value_open("g", 100, RW | ATOLL_S_CREATE);
    for (int i = 0; i < n * n; i++) {
        uint64_t a = values[i % n], b = values[i / n];
        const void *p = atoll_pointer((atoll_addr)a);
        void *wild = atoll_pointer(0xfffff000);
        EXPECT(atoll_state_read(h, a, wild, b) <= 0);
        EXPECT(atoll_state_write(h, a, wild, b) <= 0);
        (void)atoll_state_open(p, (uint32_t)b, a, (uint32_t)b);
        (void)atoll_state_map(h, a, b, 1, wild);
        (void)atoll_state_dirty(h, a, b);
        (void)atoll_state_merge(h, a, b, (uint32_t)b);
        (void)atoll_state_pull(h, a, b, (uint32_t)b);
        (void)atoll_state_push(h, a, b, 0, b);
        (void)atoll_state_entries(h, a, (uint32_t)b, wild, b, wild);
        (void)atoll_state_append(h, p, b);
        (void)atoll_state_list(p, (uint32_t)b, p, (uint32_t)a, wild, b);
        (void)atoll_state_lock(h, (uint32_t)a, (uint32_t)b, 1);
        (void)atoll_state_delete(p, (uint32_t)b);
        (void)atoll_state_unmap((atoll_addr)a);
        (void)atoll_obj_open((uint32_t)a, p, (uint32_t)b, (int64_t)b);
        (void)atoll_obj_op((atoll_h)a, (uint32_t)b, 1, 1, p, b, wild, b, 0);
        EXPECT(atoll_state_size((atoll_h)(a + 1000)) == -ATOLL_EBADF);
    }
    EXPECT(atoll_state_size(h) == 100);
    return 0;
}

static int32_t act_marks(const char *act)
{
    char room[4];
    atoll_h kept = value_open("kept", 4, RW | ATOLL_S_CREATE);
    EXPECT(kept >= 0);
    if (!strcmp(act, "get")) {
        EXPECT(atoll_state_read(kept, 0, room, 4) == 4);
        return atoll_output_write(room, 4) == 4 ? 0 : __LINE__;
    }
    EXPECT(atoll_state_write(kept, 0, !strcmp(act, "put") ? "push" : "dead", 4) == 4);
    if (!strcmp(act, "put"))
        return atoll_state_push(kept, 0, 0, 0, 0) > 0 ? 0 : __LINE__;
    EXPECT(atoll_state_write(value_open("here", 4, RW | ATOLL_S_CREATE | ATOLL_S_LOCAL), 0, "here",
                             4) == 4);
    for (;;) {
    }
}

static int32_t act_look(void)
{
    char room[4];
    EXPECT(atoll_state_read(value_open("here", 0, RW), 0, room, 4) == 4);
    return memcmp(room, "here", 4) == 0 ? 0 : __LINE__;
}

/* Were the additions not atomic, the number would lie in a register all along, and what others add
 * meanwhile would be overwritten. */
static int32_t act_add(void)
{
    atoll_addr at;
    char room[24];
    struct atoll_text text = ATOLL_TEXT(room);
    uint64_t random, added = 0;
    atoll_h h = value_open("sum/total", 8, RW | ATOLL_S_CREATE);
    EXPECT(h >= 0 && atoll_state_merge(h, 0, 8, ATOLL_M_ADD_I64) == 0);
    EXPECT(atoll_state_map(h, 0, 8, RW, &at) == 0);
    EXPECT(atoll_random(&random, sizeof random) == 0);
    atoll_h all = atoll_obj_open(ATOLL_O_BARRIER, "sum/all", 7, ADDERS);
    EXPECT(atoll_obj_op(all, ATOLL_BARRIER_ARRIVE, 0, 0, 0, 0, 0, 0, ATOLL_FOREVER) >= 0);
    uint64_t *sum = atoll_pointer(at);
    for (int i = 0; i < PUSHES; i++) {
        for (int j = 0; j < PUSH_EVERY; j++) {
            random = random * 6364136223846793005u + 1442695040888963407u;
            __atomic_fetch_add(sum, random >> 63, __ATOMIC_RELAXED);
            added += random >> 63;
        }
        EXPECT(atoll_state_push(h, 0, 0, ATOLL_PUSH_DIRTY, 0) > 0);
    }
    atoll_text_u64(&text, added);
    return atoll_text_output(&text) < 0 ? __LINE__ : 0;
}

static int32_t act_hold(int never_end)
{
    atoll_h h = value_open("held", 8, RW | ATOLL_S_CREATE);
    EXPECT(atoll_state_lock(h, ATOLL_LOCK_WRITE, ATOLL_SCOPE_GLOBAL, 20000000000) > 0);
    while (never_end) {
    }
    return 0;
}

ATOLL_FUNCTION(state)
{
    static int32_t (*const acts[])(void) = {act_bytes, act_maps, act_merge,  act_entries,
                                            act_locks, act_keys, act_objects};
    char act[16] = {0};
    int32_t line = 0;
    if (atoll_input_read(0, act, sizeof act - 1) < 0)
        return __LINE__;
    if (!strcmp(act, "garbage"))
        return act_garbage();
    if (!strcmp(act, "look"))
        return act_look();
    if (!strcmp(act, "add"))
        return act_add();
    if (!strcmp(act, "hold") || !strcmp(act, "held"))
        return act_hold(!strcmp(act, "hold"));
    if (strcmp(act, "all"))
        return act_marks(act);
    for (unsigned i = 0; !line && i < sizeof acts / sizeof *acts; i++)
        line = acts[i]();
    return line;
}
