// Stands in for NVIDIA's driver (libcuda.so.1) where there is no GPU: memory is the host's, kernels are those of the
// library that STAND_IN_KERNELS names. It refuses what a driver would refuse: calls without a current context, the
// default stream, grids that do not cover the work or are too large, copies beyond the end of memory, events of a
// recording outside of it and others within it, a recording with a branch that is not waited for, memory taken or
// given back and anything waited for by the thread that records, waiting for the context while any does; and, told by
// STAND_IN_FAILS, what a driver may refuse at any time. A recording is done in one of the orders that its branches
// leave open, another one each time.
//
// When a stream's work is done STAND_IN_WHEN says: at once; `late`, not before somebody waits for it, and then that
// alone which it has to come after; or at `any` time between, some of this stream's and some of that one's. So what
// forgets to wait meets what is not there yet, and errors are told by a later call than the one that they are of.
// It shows nothing of timing.
#include <dlfcn.h>

#include <cstdio>
#include <map>
#include <string>

#include "driver_streams.h"

typedef unsigned long long Address;
struct Extent {
    int width, height, depth;
};
static thread_local std::vector<void *> contexts;
static thread_local int recording_here;
static std::atomic<int> recording;
static int primary;
static std::atomic<int> retained, memory, pinned, streams, events, modules, graphs;
static std::atomic<int> last_nodes, last_longest;
static std::map<Address, size_t> device_memory, pinned_memory;

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

#define CURRENT                                                 \
    std::lock_guard<std::recursive_mutex> alone(one_at_a_time); \
    if (is_when("any")) some();                                 \
    if (lost) return 719;                                       \
    if (contexts.empty() || !retained) return 201

// Where an address lies in memory that was taken here, so many bytes lie there from it on; all, where it is another's.
static size_t left_of(const std::map<Address, size_t> &memory, Address address) {
    auto next = memory.upper_bound(address);
    if (next == memory.begin()) return ~(size_t)0;
    --next;
    return address < next->first + next->second ? next->first + next->second - address : ~(size_t)0;
}

// Memory of the host that is not pinned has been read or written when the call returns.
static int copy(Address to, Address from, size_t count, void *stream, const void *host) {
    if (left_of(device_memory, to) < count || left_of(device_memory, from) < count) return 1;
    int status = put(stream, [=] { memcpy((void *)to, (void *)from, count); });
    bool is_pinned = !host || left_of(pinned_memory, (Address)host) != ~(size_t)0;
    if (status || is_pinned || ((Stream *)stream)->capture) return status;
    return finish(*((Stream *)stream)->queue);
}

static int put_back(std::map<Address, size_t> &memory, Address address) {
    if (!memory.count(address)) return 1;
    finish_all();  // as the driver does, for nobody's sake: whoever closes has waited
    memset((void *)address, 0xff, memory[address]);
    memory.erase(address);
    return free((void *)address), 0;
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
int cuCtxSynchronize() { CURRENT; WHOLE_CONTEXT; return finish_all(); }
int cuMemAlloc_v2(Address *address, size_t count) {
    CURRENT;
    UNSAFE;
    if (fails("memory") || count > (1ull << 32)) return 2;
    *address = (Address)aligned_alloc(256, (count + 255) / 256 * 256);
    memset((void *)*address, 0xff, count);  // no number
    return device_memory[*address] = count, ++memory, 0;
}
int cuMemFree_v2(Address address) {
    CURRENT;
    UNSAFE;
    int status = put_back(device_memory, address);
    return memory -= !status, status;
}
int cuMemsetD8_v2(Address address, unsigned char value, size_t count) {
    CURRENT;
    UNSAFE;
    return memset((void *)address, value, count), 0;
}
int cuMemsetD8Async(Address address, unsigned char value, size_t count, void *stream) {
    CURRENT;
    return put(stream, [=] { memset((void *)address, value, count); });
}
int cuMemHostAlloc(void **host, size_t count, unsigned) {
    CURRENT;
    UNSAFE;
    return *host = malloc(count), pinned_memory[(Address)*host] = count, ++pinned, 0;
}
int cuMemAllocHost_v2(void **host, size_t count) { return cuMemHostAlloc(host, count, 0); }
int cuMemFreeHost(void *host) {
    CURRENT;
    UNSAFE;
    int status = put_back(pinned_memory, (Address)host);
    return pinned -= !status, status;
}
int cuStreamCreate(void **stream, unsigned flags) {
    CURRENT;
    queues.push_back(std::make_shared<Queue>());
    *stream = new Stream{nullptr, {}, queues.back()};
    return ++streams, flags == 1 ? 0 : 1;
}
int cuStreamDestroy_v2(void *stream) { CURRENT; return delete (Stream *)stream, --streams, 0; }  // its work goes on
int cuStreamSynchronize(void *handle) {
    CURRENT;
    Stream &stream = *(Stream *)handle;
    if (stream.capture) return spoil(stream, 900);
    UNSAFE;
    return finish(*stream.queue);
}
int cuStreamWaitEvent(void *handle, void *what, unsigned) {
    CURRENT;
    Stream &stream = *(Stream *)handle;
    Event &event = *(Event *)what;
    if (!event.capture && stream.capture) return spoil(stream, 905);  // isolation
    if (!event.capture) {
        if (event.mark) add(*stream.queue, {nullptr, event.mark, nullptr});
        return 0;
    }
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
int cuEventRecord(void *event, void *handle) {
    CURRENT;
    Stream &stream = *(Stream *)handle;
    Event &made = *(Event *)event = {stream.capture, stream.last, nullptr};
    if (stream.capture) return 0;
    made.mark = std::make_shared<Mark>(Mark{stream.queue, false});
    return add(*stream.queue, {nullptr, nullptr, made.mark}), 0;
}
int cuEventQuery(void *what) {
    CURRENT;
    UNSAFE;
    Event &event = *(Event *)what;
    if (event.capture) return 907;
    if (event.mark && !event.mark->passed) step(*event.mark->queue);
    return lost ? 719 : event.mark && !event.mark->passed ? 600 : 0;
}
int cuEventSynchronize(void *what) {
    CURRENT;
    UNSAFE;
    Event &event = *(Event *)what;
    if (event.capture) return 907;
    if (event.mark) reach(event.mark);
    return told();
}
int cuMemcpyHtoDAsync_v2(Address to, const void *from, size_t count, void *stream) {
    CURRENT;
    return copy(to, (Address)from, count, stream, from);
}
int cuMemcpyDtoHAsync_v2(void *to, Address from, size_t count, void *stream) {
    CURRENT;
    return copy((Address)to, from, count, stream, to);
}
int cuMemcpyDtoDAsync_v2(Address to, Address from, size_t count, void *stream) {
    CURRENT;
    return copy(to, from, count, stream, nullptr);
}
// NVRTC 13 asks for it, without a doubt that it is there, and goes on where it is refused.
int cuGetExportTable(const void **table, const void *) { return *table = nullptr, 500; }
int cuMemGetInfo_v2(size_t *free, size_t *whole) {
    CURRENT;
    return *free = (1ull << 33) - memory, *whole = 1ull << 33, 0;
}
int cuModuleLoadData(void **module, const void *code) {
    CURRENT;
    UNSAFE;
    if (memcmp(code, "\x50\xed\x55\xba", 4) && memcmp(code, "\x7f""ELF", 4)) return 200;  // fat binary, cubin
    *module = dlopen(getenv("STAND_IN_KERNELS"), RTLD_NOW);
    return ++modules, *module ? 0 : 209;
}
int cuModuleGetFunction(void **function, void *module, const char *name) {
    CURRENT;
    return *function = dlsym(module, name), *function ? 0 : 500;
}
int cuModuleUnload(void *) { CURRENT; UNSAFE; return --modules, finish_all(); }
int cuLaunchKernel(void *function, unsigned x, unsigned y, unsigned z, unsigned by_x, unsigned by_y, unsigned by_z,
                   unsigned shared, void *stream, void **parameters, void **) {
    CURRENT;
    Extent extent = *(Extent *)parameters[0];
    bool covers = x * by_x >= (unsigned)extent.width && y * by_y >= (unsigned)extent.height;
    bool too_large = y > 65535 || z > 65535 || by_x * by_y > 1024 || shared > 48 << 10;
    if (!covers || z != (unsigned)extent.depth || by_z != 1 || too_large) return 1;
    std::string arguments((char *)parameters[1], ARGUMENT_BYTES);
    // Every kernel's first argument is memory, or none. A place that is no memory is met when the kernel runs, and told later.
    Address first = *(Address *)arguments.data();
    if (first && first < 4096) return put(stream, [] { lost = 1; });
    auto kernel = (void (*)(Extent, const void *))function;
    return put(stream, [=] { kernel(extent, arguments.data()); });
}
int cuLaunchHostFunc(void *stream, void (*function)(void *), void *data) {
    CURRENT;
    return put(stream, [=] { function(data); });
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
    auto graph = std::make_shared<Graph>(*(Graph *)ready);
    last_nodes = graph->size(), last_longest = longest(*graph);
    return put(stream, [=] { run(*graph); });
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
// Memory of the host that another library calls pinned, or no more.
void stand_in_pin(void *host, size_t count) {
    std::lock_guard<std::recursive_mutex> alone(one_at_a_time);
    if (count)
        pinned_memory[(Address)host] = count;
    else
        pinned_memory.erase((Address)host);
}
// Of the recording that was done last: its nodes, and the longest row of them that come one after another.
void stand_in_shape(int *nodes, int *row) { *nodes = last_nodes, *row = last_longest; }
// What was not given back, in the order of the names below; the last is the depth of this thread's stack.
void stand_in_left(int *left) {
    int all[] = {retained, memory, pinned, streams, events, modules, graphs, (int)contexts.size()};
    memcpy(left, all, sizeof all);
}
}
