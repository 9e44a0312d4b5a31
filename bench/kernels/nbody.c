/* Five bodies under gravity, leapfrog steps: scalar floating point with square roots and divisions
 * in a long dependency chain. */
#include "kernel.h"

#include <math.h>

enum { BODIES = 5, STEPS = 20000 };

struct body {
    double x, y, z, vx, vy, vz, mass;
};

static struct body bodies[BODIES];

static double random_between(uint64_t *state, double low, double high)
{
    return low + (double)random_next(state) / 4294967296.0 * (high - low);
}

static void bodies_place(void)
{
    uint64_t state = 42;
    for (int i = 0; i < BODIES; i++) {
        struct body *body = &bodies[i];
        body->x = random_between(&state, -10, 10);
        body->y = random_between(&state, -10, 10);
        body->z = random_between(&state, -10, 10);
        body->vx = random_between(&state, -0.15, 0.15);
        body->vy = random_between(&state, -0.15, 0.15);
        body->vz = random_between(&state, -0.15, 0.15);
        body->mass = i == 0 ? 39.5 : 0.02 * i;
    }
}

static void bodies_attract(double dt)
{
    for (int i = 0; i < BODIES; i++)
        for (int j = i + 1; j < BODIES; j++) {
            struct body *p = &bodies[i], *q = &bodies[j];
            double dx = p->x - q->x, dy = p->y - q->y, dz = p->z - q->z;
            double square = dx * dx + dy * dy + dz * dz + 0.01;
            double force = dt / (square * sqrt(square));
            p->vx -= dx * q->mass * force;
            p->vy -= dy * q->mass * force;
            p->vz -= dz * q->mass * force;
            q->vx += dx * p->mass * force;
            q->vy += dy * p->mass * force;
            q->vz += dz * p->mass * force;
        }
}

static void bodies_move(double dt)
{
    for (int i = 0; i < BODIES; i++) {
        bodies[i].x += dt * bodies[i].vx;
        bodies[i].y += dt * bodies[i].vy;
        bodies[i].z += dt * bodies[i].vz;
    }
}

double run(int repeat)
{
    bodies_place();
    for (int r = 0; r < repeat; r++)
        for (int step = 0; step < STEPS; step++) {
            bodies_attract(0.001);
            bodies_move(0.001);
        }
    uint64_t sum = 1;
    for (int i = 0; i < BODIES; i++) {
        sum = checksum_add(sum, bodies[i].x);
        sum = checksum_add(sum, bodies[i].y);
        sum = checksum_add(sum, bodies[i].z);
        sum = checksum_add(sum, bodies[i].vx);
    }
    return checksum_bits(sum);
}
