// A reference of the scene over the frame's color, and its picture behind the frame's (steering.py, laid.py).
#include "sampling.h"

struct lay_color_arguments {
    const float *color;  // (4, height, width): Y', Cb, Cr, confidence
    const float *given;  // (3, height, width): the reference's Y', Cb, Cr
    const float *share;  // (height, width): how far the reference is taken
    float *out;          // (4, height, width)
    u8 *plain;           // (3, height, width): R', G', B' of `given`
    int width, height;
};

// ReferenceSteering.apply, and color_space.ycc_to_rgb of the reference.
PLACE void lay_color_at(const lay_color_arguments &a, int x, int y, int z) {
    long at = (long)y * a.width + x, plane = (long)a.width * a.height;
    float own = a.color[z * plane + at];
    float wished = z < 3 ? a.given[z * plane + at] : 1.0f;
    a.out[z * plane + at] = own + (wished - own) * a.share[at];
    if (z == 3) return;
    float cb = a.given[plane + at], cr = a.given[2 * plane + at], level = a.given[at];
    if (z == 0) level += 1.402f * cr;  // BT.601-7
    if (z == 1) level += -1.772f * 0.114f / 0.587f * cb - 1.402f * 0.299f / 0.587f * cr;
    if (z == 2) level += 1.772f * cb;
    a.plain[z * plane + at] = to_u8(clamped(level, 0.0f, 1.0f) * 255.0f);
}
KERNEL(lay_color)

struct gray_of_arguments {
    const u8 *rgb;  // (height, width, 3)
    u8 *out;        // (height, width)
    int width;
};

// cv2.COLOR_RGB2GRAY.
PLACE void gray_of_at(const gray_of_arguments &a, int x, int y, int) {
    long at = (long)y * a.width + x;
    const u8 *rgb = a.rgb + 3 * at;
    a.out[at] = (u8)((rgb[0] * 9798 + rgb[1] * 19235 + rgb[2] * 3735 + (1 << 14)) >> 15);
}
KERNEL(gray_of)

struct sum_rows_arguments {
    const u8 *in;  // (height, width)
    int *out;      // (height, width)
    int width, radius;
};

// cv2.blur, along the rows.
PLACE void sum_rows_at(const sum_rows_arguments &a, int x, int y, int) {
    const u8 *row = a.in + (long)y * a.width;
    int sum = 0;
    for (int dx = -a.radius; dx <= a.radius; ++dx) sum += row[mirrored(x + dx, a.width)];
    a.out[(long)y * a.width + x] = sum;
}
KERNEL(sum_rows)

struct mean_columns_arguments {
    const int *in;  // (height, width): as `sum_rows` wrote it
    u8 *out;        // (height, width)
    int width, height, radius;
};

// cv2.blur, along the columns of sums; an odd window has no halves to round.
PLACE void mean_columns_at(const mean_columns_arguments &a, int x, int y, int) {
    int sum = 0, side = 2 * a.radius + 1, area = side * side;
    for (int dy = -a.radius; dy <= a.radius; ++dy) sum += a.in[(long)mirrored(y + dy, a.height) * a.width + x];
    a.out[(long)y * a.width + x] = (u8)((2 * sum + area) / (2 * area));
}
KERNEL(mean_columns)

// A frame and the reference that lies over it.
struct Behind {
    const u8 *rgb, *gray, *base;  // (height, width, 3), (height, width) twice: the frame, its luma, that blurred
    const u8 *picture;            // (height, width, 3): the reference
    const u8 *plain;              // (3, small_height, small_width): what of it stands in the infrared's place
    const float *support;         // (small_height, small_width): how far its own detail is believed
    const float *share;           // (small_height, small_width): how far it is taken
    int width, height, small_width, small_height;
    float scenery;  // factor on the share
};

// cv2.blendLinear.
PLACE float blend_of(float first, float second, float share) {
    return (first * share + second * (1.0f - share)) / (share + (1.0f - share) + 1e-5f);
}

// Scenery.put_behind.
PLACE void behind_of(const Behind &a, int x, int y, int *rgb) {
    long at = (long)y * a.width + x, plane = (long)a.small_width * a.small_height;
    float support = linear(a.support, a.small_width, a.small_height, a.width, a.height, x, y);
    float share = a.scenery * linear(a.share, a.small_width, a.small_height, a.width, a.height, x, y);
    int detail = a.gray[at] - a.base[at];
    for (int channel = 0; channel < 3; ++channel) {
        u8 plain = linear_u8(a.plain + channel * plane, a.small_width, a.small_height, a.width, a.height, x, y);
        int scene = to_u8(blend_of(a.picture[3 * at + channel], plain, support));
        rgb[channel] = to_u8(blend_of((float)clamped(scene + detail, 0, 255), a.rgb[3 * at + channel], share));
    }
}

struct put_behind_arguments {
    const u8 *rgb, *gray, *base, *picture, *plain;  // of Behind
    const float *support, *share;
    u8 *out;  // (height, width, 3) R'G'B'
    int width, height, small_width, small_height;
    float scenery;
};

template <class Arguments>
PLACE Behind behind(const Arguments &a) {
    return {a.rgb,   a.gray,  a.base,   a.picture,     a.plain,        a.support,
            a.share, a.width, a.height, a.small_width, a.small_height, a.scenery};
}

PLACE void put_behind_at(const put_behind_arguments &a, int x, int y, int) {
    int rgb[3];
    behind_of(behind(a), x, y, rgb);
    u8 *out = a.out + 3 * ((long)y * a.width + x);
    for (int channel = 0; channel < 3; ++channel) out[channel] = (u8)rgb[channel];
}
KERNEL(put_behind)

struct put_behind_packed_arguments {
    const u8 *rgb, *gray, *base, *picture, *plain;  // of Behind
    const float *support, *share;
    u8 *luma;     // of compose_packed_arguments, as all that follows but for `scenery`
    u8 *cb, *cr;
    int width, height, small_width, small_height;
    float scenery;
    int step, pitch;
    float red, green, blue;
    float scale, offset;
    float chroma_scale;
};

PLACE void put_behind_packed_at(const put_behind_packed_arguments &a, int x, int y, int) {
    Behind frame = behind(a);
    pack_at(a, [&](int column, int row, int *rgb) { behind_of(frame, column, row, rgb); }, x, y);
}
KERNEL(put_behind_packed)
