// A reference of the scene over the frame's color, and its picture behind the frame's (steering.py, overlay.py).
#include "sampling.h"  // and `unknown_of`, which stands in believed.cu

struct lay_color_arguments {
    const int *laid;     // (1): 0 where nothing is laid over this frame, which then stays as it is
    const float *color;  // (4, height, width): Y', Cb, Cr, confidence
    const u8 *small;     // (height, width): the sensor's luma
    const float *given;  // (3, height, width): the reference's Y', Cb, Cr
    const float *share;  // (height, width): how far the reference is taken
    float *out;          // (5, height, width): with the share
    u8 *plain;           // (3, height, width): R', G', B' of `given`, or Y', Cb, Cr of video
    int width, height;
    int video;         // 1: of video
    int to_video[12];  // (3, 4) in parts of 1024: what R', G', B' add to each of those, and what else does
    float unsure, sure, calm_blue, calm_red, calm_luma;  // see `believe`
    int lamplit;
    float lamp_lift, lamp_cb, lamp_cr, moon_cb, moon_cr;
    float lamp_begins, lamp_full, moon_begins, moon_full, dark_begins, dark_full;
};

// color_space.ycc_to_rgb, one of R', G', B'.
PLACE int plain_of(float level, float cb, float cr, int channel) {
    if (channel == 0) level += 1.402f * cr;  // BT.601-7
    if (channel == 1) level += -1.772f * 0.114f / 0.587f * cb - 1.402f * 0.299f / 0.587f * cr;
    if (channel == 2) level += 1.772f * cb;
    return to_u8(clamped(level, 0.0f, 1.0f) * 255.0f);
}

// ReferenceSteering.apply, and what is in the infrared's place (Laid.full_size).
PLACE void lay_color_at(const lay_color_arguments &a, int x, int y, int z) {
    long at = (long)y * a.width + x, plane = (long)a.width * a.height;
    if (z == 4) {
        a.out[4 * plane + at] = a.share[at];
        return;
    }
    float own = a.color[z * plane + at];
    float wished = z < 3 ? a.given[z * plane + at] : 1.0f;
    if (*a.laid && z < 3) {  // what is shown without it (shown.shown_alone)
        Unknown other = unknown_of(a, (float)a.small[at] * (float)(1.0 / 255));
        float instead = z == 0 ? other.tone : z == 1 ? other.blue : other.red;
        own = instead + sureness_of(a, a.color[3 * plane + at]) * (own - instead);
    }
    float made_of_both = own + (wished - own) * a.share[at];
    a.out[z * plane + at] = *a.laid && z == 3 ? fmaxf(made_of_both, a.sure) : made_of_both;
    if (z == 3) return;
    float level = a.given[at], cb = a.given[plane + at], cr = a.given[2 * plane + at];
    int made;
    if (a.video) {  // color_space.rgb_to_video, as OpenCV reckons with 8 bits
        const int *row = a.to_video + 4 * z;
        made = row[3];
        for (int channel = 0; channel < 3; ++channel) made += row[channel] * plain_of(level, cb, cr, channel);
        made = clamped(made >> 10, 0, 255);
    } else {
        made = plain_of(level, cb, cr, z);
    }
    a.plain[z * plane + at] = (u8)made;
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

// cv2.blendLinear.
PLACE float blend_of(float first, float second, float share) {
    return (first * share + second * (1.0f - share)) / (share + (1.0f - share) + 1e-5f);
}

struct put_behind_arguments {
    const u8 *rgb, *gray, *base;  // (height, width, 3), (height, width) twice: the frame, its luma, that blurred
    const u8 *picture;            // (height, width, 3): the reference
    const u8 *plain;              // (3, small_height, small_width): what of it stands in the infrared's place
    const float *support;         // (small_height, small_width): how far its own detail is believed
    const float *share;           // (small_height, small_width): how far it is taken
    u8 *out;                      // (height, width, 3) R'G'B'
    int width, height, small_width, small_height;
    float scenery;  // factor on the share
};

// Scenery.put_behind.
PLACE void put_behind_at(const put_behind_arguments &a, int x, int y, int) {
    long at = (long)y * a.width + x, plane = (long)a.small_width * a.small_height;
    float support = linear(a.support, a.small_width, a.small_height, a.width, a.height, x, y);
    float share = a.scenery * linear(a.share, a.small_width, a.small_height, a.width, a.height, x, y);
    int detail = a.gray[at] - a.base[at];
    for (int channel = 0; channel < 3; ++channel) {
        u8 plain = linear_u8(a.plain + channel * plane, a.small_width, a.small_height, a.width, a.height, x, y);
        int scene = to_u8(blend_of(a.picture[3 * at + channel], plain, support));
        a.out[3 * at + channel] = to_u8(blend_of((float)clamped(scene + detail, 0, 255), a.rgb[3 * at + channel], share));
    }
}
KERNEL(put_behind)

struct put_behind_video_arguments {
    const u8 *base;        // (height, width): the luma, blurred
    const u8 *picture;     // the reference: Y' (height, width), Cb and Cr (half_height, half_width)
    const u8 *plain;       // (3, small_height, small_width): what of it stands in the infrared's place
    const float *support;  // (small_height, small_width): how far its own detail is believed
    const float *share;    // (small_height, small_width): how far it is taken
    u8 *luma;              // (height, width) BT.709 limited range, in place; so are the others
    u8 *cb, *cr;           // first value of each
    int width, height, half_width, half_height, small_width, small_height;
    int step, pitch;  // of cb and cr: bytes from value to value, from row to row
    float scenery;    // factor on the share
};

PLACE u8 behind_video(const put_behind_video_arguments &a, int channel, u8 picture, u8 own, int detail, int x, int y) {
    int width = channel ? a.half_width : a.width, height = channel ? a.half_height : a.height;
    const u8 *plain = a.plain + (long)channel * a.small_width * a.small_height;
    float support = linear(a.support, a.small_width, a.small_height, width, height, x, y);
    float share = a.scenery * linear(a.share, a.small_width, a.small_height, width, height, x, y);
    u8 instead = linear_u8(plain, a.small_width, a.small_height, width, height, x, y);
    int scene = to_u8(blend_of(picture, instead, support));
    if (channel == 0) scene = clamped(scene + detail, 16, 235);  // BT.709-6, 4.6
    return to_u8(blend_of((float)scene, own, share));
}

// Scenery.put_behind_video, two by two pixels.
PLACE void put_behind_video_at(const put_behind_video_arguments &a, int x, int y, int) {
    for (int row = 2 * y; row < smaller(2 * y + 2, a.height); ++row)
        for (int column = 2 * x; column < smaller(2 * x + 2, a.width); ++column) {
            long at = (long)row * a.width + column;
            u8 own = a.luma[at];
            a.luma[at] = behind_video(a, 0, a.picture[at], own, own - a.base[at], column, row);
        }
    const u8 *blue = a.picture + (long)a.width * a.height, *red = blue + (long)a.half_width * a.half_height;
    long from = (long)y * a.half_width + x, at = (long)y * a.pitch + (long)x * a.step;
    a.cb[at] = behind_video(a, 1, blue[from], a.cb[at], 0, x, y);
    a.cr[at] = behind_video(a, 2, red[from], a.cr[at], 0, x, y);
}
KERNEL(put_behind_video)
