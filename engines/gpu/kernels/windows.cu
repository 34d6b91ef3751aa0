// Guided filtering (guided.py): means over square windows, and locally affine models of planes in a luma.
#include "borders.h"
#include "sampling.h"

struct box_arguments {
    const float *planes;  // (depth, height, width)
    float *out;           // (depth, height, width)
    int width, height, radius;
};

PLACE void box_seen(const box_arguments &a, int x, int y, int z, float (&seen)[1]) {
    seen[0] = a.planes[((long)z * a.height + y) * a.width + x];
}

// guided.box.
PLACE void box_at(const box_arguments &a, const Tile &tile, int x, int y, int z) {
    a.out[((long)z * a.height + y) * a.width + x] = tile.mean(0, x, y);
}
TILED_KERNEL(box, 1, 1)

struct window_means_arguments {
    const float *guide;  // (height, width)
    float *out;          // (2, height, width): windows' means of the guide and of its square
    int *count;          // of windows darker than `dark`; null for not counted
    const int *nights;   // that count of other windows: nothing is done by day; null for always
    int width, height, radius;
    float dark, night_begins, night_full;
};

// How much of a night, or of a dark scene, it is, [0, 1]: by the share of its places that are dark.
PLACE float night_of(int dark, long places, float begins, float full) {
    return clamped(((float)dark / (float)places - begins) / (full - begins), 0.0f, 1.0f);
}

PLACE bool is_day(const int *count, long places, float begins, float full) {
    return count && night_of(*count, places, begins, full) <= 0.0f;
}

PLACE bool idle(const window_means_arguments &a) {
    return is_day(a.nights, (long)a.width * a.height, a.night_begins, a.night_full);
}

PLACE void window_means_seen(const window_means_arguments &a, int x, int y, int, float (&seen)[2]) {
    float value = a.guide[(long)y * a.width + x];
    seen[0] = value;
    seen[1] = value * value;
}

// guided.windows; the dark share of the picture, of Recoloring._models.
PLACE void window_means_at(const window_means_arguments &a, const Tile &tile, int x, int y, int) {
    long at = (long)y * a.width + x;
    float mean = tile.mean(0, x, y);
    a.out[at] = mean;
    a.out[(long)a.width * a.height + at] = tile.mean(1, x, y);
    if (a.count && mean < a.dark) count_up(a.count);
}
TILED_KERNEL(window_means, 2, 2)

struct window_models_arguments {
    const float *values;  // (depth, height, width)
    const float *guide;   // (height, width)
    const float *seen;    // (2, height, width): as `window_means` wrote it of the guide, of the same windows
    float *out;           // (depth, 3, height, width): slope * weight, offset * weight, weight
    const int *count;     // of dark windows: nothing is done by day; null for always
    int width, height, radius;
    float contrast, night_begins, night_full;
};

PLACE bool idle(const window_models_arguments &a) {
    return is_day(a.count, (long)a.width * a.height, a.night_begins, a.night_full);
}

PLACE void window_models_seen(const window_models_arguments &a, int x, int y, int z, float (&seen)[3]) {
    long at = (long)y * a.width + x;
    float value = a.values[(long)z * a.height * a.width + at];
    seen[0] = value;
    seen[1] = value * a.guide[at];
    seen[2] = value * value;
}

// guided.fit, window by window.
template <class Arguments>
PLACE void model_at(const Arguments &a, const Tile &tile, int x, int y, int z) {
    long at = (long)y * a.width + x, plane = (long)a.width * a.height;
    float seen = a.seen[at], mean = tile.mean(0, x, y);
    float variance = fmaxf(a.seen[plane + at] - seen * seen, 0.0f);
    float covariance = tile.mean(1, x, y) - mean * seen;
    float slope = covariance / (variance + a.contrast * a.contrast);
    float residual = tile.mean(2, x, y) - mean * mean - slope * covariance;
    const float misfit = 1e-4f;
    float weight = misfit / (misfit + fmaxf(residual, 0.0f));
    float *out = a.out + 3 * z * plane + at;
    out[0] = slope * weight;
    out[plane] = (mean - slope * seen) * weight;
    out[2 * plane] = weight;
}

PLACE void window_models_at(const window_models_arguments &a, const Tile &tile, int x, int y, int z) {
    model_at(a, tile, x, y, z);
}
TILED_KERNEL(window_models, 3, 3)

// The models that `window_models` wrote.
template <class Arguments>
PLACE void models_seen(const Arguments &a, int x, int y, int z, float (&seen)[3]) {
    long plane = (long)a.width * a.height;
    const float *models = a.models + 3 * z * plane + (long)y * a.width + x;
    for (int index = 0; index < 3; ++index) seen[index] = models[index * plane];
}

struct average_models_arguments {
    const float *models;  // (depth, 3, height, width): as `window_models` wrote it
    float *out;           // (depth, 2, height, width): slope and offset
    int width, height, radius;
    float lift;  // added to the offset
};

PLACE void average_models_seen(const average_models_arguments &a, int x, int y, int z, float (&seen)[3]) {
    models_seen(a, x, y, z, seen);
}

// guided.fit, all windows that hold a pixel averaged by how well they fit.
PLACE void average_models_at(const average_models_arguments &a, const Tile &tile, int x, int y, int z) {
    long at = (long)y * a.width + x, plane = (long)a.width * a.height;
    float total = tile.mean(2, x, y);
    a.out[2 * z * plane + at] = tile.mean(0, x, y) / total;
    a.out[(2 * z + 1) * plane + at] = tile.mean(1, x, y) / total + a.lift;
}
TILED_KERNEL(average_models, 3, 3)

struct even_chroma_arguments {
    const float *models;  // (depth, 3, height, width): as `window_models` wrote it, of the chroma in the guide
    const float *guide;   // (height, width)
    const int *count;     // of dark windows
    float *chroma;        // (depth, height, width), in place
    int width, height, radius;
    float night_begins, night_full;
};

PLACE float night_of(const even_chroma_arguments &a) {
    return night_of(*a.count, (long)a.width * a.height, a.night_begins, a.night_full);
}

PLACE bool idle(const even_chroma_arguments &a) {
    return is_day(a.count, (long)a.width * a.height, a.night_begins, a.night_full);
}

PLACE void even_chroma_seen(const even_chroma_arguments &a, int x, int y, int z, float (&seen)[3]) {
    models_seen(a, x, y, z, seen);
}

// night.evened: by night, chroma is what a wide neighborhood of like luma has.
PLACE void even_chroma_at(const even_chroma_arguments &a, const Tile &tile, int x, int y, int z) {
    float night = night_of(a);
    long at = (long)y * a.width + x, plane = (long)a.width * a.height;
    float total = tile.mean(2, x, y), slope = tile.mean(0, x, y) / total, offset = tile.mean(1, x, y) / total;
    float &chroma = a.chroma[z * plane + at];
    chroma += night * (slope * a.guide[at] + offset - chroma);
}
TILED_KERNEL(even_chroma, 3, 3)

struct apply_models_arguments {
    const float *models;     // (depth, 2, height, width): slope and offset
    const u8 *luma;          // (to_height, to_width)
    u8 *out;                 // (depth, to_height, to_width)
    const Borders *borders;  // of the luma, which stays as it is there; null for none
    int width, height, to_width, to_height;
};

// Recoloring._on_frame: slope * luma + offset, both enlarged, the offset in parts of full scale.
PLACE void apply_models_at(const apply_models_arguments &a, int x, int y, int z) {
    long plane = (long)a.width * a.height, at = (long)y * a.to_width + x;
    u8 &out = a.out[(long)z * a.to_width * a.to_height + at];
    if (a.borders && on_border(*a.borders, x, y, a.to_width, a.to_height)) {
        out = a.luma[at];
        return;
    }
    const float *slope = a.models + 2 * z * plane, *offset = slope + plane;
    float value = linear(slope, a.width, a.height, a.to_width, a.to_height, x, y) * (float)a.luma[at];
    value += linear(offset, a.width, a.height, a.to_width, a.to_height, x, y) * 255.0f;
    out = to_u8(value);
}
KERNEL(apply_models)
