// From the camera's luma to the network's input, and from the network's output to planes at work size.
#include "frame_state.h"
#include "sampling.h"

struct shrink_luma_arguments {
    const u8 *luma;  // (height, width)
    u8 *out;         // (to_height, to_width)
    int width, height, to_width, to_height;
};

// cv2.resize, INTER_AREA, 8 bit.
PLACE void shrink_luma_at(const shrink_luma_arguments &a, int x, int y, int) {
    u8 &out = a.out[(long)y * a.to_width + x];
    if (a.width == a.to_width && a.height == a.to_height) {
        out = a.luma[(long)y * a.width + x];
    } else if (a.width == 2 * a.to_width && a.height == 2 * a.to_height) {
        const u8 *four = a.luma + 2l * y * a.width + 2 * x;
        out = (u8)((four[0] + four[1] + four[a.width] + four[a.width + 1] + 2) >> 2);
    } else {
        Picture<u8> picture = {a.luma, a.width};
        out = to_u8(area_mean(picture, a.width, a.height, a.to_width, a.to_height, x, y));
    }
}
KERNEL(shrink_luma)

struct shrink_planes_arguments {
    const float *planes;  // (depth, height, width)
    float *out;           // (depth, to_height, to_width)
    int width, height, to_width, to_height;
};

PLACE void shrink_planes_at(const shrink_planes_arguments &a, int x, int y, int z) {
    Picture<float> picture = {a.planes + (long)z * a.width * a.height, a.width};
    a.out[((long)z * a.to_height + y) * a.to_width + x] =
        area_mean(picture, a.width, a.height, a.to_width, a.to_height, x, y);
}
KERNEL(shrink_planes)

struct show_luma_arguments {
    const u8 *luma;  // (height, width)
    const FrameState *frame;
    const u8 *dither;  // (tile, tile)
    u8 *out;           // (height, width)
    int width, height, tile;
};

// gain.shown_luma: the curve of levels, dithered.
PLACE void show_luma_at(const show_luma_arguments &a, int x, int y, int) {
    u8 level = a.luma[(long)y * a.width + x];
    if (a.frame->curve) {
        u8 threshold = a.dither[(y % a.tile) * a.tile + x % a.tile];
        level = (u8)(a.frame->whole[level] + (a.frame->part[level] > threshold));
    }
    a.out[(long)y * a.width + x] = level;
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
