"""Which engine a configuration means: by its source, its camera, its weights, or a viewer's choice."""

from __future__ import annotations

from dataclasses import replace

from irchroma.engines import catalog
from irchroma.engines.network.record import read_record
from irchroma.launch.run.options import RunConfig
from irchroma.stream.sensor.correction import Camera


def with_scale(config: RunConfig, camera: Camera | None) -> RunConfig:
    """The configuration with the camera's degrees for each count, unless it gives its own."""
    scale = camera.profile.scale if camera is not None else None
    if scale is None or config.palette.gain is not None:
        return config
    palette = replace(config.palette, gain=1 / scale.per_kelvin, offset=scale.offset_celsius)
    return replace(config, palette=palette)


def with_engine(config: RunConfig, engine: str) -> RunConfig:
    """The configuration with another engine, and without what only the old one understands."""
    name, neural = catalog.parse(engine), config.neural
    record = read_record(neural.weights) if neural.weights is not None else None
    other = record is not None and (record.engine, record.size) != (name.kind, name.variant or record.size)
    if other or not name.neural:
        neural = replace(neural, weights=None)
    if not name.neural:
        neural = replace(neural, reference=None)
    return replace(config, engine=engine, neural=neural)


def whole_name(config: RunConfig, counts: bool) -> str:
    """The configured engine with all that its name can say: `auto` and `nir` are `nir:fast`, for instance."""
    text = band_of(config, counts) if config.engine == "auto" else config.engine
    name = catalog.parse(text)
    if name.neural:
        record = read_record(config.neural.weights) if config.neural.weights is not None else None
        size = record.size if record is not None else config.neural.size
        return f"{name.kind}:{name.variant or size}"
    if name.kind == "palette" and name.variant is None:
        return f"palette:{config.palette.palette}"
    return text


def band_of(config: RunConfig, counts: bool) -> str:
    """What the engine `auto` is for such a source."""
    return "thermal" if counts or config.source.startswith("test:thermal") else "nir"
