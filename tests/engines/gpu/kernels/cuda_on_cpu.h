// As much of CUDA C++ as the kernels use, for a C++ compiler: it then builds what a GPU's compiler is given, the half
// (as_cuda.h) that else nothing runs. Blocks are done one after another, their threads in turns on one processor;
// where one waits for others, the next goes on. Which block and which thread is next is another row each time: of a
// launch the first, the last or any, and at each barrier anew. It ends the program where a GPU would wait for ever or
// give anything: a thread that ends while others wait for it, and memory of a block beyond what the launch asked for.
// What a block shares is no number at its begin. Threads change at barriers and shuffles alone.
#pragma once
#include <math.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

#include <functional>
#include <numeric>
#include <utility>
#include <vector>

struct Place3 {
    unsigned x, y, z;
};

struct Thread {
    ucontext_t begin;  // and where it goes on: without the calls of the kernel that contexts make
    jmp_buf goes_on;
    bool begun;
    std::vector<char> stack;
    Place3 place;
    bool done, waits;   // for all of the block
    unsigned shuffles;  // so far
    float given[2];     // of the last two of them
};

enum { THREADS = 256, WARP = 32, STACK_BYTES = 64 << 10, SHARED_FLOATS = (48 << 10) / 4, BEYOND = 64 };
static Place3 block_here, block_size = {32, 8, 1};
static Thread threads[THREADS];
static Thread *here;
static jmp_buf in_turn;
static std::function<void()> kernel_here;
extern "C" float shared[SHARED_FLOATS + BEYOND];
float shared[SHARED_FLOATS + BEYOND];

[[noreturn]] static void wrong(const char *what) {
    fprintf(stderr, "as CUDA: %s\n", what);
    abort();
}

static void others_go_on() {
    if (!_setjmp(here->goes_on)) _longjmp(in_turn, 1);
}

static void go_on() {
    if (_setjmp(in_turn)) return;
    if (here->begun) _longjmp(here->goes_on, 1);
    here->begun = true;
    setcontext(&here->begin);
}

static void __syncthreads() {
    here->waits = true;
    while (here->waits) others_go_on();
}

static float __shfl_xor_sync(unsigned mask, float value, int far) {
    int index = (int)(here - threads), lane = index % WARP;
    Thread *warp = threads + index - lane;
    if (!(mask >> lane & 1) || !(mask >> (lane ^ far) & 1)) wrong("a shuffle with a lane that its mask leaves out");
    unsigned slot = here->shuffles++ % 2;
    here->given[slot] = value;
    for (int other = 0; other < WARP; ++other)
        while ((mask >> other & 1) && warp[other].shuffles < here->shuffles) {
            if (warp[other].done) wrong("a shuffle with a lane that has ended");
            others_go_on();
        }
    return warp[lane ^ far].given[slot];
}

static int atomicAdd(int *counter, int by) {
    int before = *counter;
    *counter += by;
    return before;
}

static unsigned launches, chance = 20260;

// In which order so many are done: forward, backward or any, drawn for each launch, so that a kernel has another
// one in another frame, however many launches a frame has.
static std::vector<int> row_of(int count) {
    std::vector<int> row(count);
    std::iota(row.begin(), row.end(), 0);
    for (int at = 0, kind = (int)((launches * 2654435761u >> 16) % 3); at < (kind == 1 ? count / 2 : kind == 2 ? count - 1 : 0); ++at) {
        chance = chance * 1664525 + 1013904223;
        std::swap(row[at], row[kind == 1 ? count - 1 - at : at + (int)((chance >> 8) % (unsigned)(count - at))]);
    }
    return row;
}

static void thread_begins() {
    kernel_here();
    here->done = true;
    others_go_on();
}

static void run_in_turns() {
    for (Thread &thread : threads) {
        if (thread.stack.empty()) thread.stack.resize(STACK_BYTES);
        getcontext(&thread.begin);
        thread.begin.uc_stack.ss_sp = thread.stack.data();
        thread.begin.uc_stack.ss_size = thread.stack.size();
        thread.begin.uc_link = nullptr;
        makecontext(&thread.begin, thread_begins, 0);
        thread.begun = thread.done = thread.waits = false;
        thread.shuffles = 0;
    }
    for (int left = THREADS; left > 0;) {
        int waiting = 0;
        left = 0;
        for (int turn : row_of(THREADS)) {
            here = threads + turn;
            if (!here->done && !here->waits) go_on();
            left += !here->done;
            waiting += !here->done && here->waits;
        }
        if (waiting && waiting == left) {
            if (left != THREADS) wrong("threads wait for some that have ended");
            for (Thread &thread : threads) thread.waits = false;
        }
    }
}

// A launch: `together` where threads wait for each other.
static void run_grid(const Place3 &blocks, unsigned shared_bytes, bool together, const std::function<void()> &kernel) {
    if (shared_bytes > sizeof(float) * SHARED_FLOATS) wrong("more memory for a block than it has");
    kernel_here = kernel;
    ++launches;
    int across = (int)blocks.x, down = (int)blocks.y;
    for (int block : row_of(across * down * (int)blocks.z)) {
        block_here = {(unsigned)(block % across), (unsigned)(block / across % down), (unsigned)(block / across / down)};
        memset(shared, 0xff, sizeof shared);
        for (int index = 0; index < THREADS; ++index)
            threads[index].place = {index % block_size.x, index / block_size.x, 0};
        if (together)
            run_in_turns();
        else
            for (int turn : row_of(THREADS)) here = threads + turn, kernel();
        const char *end = (const char *)(shared + SHARED_FLOATS + BEYOND);
        for (const char *at = (const char *)shared + shared_bytes; at < end; ++at)
            if (*at != (char)0xff) wrong("memory of a block beyond what the launch asked for");
    }
}

// cvt.rn.f16.f32 and cvt.f32.f16, the two instructions that the kernels write themselves.
static void convert(const char *words, unsigned short &half, float &value) {
    if (strstr(words, "cvt.f32.f16")) {
        int exponent = half >> 10 & 31, mantissa = half & 1023;
        value = exponent == 31 ? (mantissa ? NAN : INFINITY) : ldexpf(exponent ? mantissa + 1024 : mantissa, (exponent ? exponent : 1) - 25);
        value = half & 0x8000 ? -value : value;
    } else if (strstr(words, "cvt.rn.f16.f32")) {
        int exponent, sign = signbit(value) ? 0x8000 : 0;
        float size = fabsf(value);
        frexpf(size, &exponent);
        int scale = (exponent < -13 || size == 0.0f ? -13 : exponent) - 11;  // of the last bit, which a power of two carries up
        float units = nearbyintf(ldexpf(size, -scale));
        if (isnan(value))
            half = 0x7fff;
        else if (isinf(value) || ldexpf(units, scale) >= 65536.0f)
            half = (unsigned short)(sign | 0x7c00);
        else
            half = (unsigned short)(sign | (((scale + 24) << 10) + (int)units));
    } else {
        wrong("an instruction that is not known here");
    }
}

#define __CUDACC__
#define __global__
#define __device__
#define __shared__
#define __forceinline__ inline
#define asm(...) convert(#__VA_ARGS__, half, value)
#define blockIdx block_here
#define blockDim block_size
#define threadIdx (here->place)
