/* Objects of four classes asked through function pointers, in an order that no predictor guesses
 * fully: the price of call_indirect with its bounds and type checks. */
#include "kernel.h"

enum { OBJECTS = 4096, SWEEPS = 100 };

struct shape;
struct shape_class {
    int32_t (*area)(const struct shape *);
    void (*grow)(struct shape *, int32_t by);
};
struct shape {
    const struct shape_class *class;
    int32_t width, height;
};

static struct shape shapes[OBJECTS];

static int32_t rectangle_area(const struct shape *s)
{
    return s->width * s->height;
}
static int32_t triangle_area(const struct shape *s)
{
    return s->width * s->height / 2;
}
static int32_t frame_area(const struct shape *s)
{
    return 2 * (s->width + s->height);
}
static int32_t point_area(const struct shape *s)
{
    return s->width & 1;
}
static void both_grow(struct shape *s, int32_t by)
{
    s->width = (s->width + by) & 1023;
    s->height = (s->height + by) & 1023;
}
static void width_grow(struct shape *s, int32_t by)
{
    s->width = (s->width ^ by) & 1023;
}

static const struct shape_class classes[4] = {
    {rectangle_area, both_grow},
    {triangle_area, width_grow},
    {frame_area, both_grow},
    {point_area, width_grow},
};

double run(int repeat)
{
    uint64_t random = 11;
    for (int i = 0; i < OBJECTS; i++) {
        uint32_t bits = random_next(&random);
        shapes[i] = (struct shape){&classes[bits & 3], (int32_t)(bits >> 8 & 1023),
                                   (int32_t)(bits >> 20 & 1023)};
    }
    uint64_t total = 0;
    for (int r = 0; r < repeat * SWEEPS; r++)
        for (int i = 0; i < OBJECTS; i++) {
            struct shape *s = &shapes[i];
            int32_t area = s->class->area(s);
            total += (uint32_t)area;
            s->class->grow(s, area & 7);
        }
    return (double)(total & 0xFFFFFFFFFFFFFu);
}
