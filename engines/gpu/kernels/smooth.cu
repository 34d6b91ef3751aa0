// Smooth places as smooth places around are (smooth_places.py): weighted windows' models, small, applied larger.
#include "sampling.h"  // and `night_of` and `models_seen`, which stand in windows.cu

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

struct smooth_models_arguments {
    const float *values;  // (depth, height, width)
    const float *guide;   // (height, width)
    const float *seen;    // (2, height, width): windows' means of the guide and of its finer square
    float *out;           // (3 depth, height, width): slope * weight, offset * weight, weight
    float *means;         // (3, height, width): windows' mean weight, and of luma and its square times it
    int width, height, radius;
    float limit, fewest, contrast, lead, misfit;
};

// How much a place counts, its luma and its square times that; and of a value itself, times luma, and its square.
PLACE void smooth_models_seen(const smooth_models_arguments &a, int x, int y, int z, float (&seen)[6]) {
    long at = (long)y * a.width + x, plane = (long)a.width * a.height;
    float source = smoothness(a.seen, at, plane, a.limit) + a.fewest, luma = a.guide[at];
    float value = a.values[z * plane + at];
    seen[0] = source, seen[1] = source * luma, seen[2] = source * luma * luma;
    seen[3] = source * value, seen[4] = source * value * luma, seen[5] = source * value * value;
}

PLACE void smooth_models_at(const smooth_models_arguments &a, const Tile &tile, int x, int y, int z) {
    long at = (long)y * a.width + x, plane = (long)a.width * a.height;
    float total = tile.mean(0, x, y), luma = tile.mean(1, x, y), square = tile.mean(2, x, y);
    float each = 1.0f / total, mean = luma * each, middle = tile.mean(3, x, y) * each;
    float variance = fmaxf(square * each - mean * mean, 0.0f), least = a.contrast * a.contrast;
    float common = tile.mean(4, x, y) * each - middle * mean, spread = tile.mean(5, x, y) * each - middle * middle;
    float slope = (common + (z == 0 ? a.lead : 0.0f) * least) / (variance + least);
    float residual = fmaxf(spread + slope * (slope * variance - 2.0f * common), 0.0f);
    float weight = total * (a.misfit / (a.misfit + residual));
    float *out = a.out + 3l * z * plane + at;
    out[0] = slope * weight;
    out[plane] = (middle - slope * mean) * weight;
    out[2 * plane] = weight;
    if (z > 0) return;
    a.means[at] = total, a.means[plane + at] = luma, a.means[2 * plane + at] = square;
}
TILED_KERNEL(smooth_models, 6, 6)

struct smooth_averages_arguments {
    const float *models;  // (3 depth, height, width): as `smooth_models` wrote it
    const float *means;   // (3, height, width): likewise
    float *out;           // (2 + 2 depth, height, width): how far the models are believed; slopes and offsets;
                          // whether the smooth places are two surfaces
    int width, height, depth, radius;
    float enough, sides, alike_sides, alike_begins, alike_full;
};

PLACE void smooth_averages_seen(const smooth_averages_arguments &a, int x, int y, int z, float (&seen)[3]) {
    models_seen(a, x, y, z, seen);
}

PLACE void smooth_averages_at(const smooth_averages_arguments &a, const Tile &tile, int x, int y, int z) {
    long at = (long)y * a.width + x, plane = (long)a.width * a.height;
    float weight = tile.mean(2, x, y);
    float *out = a.out + (1l + 2l * z) * plane + at;
    out[0] = tile.mean(0, x, y) / weight;
    out[plane] = tile.mean(1, x, y) / weight;
    if (z > 0) return;
    float total = a.means[at], mean = a.means[plane + at] / total;
    float apart = fmaxf(a.means[2 * plane + at] / total - mean * mean, 0.0f);
    apart *= apart;
    float alike = clamped((out[0] - a.alike_begins) / (a.alike_full - a.alike_begins), 0.0f, 1.0f);
    a.out[at] = total / (total + a.enough);
    a.out[(1l + 2l * a.depth) * plane + at] = apart / (apart + a.sides + alike * (a.alike_sides - a.sides));
}
TILED_KERNEL(smooth_averages, 3, 3)

struct smooth_moves_arguments {
    const float *values;  // (depth, to_height, to_width)
    const float *guide;   // (to_height, to_width)
    const float *seen;    // (2, to_height, to_width): windows' means of the guide and of its square
    const float *models;  // (2 + 2 depth, height, width): as `smooth_averages` wrote it
    const int *count;     // of dark windows: by night nothing moves; null for never
    float *out;           // (depth, to_height, to_width): by how much the values move, or where to
    int width, height, to_width, to_height;
    int moved;  // 1: where to
    float limit, night_begins, night_full;
};

// What of the moves is made.
template <class Arguments>
PLACE float moving_part(const Arguments &a) {
    long places = (long)a.to_width * a.to_height;
    return a.count ? 1.0f - night_of(*a.count, places, a.night_begins, a.night_full) : 1.0f;
}

PLACE void smooth_moves_at(const smooth_moves_arguments &a, int x, int y, int z) {
    long at = (long)y * a.to_width + x, plane = (long)a.width * a.height;
    long whole = (long)a.to_width * a.to_height;
    const float *slope = a.models + (1l + 2l * z) * plane, *offset = slope + plane;
    float made = linear(slope, a.width, a.height, a.to_width, a.to_height, x, y) * a.guide[at];
    made += linear(offset, a.width, a.height, a.to_width, a.to_height, x, y);
    float share = smoothness(a.seen, at, whole, a.limit);
    share *= linear(a.models, a.width, a.height, a.to_width, a.to_height, x, y);
    float value = a.values[z * whole + at], move = share * (made - value);
    a.out[z * whole + at] = a.moved ? value + moving_part(a) * move : move;
}
KERNEL(smooth_moves)

struct smooth_moved_arguments {
    const float *values;  // (depth, to_height, to_width)
    const float *moves;   // (depth, height, width), of half of the size
    const int *count;     // of dark windows: by night nothing moves; null for never
    float *out;           // (depth, to_height, to_width)
    int width, height, to_width, to_height;
    float night_begins, night_full;
};

PLACE void smooth_moved_at(const smooth_moved_arguments &a, int x, int y, int z) {
    long at = ((long)z * a.to_height + y) * a.to_width + x;
    const float *move = a.moves + (long)z * a.width * a.height;
    a.out[at] = a.values[at] + moving_part(a) * linear(move, a.width, a.height, a.to_width, a.to_height, x, y);
}
KERNEL(smooth_moved)
