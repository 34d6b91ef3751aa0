// Packs R'G'B' to the 4:2:0 layouts that encoders take, NV12 and I420 (yuv420.py).
#include "portable.h"

struct pack_luma_arguments {
    const u8 *rgb;  // (height, width, 3) full range
    u8 *out;        // (height, width)
    int width;
    float red, green, blue;  // of the matrix
    float scale, offset;     // of the range, levels
};

PLACE void pack_luma_at(const pack_luma_arguments &a, int x, int y, int) {
    long at = (long)y * a.width + x;
    const u8 *rgb = a.rgb + 3 * at;
    float luma = a.red * rgb[0] + a.green * rgb[1] + a.blue * rgb[2];
    a.out[at] = to_u8(luma * a.scale + a.offset);
}
KERNEL(pack_luma)

struct pack_chroma_arguments {
    const u8 *rgb;  // (height, width, 3) full range
    u8 *cb, *cr;    // first value of each
    int width, height, step, pitch;  // bytes from value to value, from row to row
    float red, green, blue;
    float scale;  // of the range, levels for one level of full-range chroma
};

// Chroma of the mean of four pixels (centered siting); at odd sizes the last row and column count twice.
PLACE void pack_chroma_at(const pack_chroma_arguments &a, int x, int y, int) {
    int sum[3] = {0, 0, 0};
    for (int down = 0; down < 2; ++down)
        for (int right = 0; right < 2; ++right) {
            long row = smaller(2 * y + down, a.height - 1), column = smaller(2 * x + right, a.width - 1);
            const u8 *rgb = a.rgb + 3 * (row * a.width + column);
            sum[0] += rgb[0], sum[1] += rgb[1], sum[2] += rgb[2];
        }
    float red = sum[0] * 0.25f, green = sum[1] * 0.25f, blue = sum[2] * 0.25f;
    float luma = a.red * red + a.green * green + a.blue * blue;
    long at = (long)y * a.pitch + (long)x * a.step;
    a.cb[at] = to_u8((blue - luma) / (2.0f * (1.0f - a.blue)) * a.scale + 128.0f);
    a.cr[at] = to_u8((red - luma) / (2.0f * (1.0f - a.red)) * a.scale + 128.0f);
}
KERNEL(pack_chroma)
