// Finds black borders around a picture, line by line (neutral.borders).
#include "borders.h"

struct black_lines_arguments {
    const u8 *luma;  // (height, width)
    u8 *out;         // (2, lines): 1 for a black row, column
    Borders *found;  // its votes are set to 0
    int width, height, lines;
};

// neutral._black. A line is left at its first pixel that is not black: nearly always the first one of all.
PLACE void black_lines_at(const black_lines_arguments &a, int x, int, int z) {
    if (x == 0 && z == 0)
        for (int side = 0; side < 4; ++side) a.found->votes[side] = 0;
    if (x >= (z ? a.width : a.height)) return;
    const u8 *line = a.luma + (z ? (long)x : (long)x * a.width);
    int pixels = z ? a.height : a.width, darkest = 255, brightest = 0;
    long step = z ? a.width : 1;
    for (int begin = 0; begin < pixels && brightest <= 24; begin += 8)
        for (int at = begin; at < smaller(begin + 8, pixels); ++at) {
            int level = line[at * step];
            darkest = smaller(darkest, level);
            brightest = larger(brightest, level);
        }
    a.out[(long)z * a.lines + x] = brightest <= 24 && brightest - darkest <= 4;
}
KERNEL(black_lines)

struct border_votes_arguments {
    const u8 *luma;   // (height, width)
    const u8 *black;  // (2, lines)
    Borders *found;
    int width, height, lines;
};

// neutral._run, and neutral._edged: whether the picture rises from the border within three lines.
PLACE void border_votes_at(const border_votes_arguments &a, int x, int, int side) {
    const u8 *black = a.black + (side < 2 ? 0 : a.lines);
    int lines = side < 2 ? a.height : a.width, along = side < 2 ? a.width : a.height, run = 0;
    while (run < lines && black[side & 1 ? lines - 1 - run : run]) ++run;
    if (x == 0) a.found->run[side] = run;
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
    if (brightest - last > 8) count_up(&a.found->votes[side]);
}
KERNEL(border_votes)
