/*
 * Which loops over 128-bit vectors lower_widen takes, that what it makes of them computes the same,
 * and that it runs only where it cannot trap. The last two are tried on random loops, whose
 * addresses lie around 0 modulo 2^32, so that they wrap, and near each other, so that loads and
 * stores meet.
 */
#define _GNU_SOURCE
#include "engine/lower_widen.h"
#include "lower_loops.h"

/* ---- which loops ---- */

/* A loop over vectors; the parts that tests vary: its load, its operation and its stride. */
#define VECTORS(load, operation, stride)              \
    "define void @f(ptr %vm, i32 %n) {\n"             \
    "start:\n"                                        \
    "  br label %loop\n"                              \
    "loop:\n"                                         \
    "  %k = phi i32 [ %n, %start ], [ %k1, %loop ]\n" \
    "  %a = zext i32 %k to i64\n"                     \
    "  %b = getelementptr i8, ptr %vm, i64 %a\n"      \
    "  %x = " load " <4 x float>, ptr %b, align 1\n"  \
    "  %y = " operation "\n"                          \
    "  store <4 x float> %y, ptr %b, align 1\n"       \
    "  %k1 = add i32 %k, " stride "\n"                \
    "  %over = icmp eq i32 %k1, 4096\n"               \
    "  br i1 %over, label %exit, label %loop\n"       \
    "exit:\n"                                         \
    "  ret void\n"                                    \
    "}\n"
#define SUM "fadd <4 x float> %x, %x"
#define REVERSE                                                    \
    "shufflevector <4 x float> %x, <4 x float> poison, <4 x i32> " \
    "<i32 3, i32 2, i32 1, i32 0>"

static bool widens(const char *text)
{
    return text_changes(text, lower_widen);
}

static void a_loop_that_works_lane_by_lane_becomes_one_over_elements(void **state)
{
    (void)state;
    assert_true(widens(VECTORS("load", SUM, "16")));
}

static void what_mixes_lanes_or_leaves_gaps_stays(void **state)
{
    (void)state;
    assert_false(widens(VECTORS("load", REVERSE, "16")));
    assert_false(widens(VECTORS("load", SUM, "32")));
    assert_false(widens(VECTORS("load", SUM, "-16")));
}

static void a_load_that_must_not_vanish_may_where_it_cannot_trap(void **state)
{
    (void)state;
    assert_true(widens(VECTORS("load volatile", SUM, "16")));
}

/* ---- random loops ---- */

struct walk {
    int start, step, copies, rounds, scale, read[2], write;
    bool twice, splice, single, fixed_end, late;
    int odd_copy; /* one that differs, or -1 */
};

static struct walk random_walk(void)
{
    static const int places[] = {0, 0, 8, 16, -16, -4, 64, 1024, 4096, 4100, -8192};
    static const int steps[] = {16, 16, 1, -1, -16};
    struct walk w = {.step = steps[random_below(5)],
                     .rounds = 1 + (int)random_below(random_below(2) ? 6 : 40)};
    w.scale = 16 / w.step;
    w.start = (int)random_below(5) * 8 - (random_below(2) ? 16 : 400);
    if (random_below(3))
        w.start += 16384 / w.scale;
    for (int i = 0; i < 2; i++)
        w.read[i] = places[random_below(11)];
    w.write = places[random_below(11)];
    w.twice = random_below(3) == 0;
    w.splice = random_below(3) == 0;
    w.single = random_below(2);
    w.fixed_end = random_below(2);
    w.late = random_below(2);
    w.copies = random_below(2) ? 1 : 2 + (int)random_below(3);
    w.odd_copy = random_below(8) ? -1 : (int)random_below((uint32_t)w.copies);
    return w;
}

/* Of the counter. */
static int end_of(const struct walk *w)
{
    return w->start + w->step * w->copies * w->rounds;
}

static void address_add(struct text *t, const char *letter, int copy, const struct walk *w,
                        int place)
{
    char name[16];
    snprintf(name, sizeof name, "%s%d", letter, copy);
    text_add(t, "  %%%sc = mul i32 %%i, %d\n  %%%sa = add i32 %%%sc, %d\n", name, w->scale, name,
             name, place + 16 * copy);
    text_add(t, "  %%%sb = zext i32 %%%sa to i64\n", name, name);
    text_add(t, "  %%%sd = getelementptr i8, ptr %%vm, i64 %%%sb\n", name, name);
    text_add(t, "  %%%s = getelementptr i8, ptr %%%sd, i64 %d\n", name, name, place == 64 ? 48 : 0);
}

/* One copy: w = x * h + y, or x spliced with the vector before instead of y. */
static void copy_add(struct text *t, const struct walk *w, int c)
{
    const char *type = w->single ? "<4 x float>" : "<2 x double>";
    address_add(t, "p", c, w, w->read[0]);
    text_add(t, "  %%xi%d = load <4 x i32>, ptr %%p%d, align 1\n", c, c);
    text_add(t, "  %%x%d = bitcast <4 x i32> %%xi%d to %s\n", c, c, type);
    if (w->splice) {
        char last[16] = "l";
        if (c > 0)
            snprintf(last, sizeof last, "xi%d", c - 1);
        text_add(t, "  %%la%d = bitcast <4 x i32> %%%s to %s\n", c, last, type);
        text_add(t, "  %%s%d = shufflevector %s %%la%d, %s %%x%d, <%s>\n", c, type, c, type, c,
                 w->single ? "4 x i32> <i32 3, i32 4, i32 5, i32 6" : "2 x i32> <i32 1, i32 2");
    }
    address_add(t, "q", c, w, w->read[1]);
    text_add(t, "  %%y%d = load %s, ptr %%q%d, align 1\n", c, type, c);
    text_add(t, "  %%z%d = %s %s %%x%d, %%h\n", c, c == w->odd_copy ? "fsub" : "fmul", type, c);
    text_add(t, "  %%w%d = fadd %s %%z%d, %%%s%d\n", c, type, c, w->splice ? "s" : "y", c);
    address_add(t, "r", c, w, w->write);
    text_add(t, "  store %s %%w%d, ptr %%r%d, align 1\n", type, c, c);
    if (!w->twice)
        return;
    address_add(t, "u", c, w, w->read[1]);
    if (w->late)
        text_add(t, "  %%m%d = fsub %s %%y%d, %%w%d\n", c, type, c, c);
    else
        text_add(t, "  %%m%d = fsub %s %%y%d, zeroinitializer\n", c, type, c);
    text_add(t, "  store %s %%m%d, ptr %%u%d, align 1\n", type, c, c);
}

static void loop_write(struct text *t, const struct walk *w)
{
    const char *type = w->single ? "<4 x float>" : "<2 x double>";
    const char *part = w->single ? "float" : "double";
    t->len = 0;
    text_add(t, "define double @f(ptr %%vm, i32 %%n) {\nstart:\n");
    text_add(t, "  %%e = insertelement %s zeroinitializer, %s 3.0, i32 0\n", type, part);
    text_add(t, "  %%g = insertelement %s %%e, %s 5.0, i32 1\n", type, part);
    text_add(t, "  %%v = bitcast %s %%g to <4 x i32>\n  br label %%loop\nloop:\n", type);
    text_add(t, "  %%i = phi i32 [ %d, %%start ], [ %%i1, %%loop ]\n", w->start);
    if (w->splice)
        text_add(t, "  %%l = phi <4 x i32> [ %%v, %%start ], [ %%xi%d, %%loop ]\n", w->copies - 1);
    text_add(t, "  %%h = shufflevector %s %%g, %s poison, <%d x i32> zeroinitializer\n", type, type,
             w->single ? 4 : 2);
    for (int c = 0; c < w->copies; c++)
        copy_add(t, w, c);
    text_add(t, "  %%i1 = add i32 %%i, %d\n", w->step * w->copies);
    if (w->fixed_end)
        text_add(t, "  %%over = icmp eq i32 %%i1, %d\n", end_of(w));
    else
        text_add(t, "  %%over = icmp eq i32 %%i1, %%n\n");
    text_add(t, "  br i1 %%over, label %%exit, label %%loop\nexit:\n");
    text_add(t, "  %%k = add i32 %%i1, %%i\n  %%o = sitofp i32 %%k to double\n");
    text_add(t, "  ret double %%o\n}\n");
}

/* The first byte behind what the loop touches; 2^32 and more when an address wraps. */
static uint64_t reach_of(const struct walk *w)
{
    const int places[] = {w->read[0], w->read[1], w->write};
    uint64_t reach = 0;
    for (int i = 0; i < 3; i++) {
        if (i == 1 && w->splice && !w->twice)
            continue; /* nothing uses it */
        for (int k = 0; k < w->rounds * w->copies; k++) {
            int sum = (w->start + w->step * k) * w->scale + places[i];
            uint64_t end = (uint64_t)(uint32_t)sum + (places[i] == 64 ? 48 : 0) + 16;
            reach = end > reach ? end : reach;
        }
    }
    return reach;
}

static void loop_try(const char *repeat, struct outcome *outcome)
{
    static struct text text;
    struct walk w = random_walk();
    uint64_t size = random_below(3) ? reach_of(&w) - random_below(2) * random_below(40) : SPACE;
    loop_write(&text, &w);
    loop_compare(text.data, lower_widen, end_of(&w), size, reach_of(&w), repeat, outcome);
}

static void random_loops_compute_the_same_when_widened(void **state)
{
    (void)state;
    loops_try("WIDEN", 400, loop_try);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_loop_that_works_lane_by_lane_becomes_one_over_elements),
        cmocka_unit_test(what_mixes_lanes_or_leaves_gaps_stays),
        cmocka_unit_test(a_load_that_must_not_vanish_may_where_it_cannot_trap),
        cmocka_unit_test(random_loops_compute_the_same_when_widened),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
