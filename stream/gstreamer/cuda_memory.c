// GStreamer's CUDA memory for Python, whose bindings would map it as the host's. Pointers and numbers alone cross
// over; what is lent is given back by its lease, and what GStreamer has done with comes back as a ticket.
//
// Reference: GStreamer 1.24 and later, gst-plugins-bad, library "cuda".
#define GST_USE_UNSTABLE_API
#include <gst/app/gstappsrc.h>
#include <gst/cuda/cuda-gst.h>
#include <gst/cuda/gstcudacontext.h>
#include <gst/cuda/gstcudaloader.h>
#include <gst/cuda/gstcudamemory.h>
#include <gst/cuda/gstcudautils.h>
#include <gst/video/video.h>
#include <dlfcn.h>
#include <stdint.h>
#include <string.h>

// A picture on a device; cuda_memory.py has the same.
typedef struct {
    uint64_t address[GST_VIDEO_MAX_PLANES];  // of each plane
    int32_t pitch[GST_VIDEO_MAX_PLANES];     // bytes from row to row
    int32_t planes, width, height;
    char format[20];  // GStreamer's name
    void *context;    // CUcontext
} IrchromaPicture;

typedef struct {
    GstBuffer *buffer;
    GstMemory *memory;
    GstMapInfo map;
} Lease;

typedef struct {
    GstCudaContext *context;
    GstCudaAllocator *allocator;
    int device;
    void *driver;  // libcuda
    GMutex lock;
    GQueue done;  // tickets of memory that nobody reads any more
    int out;      // tickets that are still out
    gboolean closed;
} Session;

typedef struct {
    Session *session;
    gpointer ticket;
} Ticket;

// GStreamer's own list of the driver's functions has no primary contexts.
static void let_go(void *driver, int device) {
    int (*release)(int) = (int (*)(int))dlsym(driver, "cuDevicePrimaryCtxRelease_v2");
    if (release) release(device);
    dlclose(driver);
}

static void end_session(Session *session) {
    void *driver = session->driver;
    int device = session->device;
    g_queue_clear(&session->done);
    g_mutex_clear(&session->lock);
    gst_clear_object(&session->allocator);
    gst_clear_object(&session->context);
    g_free(session);
    let_go(driver, device);
}

static void take_back(gpointer data) {
    Ticket *ticket = data;
    Session *session = ticket->session;
    g_mutex_lock(&session->lock);
    g_queue_push_tail(&session->done, ticket->ticket);
    gboolean last = --session->out == 0 && session->closed;
    g_mutex_unlock(&session->lock);
    g_free(ticket);
    if (last) end_session(session);
}

// The length of IrchromaPicture here: both sides were made for the same.
int irchroma_picture_bytes(void) { return sizeof(IrchromaPicture); }

// GStreamer's version whose headers this was built with: 1 002 600 for 1.26.0.
int irchroma_built_for(void) {
    return GST_VERSION_MAJOR * 1000000 + GST_VERSION_MINOR * 100 + GST_VERSION_MICRO;
}

// Whether libcuda is here, with all that GStreamer asks of it, and has a device.
int irchroma_cuda_loads(void) {
    if (!gst_cuda_load_library()) return 0;
    int count = 0;
    if (CuInit(0) != CUDA_SUCCESS || CuDeviceGetCount(&count) != CUDA_SUCCESS || count < 1) return 0;
    gst_cuda_memory_init_once();
    return 1;
}

// For pictures in memory of the device's primary context, which is retained until the last of them is back; NULL
// where there is none, or GStreamer does not take it.
void *irchroma_open(int device) {
    void *driver = dlopen("libcuda.so.1", RTLD_NOW);
    if (!driver) return NULL;
    int (*retain)(void **, int) = (int (*)(void **, int))dlsym(driver, "cuDevicePrimaryCtxRetain");
    void *cuda_context = NULL;
    if (!retain || retain(&cuda_context, device)) {
        dlclose(driver);
        return NULL;
    }
    GstCudaContext *context = gst_cuda_context_new_wrapped(cuda_context, device);
    if (!context) {
        let_go(driver, device);
        return NULL;
    }
    Session *session = g_new0(Session, 1);
    session->context = context;
    session->driver = driver;
    session->device = device;
    session->allocator = g_object_new(GST_TYPE_CUDA_ALLOCATOR, NULL);
    gst_object_ref_sink(session->allocator);
    g_mutex_init(&session->lock);
    g_queue_init(&session->done);
    return session;
}

// The CUcontext.
void *irchroma_context(void *opened) { return gst_cuda_context_get_handle(((Session *)opened)->context); }

// Elements may hold memory for longer: the last of it ends what is left.
void irchroma_close(void *opened) {
    Session *session = opened;
    g_mutex_lock(&session->lock);
    session->closed = TRUE;
    gboolean last = session->out == 0;
    g_mutex_unlock(&session->lock);
    if (last) end_session(session);
}

// An element, or all that are in a pipeline, work in this context, rather than in one of their own.
void irchroma_share_context(void *opened, void *element) {
    GstContext *context = gst_context_new_cuda_context(((Session *)opened)->context);
    gst_element_set_context(GST_ELEMENT(element), context);
    gst_context_unref(context);
}

// A ticket whose memory has come back; NULL where none has.
void *irchroma_returned(void *opened) {
    Session *session = opened;
    g_mutex_lock(&session->lock);
    void *ticket = g_queue_pop_head(&session->done);
    g_mutex_unlock(&session->lock);
    return ticket;
}

// How many tickets are out.
int irchroma_out(void *opened) {
    Session *session = opened;
    g_mutex_lock(&session->lock);
    int out = session->out;
    g_mutex_unlock(&session->lock);
    return out;
}

// Give an appsrc a picture that lies in one piece from `address` on: no byte of it is copied. Its work is done.
// The ticket (not NULL) comes back when nobody reads it any more, where this gives 0 too.
// Gives 0 where the appsrc took it, 1 where the layout makes no sense, else a GstFlowReturn, which is negative.
int irchroma_push(void *opened, void *source, const IrchromaPicture *picture, uint64_t pts_ns, uint64_t duration_ns,
                  void *ticket) {
    Session *session = opened;
    GstVideoInfo info;
    GstVideoFormat format = gst_video_format_from_string(picture->format);
    if (format == GST_VIDEO_FORMAT_UNKNOWN || !ticket) return 1;
    if (!gst_video_info_set_format(&info, format, picture->width, picture->height)) return 1;
    if ((int)GST_VIDEO_INFO_N_PLANES(&info) != picture->planes) return 1;
    for (int plane = 0; plane < picture->planes; ++plane) {
        int component[GST_VIDEO_MAX_COMPONENTS];
        gst_video_format_info_component(info.finfo, plane, component);
        int rows = GST_VIDEO_FORMAT_INFO_SCALE_HEIGHT(info.finfo, component[0], picture->height);
        int row_bytes = GST_VIDEO_FORMAT_INFO_SCALE_WIDTH(info.finfo, component[0], picture->width) *
                        GST_VIDEO_FORMAT_INFO_PSTRIDE(info.finfo, component[0]);
        if (picture->pitch[plane] < row_bytes || picture->address[plane] < picture->address[0]) return 1;
        info.stride[plane] = picture->pitch[plane];
        info.offset[plane] = picture->address[plane] - picture->address[0];
        info.size = info.offset[plane] + (gsize)picture->pitch[plane] * rows;
    }
    Ticket *lent = g_new(Ticket, 1);
    *lent = (Ticket){session, ticket};
    g_mutex_lock(&session->lock);
    ++session->out;
    g_mutex_unlock(&session->lock);
    GstMemory *memory = gst_cuda_allocator_alloc_wrapped(session->allocator, session->context, NULL, &info,
                                                         picture->address[0], lent, take_back);
    if (!memory) {
        take_back(lent);
        return GST_FLOW_ERROR;
    }
    GstBuffer *buffer = gst_buffer_new();
    gst_buffer_append_memory(buffer, memory);
    gst_buffer_add_video_meta_full(buffer, GST_VIDEO_FRAME_FLAG_NONE, format, info.width, info.height,
                                   GST_VIDEO_INFO_N_PLANES(&info), info.offset, info.stride);
    GST_BUFFER_PTS(buffer) = pts_ns;
    GST_BUFFER_DURATION(buffer) = duration_ns;
    return gst_app_src_push_buffer(GST_APP_SRC(source), buffer);
}

// Where a buffer's picture lies on the device, whose work on it is waited for. NULL where it is none in CUDA memory;
// else the memory stays as it is until `irchroma_give_back`.
void *irchroma_read(void *buffer, IrchromaPicture *picture) {
    if (gst_buffer_n_memory(buffer) != 1) return NULL;
    GstMemory *memory = gst_buffer_peek_memory(buffer, 0);
    if (!gst_is_cuda_memory(memory)) return NULL;
    GstCudaMemory *on_device = GST_CUDA_MEMORY_CAST(memory);
    const GstVideoInfo *info = &on_device->info;
    Lease *lease = g_new0(Lease, 1);
    if (!gst_memory_map(memory, &lease->map, (GstMapFlags)(GST_MAP_READ | GST_MAP_CUDA))) {
        g_free(lease);
        return NULL;
    }
    gst_cuda_memory_sync(on_device);
    memset(picture, 0, sizeof *picture);
    picture->planes = GST_VIDEO_INFO_N_PLANES(info);
    picture->width = GST_VIDEO_INFO_WIDTH(info);
    picture->height = GST_VIDEO_INFO_HEIGHT(info);
    for (int plane = 0; plane < picture->planes; ++plane) {
        picture->address[plane] = (uint64_t)(uintptr_t)lease->map.data + GST_VIDEO_INFO_PLANE_OFFSET(info, plane);
        picture->pitch[plane] = GST_VIDEO_INFO_PLANE_STRIDE(info, plane);
    }
    g_strlcpy(picture->format, gst_video_format_to_string(GST_VIDEO_INFO_FORMAT(info)), sizeof picture->format);
    picture->context = gst_cuda_context_get_handle(on_device->context);
    lease->buffer = gst_buffer_ref(buffer);
    lease->memory = memory;
    return lease;
}

void irchroma_give_back(void *lent) {
    Lease *lease = lent;
    gst_memory_unmap(lease->memory, &lease->map);
    gst_buffer_unref(lease->buffer);
    g_free(lease);
}
