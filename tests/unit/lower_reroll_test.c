/*
 * Which loops lower_reroll takes, that what it makes of them computes the same, and that the short
 * loop runs only where it cannot trap. The last two are tried on random loops of several copies of
 * a round, some of them with a copy that differs or with accesses out of order: each runs as it is
 * and re-rolled, from the same memory, and every byte and every value it leaves must agree. Many
 * addresses lie around 0 modulo 2^32, so that they wrap.
 */
#define _GNU_SOURCE
#include "engine/lower_reroll.h"
#include "lower_loops.h"

/* ---- which loops ---- */

/* A loop with two copies of a round; the parts that tests vary: where the second copy works, its
 * load, and the bound. */
#define PAIR(place, load, bound)                     \
    "define void @f(ptr %vm, i32 %n) {\n"            \
    "start:\n"                                       \
    "  %even = and i32 %n, -16\n"                    \
    "  br label %loop\n"                             \
    "loop:\n"                                        \
    "  %k = phi i32 [ 0, %start ], [ %k1, %loop ]\n" \
    "  %a = zext i32 %k to i64\n"                    \
    "  %b = getelementptr i8, ptr %vm, i64 %a\n"     \
    "  %x = load double, ptr %b, align 1\n"          \
    "  %y = fmul double %x, 0.5\n"                   \
    "  store double %y, ptr %b, align 1\n"           \
    "  %c = " place "\n"                             \
    "  %d = zext i32 %c to i64\n"                    \
    "  %e = getelementptr i8, ptr %vm, i64 %d\n"     \
    "  %u = " load " double, ptr %e, align 1\n"      \
    "  %v = fmul double %u, 0.5\n"                   \
    "  store double %v, ptr %e, align 1\n"           \
    "  %k1 = add i32 %k, 16\n"                       \
    "  %over = icmp eq i32 %k1, " bound "\n"         \
    "  br i1 %over, label %exit, label %loop\n"      \
    "exit:\n"                                        \
    "  ret void\n"                                   \
    "}\n"
#define BESIDE "or disjoint i32 %k, 8"

static bool rerolls(const char *text)
{
    return text_changes(text, lower_reroll);
}

static void two_copies_of_a_round_become_one(void **state)
{
    (void)state;
    assert_true(rerolls(PAIR(BESIDE, "load", "800")));
    assert_true(rerolls(PAIR(BESIDE, "load", "%n")));
    assert_true(rerolls(PAIR(BESIDE, "load volatile", "%n")));
}

static void copies_that_differ_are_left_alone(void **state)
{
    (void)state;
    assert_false(rerolls(PAIR("add i32 %k, 24", "load", "800")));
}

/* Two copies of a round that sums up; the parts: the type, its sum and where it starts. */
#define CHAIN(type, add, zero)                                   \
    "define " type " @f(ptr %vm, i32 %n) {\n"                    \
    "start:\n"                                                   \
    "  br label %loop\n"                                         \
    "loop:\n"                                                    \
    "  %k = phi i32 [ 0, %start ], [ %k1, %loop ]\n"             \
    "  %s = phi " type " [ " zero ", %start ], [ %s2, %loop ]\n" \
    "  %a = zext i32 %k to i64\n"                                \
    "  %b = getelementptr i8, ptr %vm, i64 %a\n"                 \
    "  %x = load " type ", ptr %b, align 1\n"                    \
    "  %s1 = " add " " type " %s, %x\n"                          \
    "  %c = add i32 %k, 8\n"                                     \
    "  %d = zext i32 %c to i64\n"                                \
    "  %e = getelementptr i8, ptr %vm, i64 %d\n"                 \
    "  %y = load " type ", ptr %e, align 1\n"                    \
    "  %s2 = " add " " type " %s1, %y\n"                         \
    "  %k1 = add i32 %k, 16\n"                                   \
    "  %over = icmp eq i32 %k1, %n\n"                            \
    "  br i1 %over, label %exit, label %loop\n"                  \
    "exit:\n"                                                    \
    "  ret " type " %s2\n"                                       \
    "}\n"

static void what_cannot_become_vectors_is_left_alone(void **state)
{
    (void)state;
    assert_true(rerolls(CHAIN("i64", "add", "0")));
    assert_false(rerolls(CHAIN("double", "fadd", "0.0")));
    assert_false(rerolls(CHAIN("i64", "shl", "1")));
}

/* ---- random loops ---- */

#define MIRROR 24576 /* where what is mirrored begins */

/* A loop as it is about to be unrolled: what its rounds read and write, and how. */
struct round {
    int copies, step, rounds;
    int read[2], write, bases[2]; /* added to the counters; what those start from */
    bool carries, chain, down, two_counters, integer, shared, hoist;
    bool mirror, disguise; /* the second read goes the other way; later copies are known by %n */
    int lie;               /* and what is known there is wrong by so much */
    int odd_copy, oddity;  /* a copy that differs, or -1; and how */
};

static struct round random_round(void)
{
    static const int copies[] = {2, 2, 3, 4, 4, 5, 8, 16},
                     places[] = {0, 8, -8, 16, 64, 4096, 4100};
    struct round r = {.copies = copies[random_below(8)], .odd_copy = -1};
    r.step = random_below(4) ? 8 : (int)random_below(3) * 4 + 4;
    r.down = random_below(4) == 0;
    if (r.down)
        r.step = -r.step;
    r.rounds = 1 + (int)random_below(24);
    for (int i = 0; i < 2; i++)
        r.read[i] = places[random_below(7)];
    r.write = places[random_below(7)];
    r.bases[0] = random_below(4) ? 16384 : (int)random_below(3) * 1024 - 1024;
    r.two_counters = random_below(2);
    r.bases[1] = r.two_counters ? r.bases[0] + (int)random_below(2) * 8192 : r.bases[0];
    r.carries = random_below(2);
    r.chain = random_below(2);
    r.integer = random_below(3) == 0;
    r.shared = random_below(2);
    r.hoist = random_below(3) == 0;
    r.mirror = random_below(3) == 0;
    r.disguise = random_below(4) == 0;
    r.lie = random_below(3) ? 0 : 8;
    if (random_below(4) == 0) {
        r.odd_copy = (int)random_below((uint32_t)r.copies);
        r.oddity = (int)random_below(4);
    }
    return r;
}

static void address_add(struct text *t, const char *name, int copy, const char *from, int offset)
{
    text_add(t, "  %%%s%da = add i32 %s, %d\n", name, copy, from, offset);
    text_add(t, "  %%%s%db = zext i32 %%%s%da to i64\n", name, copy, name, copy);
    text_add(t, "  %%%s%d = getelementptr i8, ptr %%vm, i64 %%%s%db\n", name, copy, name, copy);
}

/* Of an index that counts rounds, from 0, clang makes -1 - index with an exclusive or; unless
 * copies are a power of two, that is another number. */
static void mirrored_address_add(struct text *t, int copy)
{
    char name[16];
    snprintf(name, sizeof name, copy ? "%%my%d" : "%%m", copy);
    text_add(t, "  %%mx%d = xor i32 %%k, %d\n  %%my%d = shl i32 %%mx%d, 3\n", copy, -1 - copy, copy,
             copy);
    address_add(t, "q", copy, name, copy ? MIRROR + 8 : 0);
}

static void second_address_add(struct text *t, const struct round *r, int copy)
{
    const char *counter = r->two_counters ? "%j" : "%i";
    if (r->mirror) {
        mirrored_address_add(t, copy);
    } else if (r->disguise && copy > 0) {
        char name[16];
        snprintf(name, sizeof name, "%%l%d", copy);
        int32_t bound = r->bases[0] + r->step * r->copies * r->rounds;
        text_add(t, "  %%l%d = add i32 %s, %%n\n", copy, counter);
        address_add(t, "q", copy, name, r->read[1] + r->step * copy - bound + r->lie);
    } else {
        address_add(t, "q", copy, counter, r->read[1] + r->step * copy);
    }
}

static void loads_add(struct text *t, const struct round *r, int copy)
{
    int shift = r->step * copy + (copy == r->odd_copy && r->oddity == 0 ? 8 : 0);
    const char *type = r->integer ? "i64" : "double";
    address_add(t, "p", copy, "%i", r->read[0] + shift);
    text_add(t, "  %%x%d = load %s, ptr %%p%d, align 1\n", copy, type, copy);
    second_address_add(t, r, copy);
    text_add(t, "  %%y%d = load %s, ptr %%q%d, align 1\n", copy, type, copy);
}

/* One copy: z = x op y, perhaps with what the copy before has loaded or summed up. */
static void copy_add(struct text *t, const struct round *r, int copy)
{
    const char *type = r->integer ? "i64" : "double";
    const char *add = r->integer ? "add" : "fadd", *times = r->integer ? "xor" : "fmul";
    bool odd = copy == r->odd_copy;
    if (!r->hoist)
        loads_add(t, r, copy);
    text_add(t, "  %%z%d = %s %s %%x%d, %%y%d\n", copy, odd && r->oddity == 1 ? add : times, type,
             copy, copy);
    if (odd && r->oddity == 2)
        text_add(t, "  %%w%d = %s %s %%z%d, %%x%d\n", copy, add, type, copy, copy);
    else if (r->carries && copy == 0)
        text_add(t, "  %%w0 = %s %s %%z0, %%last\n", add, type);
    else if (r->carries)
        text_add(t, "  %%w%d = %s %s %%z%d, %%x%d\n", copy, add, type, copy, copy - 1);
    else
        text_add(t, "  %%w%d = %s %s %%z%d, %%y%d\n", copy, add, type, copy, copy);
    if (r->chain && copy == 0)
        text_add(t, "  %%s0 = %s %s %%sum, %%w0\n", add, type);
    else if (r->chain)
        text_add(t, "  %%s%d = %s %s %%w%d, %%s%d\n", copy, add, type, copy, copy - 1);
    if (r->chain && !r->shared)
        return; /* no store */
    address_add(t, "r", copy, "%i", r->write + r->step * copy);
    text_add(t, "  store %s %%w%d, ptr %%r%d, align 1\n", type,
             odd && r->oddity == 3 && copy > 0 ? copy - 1 : copy, copy);
}

static void loop_write(struct text *t, const struct round *r)
{
    const char *type = r->integer ? "i64" : "double", *one = r->integer ? "7" : "1.0";
    int last = r->copies - 1, step = r->step * r->copies;
    t->len = 0;
    text_add(t, "define double @f(ptr %%vm, i32 %%n) {\nstart:\n  br label %%loop\nloop:\n");
    text_add(t, "  %%i = phi i32 [ %d, %%start ], [ %%i1, %%loop ]\n", r->bases[0]);
    text_add(t, "  %%j = phi i32 [ %d, %%start ], [ %%j1, %%loop ]\n", r->bases[1]);
    text_add(t, "  %%k = phi i32 [ 0, %%start ], [ %%k1, %%loop ]\n");
    text_add(t, "  %%m = phi i32 [ %d, %%start ], [ %%m1, %%loop ]\n", MIRROR);
    if (r->carries)
        text_add(t, "  %%last = phi %s [ %s, %%start ], [ %%x%d, %%loop ]\n", type, one, last);
    if (r->chain)
        text_add(t, "  %%sum = phi %s [ %s, %%start ], [ %%s%d, %%loop ]\n", type, one, last);
    for (int c = 0; r->hoist && c < r->copies; c++)
        loads_add(t, r, c);
    for (int c = 0; c < r->copies; c++)
        copy_add(t, r, c);
    text_add(t, "  %%i1 = add i32 %%i, %d\n  %%j1 = add i32 %%j, %d\n", step, step);
    text_add(t, "  %%k1 = add i32 %%k, %d\n", r->copies);
    text_add(t, "  %%m1 = add i32 %%m, %d\n", -8 * r->copies);
    text_add(t, "  %%over = icmp eq i32 %%i1, %s\n", "%n");
    text_add(t, "  br i1 %%over, label %%exit, label %%loop\nexit:\n");
    const char *left = r->chain ? "%s" : "%w";
    text_add(t, "  %%g = add i32 %%i1, %%j\n  %%h = sitofp i32 %%g to double\n");
    if (r->integer)
        text_add(t, "  %%u = sitofp i64 %s%d to double\n", left, last);
    else
        text_add(t, "  %%u = fadd double %s%d, 1.0\n", left, last);
    text_add(t, "  %%o = fadd double %%h, %%u\n  ret double %%o\n}\n");
    if (r->copies & (r->copies - 1) || random_below(2)) { /* else the bound is not known */
        char bound[16], *at = strstr(t->data, "i1, %n\n");
        int len = snprintf(bound, sizeof bound, "%d", r->bases[0] + step * r->rounds);
        size_t rest = strlen(at + 6) + 1;
        memmove(at + 4 + len, at + 6, rest);
        memcpy(at + 4, bound, (size_t)len);
    }
}

/* The first byte behind what the loop touches; 2^32 and more when an address wraps. */
static uint64_t reach_of(const struct round *r)
{
    int second = r->mirror ? MIRROR : r->bases[r->two_counters] + r->read[1];
    const int starts[] = {r->bases[0] + r->read[0], second, r->bases[0] + r->write};
    const int steps[] = {r->step, r->mirror ? -8 : r->step, r->step};
    uint64_t reach = 0;
    for (int i = 0; i < (r->chain && !r->shared ? 2 : 3); i++)
        for (int k = 0; k < r->copies * r->rounds; k++) {
            uint64_t end = (uint64_t)(uint32_t)(starts[i] + steps[i] * k) + 8;
            reach = end > reach ? end : reach;
        }
    return reach;
}

/* Mostly the loop ends in memory, or almost. */
static uint64_t random_size(const struct round *r)
{
    return random_below(3) ? reach_of(r) - random_below(2) * random_below(40) : SPACE;
}

static void loop_try(const char *repeat, struct outcome *outcome)
{
    static struct text text;
    struct round r = random_round();
    int32_t bound = r.bases[0] + r.step * r.copies * r.rounds;
    uint64_t size = random_size(&r);
    loop_write(&text, &r);
    loop_compare(text.data, lower_reroll, bound, size, reach_of(&r), repeat, outcome);
}

static void random_loops_compute_the_same_when_rerolled(void **state)
{
    (void)state;
    loops_try("REROLL", 400, loop_try);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(two_copies_of_a_round_become_one),
        cmocka_unit_test(copies_that_differ_are_left_alone),
        cmocka_unit_test(what_cannot_become_vectors_is_left_alone),
        cmocka_unit_test(random_loops_compute_the_same_when_rerolled),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
