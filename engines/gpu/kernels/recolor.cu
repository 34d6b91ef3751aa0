// Puts the small color onto the full-size luma (recolor.py, neutral.py, color_space.color_luma).
#include "borders.h"
#include "sampling.h"  // and `night_of`, which stands in windows.cu

struct fade_chroma_arguments {
    const float *color;  // (3, height, width): Y', Cb, Cr
    const float *mean;   // (height, width): windows' means of the guide
    const int *count;    // of dark windows
    float *out;          // (2, height, width)
    int width, height;
    int fades;  // 1: less color where it is dark, and everywhere by night
    float dark, lit, night_begins, night_full, night_color, night_blue;
    float dusk_cb, dusk_cr;  // of what no light reaches by night
    float limit;  // of the chroma, [0, 1]; below 0 for none
};

// The chroma that is shown, before it is modeled on the luma.
PLACE void fade_chroma_at(const fade_chroma_arguments &a, int x, int y, int) {
    long at = (long)y * a.width + x, plane = (long)a.width * a.height;
    float faded = 1.0f, shade = 0.0f;
    if (a.fades) {
        float night = night_of(*a.count, plane, a.night_begins, a.night_full);
        float calm = 1.0f + night * (a.night_color - 1.0f);
        float light = clamped((a.mean[at] - a.dark) / (a.lit - a.dark), 0.0f, 1.0f);
        shade = (1.0f - light) * night;
        faded = light * calm;
        faded *= 1.0f - night * clamped(a.color[plane + at] / a.night_blue, 0.0f, 1.0f);
    }
    float cb = a.color[plane + at] * faded + shade * a.dusk_cb;
    float cr = a.color[2 * plane + at] * faded + shade * a.dusk_cr;
    if (a.limit >= 0.0f) {
        float scale = a.limit / fmaxf(sqrtf(cb * cb + cr * cr), fmaxf(a.limit, 1e-6f));
        cb *= scale;
        cr *= scale;
    }
    a.out[at] = cb;
    a.out[plane + at] = cr;
}
KERNEL(fade_chroma)

struct extreme_arguments {
    const u8 *in;  // (height, width)
    u8 *out;       // (height, width)
    int width, height, radius, largest;
};

// cv2.erode or cv2.dilate by a square; outside of the picture there is nothing.
PLACE void extreme_seen(const extreme_arguments &a, int x, int y, int, float (&seen)[1]) {
    float level = (float)a.in[(long)y * a.width + x];
    seen[0] = a.largest ? -level : level;
}

PLACE void extreme_at(const extreme_arguments &a, const Tile &tile, int x, int y, int) {
    float found = tile.least(0, x, y);
    a.out[(long)y * a.width + x] = (u8)(a.largest ? -found : found);
}
TILED_KERNEL(extreme, 1, 0)

struct keep_neutral_arguments {
    const u8 *luma, *shown;  // (height, width): the sensor's, and what goes out
    const u8 *opened;        // (height, width): the sensor's after an opening
    const Borders *borders;  // of `luma`
    u8 *chroma;              // (2, height, width), 128 neutral, in place
    int width, height;
    float white_begins, white_full;  // levels shown between which what is clipped loses its color
};

template <class Arguments>
PLACE bool on_stroke(const Arguments &a, int x, int y) {
    int level = a.luma[(long)y * a.width + x];
    return level >= 232 && level - a.opened[(long)y * a.width + x] >= 96;
}

// neutral.level_fade.
PLACE float level_fade(u8 level) {
    return fminf(clamped((float)level / 3.0f, 0.0f, 1.0f), clamped((252.0f - level) / 8.0f, 0.0f, 1.0f));
}

// Factor on the chroma of a place that is shown so bright (neutral.keep).
template <class Arguments>
PLACE float neutral_factor(const Arguments &a, u8 shown, int x, int y) {
    u8 level = a.luma[(long)y * a.width + x];
    float bright = clamped((shown - a.white_begins) / (a.white_full - a.white_begins), 0.0f, 1.0f);
    float white = level < 128 ? 0.0f : 1.0f - level_fade(level);
    float factor = fminf(1.0f - white * bright, level_fade(shown));
    for (int row = larger(y - 1, 0); row <= smaller(y + 1, a.height - 1); ++row)
        for (int column = larger(x - 1, 0); column <= smaller(x + 1, a.width - 1); ++column)
            if (on_stroke(a, column, row)) factor = fminf(factor, 1.0f - bright);
    return on_border(*a.borders, x, y, a.width, a.height) ? 0.0f : factor;
}

PLACE void keep_neutral_at(const keep_neutral_arguments &a, int x, int y, int z) {
    u8 &chroma = a.chroma[((long)z * a.height + y) * a.width + x];
    u8 shown = a.shown[(long)y * a.width + x];
    chroma = to_u8(((float)chroma - 128.0f) * neutral_factor(a, shown, x, y) + 128.0f);
}
KERNEL(keep_neutral)

PLACE int shifted(int value) { return (value + (1 << 13)) >> 14; }

// What chroma, levels around 0, adds to R', G', B' (BT.601-7).
struct Away {
    float rgb[3];
};

PLACE Away away_of(int cb, int cr) {
    const float to_red = 1.402f, to_blue = 1.772f;
    return {{to_red * cr, -to_blue * 0.114f / 0.587f * cb - to_red * 0.299f / 0.587f * cr, to_blue * cb}};
}

// BT.601 full range as OpenCV rounds it into `rgb`; and by what chroma is to be multiplied where the gamut ends
// (color_space.color_luma).
PLACE float gamut_of(int luma, int cb, int cr, int *rgb) {
    rgb[0] = clamped(luma + shifted(cr * 22987), 0, 255);
    rgb[1] = clamped(luma + shifted(cb * -5636 + cr * -11698), 0, 255);
    rgb[2] = clamped(luma + shifted(cb * 29049), 0, 255);
    int gray = (rgb[0] * 9798 + rgb[1] * 19235 + rgb[2] * 3735 + (1 << 14)) >> 15;
    float scale = 1.0f;
    if (gray - luma <= 1 && luma - gray <= 1) return scale;
    Away away = away_of(cb, cr);
    for (int channel = 0; channel < 3; ++channel) {
        float room = away.rgb[channel] > 0.0f ? 255.0f - luma : (float)luma;
        scale = fminf(scale, room / fmaxf(fabsf(away.rgb[channel]), 1e-3f));
    }
    return scale;
}

struct compose_arguments {
    const u8 *shown;   // (height, width)
    const u8 *chroma;  // (2, fine_height, fine_width), 128 neutral
    u8 *out;           // (height, width, 3) R'G'B'
    int width, height, fine_width, fine_height;
    float limit;  // of the chroma in levels; below 0 for none
};

// The end of Recoloring.apply.
PLACE void compose_at(const compose_arguments &a, int x, int y, int) {
    long at = (long)y * a.width + x, fine = (long)a.fine_width * a.fine_height;
    int luma = a.shown[at], cb, cr, rgb[3];
    if (a.width == a.fine_width && a.height == a.fine_height) {
        cb = a.chroma[at], cr = a.chroma[fine + at];
    } else {
        cb = linear_u8(a.chroma, a.fine_width, a.fine_height, a.width, a.height, x, y);
        cr = linear_u8(a.chroma + fine, a.fine_width, a.fine_height, a.width, a.height, x, y);
    }
    cb -= 128, cr -= 128;
    if (a.limit >= 0.0f) {
        float scale = fminf(1.0f, a.limit / fmaxf(sqrtf((float)(cb * cb + cr * cr)), 1e-3f));
        cb = to_u8((float)cb * scale + 128.0f) - 128;
        cr = to_u8((float)cr * scale + 128.0f) - 128;
    }
    float scale = gamut_of(luma, cb, cr, rgb);
    Away away = away_of(cb, cr);
    for (int channel = 0; channel < 3; ++channel)
        a.out[3 * at + channel] = scale < 1.0f ? to_u8(luma + away.rgb[channel] * scale) : (u8)rgb[channel];
}
KERNEL(compose)

struct video_chroma_arguments {
    const u8 *luma;          // (height, width), half of the picture: the sensor's
    const float *tone;       // (2, small_height, small_width): slope and offset of the luma shown; null for as it is
    const u8 *opened;        // (height, width): the sensor's after an opening
    const Borders *borders;  // of `luma`
    const float *models;     // (2, 2, small_height, small_width): slope and offset of Cb, and of Cr
    u8 *cb, *cr;             // first value of each, BT.709 limited range
    float *raised;           // (height, width): what chroma adds to the video's luma, and the range's offset, levels
    int width, height, small_width, small_height;
    int step, pitch;  // of cb and cr: bytes from value to value, from row to row
    float white_begins, white_full;  // levels shown between which what is clipped loses its color
    float limit;                     // of the chroma in levels; below 0 for none
    float to_luma[2], to_cb[2], to_cr[2];  // of Cb and Cr of BT.601 (color_space.CHROMA_TO_VIDEO)
};

PLACE float modeled(const video_chroma_arguments &a, const float *slope, int x, int y) {
    const float *offset = slope + (long)a.small_width * a.small_height;
    float value = linear(slope, a.small_width, a.small_height, a.width, a.height, x, y);
    value *= (float)a.luma[(long)y * a.width + x];
    return value + linear(offset, a.small_width, a.small_height, a.width, a.height, x, y) * 255.0f;
}

// Chroma as video carries it (Recoloring.planes).
PLACE void video_chroma_at(const video_chroma_arguments &a, int x, int y, int) {
    long at = (long)y * a.width + x, place = (long)y * a.pitch + (long)x * a.step;
    u8 shown = a.tone ? to_u8(modeled(a, a.tone, x, y)) : a.luma[at];
    float factor = neutral_factor(a, shown, x, y);
    float cb = modeled(a, a.models, x, y) * factor;
    float cr = modeled(a, a.models + 2l * a.small_width * a.small_height, x, y) * factor;
    if (a.limit >= 0.0f) {
        float scale = fminf(1.0f, a.limit / fmaxf(sqrtf(cb * cb + cr * cr), 1e-3f));
        cb *= scale;
        cr *= scale;
    }
    int rgb[3];
    float scale = gamut_of(shown, to_u8(cb + 128.0f) - 128, to_u8(cr + 128.0f) - 128, rgb);
    cb *= scale;
    cr *= scale;
    a.cb[place] = to_u8(cb * a.to_cb[0] + cr * a.to_cb[1] + 128.0f);
    a.cr[place] = to_u8(cb * a.to_cr[0] + cr * a.to_cr[1] + 128.0f);
    a.raised[at] = cb * a.to_luma[0] + cr * a.to_luma[1] + 16.0f;
}
KERNEL(video_chroma)

struct video_luma_arguments {
    const u8 *luma;       // (height, width)
    const float *tone;    // (2, small_height, small_width): slope and offset of the luma shown; null for as it is
    const float *raised;  // (half_height, half_width): as `video_chroma` wrote it
    const Borders *borders;  // of `luma`, where it is shown as it is
    const Borders *halved;   // of half of it: without any there, there are none
    u8 *out;                 // (height, width), BT.709 limited range
    int width, height, small_width, small_height, half_width, half_height;
};

#define VIDEO_ROWS 4  // of one thread, which have the columns between models and the borders in common

// Recoloring._video_luma, and neutral.keep_borders: rounded for the first time.
PLACE void video_luma_at(const video_luma_arguments &a, int x, int y, int) {
    long small = (long)a.small_width * a.small_height;
    const float range = 219.0f;  // BT.709-6, 4.6
    Neighbors half_columns = neighbors_of(x, a.half_width, a.width), columns = neighbors_of(x, a.small_width, a.width);
    bool bordered = a.tone && any_border(*a.halved, a.half_width, a.half_height);
    for (int row = y * VIDEO_ROWS; row < smaller((y + 1) * VIDEO_ROWS, a.height); ++row) {
        long at = (long)row * a.width + x;
        float light = (float)a.luma[at], plain = light * (range / 255.0f);
        float raised = linear(a.raised, a.half_width, half_columns, neighbors_of(row, a.half_height, a.height));
        if (!a.tone) {
            a.out[at] = to_u8(plain + raised);
        } else if (bordered && on_border(*a.borders, x, row, a.width, a.height)) {
            a.out[at] = to_u8(plain + 16.0f);
        } else {
            Neighbors rows = neighbors_of(row, a.small_height, a.height);
            float value = linear(a.tone, a.small_width, columns, rows) * (range / 255.0f) * light;
            value += linear(a.tone + small, a.small_width, columns, rows) * range;
            a.out[at] = (u8)clamped((int)to_u8(value + raised), 16, 235);
        }
    }
}
KERNEL(video_luma)

struct show_confidence_arguments {
    const float *confidence;  // (height, width)
    u8 *out;                  // (height, width)
    int width;
};

PLACE void show_confidence_at(const show_confidence_arguments &a, int x, int y, int) {
    long at = (long)y * a.width + x;
    a.out[at] = to_u8(fabsf(a.confidence[at] * 255.0f));
}
KERNEL(show_confidence)
