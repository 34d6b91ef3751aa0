// The resizes of the CPU path, place by place: OpenCV's INTER_AREA and INTER_LINEAR with its rules for borders.
#pragma once
#include "portable.h"

// Where along one axis a pixel of a smaller picture gets its mean from: whole pixels and the shares of both ends.
struct Cell {
    int first, last;        // whole pixels, [first, last)
    float before, after;    // weights of `first - 1` and of `last`; 0 for none
    float each;             // weight of a whole pixel
};

// In whole numbers: exact, and double precision is slow on most GPUs.
PLACE Cell cell_of(int at, int from, int to) {
    if (from == 2 * to) return {2 * at, 2 * at + 2, 0.0f, 0.0f, 0.5f};  // the same without its divisions
    int start = at * from, end = start + from;  // in parts of 1 / to
    Cell cell;
    cell.first = (start + to - 1) / to;
    cell.last = end / to;
    cell.before = (float)(cell.first * to - start) / (float)from;
    cell.after = (float)(end - cell.last * to) / (float)from;
    cell.each = (float)to / (float)from;
    return cell;
}

template <class Row>
PLACE float along(const Cell &cell, const Row &value) {
    float sum = cell.before > 0.0f ? value(cell.first - 1) * cell.before : 0.0f;
    for (int x = cell.first; x < cell.last; ++x) sum += value(x) * cell.each;
    return cell.after > 0.0f ? sum + value(cell.last) * cell.after : sum;
}

// cv2.INTER_AREA towards a smaller picture of `value(x, y)`.
template <class Value>
PLACE float area_mean(const Value &value, int width, int height, int to_width, int to_height, int x, int y) {
    Cell columns = cell_of(x, width, to_width), rows = cell_of(y, height, to_height);
    return along(rows, [&](int row) { return along(columns, [&](int column) { return value(column, row); }); });
}

template <class Number>
struct Picture {
    const Number *values;
    int width;
    PLACE_MEMBER float operator()(int x, int y) const { return (float)values[(long)y * width + x]; }
};

struct Neighbors {
    int first, second;
    float share;  // of the second
};

PLACE Neighbors neighbors_of(int at, int from, int to) {
    if (to == 2 * from) {  // the same without its divisions
        int first = (at - 1) >> 1;
        if (first < 0) return {0, 0, 0.0f};
        return {first, smaller(first + 1, from - 1), first >= from - 1 ? 0.0f : at & 1 ? 0.25f : 0.75f};
    }
    int place = (2 * at + 1) * from - to;  // in parts of 1 / (2 to)
    int first = place / (2 * to);
    if (place < 0) return {0, 0, 0.0f};
    if (first >= from - 1) return {from - 1, from - 1, 0.0f};
    return {first, first + 1, (float)(place - first * 2 * to) / (float)(2 * to)};
}

PLACE float linear(const float *values, int width, const Neighbors &columns, const Neighbors &rows) {
    const float *above = values + (long)rows.first * width, *below = values + (long)rows.second * width;
    float upper = above[columns.first] * (1.0f - columns.share) + above[columns.second] * columns.share;
    float lower = below[columns.first] * (1.0f - columns.share) + below[columns.second] * columns.share;
    return upper * (1.0f - rows.share) + lower * rows.share;
}

PLACE float linear(const float *values, int width, int height, int to_width, int to_height, int x, int y) {
    return linear(values, width, neighbors_of(x, width, to_width), neighbors_of(y, height, to_height));
}

// cv2.INTER_LINEAR of 8-bit pictures: 11-bit shares, truncated where OpenCV's vector code truncates.
PLACE u8 linear_u8(const u8 *values, int width, int height, int to_width, int to_height, int x, int y) {
    Neighbors columns = neighbors_of(x, width, to_width), rows = neighbors_of(y, height, to_height);
    int right = (int)rintf(columns.share * 2048.0f), down = (int)rintf(rows.share * 2048.0f);
    const u8 *above = values + (long)rows.first * width, *below = values + (long)rows.second * width;
    int upper = above[columns.first] * (2048 - right) + above[columns.second] * right;
    int lower = below[columns.first] * (2048 - right) + below[columns.second] * right;
    return (u8)((((upper >> 4) * (2048 - down) >> 16) + ((lower >> 4) * down >> 16) + 2) >> 2);
}

// cv2.remap, INTER_LINEAR with the border's pixels repeated outside.
PLACE float fetched(const float *values, int width, int height, float x, float y) {
    float left = floorf(x), top = floorf(y);
    float right_share = x - left, down_share = y - top;
    int x0 = clamped((int)left, 0, width - 1), x1 = clamped((int)left + 1, 0, width - 1);
    int y0 = clamped((int)top, 0, height - 1), y1 = clamped((int)top + 1, 0, height - 1);
    const float *above = values + (long)y0 * width, *below = values + (long)y1 * width;
    float upper = above[x0] * (1.0f - right_share) + above[x1] * right_share;
    float lower = below[x0] * (1.0f - right_share) + below[x1] * right_share;
    return upper * (1.0f - down_share) + lower * down_share;
}
