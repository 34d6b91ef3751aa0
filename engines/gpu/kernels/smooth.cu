// Smooth places as smooth places around are (smooth_places.py): weighted windows' models, small, applied larger.
#include "sampling.h"  // and `night_of`, which stands in windows.cu

#define SMOOTH_OF_GUIDE 2  // planes of what is averaged: luma, squared
#define SMOOTH_OF_VALUE 3  // and of each value: itself, times luma, squared; all times the weight

PLACE float smoothness(const float *seen, long at, long plane, float limit) {
    float part = limit / (limit + fmaxf(seen[plane + at] - seen[at] * seen[at], 0.0f));
    return part * part;
}

struct smooth_squares_arguments {
    const float *guide;  // (height, width)
    float *out;          // (2, height, width): itself and its square
    int width, height;
};

PLACE void smooth_squares_at(const smooth_squares_arguments &a, int x, int y, int) {
    long at = (long)y * a.width + x;
    a.out[at] = a.guide[at];
    a.out[(long)a.width * a.height + at] = a.guide[at] * a.guide[at];
}
KERNEL(smooth_squares)

struct smooth_sources_arguments {
    const float *values;  // (depth, height, width)
    const float *guide;   // (height, width)
    const float *seen;    // (2, height, width): windows' means of the guide and of its finer square
    float *out;           // (1 + 2 + 3 depth, height, width): weight, and the terms times it
    int width, height, depth;
    float limit, fewest;
};

PLACE void smooth_sources_at(const smooth_sources_arguments &a, int x, int y, int) {
    long at = (long)y * a.width + x, plane = (long)a.width * a.height;
    float source = smoothness(a.seen, at, plane, a.limit) + a.fewest, luma = a.guide[at];
    float *out = a.out + at;
    out[0] = source;
    out[plane] = source * luma;
    out[2 * plane] = source * luma * luma;
    for (int z = 0; z < a.depth; ++z) {
        float value = a.values[z * plane + at], *of = out + (1 + SMOOTH_OF_GUIDE + SMOOTH_OF_VALUE * z) * plane;
        of[0] = source * value;
        of[plane] = source * value * luma;
        of[2 * plane] = source * value * value;
    }
}
KERNEL(smooth_sources)

struct smooth_models_arguments {
    const float *means;  // (1 + 2 + 3 depth, height, width): windows' means of what `smooth_sources` wrote
    float *out;          // (3 depth, height, width): slope * weight, offset * weight, weight
    int width, height, depth;
    float contrast, lead, misfit;
};

PLACE void smooth_models_at(const smooth_models_arguments &a, int x, int y, int z) {
    long at = (long)y * a.width + x, plane = (long)a.width * a.height;
    const float *means = a.means + at, *of = means + (1 + SMOOTH_OF_GUIDE + SMOOTH_OF_VALUE * z) * plane;
    float total = means[0], each = 1.0f / total, mean = means[plane] * each, middle = of[0] * each;
    float variance = fmaxf(means[2 * plane] * each - mean * mean, 0.0f), least = a.contrast * a.contrast;
    float common = of[plane] * each - middle * mean, spread = of[2 * plane] * each - middle * middle;
    float slope = (common + (z == 0 ? a.lead : 0.0f) * least) / (variance + least);
    float residual = fmaxf(spread + slope * (slope * variance - 2.0f * common), 0.0f);
    float weight = total * (a.misfit / (a.misfit + residual));
    float *out = a.out + 3l * z * plane + at;
    out[0] = slope * weight;
    out[plane] = (middle - slope * mean) * weight;
    out[2 * plane] = weight;
}
KERNEL(smooth_models)

struct smooth_averages_arguments {
    const float *models;  // (3 depth, height, width): windows' means of what `smooth_models` wrote
    const float *means;   // (3, height, width): windows' mean weight, and of luma and its square times it
    float *out;           // (2 + 2 depth, height, width): how far the models are believed; slopes and offsets;
                          // whether the smooth places are two surfaces
    int width, height, depth;
    float enough, sides, alike_sides, alike_begins, alike_full;
};

PLACE void smooth_averages_at(const smooth_averages_arguments &a, int x, int y, int z) {
    long at = (long)y * a.width + x, plane = (long)a.width * a.height;
    const float *of = a.models + 3l * z * plane + at;
    float *out = a.out + (1l + 2l * z) * plane + at;
    out[0] = of[0] / of[2 * plane];
    out[plane] = of[plane] / of[2 * plane];
    if (z > 0) return;
    float total = a.means[at], mean = a.means[plane + at] / total;
    float apart = fmaxf(a.means[2 * plane + at] / total - mean * mean, 0.0f);
    apart *= apart;
    float alike = clamped((out[0] - a.alike_begins) / (a.alike_full - a.alike_begins), 0.0f, 1.0f);
    a.out[at] = total / (total + a.enough);
    a.out[(1l + 2l * a.depth) * plane + at] = apart / (apart + a.sides + alike * (a.alike_sides - a.sides));
}
KERNEL(smooth_averages)

struct smooth_moves_arguments {
    const float *values;  // (depth, to_height, to_width)
    const float *guide;   // (to_height, to_width)
    const float *seen;    // (2, to_height, to_width): windows' means of the guide and of its square
    const float *models;  // (2 + 2 depth, height, width): as `smooth_averages` wrote it
    float *out;           // (depth, to_height, to_width): by how much the values move
    int width, height, to_width, to_height;
    float limit;
};

PLACE void smooth_moves_at(const smooth_moves_arguments &a, int x, int y, int z) {
    long at = (long)y * a.to_width + x, plane = (long)a.width * a.height;
    long whole = (long)a.to_width * a.to_height;
    const float *slope = a.models + (1l + 2l * z) * plane, *offset = slope + plane;
    float made = linear(slope, a.width, a.height, a.to_width, a.to_height, x, y) * a.guide[at];
    made += linear(offset, a.width, a.height, a.to_width, a.to_height, x, y);
    float share = smoothness(a.seen, at, whole, a.limit);
    share *= linear(a.models, a.width, a.height, a.to_width, a.to_height, x, y);
    a.out[z * whole + at] = share * (made - a.values[z * whole + at]);
}
KERNEL(smooth_moves)

struct smooth_moved_arguments {
    const float *values;  // (depth, to_height, to_width)
    const float *moves;   // (depth, height, width), of the same size or half of it
    const int *count;     // of dark windows: by night nothing moves; null for never
    float *out;           // (depth, to_height, to_width)
    int width, height, to_width, to_height;
    float night_begins, night_full;
};

PLACE void smooth_moved_at(const smooth_moved_arguments &a, int x, int y, int z) {
    long at = ((long)z * a.to_height + y) * a.to_width + x;
    const float *move = a.moves + (long)z * a.width * a.height;
    long places = (long)a.to_width * a.to_height;
    float part = a.count ? 1.0f - night_of(*a.count, places, a.night_begins, a.night_full) : 1.0f;
    a.out[at] = a.values[at] + part * linear(move, a.width, a.height, a.to_width, a.to_height, x, y);
}
KERNEL(smooth_moved)
