"""What ONVIF's device and media services answer: of Profile S what a stream needs to be shown.

Reference: ONVIF Core Specification, 8 (device management); ONVIF Media Service Specification (ver10), 5;
ONVIF Profile S Specification 1.3, 7.
"""

from __future__ import annotations

import hashlib
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from fractions import Fraction
from urllib.parse import quote
from xml.etree.ElementTree import Element
from xml.sax.saxutils import escape, quoteattr

from irchroma.stream.sinks.onvif.soap import Credentials, Fault

DEVICE, MEDIA = "http://www.onvif.org/ver10/device/wsdl", "http://www.onvif.org/ver10/media/wsdl"
SCHEMA = "http://www.onvif.org/ver10/schema"
NAMES = f' xmlns:tds="{DEVICE}" xmlns:trt="{MEDIA}" xmlns:tt="{SCHEMA}"'
_SOUND_KBPS = 128  # avenc_aac's and voaacenc's own choice
DEVICE_PATH, MEDIA_PATH, SNAPSHOT_PATH = "/onvif/device_service", "/onvif/media_service", "/onvif/snapshot/"

FOR_STRANGERS = frozenset(
    (DEVICE, name)
    for name in ("GetSystemDateAndTime", "GetCapabilities", "GetServices", "GetServiceCapabilities")
)
"""What is answered to whoever asks (Core Specification, 5.9.4.3, access class PRE_AUTH)."""


@dataclass(frozen=True, slots=True)
class Profile:
    """A stream as a media profile.

    Attributes:
        token: its name among those of the device.
        name: of the RTSP stream.
        rtsp_port: its port; the address is that by which a client reached the device.
        size: (H, W) in pixels.
        rate: frames per second, 0 where unknown.
        bitrate_kbps: that the encoder keeps to, 0 for constant quality.
        keyframe_s: seconds between keyframes.
        credentials: whom it lets in; None for everybody.
        coded_as: profile of H.264 that its encoder writes, `Baseline`, `Main` or `High`; empty where that is
            known to the encoder alone.
        sound: Hz and channels of the AAC beside the pictures; None where there is none.
    """

    token: str
    name: str
    rtsp_port: int
    size: tuple[int, int]
    rate: Fraction
    bitrate_kbps: int
    keyframe_s: float
    credentials: Credentials | None
    coded_as: str = ""
    sound: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Asked:
    """A request, and what it may know of.

    Attributes:
        body: the operation's element.
        host: by which the client reached the device, as it stands in an address.
        port: of the device's services.
        profiles: those that its sender may watch.
        serial: the device's own number, the same after a restart.
        version: of the program.
        scopes: what the device says of itself.
    """

    body: Element
    host: str
    port: int
    profiles: Sequence[Profile]
    serial: str
    version: str
    scopes: Sequence[str]

    def address(self, path: str) -> str:
        """One of the device's own, as text of an element."""
        return escape(f"http://{self.host}:{self.port}{path}")

    def text(self, name: str) -> str:
        """What the request says under that name, of whatever namespace."""
        for one in self.body.iter():
            if one.tag.rpartition("}")[2] == name:
                return (one.text or "").strip()
        return ""

    def profile(self) -> Profile:
        """The one that it names. Fault: there is none."""
        return self._named("ProfileToken", "ter:NoProfile", lambda one: one.token)

    def of_configuration(self, prefix: str) -> Profile:
        """The one whose source's or encoder's configuration it names."""
        return self._named("ConfigurationToken", "ter:NoConfig", lambda one: f"{prefix}-{one.token}")

    def _named(self, key: str, fault: str, name: Callable[[Profile], str]) -> Profile:
        wanted = self.text(key)
        for one in self.profiles:
            if name(one) == wanted:
                return one
        raise Fault(f"there is nothing of the name {wanted!r}", "ter:InvalidArgVal", fault)


def answer(asked: Asked) -> str:
    """The body of the answer. Fault: the operation is not there, or what it asks for is not."""
    namespace, _, name = asked.body.tag.removeprefix("{").partition("}")
    operation = _OPERATIONS.get((namespace, name))
    if operation is None:
        # Clients go on without what is "not implemented" (Core Specification, 5.8.2.3).
        raise Fault(f"{name}: optional action not implemented", "ter:ActionNotSupported", code="Receiver")
    prefix = "tds" if namespace == DEVICE else "trt"
    return f"<{prefix}:{name}Response>{operation(asked)}</{prefix}:{name}Response>"


def _time(_: Asked) -> str:
    now = datetime.now(timezone.utc)
    return (
        "<tds:SystemDateAndTime><tt:DateTimeType>NTP</tt:DateTimeType>"
        "<tt:DaylightSavings>false</tt:DaylightSavings><tt:TimeZone><tt:TZ>UTC0</tt:TZ></tt:TimeZone>"
        f"<tt:UTCDateTime><tt:Time><tt:Hour>{now.hour}</tt:Hour><tt:Minute>{now.minute}</tt:Minute>"
        f"<tt:Second>{now.second}</tt:Second></tt:Time><tt:Date><tt:Year>{now.year}</tt:Year>"
        f"<tt:Month>{now.month}</tt:Month><tt:Day>{now.day}</tt:Day></tt:Date></tt:UTCDateTime>"
        "</tds:SystemDateAndTime>"
    )


def _information(asked: Asked) -> str:
    return (
        "<tds:Manufacturer>irchroma</tds:Manufacturer><tds:Model>irchroma</tds:Model>"
        f"<tds:FirmwareVersion>{escape(asked.version)}</tds:FirmwareVersion>"
        f"<tds:SerialNumber>{asked.serial}</tds:SerialNumber><tds:HardwareId>irchroma</tds:HardwareId>"
    )


def _capabilities(asked: Asked) -> str:
    category = asked.text("Category") or "All"
    if category not in ("All", "Device", "Media"):
        raise Fault(f"no {category} here", "ter:ActionNotSupported", "ter:NoSuchService", code="Receiver")
    device = f"<tt:Device><tt:XAddr>{asked.address(DEVICE_PATH)}</tt:XAddr></tt:Device>"
    media = (
        f"<tt:Media><tt:XAddr>{asked.address(MEDIA_PATH)}</tt:XAddr><tt:StreamingCapabilities>"
        "<tt:RTPMulticast>false</tt:RTPMulticast><tt:RTP_TCP>true</tt:RTP_TCP>"
        "<tt:RTP_RTSP_TCP>true</tt:RTP_RTSP_TCP></tt:StreamingCapabilities></tt:Media>"
    )
    shown = (device if category != "Media" else "") + (media if category != "Device" else "")
    return f"<tds:Capabilities>{shown}</tds:Capabilities>"


def _of_device(_: Asked) -> str:
    return (
        '<tds:Capabilities><tds:Network/><tds:Security UsernameToken="true" HttpDigest="false"/>'
        '<tds:System DiscoveryBye="true"/></tds:Capabilities>'
    )


def _of_media(asked: Asked) -> str:
    most = max(1, len(asked.profiles))
    return (
        '<trt:Capabilities SnapshotUri="true" Rotation="false" VideoSourceMode="false" OSD="false">'
        f'<trt:ProfileCapabilities MaximumNumberOfProfiles="{most}"/>'
        '<trt:StreamingCapabilities RTPMulticast="false" RTP_TCP="true" RTP_RTSP_TCP="true"/>'
        "</trt:Capabilities>"
    )


def _services(asked: Asked) -> str:
    told = asked.text("IncludeCapability") in ("true", "1")
    services = ((DEVICE, DEVICE_PATH, _of_device), (MEDIA, MEDIA_PATH, _of_media))
    return "".join(
        f"<tds:Service><tds:Namespace>{namespace}</tds:Namespace><tds:XAddr>{asked.address(path)}</tds:XAddr>"
        + (f"<tds:Capabilities>{capabilities(asked)}</tds:Capabilities>" if told else "")
        + "<tds:Version><tt:Major>2</tt:Major><tt:Minor>40</tt:Minor></tds:Version></tds:Service>"
        for namespace, path, capabilities in services
    )


def _scopes(asked: Asked) -> str:
    return "".join(
        f"<tds:Scopes><tt:ScopeDef>Fixed</tt:ScopeDef><tt:ScopeItem>{escape(one)}</tt:ScopeItem></tds:Scopes>"
        for one in asked.scopes
    )


def _interfaces(asked: Asked) -> str:
    """One, with an address of this device alone: recorders take it for what tells devices apart, and a
    machine may have several. Its second bit says that no maker has given it (IEEE 802, 8.2)."""
    digits = hashlib.sha256(asked.serial.encode()).hexdigest()
    hardware = ":".join(["02", *(digits[at : at + 2] for at in range(0, 10, 2))])
    return (
        '<tds:NetworkInterfaces token="network"><tt:Enabled>true</tt:Enabled>'
        f"<tt:Info><tt:Name>network</tt:Name><tt:HwAddress>{hardware}</tt:HwAddress></tt:Info>"
        "</tds:NetworkInterfaces>"
    )


def _protocols(asked: Asked) -> str:
    streams = sorted({one.rtsp_port for one in asked.profiles})
    ports = [("HTTP", asked.port), *(("RTSP", port) for port in streams)]
    return "".join(
        f"<tds:NetworkProtocols><tt:Name>{name}</tt:Name><tt:Enabled>true</tt:Enabled>"
        f"<tt:Port>{port}</tt:Port></tds:NetworkProtocols>"
        for name, port in ports
    )


def _elsewhere(element: str) -> str:
    return f"<tds:{element}><tt:FromDHCP>false</tt:FromDHCP></tds:{element}>"


def _host_name(_: Asked) -> str:
    name = escape(socket.gethostname())
    return (
        "<tds:HostnameInformation><tt:FromDHCP>false</tt:FromDHCP>"
        f"<tt:Name>{name}</tt:Name></tds:HostnameInformation>"
    )


def _resolution(one: Profile) -> str:
    height, width = one.size
    return f"<tt:Width>{width}</tt:Width><tt:Height>{height}</tt:Height>"


def _source(one: Profile) -> str:
    return (
        f"<trt:VideoSources token={quoteattr(f'source-{one.token}')}>"
        f"<tt:Framerate>{float(one.rate):g}</tt:Framerate>"
        f"<tt:Resolution>{_resolution(one)}</tt:Resolution></trt:VideoSources>"
    )


def _source_configuration(one: Profile, element: str) -> str:
    height, width = one.size
    return (
        f"<{element} token={quoteattr(f'view-{one.token}')}><tt:Name>{escape(one.name[:64])}</tt:Name>"
        f"<tt:UseCount>1</tt:UseCount><tt:SourceToken>{escape(f'source-{one.token}')}</tt:SourceToken>"
        f'<tt:Bounds x="0" y="0" width="{width}" height="{height}"/></{element}>'
    )


def _encoder_configuration(one: Profile, element: str) -> str:
    pictures, rate = _spacing(one)
    coded = (
        f"<tt:H264><tt:GovLength>{pictures}</tt:GovLength><tt:H264Profile>{one.coded_as}</tt:H264Profile></tt:H264>"
        if one.coded_as
        else ""
    )
    return (
        f"<{element} token={quoteattr(f'encoder-{one.token}')}><tt:Name>{escape(one.name[:64])}</tt:Name>"
        "<tt:UseCount>1</tt:UseCount><tt:Encoding>H264</tt:Encoding>"
        f"<tt:Resolution>{_resolution(one)}</tt:Resolution><tt:Quality>1</tt:Quality>"
        f"<tt:RateControl><tt:FrameRateLimit>{rate}</tt:FrameRateLimit>"
        "<tt:EncodingInterval>1</tt:EncodingInterval>"
        f"<tt:BitrateLimit>{one.bitrate_kbps}</tt:BitrateLimit></tt:RateControl>"
        f"{coded}{_NO_MULTICAST}</{element}>"
    )


def _encoder_options(asked: Asked) -> str:
    """An encoder's options: only what it has now can be chosen. Recorders ask before they show it."""
    one = asked.profiles[0]  # where nothing is named
    if asked.text("ConfigurationToken"):
        one = asked.of_configuration("encoder")
    elif asked.text("ProfileToken"):
        one = asked.profile()
    pictures, rate = _spacing(one)
    ranges = (("GovLengthRange", pictures), ("FrameRateRange", rate), ("EncodingIntervalRange", 1))
    return (
        "<trt:Options><tt:QualityRange><tt:Min>1</tt:Min><tt:Max>1</tt:Max></tt:QualityRange><tt:H264>"
        f"<tt:ResolutionsAvailable>{_resolution(one)}</tt:ResolutionsAvailable>"
        + "".join(f"<tt:{name}><tt:Min>{n}</tt:Min><tt:Max>{n}</tt:Max></tt:{name}>" for name, n in ranges)
        + f"<tt:H264ProfilesSupported>{one.coded_as or 'Main'}</tt:H264ProfilesSupported></tt:H264>"
        "</trt:Options>"
    )


def _spacing(one: Profile) -> tuple[int, int]:
    """Pictures from keyframe to keyframe, and pictures a second, whole and 1 at least."""
    pictures = max(1, round(one.keyframe_s * float(one.rate))) if one.rate else 1
    return pictures, max(1, round(one.rate))


_NO_MULTICAST = (
    "<tt:Multicast><tt:Address><tt:Type>IPv4</tt:Type><tt:IPv4Address>0.0.0.0</tt:IPv4Address>"
    "</tt:Address><tt:Port>0</tt:Port><tt:TTL>1</tt:TTL><tt:AutoStart>false</tt:AutoStart></tt:Multicast>"
    "<tt:SessionTimeout>PT60S</tt:SessionTimeout>"
)


def _sound(one: Profile) -> str:
    token, (_, channels) = quoteattr(f"sound-{one.token}"), one.sound or (0, 0)
    return f"<trt:AudioSources token={token}><tt:Channels>{channels}</tt:Channels></trt:AudioSources>"


def _sound_configuration(one: Profile, element: str) -> str:
    return (
        f"<{element} token={quoteattr(f'heard-{one.token}')}><tt:Name>{escape(one.name[:64])}</tt:Name>"
        f"<tt:UseCount>1</tt:UseCount><tt:SourceToken>{escape(f'sound-{one.token}')}</tt:SourceToken></{element}>"
    )


def _sound_encoder(one: Profile, element: str) -> str:
    rate_hz, _ = one.sound or (0, 0)
    return (
        f"<{element} token={quoteattr(f'spoken-{one.token}')}><tt:Name>{escape(one.name[:64])}</tt:Name>"
        f"<tt:UseCount>1</tt:UseCount><tt:Encoding>AAC</tt:Encoding><tt:Bitrate>{_SOUND_KBPS}</tt:Bitrate>"
        f"<tt:SampleRate>{round(rate_hz / 1000)}</tt:SampleRate>{_NO_MULTICAST}</{element}>"
    )


def _profile(one: Profile, element: str) -> str:
    return (
        f'<{element} token={quoteattr(one.token)} fixed="true"><tt:Name>{escape(one.name[:64])}</tt:Name>'
        + _source_configuration(one, "tt:VideoSourceConfiguration")
        + (_sound_configuration(one, "tt:AudioSourceConfiguration") if one.sound else "")
        + _encoder_configuration(one, "tt:VideoEncoderConfiguration")
        + (_sound_encoder(one, "tt:AudioEncoderConfiguration") if one.sound else "")
        + f"</{element}>"
    )


def _address(element: str, address: str) -> str:
    return (
        f"<{element}><tt:Uri>{escape(address)}</tt:Uri>"
        "<tt:InvalidAfterConnect>false</tt:InvalidAfterConnect>"
        f"<tt:InvalidAfterReboot>false</tt:InvalidAfterReboot><tt:Timeout>PT0S</tt:Timeout></{element}>"
    )


def _stream(asked: Asked) -> str:
    one, protocol = asked.profile(), asked.text("Protocol")
    if asked.text("Stream") == "RTP-Multicast" or protocol not in ("", "UDP", "TCP", "RTSP"):
        raise Fault("expected RTP-Unicast over UDP or RTSP", "ter:InvalidArgVal", "ter:InvalidStreamSetup")
    return _address("trt:MediaUri", f"rtsp://{asked.host}:{one.rtsp_port}/{quote(one.name)}")


def _snapshot(asked: Asked) -> str:
    path = f"{SNAPSHOT_PATH}{quote(asked.profile().token, safe='')}.jpg"
    return _address("trt:MediaUri", f"http://{asked.host}:{asked.port}{path}")


def _each(write: Callable[[Profile], str], sounding: bool = False) -> Callable[[Asked], str]:
    """Of each profile; `sounding`: of each that has sound."""
    return lambda asked: "".join(write(one) for one in asked.profiles if one.sound or not sounding)


_OPERATIONS: dict[tuple[str, str], Callable[[Asked], str]] = {
    (DEVICE, "GetSystemDateAndTime"): _time,
    (DEVICE, "GetDeviceInformation"): _information,
    (DEVICE, "GetCapabilities"): _capabilities,
    (DEVICE, "GetServices"): _services,
    (DEVICE, "GetServiceCapabilities"): _of_device,
    (DEVICE, "GetScopes"): _scopes,
    (DEVICE, "GetDiscoveryMode"): lambda _: "<tds:DiscoveryMode>Discoverable</tds:DiscoveryMode>",
    (DEVICE, "GetHostname"): _host_name,
    (DEVICE, "GetNetworkInterfaces"): _interfaces,
    (DEVICE, "GetNetworkProtocols"): _protocols,
    # Of the machine's own network nothing is told, and nothing can be set.
    (DEVICE, "GetDNS"): lambda _: _elsewhere("DNSInformation"),
    (DEVICE, "GetNTP"): lambda _: _elsewhere("NTPInformation"),
    (DEVICE, "GetNetworkDefaultGateway"): lambda _: "<tds:NetworkGateway/>",
    (MEDIA, "GetServiceCapabilities"): _of_media,
    (MEDIA, "GetProfiles"): _each(lambda one: _profile(one, "trt:Profiles")),
    (MEDIA, "GetProfile"): lambda asked: _profile(asked.profile(), "trt:Profile"),
    (MEDIA, "GetVideoSources"): _each(_source),
    (MEDIA, "GetVideoSourceConfigurations"): _each(
        lambda one: _source_configuration(one, "trt:Configurations")
    ),
    (MEDIA, "GetVideoSourceConfiguration"): lambda asked: _source_configuration(
        asked.of_configuration("view"), "trt:Configuration"
    ),
    (MEDIA, "GetVideoEncoderConfigurations"): _each(
        lambda one: _encoder_configuration(one, "trt:Configurations")
    ),
    (MEDIA, "GetVideoEncoderConfiguration"): lambda asked: _encoder_configuration(
        asked.of_configuration("encoder"), "trt:Configuration"
    ),
    (MEDIA, "GetVideoEncoderConfigurationOptions"): _encoder_options,
    (MEDIA, "GetAudioSources"): _each(_sound, sounding=True),
    (MEDIA, "GetAudioSourceConfigurations"): _each(
        lambda one: _sound_configuration(one, "trt:Configurations"), sounding=True
    ),
    (MEDIA, "GetAudioEncoderConfigurations"): _each(
        lambda one: _sound_encoder(one, "trt:Configurations"), sounding=True
    ),
    (MEDIA, "GetStreamUri"): _stream,
    (MEDIA, "GetSnapshotUri"): _snapshot,
}
