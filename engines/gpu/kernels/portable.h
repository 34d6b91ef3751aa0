// One source, two compilers: CUDA (nvcc, NVRTC) and plain C++, which tests build to hold it against numpy.
//
// Every kernel is a map over a grid: `NAME_at(args, x, y, z)` is called once for each place, in any order, and
// writes only what no other place of that launch reads. So there are no barriers and no shared memory, and a
// loop over the grid does exactly what a GPU does. Arguments travel as one struct, `NAME_arguments`, whose twin
// is in kernel_arguments.py. No fused multiply-add on either side: the same text gives the same bits.
#pragma once

typedef unsigned char u8;
typedef unsigned short u16;

struct Extent {
    int width, height, depth;
};

#ifdef __CUDACC__

#define PLACE static __device__ __forceinline__
#define PLACE_MEMBER __device__ __forceinline__
#define KERNEL(name)                                                              \
    extern "C" __global__ void name(Extent extent, name##_arguments args) {       \
        int x = blockIdx.x * blockDim.x + threadIdx.x;                            \
        int y = blockIdx.y * blockDim.y + threadIdx.y;                            \
        if (x < extent.width && y < extent.height) name##_at(args, x, y, blockIdx.z); \
    }

PLACE void count_up(int *counter) { atomicAdd(counter, 1); }

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

#define PLACE static inline
#define PLACE_MEMBER inline
#ifdef BACKWARD  // the other order must give the same picture
#define KERNEL(name)                                                              \
    extern "C" void name(Extent extent, const name##_arguments *args) {           \
        for (int z = extent.depth; z-- > 0;)                                      \
            for (int y = extent.height; y-- > 0;)                                 \
                for (int x = extent.width; x-- > 0;) name##_at(*args, x, y, z);   \
    }
#else
#define KERNEL(name)                                                              \
    extern "C" void name(Extent extent, const name##_arguments *args) {           \
        for (int z = 0; z < extent.depth; ++z)                                    \
            for (int y = 0; y < extent.height; ++y)                               \
                for (int x = 0; x < extent.width; ++x) name##_at(*args, x, y, z); \
    }
#endif

PLACE void count_up(int *counter) { ++*counter; }

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
