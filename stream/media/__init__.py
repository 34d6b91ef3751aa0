"""Media files byte by byte: MP4's boxes, Matroska, what H.264 says of its own damage. No GStreamer."""
