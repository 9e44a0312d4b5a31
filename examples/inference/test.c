/* The layers against their definitions, and the functions in this process. */
#include "mobilenet.h"

#include <assert.h>
#include <atoll_native.h>
#include <stdio.h>
#include <stdlib.h>

int32_t mobilenet(void);
int32_t mobilenet_weights(void);

static float in[8 * 8 * 12], w[4096], out[8 * 8 * 20];
static uint8_t image[IMAGE_BYTES];

static void noise_take(float *to, uint32_t count, uint64_t seed)
{
    for (uint32_t i = 0; i < count; i++)
        to[i] = noise(seed, i);
}

static void expect_near(float got, double wanted)
{
    if (!(fabs((double)got - wanted) < 1e-4)) {
        fprintf(stderr, "%f instead of %f\n", (double)got, wanted);
        abort();
    }
}

static void point_layer_is_a_matrix_product(void)
{
    const uint32_t pixels = 7, channels = 12, outs = 20;
    noise_take(in, pixels * channels, 2);
    noise_take(w, channels * outs + outs, 3);
    assert(point_layer(in, pixels, channels, outs, w, out) == w + channels * outs + outs);
    for (uint32_t p = 0; p < pixels; p++) {
        for (uint32_t o = 0; o < outs; o++) {
            double sum = (double)w[channels * outs + o];
            for (uint32_t c = 0; c < channels; c++)
                sum += (double)in[p * channels + c] * (double)w[c * outs + o];
            expect_near(out[p * outs + o], sum);
        }
    }
}

static double depth_at(uint32_t stride, uint32_t y, uint32_t x, uint32_t c)
{
    double sum = (double)w[9 * 12 + c];
    for (int ky = 0; ky < 3; ky++) {
        for (int kx = 0; kx < 3; kx++) {
            int iy = (int)(y * stride) + ky - (stride == 1);
            int ix = (int)(x * stride) + kx - (stride == 1);
            if (iy >= 0 && ix >= 0 && iy < 8 && ix < 8)
                sum += (double)in[(iy * 8 + ix) * 12 + (int)c] *
                       (double)w[(ky * 3 + kx) * 12 + (int)c];
        }
    }
    return sum < 0 ? 0 : sum > 6 ? 6 : sum;
}

static void depth_layer_stays_in_its_channel(uint32_t stride)
{
    uint32_t side = 8 / stride;
    noise_take(in, 8 * 8 * 12, 4);
    noise_take(w, 9 * 12 + 12, 5);
    (void)depth_layer(in, 8, 12, stride, w, out);
    for (uint32_t y = 0; y < side; y++) {
        for (uint32_t x = 0; x < side; x++) {
            for (uint32_t c = 0; c < 12; c++)
                expect_near(out[(y * side + x) * 12 + c], depth_at(stride, y, x, c));
        }
    }
}

static struct atoll_native_outcome *run(struct atoll_native *node, const char *name, uint64_t len)
{
    struct atoll_native_outcome *o = atoll_native_run(node, name, image, len);
    assert(o);
    return o;
}

static void functions_classify(void)
{
    char first[256];
    struct atoll_native *node = atoll_native_open(NULL);
    assert(node && atoll_native_function(node, "mobilenet", mobilenet) == 0);
    assert(atoll_native_function(node, "mobilenet-weights", mobilenet_weights) == 0);

    struct atoll_native_outcome *o = run(node, "mobilenet", 100);
    assert(o->status == ATOLL_ST_FAILED && o->code == 2);
    atoll_native_outcome_free(o);
    o = run(node, "mobilenet", IMAGE_BYTES);
    assert(o->status == ATOLL_ST_FAILED && o->code == 3);
    atoll_native_outcome_free(o);

    o = run(node, "mobilenet-weights", 0);
    assert(o->status == ATOLL_ST_OK && strcmp(o->output, "made\n") == 0);
    atoll_native_outcome_free(o);
    o = run(node, "mobilenet-weights", 0);
    assert(o->status == ATOLL_ST_OK && strcmp(o->output, "there already\n") == 0);
    atoll_native_outcome_free(o);

    image_make(1, image);
    o = run(node, "mobilenet", IMAGE_BYTES);
    assert(o->status == ATOLL_ST_OK);
    snprintf(first, sizeof first, "%s", o->output);
    atoll_native_outcome_free(o);
    image_make(2, image);
    o = run(node, "mobilenet", IMAGE_BYTES);
    assert(o->status == ATOLL_ST_OK && strcmp(first, o->output) != 0);
    atoll_native_outcome_free(o);
    atoll_native_close(node);
}

int main(void)
{
    assert(weights_count() * sizeof(float) > 16000000 &&
           weights_count() * sizeof(float) < 17500000);
    point_layer_is_a_matrix_product();
    depth_layer_stays_in_its_channel(1);
    depth_layer_stays_in_its_channel(2);
    functions_classify();
    puts("ok");
    return 0;
}
