// Stands in for NVIDIA's driver (libcuda.so.1) where there is no GPU: memory is the host's, streams do their work at
// once, kernels are those of the library that STAND_IN_KERNELS names. It refuses what a driver would refuse: calls
// without a current context, the default stream, grids that do not cover the work, marks and waits while a stream is
// recorded, memory taken or given back by the thread that records, waiting for the context while any does; and, told by STAND_IN_FAILS, what a driver may refuse at any time. It shows nothing of timing and order.
#include <dlfcn.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

typedef unsigned long long Address;
typedef std::vector<std::function<void()>> Work;
struct Extent {
    int width, height, depth;
};
struct Stream {
    bool recording = false;
    Work work;
};

static thread_local std::vector<void *> contexts;
static thread_local int recording_here;
static std::atomic<int> recording;
static int primary;
static std::atomic<int> retained, memory, pinned, streams, events, modules, graphs, lost;

static bool fails(const char *what) {
    const char *told = getenv("STAND_IN_FAILS");
    return told && !strcmp(told, what);
}

// What a thread that records must not do in capture mode "thread local", and what nobody must while any records.
#define UNSAFE \
    if (recording_here) return 900
#define WHOLE_CONTEXT \
    if (recording) return 900

#define CURRENT                                   \
    if (lost) return 719;                         \
    if (contexts.empty() || !retained) return 201

static int put(void *stream, std::function<void()> work) {
    if (!stream) return 400;
    if (((Stream *)stream)->recording)
        ((Stream *)stream)->work.push_back(work);
    else
        work();
    return 0;
}

extern "C" {
int cuInit(unsigned) { return 0; }
int cuDriverGetVersion(int *version) { return *version = 13000, 0; }
int cuDeviceGetCount(int *count) { return *count = 1, 0; }
int cuDeviceGet(int *device, int index) { return *device = index, index ? 101 : 0; }
int cuDeviceGetName(char *name, int length, int) { return snprintf(name, length, "stand-in"), 0; }
int cuDeviceComputeCapability(int *major, int *minor, int) { return *major = 9, *minor = 0, 0; }
int cuDeviceGetAttribute(int *value, int kind, int) { return *value = kind == 75 ? 9 : 0, 0; }
int cuDevicePrimaryCtxRetain(void **context, int) { return ++retained, *context = &primary, 0; }
int cuDevicePrimaryCtxRelease_v2(int) { return --retained, 0; }
int cuDevicePrimaryCtxRelease(int) { return --retained, 0; }
int cuCtxPushCurrent_v2(void *context) { return contexts.push_back(context), 0; }
int cuCtxPopCurrent_v2(void **context) {
    if (contexts.empty()) return 201;
    *context = contexts.back();
    contexts.pop_back();
    return lost ? 719 : 0;  // "may also return error codes from previous, asynchronous launches"
}
int cuCtxSetCurrent(void *context) { return contexts.assign(1, context), 0; }
int cuCtxGetDevice(int *device) { return *device = 0, 0; }
int cuCtxSynchronize() { CURRENT; WHOLE_CONTEXT; return 0; }
int cuMemAlloc_v2(Address *address, size_t count) {
    CURRENT;
    UNSAFE;
    if (fails("memory") || count > (1ull << 32)) return 2;
    return *address = (Address)malloc(count), ++memory, 0;
}
int cuMemFree_v2(Address address) { CURRENT; UNSAFE; return free((void *)address), --memory, 0; }
int cuMemsetD8_v2(Address address, unsigned char value, size_t count) {
    CURRENT;
    UNSAFE;
    return memset((void *)address, value, count), 0;
}
int cuMemsetD8Async(Address address, unsigned char value, size_t count, void *stream) {
    CURRENT;
    return put(stream, [=] { memset((void *)address, value, count); });
}
int cuMemHostAlloc(void **host, size_t count, unsigned) { CURRENT; return *host = malloc(count), ++pinned, 0; }
int cuMemAllocHost_v2(void **host, size_t count) { CURRENT; return *host = malloc(count), ++pinned, 0; }
int cuMemFreeHost(void *host) { CURRENT; return free(host), --pinned, 0; }
int cuStreamCreate(void **stream, unsigned flags) {
    CURRENT;
    return *stream = new Stream, ++streams, flags == 1 ? 0 : 1;
}
int cuStreamDestroy_v2(void *stream) { CURRENT; return delete (Stream *)stream, --streams, 0; }
int cuStreamSynchronize(void *stream) { CURRENT; return ((Stream *)stream)->recording ? 900 : 0; }
int cuStreamWaitEvent(void *stream, void *, unsigned) { CURRENT; return ((Stream *)stream)->recording ? 905 : 0; }
int cuEventCreate(void **event, unsigned) { CURRENT; return *event = malloc(1), ++events, 0; }
int cuEventDestroy_v2(void *event) { CURRENT; return free(event), --events, 0; }
int cuEventRecord(void *, void *stream) { CURRENT; return ((Stream *)stream)->recording ? 900 : 0; }
int cuEventQuery(void *) { CURRENT; return 0; }
int cuEventSynchronize(void *) { CURRENT; return 0; }
int cuMemcpyHtoDAsync_v2(Address to, const void *from, size_t count, void *stream) {
    CURRENT;
    return put(stream, [=] { memcpy((void *)to, from, count); });
}
int cuMemcpyDtoHAsync_v2(void *to, Address from, size_t count, void *stream) {
    CURRENT;
    return put(stream, [=] { memcpy(to, (void *)from, count); });
}
int cuModuleLoadData(void **module, const void *code) {
    CURRENT;
    if (memcmp(code, "\x50\xed\x55\xba", 4) && memcmp(code, "\x7f""ELF", 4)) return 200;  // fat binary, cubin
    *module = dlopen(getenv("STAND_IN_KERNELS"), RTLD_NOW);
    return ++modules, *module ? 0 : 209;
}
int cuModuleGetFunction(void **function, void *module, const char *name) {
    CURRENT;
    return *function = dlsym(module, name), *function ? 0 : 500;
}
int cuModuleUnload(void *) { CURRENT; return --modules, 0; }
int cuLaunchKernel(void *function, unsigned x, unsigned y, unsigned z, unsigned by_x, unsigned by_y, unsigned by_z,
                   unsigned shared, void *stream, void **parameters, void **) {
    CURRENT;
    Extent extent = *(Extent *)parameters[0];
    bool covers = x * by_x >= (unsigned)extent.width && y * by_y >= (unsigned)extent.height;
    if (!covers || z != (unsigned)extent.depth || by_z != 1 || by_x * by_y > 1024 || shared > 48 << 10) return 1;
    std::string arguments((char *)parameters[1], 128);  // longer than any; the rest is not read
    auto kernel = (void (*)(Extent, const void *))function;
    return put(stream, [=] { kernel(extent, arguments.data()); });
}
int cuStreamBeginCapture_v2(void *stream, int mode) {
    CURRENT;
    if (fails("begin") || mode != 1) return 900;
    ((Stream *)stream)->work.clear();
    ++recording, ++recording_here;
    return ((Stream *)stream)->recording = true, 0;
}
int cuStreamEndCapture(void *stream, void **graph) {
    CURRENT;
    ((Stream *)stream)->recording = false;
    --recording, --recording_here;
    if (fails("end")) return 901;
    return *graph = new Work(((Stream *)stream)->work), ++graphs, 0;
}
int cuGraphInstantiateWithFlags(void **ready, void *graph, unsigned long long) {
    CURRENT;
    if (fails("instantiate")) return 2;
    return *ready = new Work(*(Work *)graph), ++graphs, 0;
}
int cuGraphLaunch(void *ready, void *stream) {
    CURRENT;
    if (!stream) return 400;
    for (auto &work : *(Work *)ready) work();
    return 0;
}
int cuGraphDestroy(void *graph) { CURRENT; return delete (Work *)graph, --graphs, 0; }
int cuGraphExecDestroy(void *ready) { CURRENT; return delete (Work *)ready, --graphs, 0; }
int cuGetErrorName(int status, const char **name) {
    *name = status == 2 ? "CUDA_ERROR_OUT_OF_MEMORY" : status == 719 ? "CUDA_ERROR_LAUNCH_FAILED" : "CUDA_ERROR_OTHER";
    return 0;
}
int cuGetErrorString(int status, const char **text) {
    return *text = status == 719 ? "unspecified launch failure" : "in the driver's words", 0;
}

void stand_in_lose() { lost = 1; }
// What was not given back, in the order of the names below; the last is the depth of this thread's stack.
void stand_in_left(int *left) {
    int all[] = {retained, memory, pinned, streams, events, modules, graphs, (int)contexts.size()};
    memcpy(left, all, sizeof all);
}
}
