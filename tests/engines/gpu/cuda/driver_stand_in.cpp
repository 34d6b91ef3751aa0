// Stands in for NVIDIA's driver (libcuda.so.1) where there is no GPU: memory is the host's, streams do their work at
// once, kernels are those of the library that STAND_IN_KERNELS names. It refuses what a driver would refuse: calls
// without a current context, the default stream, grids that do not cover the work, events of a recording outside of
// it and others within it, a recording with a branch that is not waited for, memory taken or given back by the thread
// that records, waiting for the context while any does; and, told by STAND_IN_FAILS, what a driver may refuse at any
// time. A recording is done in one of the orders that its branches leave open, another one each time. It shows
// nothing of timing.
#include <dlfcn.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <vector>

typedef unsigned long long Address;
struct Extent {
    int width, height, depth;
};
struct Node {
    std::function<void()> work;
    std::vector<int> after;
};
typedef std::vector<Node> Graph;
struct Stream;
struct Capture {
    Stream *origin;
    std::vector<Stream *> streams;
    Graph nodes;
    bool over = false, spoiled = false;
};
typedef std::shared_ptr<Capture> Captured;
struct Stream {
    Captured capture;
    std::vector<int> last;  // the nodes that the next one comes after
};
struct Event {
    Captured capture;
    std::vector<int> last;
};

static thread_local std::vector<void *> contexts;
static thread_local int recording_here;
static std::atomic<int> recording;
static int primary;
static std::atomic<int> retained, memory, pinned, streams, events, modules, graphs, lost;
static std::atomic<int> last_nodes, last_longest;

enum { ARGUMENT_BYTES = 512 };  // longer than any kernel's; the rest is not read

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

static int put(void *handle, std::function<void()> work) {
    if (!handle) return 400;
    Stream &stream = *(Stream *)handle;
    if (stream.capture) {
        stream.capture->nodes.push_back({work, stream.last});
        stream.last = {(int)stream.capture->nodes.size() - 1};
    } else {
        work();
    }
    return 0;
}

static int spoil(Stream &stream, int why) {
    if (stream.capture) stream.capture->spoiled = true;
    return why;
}

static void join(std::vector<int> &last, const std::vector<int> &others) {
    for (int one : others)
        if (std::find(last.begin(), last.end(), one) == last.end()) last.push_back(one);
}

// Whether everything that was recorded comes before what follows in the first stream.
static bool joined(const Capture &capture) {
    std::vector<char> before(capture.nodes.size());
    std::vector<int> left = capture.origin->last;
    while (!left.empty()) {
        int one = left.back();
        left.pop_back();
        if (before[one]) continue;
        before[one] = 1;
        left.insert(left.end(), capture.nodes[one].after.begin(), capture.nodes[one].after.end());
    }
    return std::find(before.begin(), before.end(), 0) == before.end();
}

// The longest row of nodes that come one after another.
static int longest(const Graph &nodes) {
    std::vector<int> rows;
    for (const Node &node : nodes) {
        int row = 0;
        for (int one : node.after) row = std::max(row, rows[one]);
        rows.push_back(row + 1);
    }
    return rows.empty() ? 0 : *std::max_element(rows.begin(), rows.end());
}

// Of all that could be next: the newest, the oldest, or any.
static void run(const Graph &nodes) {
    static std::atomic<unsigned> runs;
    unsigned how = runs++ % 3, chance = how + runs;
    std::vector<char> done(nodes.size());
    for (size_t count = 0; count < nodes.size(); ++count) {
        std::vector<int> ready;
        for (size_t one = 0; one < nodes.size(); ++one) {
            bool free = !done[one];
            for (int before : nodes[one].after) free = free && done[before];
            if (free) ready.push_back(one);
        }
        chance = chance * 1664525 + 1013904223;
        int next = how == 0 ? ready.back() : how == 1 ? ready.front() : ready[(chance >> 16) % ready.size()];
        nodes[next].work();
        done[next] = 1;
    }
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
    return *address = (Address)aligned_alloc(256, (count + 255) / 256 * 256), ++memory, 0;
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
int cuStreamSynchronize(void *stream) { CURRENT; return ((Stream *)stream)->capture ? spoil(*(Stream *)stream, 900) : 0; }
int cuStreamWaitEvent(void *handle, void *what, unsigned) {
    CURRENT;
    Stream &stream = *(Stream *)handle;
    Event &event = *(Event *)what;
    if (!event.capture) return stream.capture ? spoil(stream, 905) : 0;  // isolation
    if (event.capture->over) return spoil(stream, 907);                   // an event of a recording
    if (stream.capture && stream.capture != event.capture) return spoil(stream, 902);
    if (!stream.capture) {
        stream.capture = event.capture;
        stream.capture->streams.push_back(&stream);
        stream.last.clear();
    }
    return join(stream.last, event.last), 0;
}
int cuEventCreate(void **event, unsigned) { CURRENT; return *event = new Event, ++events, 0; }
int cuEventDestroy_v2(void *event) { CURRENT; return delete (Event *)event, --events, 0; }
int cuEventRecord(void *event, void *stream) {
    CURRENT;
    return *(Event *)event = {((Stream *)stream)->capture, ((Stream *)stream)->last}, 0;
}
int cuEventQuery(void *event) { CURRENT; return ((Event *)event)->capture ? 907 : 0; }
int cuEventSynchronize(void *event) { CURRENT; return ((Event *)event)->capture ? 907 : 0; }
int cuMemcpyHtoDAsync_v2(Address to, const void *from, size_t count, void *stream) {
    CURRENT;
    return put(stream, [=] { memcpy((void *)to, from, count); });
}
int cuMemcpyDtoHAsync_v2(void *to, Address from, size_t count, void *stream) {
    CURRENT;
    return put(stream, [=] { memcpy(to, (void *)from, count); });
}
int cuMemcpyDtoDAsync_v2(Address to, Address from, size_t count, void *stream) {
    CURRENT;
    return put(stream, [=] { memcpy((void *)to, (void *)from, count); });
}
int cuMemGetInfo_v2(size_t *free, size_t *whole) {
    CURRENT;
    return *free = (1ull << 33) - memory, *whole = 1ull << 33, 0;
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
    std::string arguments((char *)parameters[1], ARGUMENT_BYTES);
    // Every kernel's first argument is memory, or none. A place that is no memory is met when the kernel runs, and told later.
    Address first = *(Address *)arguments.data();
    if (first && first < 4096) return lost = 1, 0;
    auto kernel = (void (*)(Extent, const void *))function;
    return put(stream, [=] { kernel(extent, arguments.data()); });
}
int cuStreamBeginCapture_v2(void *handle, int mode) {
    CURRENT;
    Stream &stream = *(Stream *)handle;
    if (fails("begin") || mode != 1 || stream.capture) return 900;
    ++recording, ++recording_here;
    stream.capture = std::make_shared<Capture>();
    stream.capture->origin = &stream;
    stream.capture->streams = {&stream};
    return stream.last.clear(), 0;
}
int cuStreamEndCapture(void *handle, void **graph) {
    CURRENT;
    Captured capture = ((Stream *)handle)->capture;
    if (!capture || capture->origin != handle) return 903;  // not the one that it began with
    bool whole = joined(*capture);
    for (Stream *stream : capture->streams) stream->capture = nullptr;
    capture->over = true;
    --recording, --recording_here;
    if (fails("end") || capture->spoiled) return 901;
    if (fails("branches") && capture->streams.size() > 1) return 901;
    if (!whole) return 904;
    return *graph = new Graph(capture->nodes), ++graphs, 0;
}
int cuGraphInstantiateWithFlags(void **ready, void *graph, unsigned long long) {
    CURRENT;
    if (fails("instantiate")) return 2;
    return *ready = new Graph(*(Graph *)graph), ++graphs, 0;
}
int cuGraphLaunch(void *ready, void *stream) {
    CURRENT;
    if (!stream) return 400;
    last_nodes = ((Graph *)ready)->size(), last_longest = longest(*(Graph *)ready);
    return run(*(Graph *)ready), 0;
}
int cuGraphDestroy(void *graph) { CURRENT; return delete (Graph *)graph, --graphs, 0; }
int cuGraphExecDestroy(void *ready) { CURRENT; return delete (Graph *)ready, --graphs, 0; }
int cuGetErrorName(int status, const char **name) {
    *name = status == 2 ? "CUDA_ERROR_OUT_OF_MEMORY" : status == 719 ? "CUDA_ERROR_LAUNCH_FAILED" : "CUDA_ERROR_OTHER";
    return 0;
}
int cuGetErrorString(int status, const char **text) {
    return *text = status == 719 ? "unspecified launch failure" : "in the driver's words", 0;
}

void stand_in_lose() { lost = 1; }
// Of the recording that was done last: its nodes, and the longest row of them that come one after another.
void stand_in_shape(int *nodes, int *row) { *nodes = last_nodes, *row = last_longest; }
// What was not given back, in the order of the names below; the last is the depth of this thread's stack.
void stand_in_left(int *left) {
    int all[] = {retained, memory, pinned, streams, events, modules, graphs, (int)contexts.size()};
    memcpy(left, all, sizeof all);
}
}
