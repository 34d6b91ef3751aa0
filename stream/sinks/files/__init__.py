"""Recordings: video files, rolled segments, the lossless raw track, repair of a file cut short."""
