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

#define PLACE static __device__ __forceinline__
#define PLACE_MEMBER __device__ __forceinline__
#define KERNEL(name)                                                              \
    extern "C" __global__ void name(Extent extent, name##_arguments args) {       \
        int x = blockIdx.x * blockDim.x + threadIdx.x;                            \
        int y = blockIdx.y * blockDim.y + threadIdx.y;                            \
        if (x < extent.width && y < extent.height) name##_at(args, x, y, blockIdx.z); \
    }

#define TILED_KERNEL(name, planes, added)                                                             \
    extern "C" __global__ void name(Extent extent, name##_arguments args) {                           \
        extern __shared__ float shared[];                                                             \
        if (idle(args)) return;                                                                       \
        Tile tile = {shared, args.radius, (int)blockIdx.x * BLOCK_WIDTH, (int)blockIdx.y * BLOCK_HEIGHT}; \
        int thread = threadIdx.y * BLOCK_WIDTH + threadIdx.x, spots = tile.spots();                   \
        for (int at = thread; at < spots; at += BLOCK_WIDTH * BLOCK_HEIGHT)                           \
            tile.fill<planes, added>(at, extent, [&](int x, int y, float (&seen)[planes]) {           \
                name##_seen(args, x, y, blockIdx.z, seen);                                            \
            });                                                                                       \
        __syncthreads();                                                                              \
        int x = tile.left + threadIdx.x, y = tile.top + threadIdx.y;                                  \
        if (x < extent.width && y < extent.height) name##_at(args, tile, x, y, blockIdx.z);           \
    }

#define ROWS_HERE 1
struct Lane {
    int row;
    unsigned others;

    // `each(row, at, found)` adds to what a row has found; `at` is where of ROWS_HERE the row's own values are.
    template <int count, class Each>
    PLACE_MEMBER void sums(float (&total)[count], const Each &each) const {
        for (int index = 0; index < count; ++index) total[index] = 0.0f;
        each(row, 0, total);
        for (int index = 0; index < count; ++index)
            for (int far = 1; far < LANES; far *= 2) total[index] += __shfl_xor_sync(others, total[index], far);
    }
    template <class Each>
    PLACE_MEMBER void rows(const Each &each) const {
        each(row, 0);
    }
};
#define LANE_KERNEL(name)                                                                       \
    extern "C" __global__ void name(Extent extent, name##_arguments args) {                     \
        int x = blockIdx.x * blockDim.x + threadIdx.x;                                          \
        int y = blockIdx.y * blockDim.y + threadIdx.y;                                          \
        Lane lane = {x % LANES, 0xffu << (threadIdx.x / LANES * LANES)};                        \
        if (x < extent.width && y < extent.height) name##_at(args, lane, x / LANES, y, blockIdx.z); \
    }

PLACE void count_up(int *counter, int by = 1) { atomicAdd(counter, by); }

PLACE u16 float_to_half(float value) {
    u16 half;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(half) : "f"(value));
    return half;
}

PLACE float half_to_float(u16 half) {
    float value;
    asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"(half));
    return value;
}

#else

#include <cmath>
#include <cstring>
#include <vector>

#define PLACE static inline __attribute__((always_inline))
#define PLACE_MEMBER inline
#if defined(THREADED)  // two threads at once, for a sanitizer that finds what they should not share
#include <thread>
// By chance: any two places, neighbors along either axis of a picture of any width, may be the others' of each other.
static bool is_other(int at) {
    unsigned mixed = (unsigned)at * 2654435761u;  // alone it is a row of numbers with a period in some widths
    mixed = (mixed ^ mixed >> 15) * 2246822519u;
    return (mixed ^ mixed >> 13) & 1;
}
template <class Work>
static void in_two(int count, const Work &work) {
    std::thread other([&] {
        for (int at = 0; at < count; ++at)
            if (is_other(at)) work(at);
    });
    for (int at = 0; at < count; ++at)
        if (!is_other(at)) work(at);
    other.join();
}
#define KERNEL(name)                                                              \
    extern "C" void name(Extent extent, const name##_arguments *args) {           \
        int across = extent.width, rows = extent.height;                          \
        in_two(extent.depth * rows * across, [&](int at) {                        \
            name##_at(*args, at % across, at / across % rows, at / across / rows); \
        });                                                                       \
    }
#define IN_TURN(at, count) in_two((count), [&](int at)
#define DONE );
#elif defined(BACKWARD)  // the other order must give the same picture
#define IN_TURN(at, count) for (int at = (count); at-- > 0;)
#define DONE
#define KERNEL(name)                                                              \
    extern "C" void name(Extent extent, const name##_arguments *args) {           \
        for (int z = extent.depth; z-- > 0;)                                      \
            for (int y = extent.height; y-- > 0;)                                 \
                for (int x = extent.width; x-- > 0;) name##_at(*args, x, y, z);   \
    }
#else
#define IN_TURN(at, count) for (int at = 0; at < (count); ++at)
#define DONE
#define KERNEL(name)                                                              \
    extern "C" void name(Extent extent, const name##_arguments *args) {           \
        for (int z = 0; z < extent.depth; ++z)                                    \
            for (int y = 0; y < extent.height; ++y)                               \
                for (int x = 0; x < extent.width; ++x) name##_at(*args, x, y, z); \
    }
#endif

#define TILED_KERNEL(name, planes, added)                                                             \
    extern "C" void name(Extent extent, const name##_arguments *args) {                               \
        if (idle(*args)) return;                                                                      \
        int across = (extent.width + BLOCK_WIDTH - 1) / BLOCK_WIDTH;                                  \
        int down = (extent.height + BLOCK_HEIGHT - 1) / BLOCK_HEIGHT;                                 \
        std::vector<float> shared((size_t)(planes) * BLOCK_HEIGHT * (BLOCK_WIDTH + 2 * args->radius)); \
        for (int block = 0; block < extent.depth * down * across; ++block) {                          \
            int z = block / (down * across);                                                          \
            Tile tile = {shared.data(), args->radius, block % across * BLOCK_WIDTH,                   \
                         block / across % down * BLOCK_HEIGHT};                                       \
            IN_TURN(at, tile.spots()) {                                                               \
                tile.fill<planes, added>(at, extent, [&](int x, int y, float (&seen)[planes]) {       \
                    name##_seen(*args, x, y, z, seen);                                                \
                });                                                                                   \
            } DONE                                                                                    \
            IN_TURN(at, BLOCK_WIDTH * BLOCK_HEIGHT) {                                                 \
                int x = tile.left + at % BLOCK_WIDTH, y = tile.top + at / BLOCK_WIDTH;                \
                if (x < extent.width && y < extent.height) name##_at(*args, tile, x, y, z);           \
            } DONE                                                                                    \
        }                                                                                             \
    }

#define ROWS_HERE LANES
struct Lane {
    template <int count, class Each>
    PLACE_MEMBER void sums(float (&total)[count], const Each &each) const {
        float found[LANES][count] = {};
        for (int row = 0; row < LANES; ++row) each(row, row, found[row]);
        for (int far = 1; far < LANES; far *= 2)  // as the lanes of a warp do
            for (int row = 0; row < LANES; row += 2 * far)
                for (int index = 0; index < count; ++index) found[row][index] += found[row + far][index];
        for (int index = 0; index < count; ++index) total[index] = found[0][index];
    }
    template <class Each>
    PLACE_MEMBER void rows(const Each &each) const {
        for (int row = 0; row < LANES; ++row) each(row, row);
    }
};
#define LANE_KERNEL(name)                                                                              \
    extern "C" void name(Extent extent, const name##_arguments *args) {                                \
        int across = extent.width / LANES, rows = extent.height;                                       \
        IN_TURN(at, extent.depth * rows * across) {                                                    \
            name##_at(*args, Lane(), at % across, at / across % rows, at / across / rows);              \
        } DONE                                                                                         \
    }

PLACE void count_up(int *counter, int by = 1) { __atomic_fetch_add(counter, by, __ATOMIC_RELAXED); }

// IEEE 754 binary16, round to nearest even.
PLACE u16 float_to_half(float value) {
    unsigned bits;
    std::memcpy(&bits, &value, 4);
    unsigned sign = (bits >> 16) & 0x8000u;
    bits &= 0x7fffffffu;
    if (bits > 0x7f800000u) return (u16)(sign | 0x7e00u);
    if (bits >= 0x477ff000u) return (u16)(sign | 0x7c00u);
    if (bits < 0x33000001u) return (u16)sign;
    int exponent = (int)(bits >> 23) - 112;
    unsigned mantissa = (bits & 0x7fffffu) | 0x800000u;
    int shift = exponent > 0 ? 13 : 14 - exponent;
    unsigned half = mantissa >> shift, rest = mantissa & ((1u << shift) - 1), middle = 1u << (shift - 1);
    if (exponent > 0) half += (unsigned)(exponent - 1) << 10;
    if (rest > middle || (rest == middle && (half & 1))) ++half;
    return (u16)(sign | half);
}

PLACE float half_to_float(u16 half) {
    int exponent = (half >> 10) & 31, mantissa = half & 1023;
    float value = exponent == 31  ? (mantissa ? NAN : INFINITY)
                  : exponent == 0 ? std::ldexp((float)mantissa, -24)
                                  : std::ldexp((float)(mantissa + 1024), exponent - 25);
    return half & 0x8000 ? -value : value;
}

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
