// Black borders around a picture (neutral.borders), as borders.cu finds them.
#pragma once
#include "portable.h"

// Sides in the order top, bottom, left, right.
struct Borders {
    int run[4];    // black lines from that side on
    int votes[4];  // places along their last line at which an edge begins
};

// How many lines of a side are border: none where the whole picture is black, or where it fades into the black.
PLACE int border_of(const Borders &found, int side, int width, int height) {
    if (found.run[0] == height || found.run[2] == width) return 0;
    int length = side < 2 ? width : height;
    return 2 * found.votes[side] > length ? found.run[side] : 0;
}

PLACE bool any_border(const Borders &found, int width, int height) {
    for (int side = 0; side < 4; ++side)
        if (border_of(found, side, width, height) > 0) return true;
    return false;
}

PLACE bool on_border(const Borders &found, int x, int y, int width, int height) {
    return y < border_of(found, 0, width, height) || y >= height - border_of(found, 1, width, height) ||
           x < border_of(found, 2, width, height) || x >= width - border_of(found, 3, width, height);
}
