"""What a camera's own data need before the tone map: profiles, layouts, telemetry, correction of pixels.

No GStreamer.
"""
