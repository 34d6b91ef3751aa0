// Puts the small color onto the full-size luma (recolor.py, neutral.py, color_space.color_luma).
#include "borders.h"
#include "sampling.h"

struct believe_arguments {
    const float *color;  // (4, whole_height, whole_width): Y', Cb, Cr, confidence; one more where steered
    const float *guide;  // (height, width): the sensor's luma, [0, 1]
    float *out;          // (3, height, width): Y', Cb, Cr; (4, height, width) with the luma where `counts` is given
    int *counts;         // (1024), set to 0: of heat.cu; null for none
    int width, height, whole_width, whole_height;
    int steered;  // 1: the fifth plane is the share that is a reference's, which no rule changes
    float unsure, sure, calm_blue, calm_red, calm_luma;
    int lamplit;  // 1: what is not known is a night under lamps instead (night.lamplit)
    float lamp_lift, lamp_cb, lamp_cr, moon_cb, moon_cr;
    float lamp_begins, lamp_full, moon_begins, moon_full, dark_begins, dark_full;
    float shade_full, shade_none;  // luma between which dark teal stays more and more
    float shade_green, shade_blue;
    float mint_begins, mint_full;  // -Cb between which what is too green is leaves however bright
    int decides;  // 1: pale beige is snow and dull green leaves (decided.decide); between which values more and more
    float snow_tone_begins, snow_tone_full, snow_luma_begins, snow_luma_full, snow_chroma_begins, snow_chroma_full;
    float snow_red_begins, snow_red_full, snow_yellow_begins, snow_yellow_full, leaf_red_begins, leaf_red_full, leaf_yellow_begins, leaf_yellow_full, leaf_beyond_begins, leaf_beyond_full;
    float snow_lost, snow_lift, leaf_gain;
    int unmixes;  // 1: heat's blue, brown and violet of no day are something else (decided.unmix)
    float sky_tone_begins, sky_tone_full, sky_blue_begins, sky_blue_full, bark_tone_begins, bark_tone_full, brown_begins, brown_full, pink, red, least_yellow;
    float olive_begins, olive_full, hot_begins, hot_full, sunlit_begins, sunlit_full, olive_red, sand, sand_lost;
};

// 0 up to the first, 1 from the second on, which may be the smaller one (base_tone.rise).
PLACE float rise(float value, float begins, float full) {
    return clamped((value - begins) / (full - begins), 0.0f, 1.0f);
}

// A place of a plane that may have twice the size.
PLACE float seen_at(const float *plane, int width, int height, int to_width, int to_height, int x, int y) {
    if (width == to_width && height == to_height) return plane[(long)y * width + x];
    Picture<float> picture = {plane, width};
    return area_mean(picture, width, height, to_width, to_height, x, y);
}

struct Unknown {
    float tone, blue, red;
};

// Y', Cb, Cr of what is not known, by its luma (BandLook.unknown).
template <class Arguments>
PLACE Unknown unknown_of(const Arguments &a, float luma) {
    float above = luma - a.calm_luma;
    if (!a.lamplit) return {luma, above * a.calm_blue, above * a.calm_red};
    float tone = luma + a.lamp_lift * luma * (1.0f - luma) * (1.0f - luma);
    float lamp = rise(tone, a.lamp_begins, a.lamp_full);
    float moon = rise(tone, a.moon_begins, a.moon_full) * rise(tone, a.dark_begins, a.dark_full);
    return {tone, a.lamp_cb * lamp + a.moon_cb * moon, a.lamp_cr * lamp + a.moon_cr * moon};
}

// How far the network's color is taken.
template <class Arguments>
PLACE float sureness_of(const Arguments &a, float confidence) {
    return clamped((confidence - a.unsure) * (1.0f / (a.sure - a.unsure)), 0.0f, 1.0f);
}

// The network's color where it is sure; elsewhere the sensor's gray, a palette or a night under lamps
// (Recoloring._believed); no teal in the shade and no mint (shade.out_of_teal), and what is decided (decided.decide).
PLACE void believe_at(const believe_arguments &a, int x, int y, int) {
    long at = (long)y * a.width + x, plane = (long)a.width * a.height;
    float guide = a.guide[at];
    if (a.counts) {
        a.out[3 * plane + at] = guide;
        for (long one = at; one < 1024; one += plane) a.counts[one] = 0;
    }
    float color[5];
    for (int one = 0; one < 4 + a.steered; ++one) {
        const float *from = a.color + (long)one * a.whole_width * a.whole_height;
        color[one] = seen_at(from, a.whole_width, a.whole_height, a.width, a.height, x, y);
    }
    float share = sureness_of(a, color[3]);
    Unknown other = unknown_of(a, guide);
    float other_blue = other.blue, other_red = other.red;
    float tone = other.tone + share * (color[0] - other.tone);
    float cb = color[1], cr = color[2];
    if (a.unmixes) {
        float kept = 1.0f - (1.0f - rise(tone, a.sky_tone_begins, a.sky_tone_full)) * rise(cb, a.sky_blue_begins, a.sky_blue_full);
        cb *= kept;
        cr *= kept;
        float left = rise(tone, a.bark_tone_begins, a.bark_tone_full), yellow = fmaxf(-cb, 0.0f), red = fmaxf(cr, 0.0f);
        cb += yellow * (1.0f - left) * rise(red / fmaxf(yellow, a.least_yellow), a.brown_begins, a.brown_full);
        cr = fminf(cr, red * left);
        cr = fminf(cr, a.pink + a.red * fmaxf(-cb, 0.0f));
        yellow = fmaxf(-cb, 0.0f);  // decided.out_of_olive
        float olive = rise(guide, a.hot_begins, a.hot_full) * rise(tone, a.sunlit_begins, a.sunlit_full);
        olive *= rise(cr + a.olive_red * yellow, a.olive_begins, a.olive_full);
        olive *= fmaxf(a.sand * yellow - cr, 0.0f);
        cr += olive;
        cb += a.sand_lost * olive;
    }
    cb = other_blue + share * (cb - other_blue);
    cr = other_red + share * (cr - other_red);
    float given_tone = tone, given_cb = other_blue + share * (color[1] - other_blue);
    float given_cr = other_red + share * (color[2] - other_red);
    float green = cr < 0.0f ? -cr : 0.0f;
    float up = (cb + a.shade_green * green) / (1.0f + a.shade_green), down = a.shade_blue * green - cb;
    float move = up < down ? up : down;
    move = move < 0.0f ? 0.0f : move;
    move *= fmaxf(rise(tone, a.shade_none, a.shade_full), rise(-cb, a.mint_begins, a.mint_full));
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
        leaf *= rise(a.shade_green * cr - cb, a.leaf_beyond_begins, a.leaf_beyond_full);
        cb *= 1.0f + a.leaf_gain * leaf;
        cr *= 1.0f + a.leaf_gain * leaf;
    }
    if (a.steered) {
        tone += color[4] * (given_tone - tone);
        cb += color[4] * (given_cb - cb);
        cr += color[4] * (given_cr - cr);
    }
    a.out[at] = tone;
    a.out[plane + at] = cb;
    a.out[2 * plane + at] = cr;
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
