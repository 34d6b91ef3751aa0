// What of a network's answer is shown, place by place (Recoloring._believed, ambiguous.py, shade.py, night.py).
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
    float snow_red_begins, snow_red_full, snow_yellow_begins, snow_yellow_full;
    float leaf_red_begins, leaf_red_full, leaf_yellow_begins, leaf_yellow_full, leaf_beyond_begins, leaf_beyond_full;
    float snow_lost, snow_lift, leaf_gain;
    int unmixes;  // 1: heat's blue, brown and violet of no day are something else (decided.unmix)
    float sky_tone_begins, sky_tone_full, sky_blue_begins, sky_blue_full;
    float bark_tone_begins, bark_tone_full, brown_begins, brown_full, pink, red, least_yellow;
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

// Heat's blue, brown and violet of no day are something else (decided.unmix), and so is hot olive (out_of_olive).
PLACE void unmix(const believe_arguments &a, float guide, float tone, float &cb, float &cr) {
    float blue = rise(cb, a.sky_blue_begins, a.sky_blue_full);
    float kept = 1.0f - (1.0f - rise(tone, a.sky_tone_begins, a.sky_tone_full)) * blue;
    cb *= kept;
    cr *= kept;
    float left = rise(tone, a.bark_tone_begins, a.bark_tone_full), yellow = fmaxf(-cb, 0.0f), red = fmaxf(cr, 0.0f);
    cb += yellow * (1.0f - left) * rise(red / fmaxf(yellow, a.least_yellow), a.brown_begins, a.brown_full);
    cr = fminf(cr, red * left);
    cr = fminf(cr, a.pink + a.red * fmaxf(-cb, 0.0f));
    yellow = fmaxf(-cb, 0.0f);
    float olive = rise(guide, a.hot_begins, a.hot_full) * rise(tone, a.sunlit_begins, a.sunlit_full);
    olive *= rise(cr + a.olive_red * yellow, a.olive_begins, a.olive_full);
    olive *= fmaxf(a.sand * yellow - cr, 0.0f);
    cr += olive;
    cb += a.sand_lost * olive;
}

// No teal in the shade, and no mint (shade.out_of_teal).
PLACE void leave_teal(const believe_arguments &a, float tone, float &cb, float &cr) {
    float green = cr < 0.0f ? -cr : 0.0f;
    float up = (cb + a.shade_green * green) / (1.0f + a.shade_green), down = a.shade_blue * green - cb;
    float move = up < down ? up : down;
    move = move < 0.0f ? 0.0f : move;
    move *= fmaxf(rise(tone, a.shade_none, a.shade_full), rise(-cb, a.mint_begins, a.mint_full));
    cb -= move;
    cr += move;
}

// Pale beige is snow, dull green is leaves (decided.decide).
PLACE void decide(const believe_arguments &a, float guide, float &tone, float &cb, float &cr) {
    float luma = rise(guide, a.snow_luma_begins, a.snow_luma_full);
    float white = rise(tone, a.snow_tone_begins, a.snow_tone_full) * luma;
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

// The network's color where it is sure; elsewhere the sensor's gray, a palette or a night under lamps
// (Recoloring._believed); then the rules, of which a reference's share takes nothing.
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
    float tone = other.tone + share * (color[0] - other.tone), cb = color[1], cr = color[2];
    if (a.unmixes) unmix(a, guide, tone, cb, cr);
    cb = other.blue + share * (cb - other.blue);
    cr = other.red + share * (cr - other.red);
    float given_tone = tone, given_cb = other.blue + share * (color[1] - other.blue);
    float given_cr = other.red + share * (color[2] - other.red);
    leave_teal(a, tone, cb, cr);
    if (a.decides) decide(a, guide, tone, cb, cr);
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
