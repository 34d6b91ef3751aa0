"""Recordings: video files, rolled segments, HLS, the lossless raw track, repair of a file cut short."""
