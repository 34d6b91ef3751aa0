"""A run's thermometer: which scale it has, and who is told of its alarms."""

from __future__ import annotations

import logging
import time
from typing import Any

from irchroma.launch.config import ConfigError
from irchroma.launch.run.monitoring.events import EventHook
from irchroma.launch.run.settings.options import RunConfig
from irchroma.launch.run.temperature.mqtt import MqttTeller
from irchroma.stream.frame import Frame
from irchroma.stream.protocols import FrameWatch
from irchroma.stream.sensor.thermometer import Thermometer
from irchroma.stream.sinks.open_sink import public

log = logging.getLogger(__name__)


class RunThermometer(Thermometer):
    """A `FrameWatch` that measures a run's counts; alarms go to the log, to `on_event` and over MQTT.

    Args:
        config: of the run, its scale filled in.
        name: the camera's among several; empty for one.
    """

    def __init__(self, config: RunConfig, name: str = "") -> None:
        scale = _scale(config)
        if scale is None:
            raise ConfigError("temperatures need a scale: --camera FILE, or gain and offset under [palette]")
        super().__init__(*scale, config.thermometer, self._tell)
        self._about = {**({"camera": name} if name else {}), "source": public(config.source)}
        self._hook = EventHook(config.on_event) if config.on_event else None
        self._mqtt = MqttTeller(config.mqtt, name or "camera", self.state) if config.mqtt else None

    def _tell(self, event: dict[str, Any]) -> None:
        begins = event["event"] == "alarm"
        unit = "K/min" if event["kind"] == "rise" else "°C"
        log.log(
            logging.WARNING if begins else logging.INFO,
            "%s: %s %s %g %s, %.1f now",
            *(event["event"], event["region"], event["kind"], event["limit"], unit, event["value"]),
        )
        if self._hook is not None:
            self._hook.tell({**event, **self._about, "time": round(time.time(), 3)})
        if self._mqtt is not None:
            self._mqtt.tell()

    def look(self, frame: Frame, in_color: bool) -> None:
        super().look(frame, in_color)
        if self._mqtt is not None:
            self._mqtt.tell_now_and_then()

    def close(self) -> None:
        super().close()
        for told in (self._hook, self._mqtt):
            if told is not None:
                told.close()


class Watches:
    """A `FrameWatch`: several that watch the frames of one run."""

    def __init__(self, *watches: FrameWatch) -> None:
        self._watches = watches

    def look(self, frame: Frame, in_color: bool) -> None:
        for watch in self._watches:
            watch.look(frame, in_color)

    def close(self) -> None:
        for watch in self._watches:
            watch.close()


def thermometer_of(config: RunConfig, name: str) -> RunThermometer | None:
    """The run's thermometer; None where its counts have no scale.

    Raises:
        ConfigError: it has none, but temperatures are asked for.
    """
    asked = config.thermometer.measure or config.thermometer.alarm or config.mqtt
    return RunThermometer(config, name) if asked or _scale(config) is not None else None


def _scale(config: RunConfig) -> tuple[float, float] | None:
    """Gain and offset, celsius = counts * gain + offset."""
    if config.palette.gain is not None:
        return config.palette.gain, config.palette.offset
    if config.source.startswith("test:thermal"):
        from irchroma.stream.synthetic.options import parse_test_address  # which no other source needs
        from irchroma.stream.synthetic.sensor import SCALES

        scale = SCALES[parse_test_address(config.source).scale]
        return (1 / scale.per_kelvin, scale.offset_celsius) if scale.absolute else None
    return None
