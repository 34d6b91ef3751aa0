// Puts the small color onto the full-size luma (recolor.py, neutral.py, color_space.color_luma).
#include "borders.h"
#include "sampling.h"

struct believe_arguments {
    const float *color;  // (4, height, width): Y', Cb, Cr, confidence
    const float *guide;  // (height, width): the sensor's luma, [0, 1]
    float *out;          // (3, height, width): Y', Cb, Cr
    int width, height;
    float unsure, sure, calm_blue, calm_red, calm_luma;
    float shade_full, shade_none;  // luma between which dark teal stays more and more
    float shade_green, shade_blue;
    int decides;  // 1: pale beige is snow and dull green leaves (decided.decide); between which values more and more
    float snow_tone_begins, snow_tone_full, snow_luma_begins, snow_luma_full, snow_chroma_begins, snow_chroma_full;
    float snow_red_begins, snow_red_full, snow_yellow_begins, snow_yellow_full, leaf_red_begins, leaf_red_full, leaf_yellow_begins, leaf_yellow_full;
    float snow_lost, snow_lift, leaf_gain;
};

// 0 up to the first, 1 from the second on, which may be the smaller one (base_tone.rise).
PLACE float rise(float value, float begins, float full) {
    return clamped((value - begins) / (full - begins), 0.0f, 1.0f);
}

// The network's color where it is sure, the sensor's gray or a palette elsewhere (Recoloring._believed);
// no teal in the shade (shade.out_of_teal), and what is decided (decided.decide).
PLACE void believe_at(const believe_arguments &a, int x, int y, int z) {
    long at = (long)y * a.width + x, plane = (long)a.width * a.height;
    float share = clamped((a.color[3 * plane + at] - a.unsure) * (1.0f / (a.sure - a.unsure)), 0.0f, 1.0f);
    float guide = a.guide[at];
    float tone = guide + share * (a.color[at] - guide);
    if (z == 0 && !a.decides) {
        a.out[at] = tone;
        return;
    }
    float above = guide - a.calm_luma, other_blue = above * a.calm_blue, other_red = above * a.calm_red;
    float cb = other_blue + share * (a.color[plane + at] - other_blue);
    float cr = other_red + share * (a.color[2 * plane + at] - other_red);
    float green = cr < 0.0f ? -cr : 0.0f;
    float up = (cb + a.shade_green * green) / (1.0f + a.shade_green), down = a.shade_blue * green - cb;
    float move = up < down ? up : down;
    move = move < 0.0f ? 0.0f : move;
    move *= clamped((a.shade_none - tone) / (a.shade_none - a.shade_full), 0.0f, 1.0f);
    cb -= move;
    cr += move;
    if (a.decides) {
        float white = rise(tone, a.snow_tone_begins, a.snow_tone_full) * rise(guide, a.snow_luma_begins, a.snow_luma_full);
        white *= rise(cr, a.snow_red_begins, a.snow_red_full) * rise(-cb, a.snow_yellow_begins, a.snow_yellow_full);
        white *= rise(sqrtf(cb * cb + cr * cr), a.snow_chroma_begins, a.snow_chroma_full);
        tone += fmaxf(guide - tone, 0.0f) * white * a.snow_lift;
        cb *= 1.0f - a.snow_lost * white;
        cr *= 1.0f - a.snow_lost * white;
        float leaf = rise(-cr, a.leaf_red_begins, a.leaf_red_full) * rise(-cb, a.leaf_yellow_begins, a.leaf_yellow_full);
        cb *= 1.0f + a.leaf_gain * leaf;
        cr *= 1.0f + a.leaf_gain * leaf;
    }
    a.out[z * plane + at] = z == 0 ? tone : z == 1 ? cb : cr;
}
KERNEL(believe)

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
PLACE void extreme_at(const extreme_arguments &a, int x, int y, int) {
    int found = a.in[(long)y * a.width + x];
    for (int row = larger(y - a.radius, 0); row <= smaller(y + a.radius, a.height - 1); ++row)
        for (int column = larger(x - a.radius, 0); column <= smaller(x + a.radius, a.width - 1); ++column) {
            int level = a.in[(long)row * a.width + column];
            found = a.largest ? larger(found, level) : smaller(found, level);
        }
    a.out[(long)y * a.width + x] = (u8)found;
}
KERNEL(extreme)

struct keep_neutral_arguments {
    const u8 *luma, *shown;  // (height, width): the sensor's, and what goes out
    const u8 *opened;        // (height, width): the sensor's after an opening
    const Borders *borders;  // of `luma`
    u8 *chroma;              // (2, height, width), 128 neutral, in place
    int width, height;
    float white_begins, white_full;  // levels shown between which what is clipped loses its color
};

PLACE bool on_stroke(const keep_neutral_arguments &a, int x, int y) {
    int level = a.luma[(long)y * a.width + x];
    return level >= 232 && level - a.opened[(long)y * a.width + x] >= 96;
}

// neutral.level_fade.
PLACE float level_fade(u8 level) {
    return fminf(clamped((float)level / 3.0f, 0.0f, 1.0f), clamped((252.0f - level) / 8.0f, 0.0f, 1.0f));
}

// recolor.keep_neutral.
PLACE void keep_neutral_at(const keep_neutral_arguments &a, int x, int y, int z) {
    long at = (long)y * a.width + x;
    u8 level = a.luma[at];
    float bright = clamped((a.shown[at] - a.white_begins) / (a.white_full - a.white_begins), 0.0f, 1.0f);
    float white = level < 128 ? 0.0f : 1.0f - level_fade(level);
    float factor = fminf(1.0f - white * bright, level_fade(a.shown[at]));
    for (int row = larger(y - 1, 0); row <= smaller(y + 1, a.height - 1); ++row)
        for (int column = larger(x - 1, 0); column <= smaller(x + 1, a.width - 1); ++column)
            if (on_stroke(a, column, row)) factor = 0.0f;
    if (on_border(*a.borders, x, y, a.width, a.height)) factor = 0.0f;
    u8 &chroma = a.chroma[(long)z * a.width * a.height + at];
    chroma = to_u8(((float)chroma - 128.0f) * factor + 128.0f);
}
KERNEL(keep_neutral)

// A picture before it is put together.
struct Layers {
    const u8 *shown;   // (height, width)
    const u8 *chroma;  // (2, fine_height, fine_width), 128 neutral
    int width, height, fine_width, fine_height;
    float limit;  // of the chroma in levels; below 0 for none
};

PLACE int shifted(int value) { return (value + (1 << 13)) >> 14; }

// color_space.color_luma: BT.601 full range as OpenCV rounds it; where the gamut ends, chroma gives way.
PLACE void color_of(const Layers &a, int x, int y, int *rgb) {
    long at = (long)y * a.width + x, fine = (long)a.fine_width * a.fine_height;
    int luma = a.shown[at], cb, cr;
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
    int red = clamped(luma + shifted(cr * 22987), 0, 255);
    int green = clamped(luma + shifted(cb * -5636 + cr * -11698), 0, 255);
    int blue = clamped(luma + shifted(cb * 29049), 0, 255);
    int gray = (red * 9798 + green * 19235 + blue * 3735 + (1 << 14)) >> 15;
    if (gray - luma > 1 || luma - gray > 1) {
        const float to_red = 1.402f, to_blue = 1.772f;  // BT.601-7
        float away[3] = {to_red * cr, -to_blue * 0.114f / 0.587f * cb - to_red * 0.299f / 0.587f * cr, to_blue * cb};
        float scale = 1.0f;
        for (int channel = 0; channel < 3; ++channel) {
            float room = away[channel] > 0.0f ? 255.0f - luma : (float)luma;
            scale = fminf(scale, room / fmaxf(fabsf(away[channel]), 1e-3f));
        }
        red = to_u8(luma + away[0] * scale);
        green = to_u8(luma + away[1] * scale);
        blue = to_u8(luma + away[2] * scale);
    }
    rgb[0] = red, rgb[1] = green, rgb[2] = blue;
}

struct compose_arguments {
    const u8 *shown, *chroma;  // of Layers
    u8 *out;                   // (height, width, 3) R'G'B'
    int width, height, fine_width, fine_height;
    float limit;
};

PLACE void compose_at(const compose_arguments &a, int x, int y, int) {
    int rgb[3];
    color_of({a.shown, a.chroma, a.width, a.height, a.fine_width, a.fine_height, a.limit}, x, y, rgb);
    u8 *out = a.out + 3 * ((long)y * a.width + x);
    for (int channel = 0; channel < 3; ++channel) out[channel] = (u8)rgb[channel];
}
KERNEL(compose)

struct compose_packed_arguments {
    const u8 *shown, *chroma;  // of Layers
    u8 *luma;                  // (height, width)
    u8 *cb, *cr;               // first value of each
    int width, height, fine_width, fine_height;
    float limit;
    int step, pitch;         // of cb and cr: bytes from value to value, from row to row
    float red, green, blue;  // of the matrix
    float scale, offset;     // of the luma's range, levels
    float chroma_scale;      // levels for one level of full-range chroma
};

// The picture as encoders take it (i420.pack): two by two pixels, chroma of their mean (centered siting); at odd
// sizes the last row and column count twice.
PLACE void compose_packed_at(const compose_packed_arguments &a, int x, int y, int) {
    Layers layers = {a.shown, a.chroma, a.width, a.height, a.fine_width, a.fine_height, a.limit};
    int sum[3] = {0, 0, 0};
    for (int down = 0; down < 2; ++down)
        for (int right = 0; right < 2; ++right) {
            int row = smaller(2 * y + down, a.height - 1), column = smaller(2 * x + right, a.width - 1), rgb[3];
            color_of(layers, column, row, rgb);
            float luma = a.red * rgb[0] + a.green * rgb[1] + a.blue * rgb[2];
            a.luma[(long)row * a.width + column] = to_u8(luma * a.scale + a.offset);
            for (int channel = 0; channel < 3; ++channel) sum[channel] += rgb[channel];
        }
    float red = sum[0] * 0.25f, green = sum[1] * 0.25f, blue = sum[2] * 0.25f;
    float luma = a.red * red + a.green * green + a.blue * blue;
    long at = (long)y * a.pitch + (long)x * a.step;
    a.cb[at] = to_u8((blue - luma) / (2.0f * (1.0f - a.blue)) * a.chroma_scale + 128.0f);
    a.cr[at] = to_u8((red - luma) / (2.0f * (1.0f - a.red)) * a.chroma_scale + 128.0f);
}
KERNEL(compose_packed)

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
