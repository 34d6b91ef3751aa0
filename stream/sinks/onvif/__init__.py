"""RTSP streams told of to recorders: ONVIF's device and media services, WS-Discovery. open_sink opens it."""
