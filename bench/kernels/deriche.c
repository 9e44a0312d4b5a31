/* Deriche's recursive edge filter over an image in single precision: forward and backward
 * recurrences along rows, then along columns. */
#include "kernel.h"

enum { WIDTH = 192, HEIGHT = 160 };
static float image[WIDTH][HEIGHT], smooth[WIDTH][HEIGHT], forward[WIDTH][HEIGHT],
    backward[WIDTH][HEIGHT];

/* For alpha = 0.25, so that no libm is asked for exponentials. */
static const float gain = 0.015560f, lead = 0.015560f, follow = -0.009089f;
static const float decay1 = 1.557602f, decay2 = -0.606531f;

static void rows_filter(void)
{
    for (int i = 0; i < WIDTH; i++) {
        float before = 0, y1 = 0, y2 = 0;
        for (int j = 0; j < HEIGHT; j++) {
            float value = lead * image[i][j] + follow * before + decay1 * y1 + decay2 * y2;
            forward[i][j] = value;
            before = image[i][j], y2 = y1, y1 = value;
        }
        float x1 = 0, x2 = 0;
        y1 = y2 = 0;
        for (int j = HEIGHT - 1; j >= 0; j--) {
            float value = gain * x1 + follow * x2 + decay1 * y1 + decay2 * y2;
            backward[i][j] = value;
            x2 = x1, x1 = image[i][j], y2 = y1, y1 = value;
        }
        for (int j = 0; j < HEIGHT; j++)
            smooth[i][j] = forward[i][j] + backward[i][j];
    }
}

static void columns_filter(void)
{
    for (int j = 0; j < HEIGHT; j++) {
        float before = 0, y1 = 0, y2 = 0;
        for (int i = 0; i < WIDTH; i++) {
            float value = lead * smooth[i][j] + follow * before + decay1 * y1 + decay2 * y2;
            forward[i][j] = value;
            before = smooth[i][j], y2 = y1, y1 = value;
        }
        float x1 = 0, x2 = 0;
        y1 = y2 = 0;
        for (int i = WIDTH - 1; i >= 0; i--) {
            float value = gain * x1 + follow * x2 + decay1 * y1 + decay2 * y2;
            backward[i][j] = value;
            x2 = x1, x1 = smooth[i][j], y2 = y1, y1 = value;
        }
    }
    for (int i = 0; i < WIDTH; i++)
        for (int j = 0; j < HEIGHT; j++)
            smooth[i][j] = forward[i][j] + backward[i][j];
}

double run(int repeat)
{
    for (int i = 0; i < WIDTH; i++)
        for (int j = 0; j < HEIGHT; j++)
            image[i][j] = (float)((313 * i + 991 * j) % 65536) / 65535.0f;
    for (int r = 0; r < repeat; r++) {
        rows_filter();
        columns_filter();
        image[r % WIDTH][r % HEIGHT] = smooth[0][0];
    }
    uint64_t sum = 1;
    for (int i = 0; i < WIDTH; i++)
        for (int j = 0; j < HEIGHT; j++)
            sum = checksum_add(sum, smooth[i][j]);
    return checksum_bits(sum);
}
