// What the host tells the device about one frame; source.py reads its layout from here.
#pragma once
#include "portable.h"

struct FrameState {
    int curve;      // 1: the luma goes through `whole` and `part`
    int cut;        // 1: nothing is remembered
    int held;       // 1: the camera repeats its picture, the color stays
    int moving;     // 1: `area`, `half_area` and the sources hold
    int colored;    // 1: the network has colored this frame
    int compared;   // 1: trust and tolerance hold
    int area[4];    // left, top, right, bottom of the moving part, work pixels
    int half_area[4];
    float still;    // factor on the evidence of what stands still
    float faster;   // further factor on the evidence of what moves, less 1
    float ceiling;  // largest evidence that stays
    float share;    // weight of the network's answer
    u8 whole[256];  // displayed level, rounded down
    u8 part[256];   // its fraction in 256ths
};
