"""GStreamer behind one door: `door` is the only file that imports `gi`; all others stand on it."""
