// The color memory of color_memory.py: carried along the motion, faded where it is not trusted, blended with news.
//
// Color is three planes (Y', Cb, Cr) at work size; support is three planes at half of it: evidence in frames, the
// displayed luma that the color belongs to, confidence.
#include "frame_state.h"
#include "sampling.h"

struct carry_arguments {
    const FrameState *frame;
    const float *color;    // (3, height, width)
    const float *support;  // (3, half_height, half_width)
    const float *source;   // (bottom - top, right - left, 2) of `half_area`: where each pixel came from, x and y
    float *out;            // (3, height, width)
    float *out_support;    // (3, half_height, half_width)
    int width, height, half_width, half_height;
};

PLACE bool inside(const int *area, int x, int y) {
    return x >= area[0] && y >= area[1] && x < area[2] && y < area[3];
}

// How far a pixel of the half size came, from where it came: axis 0 for x.
struct Flow {
    const float *source;
    const int *area;
    int axis;
    PLACE_MEMBER float operator()(int x, int y) const {
        float from = source[2 * ((long)y * (area[2] - area[0]) + x) + axis];
        return from - (float)(area[axis] + (axis ? y : x));
    }
};

// One axis of the half-size motion at a pixel of the whole size: cv2.INTER_LINEAR within the part that moves.
PLACE float enlarged(const Flow &flow, const int *half, const int *area, int x, int y) {
    Neighbors columns = neighbors_of(x - area[0], half[2] - half[0], area[2] - area[0]);
    Neighbors rows = neighbors_of(y - area[1], half[3] - half[1], area[3] - area[1]);
    float upper = flow(columns.first, rows.first) * (1.0f - columns.share) + flow(columns.second, rows.first) * columns.share;
    float lower = flow(columns.first, rows.second) * (1.0f - columns.share) + flow(columns.second, rows.second) * columns.share;
    return upper * (1.0f - rows.share) + lower * rows.share;
}

// motion.move, of three planes of color and three of support (z from 3 on).
PLACE void carry_at(const carry_arguments &a, int x, int y, int z) {
    const FrameState &frame = *a.frame;
    const int *half = frame.half_area;
    if (z >= 3) {
        if (x >= a.half_width || y >= a.half_height) return;
        const float *plane = a.support + (long)(z - 3) * a.half_width * a.half_height;
        float value = plane[(long)y * a.half_width + x];
        if (frame.moving && inside(half, x, y)) {
            const float *from = a.source + 2 * ((long)(y - half[1]) * (half[2] - half[0]) + x - half[0]);
            value = fetched(plane, a.half_width, a.half_height, from[0], from[1]);
        }
        a.out_support[((long)(z - 3) * a.half_height + y) * a.half_width + x] = value;
        return;
    }
    const float *plane = a.color + (long)z * a.width * a.height;
    float value = plane[(long)y * a.width + x];
    if (frame.moving && inside(frame.area, x, y)) {
        float from_x = enlarged({a.source, half, 0}, half, frame.area, x, y) * ((float)a.width / (float)a.half_width);
        float from_y = enlarged({a.source, half, 1}, half, frame.area, x, y) * ((float)a.height / (float)a.half_height);
        value = fetched(plane, a.width, a.height, (float)x + from_x, (float)y + from_y);
    }
    a.out[((long)z * a.height + y) * a.width + x] = value;
}
KERNEL(carry)

struct weigh_news_arguments {
    const FrameState *frame;
    const float *news;               // (4, height, width): the network's Y', Cb, Cr and confidence
    const float *color;              // (3, height, width), carried
    const float *support;            // (3, half_height, half_width), carried
    const float *trust, *tolerance;  // (half_height, half_width)
    const float *shown;              // (half_height, half_width) displayed levels
    const u8 *moving;                // (bottom - top, right - left) of `half_area`, 255 where the picture moves
    float *out;            // (3, half_height, half_width): the support from now on
    float *share;          // (half_height, half_width): of the news in the color
    int width, height, half_width, half_height;
};

// Sum of |change| of the color over what would make it news.
struct Change {
    const float *news, *color;
    int width;
    long plane;
    PLACE_MEMBER float operator()(int x, int y) const {
        long at = (long)y * width + x;
        const float tremble = (float)(1.0 / 0.03);
        return fabsf(news[at] - color[at]) * tremble + fabsf(news[plane + at] - color[plane + at]) * tremble +
               fabsf(news[2 * plane + at] - color[2 * plane + at]) * tremble;
    }
};

// ColorMemory.carry, the evidence; agreement.trust_reference.
PLACE float faded(const weigh_news_arguments &a, int x, int y) {
    const FrameState &frame = *a.frame;
    long at = (long)y * a.half_width + x;
    float weight = a.support[at];
    if (frame.held) return weight;
    weight *= frame.still;
    const int *area = frame.half_area;
    if (frame.moving && inside(area, x, y)) {
        u8 moving = a.moving[(long)(y - area[1]) * (area[2] - area[0]) + x - area[0]];
        weight *= 1.0f + (float)moving * (frame.faster / 255.0f);
    }
    if (frame.compared) {
        weight *= a.trust[at];
        const float *luma = a.support + (long)a.half_width * a.half_height;
        float off = 0.0f;
        for (int dy = -1; dy <= 1; ++dy)
            for (int dx = -1; dx <= 1; ++dx) {
                long near = (long)reflected(y + dy, a.half_height) * a.half_width + reflected(x + dx, a.half_width);
                off += a.shown[near] - luma[near];
            }
        off = fabsf(off * (1.0f / 9.0f));
        weight *= clamped(off / (2.2f * a.tolerance[at]) * (-1.0f / 1.5f) + 2.5f / 1.5f, 0.0f, 1.0f);
    }
    return fminf(weight, frame.ceiling);
}

PLACE float blended(float first, float second, float first_weight, float second_weight) {
    return (first * first_weight + second * second_weight) / (first_weight + second_weight + 1e-5f);
}

// ColorMemory.gather, at half size.
PLACE void weigh_news_at(const weigh_news_arguments &a, int x, int y, int) {
    const FrameState &frame = *a.frame;
    long plane = (long)a.width * a.height, half_plane = (long)a.half_width * a.half_height;
    long at = (long)y * a.half_width + x;
    float weight = faded(a, x, y), luma = a.support[half_plane + at], sure = a.support[2 * half_plane + at];
    float share = 0.0f;
    if (frame.colored && !frame.held) {
        Picture<float> confidence = {a.news + 3 * plane, a.width};
        float news_sure = area_mean(confidence, a.width, a.height, a.half_width, a.half_height, x, y);
        float given = fmaxf(news_sure, 0.05f) * frame.share;
        if (frame.cut) {
            weight = given, luma = a.shown[at], sure = news_sure, share = 1.0f;
        } else {
            Change change = {a.news, a.color, a.width, plane};
            float changed = area_mean(change, a.width, a.height, a.half_width, a.half_height, x, y);
            float early = 3.0f / fmaxf(weight, 0.1f);
            share = given / (weight + given) * clamped(fmaxf(changed, early), 0.1f, 1.0f);
            luma = blended(a.shown[at], luma, given, weight);
            sure = blended(news_sure, sure, given, weight);
            weight += given;
        }
    }
    a.out[at] = weight;
    a.out[half_plane + at] = luma;
    a.out[2 * half_plane + at] = sure;
    a.share[at] = share;
}
KERNEL(weigh_news)

struct remember_arguments {
    const FrameState *frame;
    const float *news;     // (4, height, width)
    const float *carried;  // (3, height, width)
    const float *share;    // (half_height, half_width)
    const float *support;  // (3, half_height, half_width), from now on
    float *color;          // (4, height, width): the color from now on, and its confidence
    u8 *shown;             // (height, width): the confidence for people, 255 = sure
    int width, height, half_width, half_height;
};

// ColorMemory.gather and recall, at work size.
PLACE void remember_at(const remember_arguments &a, int x, int y, int z) {
    const FrameState &frame = *a.frame;
    long at = ((long)z * a.height + y) * a.width + x;
    if (z == 3) {
        const float *sure = a.support + 2l * a.half_width * a.half_height;
        float value = linear(sure, a.half_width, a.half_height, a.width, a.height, x, y);
        a.color[at] = value;
        a.shown[(long)y * a.width + x] = to_u8(fabsf(value * 255.0f));
    } else if (frame.held || !frame.colored) {
        a.color[at] = a.carried[at];
    } else if (frame.cut) {
        a.color[at] = a.news[at];
    } else {
        float share = linear(a.share, a.half_width, a.half_height, a.width, a.height, x, y) * 1000.0f;
        a.color[at] = blended(a.news[at], a.carried[at], share, 1000.0f - share);
    }
}
KERNEL(remember)
