// A sky ends where its heat does (heat.py): what a luma is painted in the whole picture, and what is nearby. And
// what is blue in the shade is green where what has its luma is green (fog.py).
#include "sampling.h"  // and `rise`, which stands in believed.cu

#define LEVELS 256

struct heat_few_arguments {
    const float *planes;  // (4, height, width): Y', Cb, Cr as they are shown, the sensor's luma
    float *out;           // (4, to_height, to_width)
    int *counts;          // (2, LEVELS), 0 before: places of each level that are even painted sky, and no sky, in 255ths
    int width, height, to_width, to_height;
    float blue_begins, blue_full, bright_begins, bright_full, even;
};

PLACE int level_of(float luma) { return to_u8(luma * 255.0f); }

PLACE void heat_few_at(const heat_few_arguments &a, int x, int y, int) {
    long at = (long)y * a.to_width + x, plane = (long)a.to_width * a.to_height;
    float few[4];
    for (int z = 0; z < 4; ++z) {
        Picture<float> picture = {a.planes + (long)z * a.width * a.height, a.width};
        few[z] = area_mean(picture, a.width, a.height, a.to_width, a.to_height, x, y);
        a.out[z * plane + at] = few[z];
    }
    Picture<float> luma = {a.planes + 3L * a.width * a.height, a.width};
    auto squared = [&](int column, int row) { return luma(column, row) * luma(column, row); };
    float square = area_mean(squared, a.width, a.height, a.to_width, a.to_height, x, y);
    float limit = a.even * a.even, even = limit / (limit + fmaxf(square - few[3] * few[3], 0.0f));
    float painted = rise(few[1], a.blue_begins, a.blue_full) * rise(few[0], a.bright_begins, a.bright_full);
    count_up(a.counts + level_of(few[3]), to_u8(painted * even * even * 255.0f));
    count_up(a.counts + LEVELS + level_of(few[3]), to_u8((1.0f - painted) * 255.0f));
}
KERNEL(heat_few)

// heat._by_level of one level, before the bounds.
PLACE float painted_at(const int *counts, int level, int around, float few, long places) {
    int blue = 0, other = 0;
    for (int one = larger(level - around, 0); one <= smaller(level + around, LEVELS - 1); ++one) {
        blue += counts[one];
        other += counts[LEVELS + one];
    }
    return (float)blue / ((float)(blue + other) + 255.0f * few * (float)places);
}

struct heat_places_arguments {
    const float *few;   // (4, height, width): as `heat_few` wrote it
    const int *counts;  // (2, LEVELS)
    float *out;         // (6, height, width): moves of Cb, Cr to a sky's, of Y' to ground's; ground's Cb, Cr; how far taken
    int width, height, radius, around;
    float rare, blue_begins, blue_full, bright_begins, bright_full, sky_begins, sky_full, ground_begins, ground_full;
    float plain_begins, plain_full, cloud_begins, cloud_full, found_begins, found_full, found_sky_begins, found_sky_full;
    float unsay_begins, unsay_full, lit_begins, lit_full, leaf_begins, leaf_full, fewest;
    float alone_tone, alone_cb, alone_cr;
};

// heat._places: sky, its Cb, its Cr, what is no sky by luma; ground, its Y', Cb, Cr.
PLACE void heat_places_seen(const heat_places_arguments &a, int x, int y, int, float (&seen)[8]) {
    long plane = (long)a.width * a.height;
    const float *few = a.few + (long)y * a.width + x;
    float tone = few[0], cb = few[plane], cr = few[2 * plane];
    float part = painted_at(a.counts, level_of(few[3 * plane]), a.around, a.rare, plane);
    float warm = rise(part, a.ground_begins, a.ground_full);
    float sky = rise(cb, a.blue_begins, a.blue_full) * rise(tone, a.bright_begins, a.bright_full);
    sky *= rise(part, a.sky_begins, a.sky_full);
    float ground = rise(cb, a.plain_begins, a.plain_full) * rise(tone, a.cloud_begins, a.cloud_full) * warm;
    seen[0] = sky, seen[1] = sky * cb, seen[2] = sky * cr, seen[3] = warm;
    seen[4] = ground, seen[5] = ground * tone, seen[6] = ground * cb, seen[7] = ground * cr;
}

PLACE void heat_places_at(const heat_places_arguments &a, const Tile &tile, int x, int y, int) {
    long at = (long)y * a.width + x, plane = (long)a.width * a.height;
    float *out = a.out + at;
    float tone = a.few[at], cb = a.few[plane + at], cr = a.few[2 * plane + at];
    float skies = tile.mean(0, x, y), grounds = tile.mean(4, x, y);
    float part = painted_at(a.counts, level_of(a.few[3 * plane + at]), a.around, a.rare, plane);
    float move = rise(skies / (skies + tile.mean(3, x, y) + 5.0f * a.fewest), a.found_sky_begins, a.found_sky_full);
    move *= rise(part, a.sky_begins, a.sky_full) * rise(cb, a.unsay_begins, a.unsay_full);
    float known = grounds + skies, found = rise(grounds / (known + a.fewest), a.found_begins, a.found_full);
    known /= known + a.fewest;
    skies += 1e-4f;
    grounds += 1e-4f;
    out[0] = (tile.mean(1, x, y) / skies - cb) * move;
    out[plane] = (tile.mean(2, x, y) / skies - cr) * move;
    float strong = rise(cb, a.blue_begins, a.blue_full);
    float alone = fminf(a.alone_tone - tone, 0.0f), darker = fminf(tile.mean(5, x, y) / grounds - tone, 0.0f);
    out[2 * plane] = (alone + found * (darker - alone)) * strong;
    float green = tile.mean(7, x, y) / grounds, leaves = strong * rise(green, a.leaf_begins, a.leaf_full);
    float yellow = fminf(tile.mean(6, x, y), 0.0f) * leaves / grounds;
    out[3 * plane] = a.alone_cb + found * (yellow - a.alone_cb);
    out[4 * plane] = a.alone_cr + found * (green * leaves - a.alone_cr);
    out[5 * plane] = known * rise(tone, a.lit_begins, a.lit_full);
}
TILED_KERNEL(heat_places, 8, 8)

struct part_by_heat_arguments {
    float *planes;        // (4, height, width): Y', Cb, Cr in place; the sensor's luma
    const float *steered; // (whole_height, whole_width): a reference's share, which no rule changes; null for none
    const float *places;  // (6, small_height, small_width): as `heat_places` wrote it
    const int *counts;    // (2, LEVELS)
    int width, height, whole_width, whole_height, small_width, small_height, around, seen;
    float rare, ground_begins, ground_full, say_begins, say_full;
};

PLACE float place_of(const part_by_heat_arguments &a, int z, int x, int y) {
    const float *from = a.places + (long)z * a.small_width * a.small_height;
    return linear(from, a.small_width, a.small_height, a.width, a.height, x, y);
}

// heat.part_by_heat.
PLACE void part_by_heat_at(const part_by_heat_arguments &a, int x, int y, int) {
    long at = (long)y * a.width + x, plane = (long)a.width * a.height;
    float own = 1.0f;
    if (a.steered) own -= seen_at(a.steered, a.whole_width, a.whole_height, a.width, a.height, x, y);
    float tone = a.planes[at];
    float cb = a.planes[plane + at] + own * place_of(a, 0, x, y);
    float cr = a.planes[2 * plane + at] + own * place_of(a, 1, x, y);
    float around = 0.0f;
    for (int dy = -a.seen; dy <= a.seen; ++dy)
        for (int dx = -a.seen; dx <= a.seen; ++dx)
            around += a.planes[3 * plane + (long)reflected(y + dy, a.height) * a.width + reflected(x + dx, a.width)];
    int level = level_of(around / (float)((2 * a.seen + 1) * (2 * a.seen + 1)));
    float part = painted_at(a.counts, level, a.around, a.rare, (long)a.small_width * a.small_height);
    float share = own * place_of(a, 5, x, y) * rise(part, a.ground_begins, a.ground_full);
    share *= rise(cb, a.say_begins, a.say_full);
    a.planes[at] = tone + place_of(a, 2, x, y) * share;
    a.planes[plane + at] = cb + (place_of(a, 3, x, y) - cb) * share;
    a.planes[2 * plane + at] = cr + (place_of(a, 4, x, y) - cr) * share;
}
KERNEL(part_by_heat)

#define FOG_SCALE 4096.0f  // of sums in whole numbers, which come out the same in any order

struct count_greens_arguments {
    const float *planes;  // (4, height, width): Y', Cb, Cr, the sensor's luma
    int *counts;          // (4, LEVELS), 0 before, of places of each level: green and blue ones, in 255ths; green's Cb and Cr
    int width, height, to_width, to_height, apart;
    float blue_begins, blue_full, yellow_begins, yellow_full, no_red_begins, no_red_full;
};

// fog.out_of_fog: one place of so many each way.
PLACE void count_greens_at(const count_greens_arguments &a, int x, int y, int) {
    long at = (long)y * a.apart * a.width + x * a.apart, plane = (long)a.width * a.height;
    float cb = a.planes[plane + at], cr = a.planes[2 * plane + at];
    float green = rise(-cb, a.yellow_begins, a.yellow_full) * rise(-cr, a.no_red_begins, a.no_red_full);
    int *count = a.counts + level_of(a.planes[3 * plane + at]);
    count_up(count, to_u8(green * 255.0f));
    count_up(count + LEVELS, to_u8(rise(cb, a.blue_begins, a.blue_full) * 255.0f));
    count_up(count + 2 * LEVELS, (int)rintf(green * cb * FOG_SCALE));
    count_up(count + 3 * LEVELS, (int)rintf(green * cr * FOG_SCALE));
}
KERNEL(count_greens)

struct out_of_fog_arguments {
    float *planes;        // (4, height, width): Y'; Cb, Cr in place; the sensor's luma
    const float *steered; // (whole_height, whole_width): a reference's share, which no rule changes; null for none
    const int *counts;    // (4, LEVELS)
    int width, height, whole_width, whole_height, around, places;
    float rare, green_begins, green_full, dark_begins, dark_full, lit_begins, lit_full, say_begins, say_full;
};

PLACE void out_of_fog_at(const out_of_fog_arguments &a, int x, int y, int) {
    long at = (long)y * a.width + x, plane = (long)a.width * a.height;
    float cb = a.planes[plane + at], cr = a.planes[2 * plane + at];
    float share = rise(a.planes[at], a.dark_begins, a.dark_full) * rise(a.planes[at], a.lit_begins, a.lit_full);
    share *= rise(cb, a.say_begins, a.say_full);
    if (share <= 0.0f) return;
    int level = level_of(a.planes[3 * plane + at]);
    share *= rise(painted_at(a.counts, level, a.around, a.rare, a.places), a.green_begins, a.green_full);
    if (share <= 0.0f) return;
    if (a.steered) share *= 1.0f - seen_at(a.steered, a.whole_width, a.whole_height, a.width, a.height, x, y);
    int greens = 0, blues = 0, reds = 0;
    for (int one = larger(level - a.around, 0); one <= smaller(level + a.around, LEVELS - 1); ++one) {
        greens += a.counts[one];
        blues += a.counts[2 * LEVELS + one];
        reds += a.counts[3 * LEVELS + one];
    }
    float scale = 255.0f / (FOG_SCALE * (float)greens);
    a.planes[plane + at] = cb + share * ((float)blues * scale - cb);
    a.planes[2 * plane + at] = cr + share * ((float)reds * scale - cr);
}
KERNEL(out_of_fog)
