// Dense inverse search for the motion between two pictures, both ways at once, and what the host and the color
// memory need of it (motion.py). Direction 0 is backward, from the picture now to the one before, 1 is forward.
//
// Kroeger, Timofte, Dai and Van Gool, Fast Optical Flow using Dense Inverse Search, arXiv:1603.03590: patches of
// 8x8, 5 pixels apart, with their mean taken out, each moved by Gauss-Newton steps whose gradients are those of the
// picture that stays. Where OpenCV goes over the patches of a stripe one after another and lets each try its
// neighbors' results, here all are searched at once, and try their neighbors' of the pass before.
#include "sampling.h"

#define PATCH LANES
#define STRIDE 5
#define SMALL 30.0f       // added to the structure tensor: squared levels a patch, what noise makes of a flat one
#define SHORTER 0.7f       // a step's part that is gone: two layers in a patch pull it too far; OpenCV goes an eighth
#define MOVING_PX 0.125f  // motion.MOVING_PX
#define FASTEST 8000.0f   // squared pixels that one pixel counts for at most,
#define A_ROW 16777000.0f // and all of a row, so that their sum in PARTS fits into 32 bits
#define PARTS 256.0f      // of a squared pixel, in which they are summed up: in whole numbers in any order

struct SearchState {
    int area[4];     // left, top, right, bottom of the part that is looked at
    int all;         // 0: there is motion only where `near` is not 0
    float start[2];  // how far the camera seems to have come, from now to before; x, y
};

struct reduce_pair_arguments {
    const u8 *in;  // (2, height, width)
    u8 *out;       // (2, to_height, to_width)
    int width, height, to_width, to_height;
};

PLACE void reduce_pair_at(const reduce_pair_arguments &a, int x, int y, int z) {
    Picture<u8> whole = {a.in + (long)z * a.width * a.height, a.width};
    float mean = area_mean(whole, a.width, a.height, a.to_width, a.to_height, x, y);
    a.out[((long)z * a.to_height + y) * a.to_width + x] = to_u8(mean);
}
KERNEL(reduce_pair)

// The first column or row of a patch: the last one ends with the picture.
PLACE int patch_begin(int index, int length) { return smaller(index * STRIDE, length - PATCH); }

// Where a patch is looked for: its first pixel, and the shares of the pixels to its right and below.
struct Found {
    int x, y;
    float right, down;
};

PLACE Found looked_for(int left, int top, float dx, float dy, int width, int height) {
    float x = clamped((float)left + dx, (float)(1 - PATCH), (float)(width - 1));
    float y = clamped((float)top + dy, (float)(1 - PATCH), (float)(height - 1));
    float first_x = floorf(x), first_y = floorf(y);
    return {(int)first_x, (int)first_y, x - first_x, y - first_y};
}

PLACE float found_at(const u8 *picture, int width, int height, const Found &found, int column, int row) {
    int x = clamped(found.x + column, 0, width - 1), next_x = clamped(found.x + column + 1, 0, width - 1);
    const u8 *above = picture + (long)clamped(found.y + row, 0, height - 1) * width;
    const u8 *below = picture + (long)clamped(found.y + row + 1, 0, height - 1) * width;
    float upper = (float)above[x] * (1.0f - found.right) + (float)above[next_x] * found.right;
    float lower = (float)below[x] * (1.0f - found.right) + (float)below[next_x] * found.right;
    return upper * (1.0f - found.down) + lower * found.down;
}

struct search_patches_arguments {
    const SearchState *state;
    const u8 *pictures;   // (2, height, width): now, before
    const float *coarse;  // (2, 2, coarse_height, coarse_width): both directions' x and y, or null
    const float *tried;   // (2, 2, rows, columns): what the pass before found, or null in the first
    float *found;         // (2, 2, rows, columns)
    int width, height, coarse_width, coarse_height, columns, rows, steps;
    float scale_x, scale_y;  // pixels of this size in one of the state's
};

// One patch with its rows' gradients; on a GPU each thread has one row.
struct Patch {
    const u8 *source, *target;
    int width, height, left, top;
    float value[ROWS_HERE * PATCH], across[ROWS_HERE * PATCH], down[ROWS_HERE * PATCH];
    float xx, xy, yy, x, y;

    PLACE_MEMBER float level(int column, int row) const {
        return (float)source[(long)clamped(row, 0, height - 1) * width + clamped(column, 0, width - 1)];
    }
    PLACE_MEMBER void look(const Lane &lane) {
        lane.rows([&](int row, int at) {
            for (int column = 0; column < PATCH; ++column) {  // Sobel's
                int px = left + column, py = top + row, place = at * PATCH + column;
                value[place] = level(px, py);
                across[place] = (level(px + 1, py - 1) - level(px - 1, py - 1) + 2.0f * (level(px + 1, py) - level(px - 1, py)) +
                                 level(px + 1, py + 1) - level(px - 1, py + 1)) * 0.125f;
                down[place] = (level(px - 1, py + 1) - level(px - 1, py - 1) + 2.0f * (level(px, py + 1) - level(px, py - 1)) +
                               level(px + 1, py + 1) - level(px + 1, py - 1)) * 0.125f;
            }
        });
        float sums[5];
        lane.sums(sums, [&](int, int at, float (&found)[5]) {
            for (int place = at * PATCH; place < (at + 1) * PATCH; ++place) {
                found[0] += across[place] * across[place], found[1] += across[place] * down[place];
                found[2] += down[place] * down[place], found[3] += across[place], found[4] += down[place];
            }
        });
        const float each = 1.0f / (float)(PATCH * PATCH);
        x = sums[3] * each, y = sums[4] * each;
        xx = sums[0] - x * sums[3] + SMALL, xy = sums[1] - x * sums[4], yy = sums[2] - y * sums[4] + SMALL;
    }
    // The squared difference at a place, means taken out, and the step that would make it smaller.
    PLACE_MEMBER float miss(const Lane &lane, float dx, float dy, float &step_x, float &step_y) const {
        Found where = looked_for(left, top, dx, dy, width, height);
        float sums[4];
        lane.sums(sums, [&](int row, int at, float (&found)[4]) {
            for (int column = 0; column < PATCH; ++column) {
                int place = at * PATCH + column;
                float off = found_at(target, width, height, where, column, row) - value[place];
                found[0] += off, found[1] += off * off, found[2] += off * across[place], found[3] += off * down[place];
            }
        });
        float along_x = sums[2] - sums[0] * x, along_y = sums[3] - sums[0] * y, area = xx * yy - xy * xy;
        step_x = (yy * along_x - xy * along_y) / area, step_y = (xx * along_y - xy * along_x) / area;
        return sums[1] - sums[0] * sums[0] / (float)(PATCH * PATCH);
    }
};

// What is known of a patch's motion before this pass: the coarser size's, enlarged, or that of the pass before.
PLACE void known(const search_patches_arguments &a, int x, int y, int z, float &dx, float &dy) {
    x = clamped(x, 0, a.columns - 1), y = clamped(y, 0, a.rows - 1);
    if (a.tried) {
        const float *across = a.tried + (long)2 * z * a.rows * a.columns, *down = across + (long)a.rows * a.columns;
        dx = across[(long)y * a.columns + x], dy = down[(long)y * a.columns + x];
        return;
    }
    dx = dy = 0.0f;
    if (!a.coarse) return;
    int middle_x = patch_begin(x, a.width) + PATCH / 2, middle_y = patch_begin(y, a.height) + PATCH / 2;
    const float *across = a.coarse + (long)2 * z * a.coarse_height * a.coarse_width;
    const float *down = across + (long)a.coarse_height * a.coarse_width;
    dx = linear(across, a.coarse_width, a.coarse_height, a.width, a.height, middle_x, middle_y);
    dy = linear(down, a.coarse_width, a.coarse_height, a.width, a.height, middle_x, middle_y);
    dx *= (float)a.width / (float)a.coarse_width, dy *= (float)a.height / (float)a.coarse_height;
}

PLACE void search_patches_at(const search_patches_arguments &a, const Lane &lane, int x, int y, int z) {
    long plane = (long)a.width * a.height;
    Patch patch;
    patch.source = a.pictures + z * plane, patch.target = a.pictures + (1 - z) * plane;
    patch.width = a.width, patch.height = a.height;
    patch.left = patch_begin(x, a.width), patch.top = patch_begin(y, a.height);
    patch.look(lane);
    float dx, dy, step_x, step_y;
    known(a, x, y, z, dx, dy);
    float least = patch.miss(lane, dx, dy, step_x, step_y);
    for (int other = 0; other < 6; ++other) {
        float other_x, other_y, other_step_x, other_step_y;
        if (other < 4)
            known(a, x + (other == 0) - (other == 1), y + (other == 2) - (other == 3), z, other_x, other_y);
        else {  // the camera's shift, and none
            float way = a.tried || other == 5 ? 0.0f : z ? -1.0f : 1.0f;
            other_x = way * a.state->start[0] * a.scale_x, other_y = way * a.state->start[1] * a.scale_y;
        }
        float miss = patch.miss(lane, other_x, other_y, other_step_x, other_step_y);
        if (miss < least) least = miss, dx = other_x, dy = other_y, step_x = other_step_x, step_y = other_step_y;
    }
    float begin_x = dx, begin_y = dy;
    for (int step = 0; step < a.steps; ++step) {
        float next_x = dx - SHORTER * step_x, next_y = dy - SHORTER * step_y;
        float far = (next_x - begin_x) * (next_x - begin_x) + (next_y - begin_y) * (next_y - begin_y);
        if (!(far <= (float)(PATCH * PATCH))) break;  // somewhere else altogether
        float miss = patch.miss(lane, next_x, next_y, step_x, step_y);
        if (!(miss < least)) break;
        least = miss, dx = next_x, dy = next_y;
    }
    long at = ((long)2 * z * a.rows + y) * a.columns + x;
    lane.rows([&](int row, int) {
        if (row == 0) a.found[at] = dx, a.found[at + (long)a.rows * a.columns] = dy;
    });
}
LANE_KERNEL(search_patches)

struct spread_patches_arguments {
    const u8 *pictures;  // (2, height, width)
    const float *found;  // (2, 2, rows, columns)
    float *flow;         // (2, 2, height, width)
    int width, height, columns, rows;
};

// The motion of a pixel: the mean of the patches that it lies in, those counting more that fit it better (eq. 3).
PLACE void spread_patches_at(const spread_patches_arguments &a, int x, int y, int z) {
    long plane = (long)a.width * a.height, patches = (long)a.rows * a.columns;
    const u8 *target = a.pictures + (1 - z) * plane;
    float level = (float)a.pictures[z * plane + (long)y * a.width + x];
    const float *across = a.found + 2 * z * patches, *down = across + patches;
    float sum_x = 0.0f, sum_y = 0.0f, sum = 0.0f;
    for (int row = larger(0, (y - PATCH) / STRIDE); row < smaller(y / STRIDE + 2, a.rows); ++row)
        for (int column = larger(0, (x - PATCH) / STRIDE); column < smaller(x / STRIDE + 2, a.columns); ++column) {
            int left = patch_begin(column, a.width), top = patch_begin(row, a.height);
            if (x < left || y < top || x >= left + PATCH || y >= top + PATCH) continue;
            float dx = across[(long)row * a.columns + column], dy = down[(long)row * a.columns + column];
            Found where = looked_for(x, y, dx, dy, a.width, a.height);
            float weight = 1.0f / fmaxf(1.0f, fabsf(found_at(target, a.width, a.height, where, 0, 0) - level));
            sum_x += dx * weight, sum_y += dy * weight, sum += weight;
        }
    long at = 2 * z * plane + (long)y * a.width + x;
    a.flow[at] = sum_x / sum, a.flow[at + plane] = sum_y / sum;
}
KERNEL(spread_patches)

struct enlarge_flow_arguments {
    const SearchState *state;
    const u8 *near;     // (height, width), 0 where nothing has changed
    const float *flow;  // (2, 2, from_height, from_width)
    float *out;         // (2, 2, height, width)
    int *rows;          // (height), cleared
    int width, height, from_width, from_height;
};

PLACE void enlarge_flow_at(const enlarge_flow_arguments &a, int x, int y, int z) {
    if (x == 0 && z == 0) a.rows[y] = 0;
    bool kept = a.state->all || a.near[(long)y * a.width + x];
    long from = (long)a.from_width * a.from_height, plane = (long)a.width * a.height;
    float scales[] = {(float)a.width / (float)a.from_width, (float)a.height / (float)a.from_height};
    for (int axis = 0; axis < 2; ++axis) {
        const float *flow = a.flow + (2 * z + axis) * from;
        float value = kept ? linear(flow, a.from_width, a.from_height, a.width, a.height, x, y) * scales[axis] : 0.0f;
        a.out[(2 * z + axis) * plane + (long)y * a.width + x] = value;
    }
}
KERNEL(enlarge_flow)

struct check_flow_arguments {
    const SearchState *state;
    const u8 *pictures;  // (2, height, width)
    const float *flow;   // (2, 2, height, width)
    float *source;       // (bottom - top, right - left, 2) of the area: where each pixel came from
    u8 *moving;          // (bottom - top, right - left): 255 where that is another place
    u8 *moves;           // (height, width): the same of the whole picture
    u8 *occluded;        // (height, width): 255 where both directions do not lead back
    u8 *predicted;       // (height, width): the picture before, moved
    int *rows;           // (height), added to: squared motion in PARTS of a squared pixel
    int width, height;
};

// motion._occlusion (Sundaram, Brox and Keutzer, ECCV 2010), and what is made of the motion.
PLACE void check_flow_at(const check_flow_arguments &a, int x, int y, int) {
    const int *area = a.state->area;
    long plane = (long)a.width * a.height, at = (long)y * a.width + x;
    const u8 *before = a.pictures + plane;
    if (x < area[0] || y < area[1] || x >= area[2] || y >= area[3]) {
        a.occluded[at] = a.moves[at] = 0, a.predicted[at] = before[at];
        return;
    }
    float dx = a.flow[at], dy = a.flow[plane + at];
    float from_x = (float)x + dx, from_y = (float)y + dy;
    float there_x = fetched(a.flow + 2 * plane, a.width, a.height, from_x, from_y);
    float there_y = fetched(a.flow + 3 * plane, a.width, a.height, from_x, from_y);
    float miss = (there_x + dx) * (there_x + dx) + (there_y + dy) * (there_y + dy);
    float squared = dx * dx + dy * dy, bound = 0.01f * (there_x * there_x + there_y * there_y + squared) + 0.5f;
    bool inside = from_x >= -0.5f && from_y >= -0.5f && from_x <= (float)a.width - 0.5f && from_y <= (float)a.height - 0.5f;
    a.occluded[at] = miss > bound || !inside ? 255 : 0;
    Found where = looked_for(x, y, dx, dy, a.width, a.height);
    a.predicted[at] = to_u8(found_at(before, a.width, a.height, where, 0, 0));
    long part = (long)(y - area[1]) * (area[2] - area[0]) + x - area[0];
    a.source[2 * part] = from_x, a.source[2 * part + 1] = from_y;
    a.moving[part] = a.moves[at] = squared > MOVING_PX * MOVING_PX ? 255 : 0;
    count_up(a.rows + y, (int)(fminf(squared, fminf(FASTEST, A_ROW / (float)a.width)) * PARTS));
}
KERNEL(check_flow)
