"""Frames in, frames out, and the loop between; the only folder that knows GStreamer."""
