// One source, two compilers: CUDA (nvcc, NVRTC) and plain C++, which tests build to hold it against numpy.
//
// Every kernel is a map over a grid: `NAME_at(args, x, y, z)` is called once for each place, in any order, and
// writes only what no other place of that launch reads. So a loop over the grid does exactly what a GPU does.
// Arguments travel as one struct, `NAME_arguments`, which source.py reads from this very text. No fused
// multiply-add on either side: the same text gives the same bits.
//
// A TILED_KERNEL has two phases with one barrier between them, for means over windows: `NAME_seen` gives the values of
// a place, the first ADDED of PLANES to be added up over windows, of the others the least to be found there. They are
// put together along the columns, `radius` up and down, for each row of a block and each column that its windows reach,
// into memory that the block shares; `NAME_at` then gets those. A value is asked for once or twice, not once for each
// column of a window. Both phases are maps: as a loop, first all of one, then all of the other, block by block. Where
// a kernel has nothing to do at all, an `idle` of its arguments says so.
//
// A place of a LANE_KERNEL is the work of LANES threads of one warp that have a row each of something with as many
// rows, and add up what each of them found, always in the same order; its grid has LANES columns for each place.
#pragma once

typedef unsigned char u8;
typedef unsigned short u16;

struct Extent {
    int width, height, depth;
};

#define BLOCK_WIDTH 32
#define BLOCK_HEIGHT 8
#define LANES 8

#ifdef __CUDACC__
#include "as_cuda.h"
#else
#include "as_cpp.h"
#endif

PLACE int smaller(int a, int b) { return a < b ? a : b; }
PLACE int larger(int a, int b) { return a > b ? a : b; }
PLACE int clamped(int value, int low, int high) { return smaller(larger(value, low), high); }
PLACE float clamped(float value, float low, float high) { return fminf(fmaxf(value, low), high); }
PLACE u8 to_u8(float value) { return (u8)clamped(rintf(value), 0.0f, 255.0f); }

// cv2.BORDER_REFLECT, fedcba|abcdefgh|hgfedcba: as often as it takes in pictures smaller than the window.
PLACE int reflected(int at, int length) {
    while (at < 0 || at >= length) at = at < 0 ? -1 - at : 2 * length - 1 - at;
    return at;
}

// cv2.BORDER_REFLECT_101, gfedcb|abcdefgh|gfedcba.
PLACE int mirrored(int at, int length) {
    if (length == 1) return 0;
    while (at < 0 || at >= length) at = at < 0 ? -at : 2 * length - 2 - at;
    return at;
}

#define HIGHEST 3e38f  // above whatever a tile looks for the least of

// Whether a tiled kernel has nothing to do; others than this are overloads.
template <class Arguments>
PLACE bool idle(const Arguments &) {
    return false;
}

// What is put together along columns for one block's windows, plane after plane.
struct Tile {
    float *made;
    int radius, left, top;

    PLACE_MEMBER int columns() const { return BLOCK_WIDTH + 2 * radius; }
    // Rows of a column that one thread makes, from what they have in common: as few as leave no thread two columns.
    PLACE_MEMBER int run() const {
        int columns = this->columns();
        return columns <= 2 * BLOCK_WIDTH ? 2 : columns <= 4 * BLOCK_WIDTH ? 4 : BLOCK_HEIGHT;
    }
    PLACE_MEMBER int spots() const { return columns() * (BLOCK_HEIGHT / run()); }
    PLACE_MEMBER float *row(int index, int row) const { return made + (index * BLOCK_HEIGHT + row) * columns(); }

    template <int planes, int added, class Seen>
    PLACE_MEMBER void fill(int at, Extent extent, const Seen &seen) const {
        int run = this->run(), column = at % columns(), first = at / columns() * run;
        if (left + column - 2 * radius >= extent.width) return;  // no window of a place reaches it
        int x = reflected(left + column - radius, extent.width), y = top + first;
        float found[planes];
        auto clear = [&] {
            for (int index = 0; index < planes; ++index) found[index] = index < added ? 0.0f : HIGHEST;
        };
        auto join = [&](int place) {
            float values[planes];
            seen(x, reflected(place, extent.height), values);
            for (int index = 0; index < planes; ++index)
                found[index] = index < added ? found[index] + values[index] : fminf(found[index], values[index]);
        };
        clear();
        for (int one = run - 1; one >= 0; --one) {  // above what all of the rows have in common
            for (int index = 0; index < planes; ++index) row(index, first + one)[column] = found[index];
            if (one > 0) join(y - radius + one - 1);
        }
        clear();
        for (int place = y + run - 1 - radius; place <= y + radius; ++place) join(place);
        for (int one = 0; one < run; ++one) {  // and below it
            if (one > 0) join(y + radius + one);
            for (int index = 0; index < planes; ++index) {
                float &made = row(index, first + one)[column];
                made = index < added ? made + found[index] : fminf(made, found[index]);
            }
        }
    }
    // The second half of guided.box: the mean over the window around a place.
    PLACE_MEMBER float mean(int index, int x, int y) const {
        const float *across = row(index, y - top) + x - left;
        float sum = 0.0f;
        for (int column = 0; column <= 2 * radius; ++column) sum += across[column];
        int side = 2 * radius + 1;
        return sum / (float)(side * side);
    }
    // The least over that window; what is mirrored into it from outside of the picture is there anyway.
    PLACE_MEMBER float least(int index, int x, int y) const {
        const float *across = row(index, y - top) + x - left;
        float found = HIGHEST;
        for (int column = 0; column <= 2 * radius; ++column) found = fminf(found, across[column]);
        return found;
    }
};
