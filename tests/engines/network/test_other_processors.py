"""Processors that are not this one: what is chosen goes by what is there, never by the processor's name."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from irchroma.engines import catalog
from irchroma.engines.network import network
from irchroma.engines.network.eight_bit import twins
from irchroma.engines.network.network import NetworkOptions, installed, machine_key, open_network
from irchroma.engines.neural.colorizer import NeuralColorizer
from irchroma.engines.neural.options import NeuralOptions

FLOAT = catalog.weights_path("nir", "fast")
RASPBERRY_PI_5 = """processor\t: 0
BogoMIPS\t: 108.00
Features\t: fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: 0x4
CPU part\t: 0xd0b
CPU revision\t: 1
"""

On = Callable[[str, str | None], None]


@pytest.fixture
def on(monkeypatch: pytest.MonkeyPatch) -> On:
    """Makes the machine another one: what `platform` and /proc/cpuinfo say of it, None for no such file."""
    read_text = Path.read_text

    def become(machine: str, cpuinfo: str | None) -> None:
        def said(path: Path, *arguments: Any, **words: Any) -> str:
            if str(path) != "/proc/cpuinfo":
                return read_text(path, *arguments, **words)
            if cpuinfo is None:
                raise FileNotFoundError(path)
            return cpuinfo

        monkeypatch.setattr(network.platform, "machine", lambda: machine)
        monkeypatch.setattr(network.platform, "processor", lambda: "")
        monkeypatch.setattr(Path, "read_text", said)

    return become


@pytest.fixture
def without_openvino(monkeypatch: pytest.MonkeyPatch) -> None:
    """ONNX Runtime is the only runtime that is installed."""
    if not installed("onnxruntime"):
        pytest.skip("onnxruntime is not installed")
    for module in (network, twins):
        monkeypatch.setattr(module, "installed", lambda name: name == "onnxruntime")


def test_what_was_measured_on_one_processor_is_not_believed_on_another(on: On) -> None:
    keys = [machine_key("onnxruntime")]
    pi_4 = RASPBERRY_PI_5.replace("0xd0b", "0xd08").replace(" asimddp", "")
    for machine, cpuinfo in (("aarch64", RASPBERRY_PI_5), ("aarch64", pi_4), ("arm64", None)):
        on(machine, cpuinfo)
        keys.append(machine_key("onnxruntime"))
        assert machine_key("onnxruntime") == keys[-1]
    assert len(set(keys)) == len(keys)


def test_arm_without_openvino_colors_by_onnx_runtime_and_says_why(
    on: On, without_openvino: None, caplog: pytest.LogCaptureFixture
) -> None:
    on("aarch64", RASPBERRY_PI_5)
    options = NeuralOptions(work_size_px=96, steady=False, network=NetworkOptions(threads=1, cache=None))
    with caplog.at_level(logging.INFO, logger="irchroma.engines.network.network"):
        colorizer = NeuralColorizer(options)
    luma = np.tile(np.linspace(20, 230, 96, dtype=np.uint8), (72, 1))
    colorizer.submit(luma, 0)
    rgb = colorizer.collect().rgb
    colorizer.close()
    assert colorizer.name == "nir fast, onnxruntime f32"
    assert "openvino is not installed" in caplog.text
    assert rgb.shape == (72, 96, 3)
    assert np.ptp(rgb.astype(int), axis=2).max() > 8


def test_onnx_runtime_alone_is_never_given_a_network_of_8_bits(
    on: On, without_openvino: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on("aarch64", RASPBERRY_PI_5)
    shutil.copy(FLOAT, tmp_path / FLOAT.name)
    monkeypatch.setattr(catalog, "WEIGHTS", tmp_path)
    twin = twins.twin_path("nir", "fast")
    twin.write_bytes(b"whatever it is")
    monkeypatch.setattr(twins, "_ratio", lambda *_: pytest.fail("measured"))
    for runtime in ("auto", "onnxruntime", "torch"):
        options = NetworkOptions(runtime, cache=None)
        assert twins.weights_for("nir", "fast", options) == tmp_path / FLOAT.name


def test_openvino_comes_first_on_arm_too(on: On, tiny_network: Path) -> None:
    if not installed("openvino"):
        pytest.skip("openvino is not installed")
    on("aarch64", RASPBERRY_PI_5)
    chosen = open_network(tiny_network, NetworkOptions(cache=None))
    chosen.close()
    assert chosen.name.startswith("openvino")
