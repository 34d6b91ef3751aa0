"""A server that is published into over RTSP, GStreamer's own: PORT FILE [--sound] [USER PASSWORD].

It writes what is recorded into FILE, an H.264 elementary stream, and with --sound into FILE.aac.
"""

import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402

sounds = "--sound" in sys.argv
port, file, *credentials = (word for word in sys.argv[1:] if word != "--sound")
Gst.init(None)
server = GstRtspServer.RTSPServer.new()
server.set_address("127.0.0.1")
server.set_service(port)
factory = GstRtspServer.RTSPMediaFactory.new()
factory.set_transport_mode(GstRtspServer.RTSPTransportMode.RECORD)
writes = "filesink async=false buffer-mode=unbuffered"
sound = (
    f' rtpmp4adepay name=depay0 ! aacparse ! audio/mpeg,stream-format=adts ! {writes} location="{file}.aac"'
)
factory.set_launch(
    f"( rtph264depay name=depay{int(sounds)} ! h264parse ! video/x-h264,stream-format=byte-stream"
    f' ! {writes} location="{file}"{sound if sounds else ""} )'
)
rights = GstRtspServer.RTSPPermissions.new()
role = "writer" if credentials else "anonymous"
rights.add_role(role)
for right in ("media.factory.access", "media.factory.construct"):
    rights.add_permission_for_role(role, right, True)
if credentials:
    factory.set_permissions(rights)
    auth = GstRtspServer.RTSPAuth.new()
    token = GstRtspServer.RTSPToken.new()
    token.set_string("media.factory.role", role)
    auth.add_basic(GstRtspServer.RTSPAuth.make_basic(*credentials), token)
    server.set_auth(auth)
server.get_mount_points().add_factory("/cam/east", factory)
server.attach(None)
print("ready", flush=True)
GLib.MainLoop().run()
