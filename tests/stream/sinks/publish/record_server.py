"""A server that is published into over RTSP, GStreamer's own: PORT FILE [USER PASSWORD].

It writes what is recorded into FILE, an H.264 elementary stream.
"""

import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402

port, file, *credentials = sys.argv[1:]
Gst.init(None)
server = GstRtspServer.RTSPServer.new()
server.set_address("127.0.0.1")
server.set_service(port)
factory = GstRtspServer.RTSPMediaFactory.new()
factory.set_transport_mode(GstRtspServer.RTSPTransportMode.RECORD)
factory.set_launch(
    f"( rtph264depay name=depay0 ! h264parse ! video/x-h264,stream-format=byte-stream"
    f' ! filesink async=false buffer-mode=unbuffered location="{file}" )'
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
