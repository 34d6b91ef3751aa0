"""The pages' figures for Prometheus: states, counts and times, and nothing that is secret."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric, SummaryMetricFamily

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
STATES = ("waiting", "live", "lost", "slate", "failed", "ended")
_COUNTS = {
    "frames": ("irchroma_frames", "Frames that came from the source."),
    "dropped_before_processing": ("irchroma_source_dropped_frames", "Frames dropped before processing."),
    "reconnections": ("irchroma_source_reconnections", "How often a lost source came back."),
    "engine_failures": ("irchroma_engine_failures", "How often the engine has failed."),
}
_GAUGES = {
    "viewers": ("irchroma_page_viewers", "Viewers of the page."),
    "fps": ("irchroma_pictures_per_second", "Pictures a second, 0 while the source gives none."),
    "flicker": ("irchroma_flicker", "Flicker of still pixels, CIE a*b* a frame."),
}
_QUANTILES = {"p50_ms": "0.5", "p95_ms": "0.95", "p99_ms": "0.99"}


def exposition(
    figures: dict[str, dict[str, Any]], machines: dict[str, dict[str, Any]] | None = None
) -> bytes:
    """The figures of each page, by its name, in Prometheus' text format 0.0.4.

    Args:
        figures: of each.
        machines: those that cameras run on, with their `load` and whether they are `draining`; every camera's
            figures then have a label `node` too, by their key of that name.
    """
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Figures(figures, machines))
    return generate_latest(registry)


class _Figures:
    def __init__(
        self, figures: dict[str, dict[str, Any]], machines: dict[str, dict[str, Any]] | None
    ) -> None:
        self._figures, self._machines = figures, machines
        self._own = ("camera",) if machines is None else ("camera", "node")

    def _who(self, camera: str) -> tuple[str, ...]:
        """What says whose figure it is."""
        node = self._figures[camera].get("node")
        return (camera,) if self._machines is None else (camera, str(node or ""))

    def collect(self) -> Iterator[Metric]:
        """What the registry asks for, once."""
        cameras = self._figures
        state = GaugeMetricFamily("irchroma_state", "1 for the state it is in.", labels=(*self._own, "state"))
        engine = GaugeMetricFamily("irchroma_engine_info", "What colors.", labels=(*self._own, "engine"))
        for camera, told in cameras.items():
            for one in STATES:
                state.add_metric((*self._who(camera), one), float(told.get("state", "live") == one))
            if told.get("engine"):
                engine.add_metric((*self._who(camera), str(told["engine"])), 1.0)
        yield state
        yield engine
        for key, (name, text) in _COUNTS.items():
            counter = CounterMetricFamily(name, text, labels=self._own)
            for camera, told in cameras.items():
                counter.add_metric(self._who(camera), float(told.get(key) or 0))
            yield counter
        for key, (name, text) in _GAUGES.items():
            gauge = GaugeMetricFamily(name, text, labels=self._own)
            for camera, told in cameras.items():
                if told.get(key) is not None:
                    gauge.add_metric(self._who(camera), float(told[key]))
            yield gauge
        yield from self._gpus()
        yield from self._sinks()
        yield from self._stages()
        if self._machines is not None:
            yield from _of_machines(self._machines)

    def _gpus(self) -> Iterator[Metric]:
        """Only of those that tell."""
        for key, name, text in (
            ("busy", "irchroma_gpu_busy_ratio", "Share of the last moment in which the GPU worked."),
            ("used_bytes", "irchroma_gpu_memory_bytes", "Memory of the GPU that is taken."),
        ):
            gauge = GaugeMetricFamily(name, text, labels=(*self._own, "gpu"))
            for camera, told in self._figures.items():
                for number, one in enumerate(told.get("gpus") or []):
                    if one[key] is not None:
                        gauge.add_metric((*self._who(camera), str(number)), float(one[key]))
            yield gauge

    def _sinks(self) -> Iterator[Metric]:
        labels = (*self._own, "sink")
        for key, name, text in (
            ("written", "irchroma_sink_pictures", "Pictures that the sink has taken."),
            ("dropped", "irchroma_sink_dropped_pictures", "Pictures that the sink could not take in time."),
            ("reopened", "irchroma_sink_reopenings", "How often the sink was opened again."),
        ):
            counter = CounterMetricFamily(name, text, labels=labels)
            for camera, told in self._figures.items():
                for sink, one in (told.get("sinks") or {}).items():
                    counter.add_metric((*self._who(camera), sink), float(one.get(key) or 0))
            yield counter

    def _stages(self) -> Iterator[Metric]:
        whole = SummaryMetricFamily(
            "irchroma_stage_seconds", "Time of each stage of a frame.", labels=(*self._own, "stage")
        )
        recent = GaugeMetricFamily(
            "irchroma_stage_quantile_seconds",
            "The same as quantiles.",
            labels=(*self._own, "stage", "quantile"),
        )
        for camera, told in self._figures.items():
            for stage, one in (told.get("stages") or {}).items():
                whole.add_metric(
                    (*self._who(camera), stage), one["count"], one["count"] * one["avg_ms"] / 1e3
                )
                for key, quantile in _QUANTILES.items():
                    recent.add_metric((*self._who(camera), stage, quantile), one[key] / 1e3)
        yield whole
        yield recent


def _of_machines(machines: dict[str, dict[str, Any]]) -> Iterator[Metric]:
    for key, name, text in (
        ("load", "irchroma_node_load", "Share of the machine that its cameras take."),
        ("draining", "irchroma_node_draining", "1 while it is left, before maintenance."),
    ):
        gauge = GaugeMetricFamily(name, text, labels=("node",))
        for machine, told in machines.items():
            gauge.add_metric((machine,), float(told[key]))
        yield gauge
