/*
 * A network with the shape of MobileNet v1 (1.0, 224): 17 MB of weights, 569 million
 * multiplications for one image. Guests and the native reference share this code.
 *
 *   image 224x224x3 ─ 3x3/2 ─▶ 112x112x32 ─ 13 times (3x3 per channel, then 1x1) ─▶ 7x7x1024
 *                   ─ mean ─▶ 1024 ─ dense ─▶ 1001 classes
 *
 * Values lie row by row, pixel by pixel, channels innermost; every loop over channels is one that a
 * compiler turns into vectors. Each convolution has its bias folded in and is cut to [0, 6]. The
 * sums have one order everywhere, so results are equal to the bit if multiplications and additions
 * are not fused (-ffp-contract=off natively; WebAssembly never does).
 *
 * The weights are one array of floats: of each layer its weights, then its biases. They are made up
 * from a seed (weights_make), so that anyone has the same.
 */
#ifndef MOBILENET_H
#define MOBILENET_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#define IMAGE_SIDE    224u
#define IMAGE_BYTES   (IMAGE_SIDE * IMAGE_SIDE * 3)
#define CLASSES       1001u
#define LAYERS        13u
#define CHANNELS_LAST 1024u
#define SCRATCH       (112u * 112 * 64) /* floats; the largest array between layers */

/* The pairs of convolutions: stride of the first, channels out of the second. */
static const struct pair {
    uint32_t stride, channels;
} pairs[LAYERS] = {
    {1, 64},  {2, 128}, {1, 128}, {2, 256}, {1, 256},  {2, 512},  {1, 512},
    {1, 512}, {1, 512}, {1, 512}, {1, 512}, {2, 1024}, {1, 1024},
};

static inline uint64_t weights_count(void)
{
    uint64_t count = 27 * 32 + 32, in = 32;
    for (uint32_t i = 0; i < LAYERS; i++) {
        uint64_t out = pairs[i].channels;
        count += 9 * in + in + in * out + out;
        in = out;
    }
    return count + CHANNELS_LAST * CLASSES + CLASSES;
}

/* ---- layers ---- */

static inline void cut(float *out, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++)
        out[i] = out[i] < 0 ? 0 : out[i] > 6 ? 6 : out[i];
}

/* Where a 3x3 window begins: at stride 1 one before, at stride 2 the padding is behind. */
static inline int32_t window_at(uint32_t at, uint32_t stride)
{
    return (int32_t)(at * stride) - (stride == 1);
}

/* 3x3 over the image with stride 2, to 32 channels. w[ky][kx][3][32], then biases. */
static inline const float *first_layer(const float *restrict image, const float *restrict w,
                                       float *restrict out)
{
    const float *bias = w + 27 * 32;
    for (uint32_t y = 0; y < 112; y++) {
        for (uint32_t x = 0; x < 112; x++) {
            float *pixel = out + (y * 112 + x) * 32;
            memcpy(pixel, bias, 32 * sizeof *pixel);
            for (uint32_t tap = 0; tap < 9; tap++) {
                uint32_t iy = 2 * y + tap / 3, ix = 2 * x + tap % 3;
                if (iy >= IMAGE_SIDE || ix >= IMAGE_SIDE)
                    continue;
                const float *from = image + (iy * IMAGE_SIDE + ix) * 3;
                for (uint32_t c = 0; c < 3; c++) {
                    const float *weights = w + (tap * 3 + c) * 32;
                    for (uint32_t o = 0; o < 32; o++)
                        pixel[o] += from[c] * weights[o];
                }
            }
        }
    }
    cut(out, 112 * 112 * 32);
    return bias + 32;
}

/* 3x3 within each channel. w[9][channels], then biases. Returns what follows them. */
static inline const float *depth_layer(const float *restrict in, uint32_t side, uint32_t channels,
                                       uint32_t stride, const float *restrict w,
                                       float *restrict out)
{
    const float *bias = w + 9 * channels;
    uint32_t out_side = side / stride;
    for (uint32_t y = 0; y < out_side; y++) {
        for (uint32_t x = 0; x < out_side; x++) {
            float *pixel = out + (y * out_side + x) * channels;
            memcpy(pixel, bias, channels * sizeof *pixel);
            for (uint32_t tap = 0; tap < 9; tap++) {
                int32_t iy = window_at(y, stride) + (int32_t)(tap / 3);
                int32_t ix = window_at(x, stride) + (int32_t)(tap % 3);
                if (iy < 0 || ix < 0 || iy >= (int32_t)side || ix >= (int32_t)side)
                    continue;
                const float *from = in + ((uint32_t)iy * side + (uint32_t)ix) * channels;
                const float *weights = w + tap * channels;
                for (uint32_t c = 0; c < channels; c++)
                    pixel[c] += from[c] * weights[c];
            }
        }
    }
    cut(out, (uint64_t)out_side * out_side * channels);
    return bias + channels;
}

/* Adds in[c] * w[c][…] to four pixels at once: each row of weights is loaded once for all. */
static inline void four_pixels(const float *restrict in, uint32_t channels, const float *restrict w,
                               uint32_t out_channels, float *restrict out)
{
    float *restrict o0 = out, *restrict o1 = out + out_channels;
    float *restrict o2 = out + 2 * out_channels, *restrict o3 = out + 3 * out_channels;
    for (uint32_t c = 0; c < channels; c++) {
        float a0 = in[c], a1 = in[channels + c], a2 = in[2 * channels + c];
        float a3 = in[3 * channels + c];
        const float *restrict weights = w + (uint64_t)c * out_channels;
        for (uint32_t o = 0; o < out_channels; o++) {
            o0[o] += a0 * weights[o];
            o1[o] += a1 * weights[o];
            o2[o] += a2 * weights[o];
            o3[o] += a3 * weights[o];
        }
    }
}

static inline void one_pixel(const float *restrict in, uint32_t channels, const float *restrict w,
                             uint32_t out_channels, float *restrict out)
{
    for (uint32_t c = 0; c < channels; c++) {
        const float *restrict weights = w + (uint64_t)c * out_channels;
        for (uint32_t o = 0; o < out_channels; o++)
            out[o] += in[c] * weights[o];
    }
}

/* 1x1 across channels, without the cut. w[channels][out_channels], then biases. */
static inline const float *point_layer(const float *restrict in, uint32_t pixels, uint32_t channels,
                                       uint32_t out_channels, const float *restrict w,
                                       float *restrict out)
{
    const float *bias = w + (uint64_t)channels * out_channels;
    uint32_t p = 0;
    for (uint32_t i = 0; i < pixels; i++)
        memcpy(out + (uint64_t)i * out_channels, bias, out_channels * sizeof *out);
    for (; p + 4 <= pixels; p += 4)
        four_pixels(in + p * channels, channels, w, out_channels, out + p * out_channels);
    for (; p < pixels; p++)
        one_pixel(in + p * channels, channels, w, out_channels, out + p * out_channels);
    return bias + out_channels;
}

static inline void mean_layer(const float *in, uint32_t pixels, uint32_t channels, float *out)
{
    memset(out, 0, channels * sizeof *out);
    for (uint32_t p = 0; p < pixels; p++) {
        for (uint32_t c = 0; c < channels; c++)
            out[c] += in[p * channels + c];
    }
    for (uint32_t c = 0; c < channels; c++)
        out[c] /= (float)pixels;
}

/* ---- the network ---- */

/* Classifies an image of IMAGE_BYTES (red, green, blue of each pixel). a and b: SCRATCH floats
 * each. */
static inline void network_run(const float *weights, const uint8_t *image, float *a, float *b,
                               float logits[CLASSES])
{
    uint32_t side = 112, channels = 32;
    for (uint32_t i = 0; i < IMAGE_BYTES; i++)
        b[i] = (float)image[i] / 127.5f - 1;
    const float *w = first_layer(b, weights, a);
    for (uint32_t i = 0; i < LAYERS; i++) {
        w = depth_layer(a, side, channels, pairs[i].stride, w, b);
        side /= pairs[i].stride;
        w = point_layer(b, side * side, channels, pairs[i].channels, w, a);
        channels = pairs[i].channels;
        cut(a, (uint64_t)side * side * channels);
    }
    mean_layer(a, side * side, channels, b);
    (void)point_layer(b, 1, channels, CLASSES, w, logits);
}

/* ---- weights and images made up from a seed ---- */

static inline float noise(uint64_t seed, uint64_t index) /* [-1, 1) */
{
    uint64_t z = seed + index * UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return (float)((double)((z ^ (z >> 31)) >> 40) * 0x1p-23 - 1);
}

static inline float *noise_fill(float *out, uint64_t count, uint64_t inputs, uint64_t biases,
                                uint64_t *index)
{
    /* Neither fades nor grows from layer to layer. */
    float scale = (float)sqrt(6.0 / (double)inputs);
    for (uint64_t i = 0; i < count; i++)
        *out++ = scale * noise(1, (*index)++);
    for (uint64_t i = 0; i < biases; i++)
        *out++ = 0.05f * noise(1, (*index)++);
    return out;
}

static inline void weights_make(float *out)
{
    uint64_t index = 0, in = 32;
    out = noise_fill(out, 27 * 32, 27, 32, &index);
    for (uint32_t i = 0; i < LAYERS; i++) {
        uint64_t channels = pairs[i].channels;
        out = noise_fill(out, 9 * in, 9, in, &index);
        out = noise_fill(out, in * channels, in, channels, &index);
        in = channels;
    }
    (void)noise_fill(out, CHANNELS_LAST * CLASSES, CHANNELS_LAST, CLASSES, &index);
}

/* An image of soft patches. */
static inline void image_make(uint64_t seed, uint8_t image[IMAGE_BYTES])
{
    for (uint32_t i = 0; i < IMAGE_BYTES; i++) {
        uint32_t x = i / 3 % IMAGE_SIDE, y = i / 3 / IMAGE_SIDE;
        float patch = noise(seed, (uint64_t)(y / 16 * 14 + x / 16) * 3 + i % 3);
        image[i] = (uint8_t)(127.5f + 100 * patch + 27 * noise(~seed, i));
    }
}

/* ---- the answer ---- */

#define SHOWN 5u

struct ranked {
    uint32_t class_number;
    float logit;
};

/* The largest, first. */
static inline void logits_rank(const float logits[CLASSES], struct ranked best[SHOWN])
{
    for (uint32_t rank = 0; rank < SHOWN; rank++) {
        best[rank] = (struct ranked){CLASSES, -INFINITY};
        for (uint32_t i = 0; i < CLASSES; i++) {
            int before = rank > 0 &&
                         (logits[i] > best[rank - 1].logit ||
                          (logits[i] == best[rank - 1].logit && i <= best[rank - 1].class_number));
            if (!before && logits[i] > best[rank].logit)
                best[rank] = (struct ranked){i, logits[i]};
        }
    }
}

#endif
