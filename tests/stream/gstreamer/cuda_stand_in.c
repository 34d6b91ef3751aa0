// Stands in for NVIDIA's driver (libcuda.so.1) under GStreamer's CUDA library: memory is the host's, work is done at
// once. What it has no use for fails as not supported. Memory from the device has rows of a multiple of 512 bytes,
// as a GPU's has, so that a forgotten pitch shows.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef unsigned long long Address;
typedef struct {
    size_t x, y;
    unsigned kind;
    const void *host;
    Address device;
    void *array;
    size_t pitch;
} Side;
typedef struct {
    Side from, to;
    size_t width, height;
} Copy;

static _Thread_local void *stack[32];
static _Thread_local int depth;
static int memory, copies_in, copies_out;

int stand_in_memory(void) { return memory; }
int stand_in_copies_in(void) { return copies_in; }
int stand_in_copies_out(void) { return copies_out; }
int cuInit(unsigned flags) { return flags ? 1 : 0; }
int cuDriverGetVersion(int *version) { return *version = 13000, 0; }
int cuDeviceGetCount(int *count) { return *count = getenv("STAND_IN_NO_DEVICE") ? 0 : 1, 0; }
int cuDeviceGet(int *device, int index) { return *device = index, index ? 101 : 0; }
int cuDeviceGetName(char *name, int length, int device) { return snprintf(name, length, "stand-in %d", device), 0; }
int cuDeviceGetAttribute(int *value, int kind, int device) {
    return *value = kind == 75 ? 9 : kind == 14 ? 512 : 0, device ? 101 : 0;  // compute capability, texture alignment
}
int cuDeviceCanAccessPeer(int *can, int one, int other) { return *can = 0, one == other; }
int cuDevicePrimaryCtxRetain(void **context, int device) { return *context = &memory, device ? 101 : 0; }
int cuDevicePrimaryCtxRelease_v2(int device) { return device ? 101 : 0; }
int cuCtxCreate_v2(void **context, unsigned flags, int device) {
    static int made;
    return *context = &made, stack[depth++] = &made, flags || device ? 1 : 0;
}
int cuCtxDestroy_v2(void *context) { return context ? 0 : 201; }
int cuCtxPushCurrent_v2(void *context) { return depth < 32 ? stack[depth++] = context, 0 : 1; }
int cuCtxPopCurrent_v2(void **context) {
    if (!depth) return 201;
    --depth;
    if (context) *context = stack[depth];
    return 0;
}
int cuCtxSynchronize(void) { return depth ? 0 : 201; }
static int take(Address *address, size_t count) {
    if (!depth) return 201;
    return *address = (Address)(size_t)calloc(1, count), ++memory, 0;
}
int cuMemAlloc_v2(Address *address, size_t count) { return take(address, count); }
int cuMemAllocPitch_v2(Address *address, size_t *pitch, size_t width, size_t rows, unsigned element) {
    *pitch = (width + 511) / 512 * 512;
    return element > 16 ? 1 : take(address, *pitch * rows);
}
int cuMemFree_v2(Address address) { return free((void *)(size_t)address), --memory, 0; }
int cuMemAllocHost_v2(void **host, size_t count) { return *host = calloc(1, count), 0; }
int cuMemFreeHost(void *host) { return free(host), 0; }
int cuMemcpy2D_v2(const Copy *copy) {
    if (!depth) return 201;
    copies_in += copy->from.kind == 1 && copy->to.kind == 2;
    copies_out += copy->from.kind == 2 && copy->to.kind == 1;
    char *from = copy->from.kind == 1 ? (char *)copy->from.host : (char *)(size_t)copy->from.device;
    char *to = copy->to.kind == 1 ? (char *)copy->to.host : (char *)(size_t)copy->to.device;
    for (size_t row = 0; row < copy->height; ++row)
        memcpy(to + (copy->to.y + row) * copy->to.pitch + copy->to.x,
               from + (copy->from.y + row) * copy->from.pitch + copy->from.x, copy->width);
    return 0;
}
int cuMemcpy2DAsync_v2(const Copy *copy, void *stream) { return stream ? cuMemcpy2D_v2(copy) : cuMemcpy2D_v2(copy); }
int cuStreamCreate(void **stream, unsigned flags) { return *stream = malloc(1), flags > 1; }
int cuStreamDestroy_v2(void *stream) { return free(stream), 0; }
int cuStreamSynchronize(void *stream) { return stream ? 0 : 0; }
int cuGetErrorName(int status, const char **name) { return *name = status ? "error" : "success", 0; }
int cuGetErrorString(int status, const char **text) { return *text = status ? "error" : "success", 0; }

#define NOT_HERE(name) \
    int name(void) { return 801; }
NOT_HERE(cuCtxEnablePeerAccess)
NOT_HERE(cuCtxDisablePeerAccess)
NOT_HERE(cuCtxGetLimit)
NOT_HERE(cuCtxSetLimit)
NOT_HERE(cuGraphicsMapResources)
NOT_HERE(cuGraphicsUnmapResources)
NOT_HERE(cuGraphicsResourceSetMapFlags_v2)
NOT_HERE(cuGraphicsSubResourceGetMappedArray)
NOT_HERE(cuGraphicsResourceGetMappedPointer_v2)
NOT_HERE(cuGraphicsUnregisterResource)
NOT_HERE(cuMemcpyDtoD_v2)
NOT_HERE(cuMemcpyDtoDAsync_v2)
NOT_HERE(cuMemcpyDtoH_v2)
NOT_HERE(cuMemcpyDtoHAsync_v2)
NOT_HERE(cuMemcpyHtoD_v2)
NOT_HERE(cuMemcpyHtoDAsync_v2)
NOT_HERE(cuMemsetD2D8_v2)
NOT_HERE(cuMemsetD2D8Async)
NOT_HERE(cuMemsetD2D16_v2)
NOT_HERE(cuMemsetD2D16Async)
NOT_HERE(cuMemsetD2D32_v2)
NOT_HERE(cuMemsetD2D32Async)
NOT_HERE(cuModuleLoadData)
NOT_HERE(cuModuleUnload)
NOT_HERE(cuModuleGetFunction)
NOT_HERE(cuTexObjectCreate)
NOT_HERE(cuTexObjectDestroy)
NOT_HERE(cuLaunchKernel)
NOT_HERE(cuEventCreate)
NOT_HERE(cuEventDestroy_v2)
NOT_HERE(cuEventRecord)
NOT_HERE(cuEventSynchronize)
NOT_HERE(cuEventQuery)
NOT_HERE(cuIpcGetEventHandle)
NOT_HERE(cuIpcOpenEventHandle)
NOT_HERE(cuIpcGetMemHandle)
NOT_HERE(cuIpcOpenMemHandle_v2)
NOT_HERE(cuIpcOpenMemHandle)
NOT_HERE(cuIpcCloseMemHandle)
NOT_HERE(cuGraphicsGLRegisterImage)
NOT_HERE(cuGraphicsGLRegisterBuffer)
NOT_HERE(cuGLGetDevices_v2)
// Of libnvcuvid.so.1, without which GStreamer's plugin has not even its elements for memory.
NOT_HERE(cuvidCtxLockCreate)
NOT_HERE(cuvidCtxLockDestroy)
NOT_HERE(cuvidCtxLock)
NOT_HERE(cuvidCtxUnlock)
NOT_HERE(cuvidCreateDecoder)
NOT_HERE(cuvidReconfigureDecoder)
NOT_HERE(cuvidDestroyDecoder)
NOT_HERE(cuvidDecodePicture)
NOT_HERE(cuvidCreateVideoParser)
NOT_HERE(cuvidParseVideoData)
NOT_HERE(cuvidDestroyVideoParser)
NOT_HERE(cuvidMapVideoFrame64)
NOT_HERE(cuvidUnmapVideoFrame64)
NOT_HERE(cuvidGetDecoderCaps)
