// From the camera's luma to the network's input, and from the network's output to planes at work size.
#include "frame_state.h"
#include "sampling.h"

// cv2.resize, INTER_AREA, 8 bit.
PLACE u8 shrunk(const u8 *luma, int width, int height, int to_width, int to_height, int x, int y) {
    if (width == to_width && height == to_height) return luma[(long)y * width + x];
    if (width == 2 * to_width && height == 2 * to_height) {
        const u8 *four = luma + 2l * y * width + 2 * x;
        return (u8)((four[0] + four[1] + four[width] + four[width + 1] + 2) >> 2);
    }
    if (width % to_width == 0 && height % to_height == 0) {  // OpenCV adds whole levels up there
        int across = width / to_width, down = height / to_height, sum = 0;
        for (int row = y * down; row < (y + 1) * down; ++row)
            for (int column = x * across; column < (x + 1) * across; ++column) sum += luma[(long)row * width + column];
        return to_u8((float)sum * (1.0f / (float)(across * down)));
    }
    Picture<u8> picture = {luma, width};
    return to_u8(area_mean(picture, width, height, to_width, to_height, x, y));
}

struct shrink_luma_arguments {
    const u8 *luma;  // (height, width)
    u8 *out;         // (to_height, to_width)
    int width, height, to_width, to_height;
};

PLACE void shrink_luma_at(const shrink_luma_arguments &a, int x, int y, int) {
    a.out[(long)y * a.to_width + x] = shrunk(a.luma, a.width, a.height, a.to_width, a.to_height, x, y);
}
KERNEL(shrink_luma)

struct see_work_arguments {
    const u8 *small;      // (height, width)
    const float *planes;  // (depth, height, width)
    float *out;           // (depth, to_height, to_width)
    float *guide;         // (to_height, to_width): the small luma in [0, 1]
    int *count;           // set to 0; null for none
    int width, height, to_width, to_height, depth;
};

// What the models are made of: planes, made smaller where they are, and the luma at z = depth.
PLACE void see_work_at(const see_work_arguments &a, int x, int y, int z) {
    long at = (long)y * a.to_width + x;
    if (z < a.depth) {
        Picture<float> picture = {a.planes + (long)z * a.width * a.height, a.width};
        a.out[(long)z * a.to_width * a.to_height + at] =
            area_mean(picture, a.width, a.height, a.to_width, a.to_height, x, y);
        return;
    }
    if (at == 0 && a.count) *a.count = 0;
    u8 level = shrunk(a.small, a.width, a.height, a.to_width, a.to_height, x, y);
    a.guide[at] = (float)level * (float)(1.0 / 255);
}
KERNEL(see_work)

struct show_luma_arguments {
    const u8 *luma;  // (height, width)
    const FrameState *frame;
    const u8 *dither;  // (tile, tile)
    u8 *out;           // (to_height, to_width)
    int width, height, to_width, to_height, tile;
};

// gain.shown_luma: the curve of levels, dithered; of the picture made smaller where it is to be.
PLACE void show_luma_at(const show_luma_arguments &a, int x, int y, int) {
    u8 level = shrunk(a.luma, a.width, a.height, a.to_width, a.to_height, x, y);
    if (a.frame->curve) {
        u8 threshold = a.dither[(y % a.tile) * a.tile + x % a.tile];
        level = (u8)(a.frame->whole[level] + (a.frame->part[level] > threshold));
    }
    a.out[(long)y * a.to_width + x] = level;
}
KERNEL(show_luma)

struct fill_input_arguments {
    const u8 *small;  // (height, width)
    void *out;        // (padded_height, padded_width) float or half, [0, 1]
    int width, height, padded_width, half;
};

// neural.padded: mirrored to whole strides, normalized.
PLACE void fill_input_at(const fill_input_arguments &a, int x, int y, int) {
    u8 level = a.small[(long)mirrored(y, a.height) * a.width + mirrored(x, a.width)];
    float value = (float)level * (float)(1.0 / 255);
    long at = (long)y * a.padded_width + x;
    if (a.half)
        ((u16 *)a.out)[at] = float_to_half(value);
    else
        ((float *)a.out)[at] = value;
}
KERNEL(fill_input)

struct read_output_arguments {
    const void *ycc;         // (3, padded_height, padded_width) float or half
    const void *confidence;  // (1, padded_height, padded_width)
    const u8 *small;         // (height, width), as the network saw it
    float *color;            // (4, height, width): Y', Cb, Cr, confidence
    int width, height, padded_width, padded_height, half;
    int fades;               // 1: chroma fades out between these two levels of luma
    float dark, lit;
};

PLACE void read_output_at(const read_output_arguments &a, int x, int y, int z) {
    const void *tensor = z < 3 ? a.ycc : a.confidence;
    long at = ((long)(z % 3) * a.padded_height + y) * a.padded_width + x;
    float value = a.half ? half_to_float(((const u16 *)tensor)[at]) : ((const float *)tensor)[at];
    // NaN and what overflows float16 would stay in the color memory: no color, and the luma that came, instead.
    if (!(fabsf(value) <= 65504.0f)) value = z ? 0.0f : (float)a.small[(long)y * a.width + x] * (float)(1.0 / 255);
    if (a.fades && (z == 1 || z == 2)) {
        float level = (float)a.small[(long)y * a.width + x];
        value *= clamped((level - a.dark) / (a.lit - a.dark), 0.0f, 1.0f);
    }
    a.color[((long)z * a.height + y) * a.width + x] = value;
}
KERNEL(read_output)
