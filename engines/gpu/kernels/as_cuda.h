// The kernels on a GPU: what KERNEL, TILED_KERNEL and LANE_KERNEL of portable.h are there, which includes this.
#pragma once

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
