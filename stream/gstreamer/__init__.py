"""GStreamer behind one door: `door` is the only file that imports `gi`; pipelines and samples stand on it."""
