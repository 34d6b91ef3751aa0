// The base tone (base_tone.py): how far the network's brightness replaces the sensor's, window by window.
#include "sampling.h"  // and `model_at`, which stands in windows.cu

struct tone_models_arguments {
    const float *tone;    // (height, width): the network's luma
    const float *guide;   // (height, width): the sensor's, [0, 1]
    const float *seen;    // (2, height, width): as `window_means` wrote it of the guide, of the same windows
    float *out;           // (3, height, width): as `window_models`, of the change of tone that is wanted
    int width, height, radius;
    float contrast;
};

// The start of base_tone.base_tone.
PLACE void tone_models_seen(const tone_models_arguments &a, int x, int y, int, float (&seen)[3]) {
    long at = (long)y * a.width + x;
    float guide = a.guide[at], wanted = a.tone[at] - guide;
    seen[0] = wanted;
    seen[1] = wanted * guide;
    seen[2] = wanted * wanted;
}

PLACE void tone_models_at(const tone_models_arguments &a, const Tile &tile, int x, int y, int z) {
    model_at(a, tile, x, y, z);
}
TILED_KERNEL(tone_models, 3, 3)

struct base_arguments {
    const u8 *luma;       // (whole_height, whole_width): of the whole picture
    const float *guide;   // (height, width)
    const float *near;    // (height, width): the guide's means over half a window; null where nothing is turned around
    const float *seen;    // (2, height, width): windows' means of the guide and of its square
    const float *models;  // (3, height, width): as `tone_models` wrote it, of the wanted change in the guide
    float *out;           // (3, height, width): way back, base, factor
    const float *smooth;  // (.., smooth_height, smooth_width): as `smooth_averages` wrote it, models of luma, Cb and Cr first
    int whole_width, whole_height, width, height, radius, smooth_width, smooth_height, smooth_sides;
    float turned, lift_begins, lift_full, blue_begins, blue_full, uneven_begins, uneven_full;
    float sharp_begins, sharp_full, flat, slope_begins, slope_full;
    float leaves_begins, leaves_full, no_wall_begins, no_wall_full, gap;
    float darkest, noise_begins, noise_full, fine_begins, fine_full, calm;
    float surfaces_begins, surfaces_full;  // contrast of a window that is of two surfaces
    float edge_floor, detail_floor;
};

// base_tone.mean_square less the guide's square: what the small picture lost of the variance.
PLACE float finer_of(const base_arguments &a, int x, int y) {
    float sum = 0.0f;
    for (int down = 0; down < 2; ++down)
        for (int right = 0; right < 2; ++right) {
            int column = (2 * x + right) * a.whole_width / (2 * a.width);
            int row = (2 * y + down) * a.whole_height / (2 * a.height);
            float level = (float)a.luma[(long)row * a.whole_width + column];
            sum += level * level;
        }
    float guide = a.guide[(long)y * a.width + x];
    return sum * 0.25f * (float)(1.0 / (255.0 * 255.0)) - guide * guide;
}

PLACE float smooth_of(const base_arguments &a, int which, int x, int y) {
    const float *plane = a.smooth + (long)which * a.smooth_width * a.smooth_height;
    return linear(plane, a.smooth_width, a.smooth_height, a.width, a.height, x, y);
}

PLACE void base_seen(const base_arguments &a, int x, int y, int, float (&seen)[7]) {
    long at = (long)y * a.width + x, plane = (long)a.width * a.height;
    float guide = a.guide[at], fine = a.near ? guide - a.near[at] : 0.0f;
    seen[0] = finer_of(a, x, y);
    seen[1] = fine * fine;
    for (int index = 0; index < 3; ++index) seen[2 + index] = a.models[index * plane + at];
    seen[5] = guide;
    seen[6] = -guide;
}

// base_tone.base_tone and _way_back, before the way back is averaged.
PLACE void base_at(const base_arguments &a, const Tile &tile, int x, int y, int) {
    long at = (long)y * a.width + x, plane = (long)a.width * a.height;
    float weight = tile.mean(4, x, y);  // as in average_models
    float mean = a.seen[at], slope = tile.mean(2, x, y) / weight;
    float base = mean + slope * mean + tile.mean(3, x, y) / weight;
    float darker = clamped(base / fmaxf(mean, 1e-3f), a.detail_floor, 1.0f);
    float factor = fmaxf(fabsf(1.0f + slope), a.edge_floor) * (1.0f + slope < 0.0f ? -darker : darker);
    float lowest = tile.least(5, x, y), highest = -tile.least(6, x, y);
    float finer = fmaxf(tile.mean(0, x, y), 0.0f);
    if (a.near) {  // base_tone._before_sky
        float spread = fmaxf(a.seen[plane + at] - mean * mean, 0.0f), variance = spread + finer;
        float thin = tile.mean(1, x, y);
        float sky = clamped((base - mean - a.lift_begins) / (a.lift_full - a.lift_begins), 0.0f, 1.0f);
        float blue = smooth_of(a, 3, x, y) * lowest + smooth_of(a, 4, x, y);
        sky *= clamped((blue - a.blue_begins) / (a.blue_full - a.blue_begins), 0.0f, 1.0f);
        float share = sky * clamped((sqrtf(variance) - a.uneven_begins) / (a.uneven_full - a.uneven_begins), 0.0f, 1.0f);
        float own = smooth_of(a, 1, x, y);
        float sharp = thin / (sqrtf(spread) + a.flat);
        sharp = clamped((sharp - a.sharp_begins) / (a.sharp_full - a.sharp_begins), 0.0f, 1.0f);
        share *= fmaxf(sharp, clamped((own - a.slope_begins) / (a.slope_full - a.slope_begins), 0.0f, 1.0f));
        float wanted = clamped(own * lowest + smooth_of(a, 2, x, y), 0.0f, 1.0f);
        float goal = smooth_of(a, a.smooth_sides, x, y) * (clamped(own, -1.0f, 1.0f) + a.turned) - a.turned;
        goal = fmaxf(goal, wanted * (a.darkest - 1.0f) / (highest - lowest + a.flat));
        wanted += goal * (mean - lowest);
        base += share * smooth_of(a, 0, x, y) * (wanted - base);
        factor += share * (goal - factor);
        float fine = (thin + finer) / (variance + a.flat * a.flat);
        sky *= clamped((highest - lowest - a.noise_begins) / (a.noise_full - a.noise_begins), 0.0f, 1.0f);
        factor *= 1.0f - a.calm * sky * clamped((fine - a.fine_begins) / (a.fine_full - a.fine_begins), 0.0f, 1.0f);
        blue = smooth_of(a, 3, x, y) * mean + smooth_of(a, 4, x, y);  // base_tone._among_leaves
        float leaves = clamped((blue - a.leaves_begins) / (a.leaves_full - a.leaves_begins), 0.0f, 1.0f);
        float red = smooth_of(a, 5, x, y) * mean + smooth_of(a, 6, x, y);
        leaves *= clamped((red - a.no_wall_begins) / (a.no_wall_full - a.no_wall_begins), 0.0f, 1.0f);
        float most = fmaxf(base, a.flat) * (1.0f - a.gap) / fmaxf(fabsf(factor) * (mean - lowest), a.flat);
        factor *= 1.0f + leaves * (fminf(most, 1.0f) - 1.0f);
    }
    finer = sqrtf(finer);
    float dark = factor * (mean - lowest + finer), bright = factor * (highest - mean + finer);
    float below = fmaxf(dark, -bright), above = fmaxf(bright, -dark);
    above = fminf(above, 0.5f) * (1.0f - clamped((highest - lowest - a.surfaces_begins) / (a.surfaces_full - a.surfaces_begins), 0.0f, 1.0f));
    float low = fminf(fminf(below, 0.5f), mean), high = fmaxf(1.0f - above, mean);
    a.out[at] = clamped(base, low, high) - base;
    a.out[plane + at] = base;
    a.out[2 * plane + at] = factor;
}
TILED_KERNEL(base, 7, 5)

struct finish_tone_arguments {
    const float *base;  // (3, height, width): as `base` wrote it
    const float *seen;  // (height, width): windows' means of the guide
    const int *count;   // of dark windows
    float *out;         // (2, height, width): slope and offset that give the shown luma
    int width, height, radius;
    float curve, dark_curve, pivot, exponent, dark_exponent;
    float dark_begins, dark_full;  // share of dark windows
    float least, most;  // factor of the curve on the detail
};

PLACE void finish_tone_seen(const finish_tone_arguments &a, int x, int y, int, float (&seen)[1]) {
    seen[0] = a.base[(long)y * a.width + x];
}

// The end of base_tone.base_tone, plus the luma itself.
PLACE void finish_tone_at(const finish_tone_arguments &a, const Tile &tile, int x, int y, int) {
    long at = (long)y * a.width + x, plane = (long)a.width * a.height;
    float factor = a.base[2 * plane + at], base = a.base[plane + at] + tile.mean(0, x, y);
    float darkness = night_of(*a.count, plane, a.dark_begins, a.dark_full);
    float exponent = a.exponent + darkness * (a.dark_exponent - a.exponent);
    float curve = a.curve + darkness * (a.dark_curve - a.curve);
    if (curve > 0.0f || exponent != 1.0f) {
        base = clamped(base, 0.0f, 1.0f);
        float room = base * (1.0f - base), away = base - a.pivot;
        float slope = 1.0f + curve * ((1.0f - 2.0f * base) * away + room);
        base += curve * room * away;
        if (exponent != 1.0f) {
            base = clamped(base, 1e-3f, 1.0f);
            float made = powf(base, exponent);
            slope *= exponent * made / base;
            base = made;
        }
        factor *= clamped(slope, a.least, a.most);
    }
    a.out[at] = factor;
    a.out[plane + at] = base - factor * a.seen[at];
}
TILED_KERNEL(finish_tone, 1, 1)
