// Guided filtering (guided.py): means over square windows, and locally affine models of planes in a luma.
#include "sampling.h"

struct box_rows_arguments {
    const float *planes;  // (depth, height, width)
    float *out;           // (depth, height, width)
    int width, height, radius;
};

PLACE void box_rows_at(const box_rows_arguments &a, int x, int y, int z) {
    const float *row = a.planes + ((long)z * a.height + y) * a.width;
    float sum = 0.0f;
    for (int dx = -a.radius; dx <= a.radius; ++dx) sum += row[reflected(x + dx, a.width)];
    a.out[((long)z * a.height + y) * a.width + x] = sum;
}
KERNEL(box_rows)

typedef box_rows_arguments box_columns_arguments;

// The second half of guided.box.
PLACE void box_columns_at(const box_columns_arguments &a, int x, int y, int z) {
    const float *plane = a.planes + (long)z * a.height * a.width;
    float sum = 0.0f;
    for (int dy = -a.radius; dy <= a.radius; ++dy) sum += plane[(long)reflected(y + dy, a.height) * a.width + x];
    int side = 2 * a.radius + 1;
    a.out[((long)z * a.height + y) * a.width + x] = sum / (float)(side * side);
}
KERNEL(box_columns)

struct square_arguments {
    const float *plane;  // (height, width)
    float *out;          // (2, height, width): the plane and its square
    int width, height;
};

// What guided.windows averages.
PLACE void square_at(const square_arguments &a, int x, int y, int) {
    long at = (long)y * a.width + x;
    float value = a.plane[at];
    a.out[at] = value;
    a.out[(long)a.width * a.height + at] = value * value;
}
KERNEL(square)

struct multiply_arguments {
    const float *values;  // (depth, height, width)
    const float *guide;   // (height, width)
    float *out;           // (depth, 3, height, width): value, value * guide, value * value
    int width, height;
};

// What guided.fit averages.
PLACE void multiply_at(const multiply_arguments &a, int x, int y, int z) {
    long at = (long)y * a.width + x, plane = (long)a.width * a.height;
    float value = a.values[z * plane + at];
    float *out = a.out + 3 * z * plane + at;
    out[0] = value;
    out[plane] = value * a.guide[at];
    out[2 * plane] = value * value;
}
KERNEL(multiply)

struct fit_windows_arguments {
    const float *means;   // (depth, 3, height, width): windows' means of what `multiply` wrote
    const float *seen;    // (2, height, width): windows' means of what `square` wrote of the guide
    float *out;           // (depth, 3, height, width): slope * weight, offset * weight, weight
    int width, height;
    float contrast;
};

// guided.fit, window by window.
PLACE void fit_windows_at(const fit_windows_arguments &a, int x, int y, int z) {
    long at = (long)y * a.width + x, plane = (long)a.width * a.height;
    const float *means = a.means + 3 * z * plane + at;
    float seen = a.seen[at], mean = means[0];
    float variance = fmaxf(a.seen[plane + at] - seen * seen, 0.0f);
    float covariance = means[plane] - mean * seen;
    float slope = covariance / (variance + a.contrast * a.contrast);
    float residual = means[2 * plane] - mean * mean - slope * covariance;
    const float misfit = 1e-4f;
    float weight = misfit / (misfit + fmaxf(residual, 0.0f));
    float *out = a.out + 3 * z * plane + at;
    out[0] = slope * weight;
    out[plane] = (mean - slope * seen) * weight;
    out[2 * plane] = weight;
}
KERNEL(fit_windows)

struct average_models_arguments {
    const float *means;  // (depth, 3, height, width): windows' means of what `fit_windows` wrote
    float *out;          // (depth, 2, height, width): slope and offset
    int width, height;
    float lift;  // added to the offset
};

// guided.fit, all windows that hold a pixel averaged by how well they fit.
PLACE void average_models_at(const average_models_arguments &a, int x, int y, int z) {
    long at = (long)y * a.width + x, plane = (long)a.width * a.height;
    const float *means = a.means + 3 * z * plane + at;
    a.out[2 * z * plane + at] = means[0] / means[2 * plane];
    a.out[(2 * z + 1) * plane + at] = means[plane] / means[2 * plane] + a.lift;
}
KERNEL(average_models)

struct apply_models_arguments {
    const float *models;  // (depth, 2, height, width): slope and offset
    const u8 *luma;       // (to_height, to_width)
    u8 *out;              // (depth, to_height, to_width)
    int width, height, to_width, to_height;
};

// Recoloring._on_frame: slope * luma + offset, both enlarged, the offset in parts of full scale.
PLACE void apply_models_at(const apply_models_arguments &a, int x, int y, int z) {
    long plane = (long)a.width * a.height, at = (long)y * a.to_width + x;
    const float *slope = a.models + 2 * z * plane, *offset = slope + plane;
    float value = linear(slope, a.width, a.height, a.to_width, a.to_height, x, y) * (float)a.luma[at];
    value += linear(offset, a.width, a.height, a.to_width, a.to_height, x, y) * 255.0f;
    a.out[(long)z * a.to_width * a.to_height + at] = to_u8(value);
}
KERNEL(apply_models)
