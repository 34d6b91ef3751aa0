"""Live outputs that call a server elsewhere, RTSP's RECORD and WHIP; and what keeps calling, for SRT too."""
