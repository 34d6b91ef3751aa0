// The kernels as plain C++, each a loop over its grid: in order, backward (BACKWARD) or by two threads (THREADED).
// What portable.h says of them; it includes this.
#pragma once

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
