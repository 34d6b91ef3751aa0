"""The RTSP server, and its sink."""
