// Finds black borders around a picture, line by line (neutral.borders).
#include "borders.h"

struct line_extremes_arguments {
    const u8 *luma;  // (height, width)
    u8 *out;         // (2, lines, segments, 2): darkest and brightest of each part of a row, of a column
    int width, height, lines, segments;
    int length;   // of a segment in pixels
    int columns;  // 1: the grid is (width, segments), 0: (segments, height)
};

PLACE void line_extremes_at(const line_extremes_arguments &a, int x, int y, int) {
    int line = a.columns ? x : y, segment = a.columns ? y : x, pixels = a.columns ? a.height : a.width;
    long step = a.columns ? a.width : 1, start = a.columns ? line : (long)line * a.width;
    int darkest = 255, brightest = 0;
    for (int at = segment * a.length; at < smaller((segment + 1) * a.length, pixels); ++at) {
        int level = a.luma[start + at * step];
        darkest = smaller(darkest, level);
        brightest = larger(brightest, level);
    }
    u8 *out = a.out + 2 * (((long)a.columns * a.lines + line) * a.segments + segment);
    out[0] = (u8)darkest;
    out[1] = (u8)brightest;
}
KERNEL(line_extremes)

struct black_lines_arguments {
    const u8 *extremes;  // (2, lines, segments, 2)
    u8 *out;             // (2, lines): 1 for a black row, column
    int width, height, lines, segments;
};

// neutral._black; segments beyond the line's end have the extremes 255 and 0.
PLACE void black_lines_at(const black_lines_arguments &a, int x, int, int z) {
    if (x >= (z ? a.width : a.height)) return;
    const u8 *extremes = a.extremes + 2 * ((long)z * a.lines + x) * a.segments;
    int darkest = 255, brightest = 0;
    for (int segment = 0; segment < a.segments; ++segment) {
        darkest = smaller(darkest, extremes[2 * segment]);
        brightest = larger(brightest, extremes[2 * segment + 1]);
    }
    a.out[(long)z * a.lines + x] = brightest <= 24 && brightest - darkest <= 4;
}
KERNEL(black_lines)

struct border_runs_arguments {
    const u8 *black;  // (2, lines)
    Borders *out;
    int width, height, lines;
};

// neutral._run, of four sides.
PLACE void border_runs_at(const border_runs_arguments &a, int x, int, int) {
    const u8 *black = a.black + (x < 2 ? 0 : a.lines);
    int lines = x < 2 ? a.height : a.width, run = 0;
    while (run < lines && black[x & 1 ? lines - 1 - run : run]) ++run;
    a.out->run[x] = run;
    a.out->votes[x] = 0;
}
KERNEL(border_runs)

struct border_votes_arguments {
    const u8 *luma;  // (height, width)
    Borders *borders;
    int width, height;
};

// neutral._edged: whether the picture rises from the border within three lines.
PLACE void border_votes_at(const border_votes_arguments &a, int x, int, int side) {
    int run = a.borders->run[side], lines = side < 2 ? a.height : a.width, along = side < 2 ? a.width : a.height;
    if (run == 0 || run == lines || x >= along) return;
    int brightest = 0, last = 0;
    for (int line = run - 1; line < smaller(run + 3, lines); ++line) {
        int place = side & 1 ? lines - 1 - line : line;
        int level = side < 2 ? a.luma[(long)place * a.width + x] : a.luma[(long)x * a.width + place];
        if (line < run)
            last = level;
        else
            brightest = larger(brightest, level);
    }
    if (brightest - last > 8) count_up(&a.borders->votes[side]);
}
KERNEL(border_votes)

struct keep_borders_arguments {
    const u8 *luma;  // (height, width)
    const Borders *borders;
    u8 *shown;  // (height, width), in place
    int width, height;
};

// recolor._keep_borders.
PLACE void keep_borders_at(const keep_borders_arguments &a, int x, int y, int) {
    long at = (long)y * a.width + x;
    if (on_border(*a.borders, x, y, a.width, a.height)) a.shown[at] = a.luma[at];
}
KERNEL(keep_borders)
