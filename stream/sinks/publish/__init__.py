"""Live outputs that call a server elsewhere, RTSP's RECORD and WHIP,; what keeps calling, SRT too."""
