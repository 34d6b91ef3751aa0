"""The element `irchroma`: raw infrared video in, colored raw video out, one buffer for one buffer."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from irchroma.engines import catalog
from irchroma.engines.choice import ColorizerOptions, open_colorizer
from irchroma.engines.errors import EngineError
from irchroma.engines.network.network import NetworkOptions
from irchroma.engines.neural.colorizer import NeuralOptions
from irchroma.engines.recolor.recoloring import RecolorOptions
from irchroma.launch.run.process import tune_process
from irchroma.stream.errors import StreamError
from irchroma.stream.gstreamer import door
from irchroma.stream.gstreamer.door import structure_of
from irchroma.stream.gstreamer.sample import Caps, Sample, caps_of
from irchroma.stream.picture.picture import Picture
from irchroma.stream.protocols import Colorizer
from irchroma.stream.sinks.encoding.i420_packer import Yuv420Packer, even_size
from irchroma.stream.sources.video_format import sample_to_pixels
from irchroma.stream.tone.tone_map import ToneMap

TAKEN, GIVEN = ("GRAY8", "GRAY16_LE", "I420", "NV12"), ("RGB", "I420", "NV12")
_ANY = "video/x-raw,format={{{}}},width=[1,8192],height=[1,8192],framerate=[0/1,2147483647/1]"
_COLORIMETRY = {"RGB": "sRGB", "I420": "bt709", "NV12": "bt709"}
_PERIOD_NS = 40_000_000  # of buffers without times


@dataclass(frozen=True, slots=True)
class ElementOptions:
    """The element's properties.

    Attributes:
        engine: as `irchroma run --engine`; `auto` is thermal for GRAY16_LE and nir for the others.
        runtime: as `--runtime`.
        mode: `full`, or `chroma`.
        palette: the engine is this palette, whatever `engine` says; empty for none.
        smoothing: color is kept still in time.
    """

    engine: str = "auto"
    runtime: str = "auto"
    mode: str = "full"
    palette: str = ""
    smoothing: bool = True

    def opened(self, counts: bool) -> Colorizer:
        """The engine.

        Raises:
            EngineError: it is not here, or an option makes no sense.
        """
        engine = f"palette:{self.palette}" if self.palette else self.engine
        if engine == "auto":
            engine = "thermal" if counts else "nir"
        name = catalog.parse(engine)
        if not name.neural:
            return open_colorizer(engine)
        neural = NeuralOptions(
            recolor=RecolorOptions(mode=self.mode),  # type: ignore[arg-type]
            network=NetworkOptions(runtime=self.runtime),
            steady=self.smoothing,
        )
        return open_colorizer(engine, ColorizerOptions(neural))


class BufferColorizer:
    """Colors the bytes of one buffer after the other.

    Args:
        options: of the element.
        taken: what comes, as its caps say.
        given: what goes out.
    """

    def __init__(self, options: ElementOptions, taken: Caps, given: Caps) -> None:
        self._taken, self._given = taken, given
        self._counts = taken.format == "GRAY16_LE"
        self._tone_map, self._engine = ToneMap(), options.opened(self._counts)
        self._packer = Yuv420Packer(even_size(given.size))
        self._last_ns = -_PERIOD_NS

    def color(self, data: NDArray[np.uint8], pts_ns: int) -> bytes:
        """The colored buffer of (N,) uint8 at a time, -1 for one period after the buffer before."""
        pts_ns = self._last_ns + _PERIOD_NS if pts_ns < 0 else pts_ns
        if pts_ns <= self._last_ns:  # a seek backwards
            self._tone_map.reset()
            self._engine.reset()
        self._last_ns = pts_ns
        pixels = sample_to_pixels(Sample(data, self._taken, pts_ns, -1), color=False)
        luma = self._tone_map.apply(pixels, pts_ns)
        self._engine.submit(luma, pts_ns, counts=pixels if self._counts else None)  # type: ignore[arg-type]
        colored = self._engine.collect()
        # R'G'B' as the engine makes it: of I420 it would have half the color's resolution.
        picture = Picture(colored.rgb) if self._given.format == "RGB" else Picture.of_colored(colored)
        return self._laid_out(picture)

    def _laid_out(self, picture: Picture) -> bytes:
        """In the layout of the caps."""
        height, width = self._given.size
        strides, offsets = self._given.strides, self._given.offsets
        if self._given.format == "RGB":
            rows = np.zeros((height, strides[0]), np.uint8)
            rows[:, : 3 * width] = picture.rgb.reshape(height, 3 * width)
            return rows.tobytes()
        even = even_size(self._given.size)
        if even != (height, width):  # 4:2:0 needs the last row or column twice
            missing = even[0] - height, even[1] - width
            picture = Picture(np.pad(picture.rgb, ((0, missing[0]), (0, missing[1]), (0, 0)), "edge"))
        packed = self._packer.pack(picture)
        if (height, width) == even and self._given.format == "I420":
            return packed.tobytes()
        luma_stride, chroma_stride = -(-even[1] // 4) * 4, -(-even[1] // 2 // 4) * 4
        luma = packed[: luma_stride * even[0]].reshape(even[0], luma_stride)[:height, :width]
        chroma = packed[luma_stride * even[0] :].reshape(2, even[0] // 2, chroma_stride)[:, :, : even[1] // 2]
        half = -(-height // 2)
        ends = [offsets[1], *offsets[2:], offsets[-1] + strides[-1] * half]
        made = np.zeros(ends[-1], np.uint8)
        made[: strides[0] * height].reshape(height, strides[0])[:, :width] = luma
        if self._given.format == "NV12":
            rows = made[offsets[1] :].reshape(half, strides[1])
            rows[:, : 2 * chroma.shape[2] : 2], rows[:, 1 : 2 * chroma.shape[2] : 2] = chroma
        else:
            for number in (1, 2):
                rows = made[offsets[number] : offsets[number] + strides[number] * half]
                rows.reshape(half, strides[number])[:, : chroma.shape[2]] = chroma[number - 1]
        return made.tobytes()

    def close(self) -> None:
        self._engine.close()


def element_class() -> Any:
    """The element's class, for GStreamer's Python loader or `Gst.Element.register`.

    Raises:
        StreamError: GStreamer's bindings are not here.
    """
    gst = door.modules()["Gst"]
    base, objects = door.extra_module("GstBase"), door.extra_module("GObject", "2.0")

    def templates() -> Any:
        make = gst.PadTemplate.new
        always = gst.PadPresence.ALWAYS
        return (
            make("sink", gst.PadDirection.SINK, always, _caps_of(TAKEN)),
            make("src", gst.PadDirection.SRC, always, _caps_of(GIVEN)),
        )

    def text(name: str, default: str, blurb: str) -> Any:
        return objects.Property(type=str, default=default, nick=name, blurb=blurb)

    class IrChroma(base.BaseTransform):  # type: ignore[misc, name-defined]
        """See the module."""

        __gstmetadata__ = (
            "Infrared colorizer",
            "Filter/Effect/Video",
            "Colors near-infrared and thermal video by a network or a palette, and keeps the color still",
            "irchroma",
        )
        __gsttemplates__ = templates()

        engine = text("engine", "auto", "auto, nir, thermal, nir:best, palette:ironbow, gray ...")
        runtime = text("runtime", "auto", "auto, openvino, onnxruntime, torch")
        mode = text("mode", "full", "full, or chroma: the sensor's luma kept exactly")
        palette = text("palette", "", "a palette in place of the engine: ironbow, white-hot, rainbow ...")
        smoothing = objects.Property(
            type=bool, default=True, nick="smoothing", blurb="keep a network's color still in time"
        )

        _pair: tuple[Caps, Caps] | None = None
        _opened: ElementOptions | None = None
        _colorizer: BufferColorizer | None = None

        def do_start(self) -> bool:
            tune_process()
            return True

        def do_stop(self) -> bool:
            self._let_go()
            return True

        def do_transform_caps(self, direction: Any, caps: Any, wanted: Any) -> Any:
            forward = direction == gst.PadDirection.SINK
            made = gst.Caps.new_empty()
            for number in range(caps.get_size()):
                for name in GIVEN if forward else TAKEN:
                    structure = structure_of(caps, number).copy()
                    structure.set_value("format", name)
                    structure.remove_field("colorimetry")
                    structure.remove_field("chroma-site")
                    if forward:
                        structure.set_value("colorimetry", _COLORIMETRY[name])
                    made.append_structure(structure)
            return made if wanted is None else wanted.intersect_full(made, gst.CapsIntersectMode.FIRST)

        def do_get_unit_size(self, caps: Any) -> tuple[bool, int]:
            info = door.modules()["GstVideo"].VideoInfo.new_from_caps(caps)
            return (True, info.size) if info is not None else (False, 0)

        def do_set_caps(self, taken: Any, given: Any) -> bool:
            self._let_go()
            self._pair = caps_of(taken), caps_of(given)
            return True

        def do_transform(self, taken: Any, given: Any) -> Any:
            ok, mapped = taken.map(gst.MapFlags.READ)
            if not ok:
                return gst.FlowReturn.ERROR
            try:
                pts_ns = -1 if taken.pts == gst.CLOCK_TIME_NONE else taken.pts
                colored = self._current().color(np.frombuffer(mapped.data, np.uint8), pts_ns)
            except (EngineError, StreamError, ValueError) as error:
                door.post_error(self, str(error))
                return gst.FlowReturn.ERROR
            finally:
                taken.unmap(mapped)
            given.fill(0, colored)
            return gst.FlowReturn.OK

        def _current(self) -> BufferColorizer:
            """The colorizer of the properties as they are now."""
            options = ElementOptions(
                self.engine, self.runtime, self.mode, self.palette or "", bool(self.smoothing)
            )
            if self._colorizer is None or options != self._opened:
                if self._pair is None:
                    raise StreamError("no caps have come")
                made = BufferColorizer(options, *self._pair)
                self._let_go()
                self._colorizer, self._opened = made, replace(options)
            return self._colorizer

        def _let_go(self) -> None:
            colorizer, self._colorizer = self._colorizer, None
            if colorizer is not None:
                colorizer.close()

    return IrChroma


def _caps_of(formats: tuple[str, ...]) -> Any:
    return door.modules()["Gst"].Caps.from_string(_ANY.format(",".join(formats)))
