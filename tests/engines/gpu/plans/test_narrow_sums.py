"""A picture bears kernels that add up in float16, as TensorRT may choose them (`..._f16f16_f16f16_f16_...`).

TensorRT-RTX and torch add up in float32. Here each convolution is summed as a tensor core of that kind does
it: sixteen products exactly, then rounded into a float16 sum (PTX ISA, `mma.sync.aligned.m16n8k16`, `.f16`
accumulator).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tests.engines.gpu.test_colorizer import video
from tests.engines.moving_scene import FRAME_NS

from irchroma.engines import catalog
from irchroma.engines.network.network import NetworkOptions, installed, open_network
from irchroma.engines.network.weight_storage import float16_twin
from irchroma.engines.neural.colorizer import NeuralColorizer, NeuralOptions
from irchroma.engines.recolor.work_picture import padded

MEAN_LEVELS, FAR_SHARE = 0.5, 0.01
"""As of `test_run` on a GPU: against the float32 network, and how many values are more than 4 levels off."""
STEP = 16


def narrow_conv(real: Any, torch: Any) -> Any:
    """`functional.conv2d` with float16 sums, but for grouped convolutions, whose sums are short."""

    def conv2d(x: Any, weight: Any, bias: Any, strides: Any, pads: Any, dilations: Any, groups: int) -> Any:
        if groups != 1 or x.dtype != torch.float16:
            return real(x, weight, bias, strides, pads, dilations, groups)
        shape = real(x[:, :1].float(), weight[:1, :1].float(), None, strides, pads, dilations).shape
        kernel = tuple(weight.shape[2:])
        columns = torch.nn.functional.unfold(x.float(), kernel, dilations, pads, strides)[0]
        flat = weight.float().reshape(weight.shape[0], -1)
        total = torch.zeros(flat.shape[0], columns.shape[1], dtype=torch.float16)
        for at in range(0, flat.shape[1], STEP):
            total = (total.float() + flat[:, at : at + STEP] @ columns[at : at + STEP]).half()
        if bias is not None:
            total = (total.float() + bias.float()[:, None]).half()
        return total.reshape(1, -1, *shape[2:])

    return conv2d


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize(("engine", "size"), [("nir", "fast"), ("nir", "best"), ("thermal", "best")])
def test_a_picture_bears_sums_in_float16(engine: str, size: str, monkeypatch: pytest.MonkeyPatch) -> None:
    torch: Any = pytest.importorskip("torch")
    runtime: Any = pytest.importorskip("irchroma.engines.network.torch_runtime")
    path = catalog.weights_path(engine, size)
    if not installed("openvino") or not path.is_file():
        pytest.skip("needs openvino and the weights")
    exact = open_network(path, NetworkOptions("openvino", 1, cache=None, exact=True))
    narrow = runtime.TorchNetwork(float16_twin(path), NetworkOptions())
    calls: list[int] = []
    conv = narrow_conv(torch.nn.functional.conv2d, torch)

    def counted(*arguments: Any) -> Any:
        calls.append(1)
        return conv(*arguments)

    monkeypatch.setattr(runtime.functional, "conv2d", counted)
    options = NeuralOptions(engine=engine, size=size, work_size_px=128, steady=False)
    one, other = (NeuralColorizer(options, network) for network in (exact, narrow))
    for index, luma in enumerate(video(1)):
        one.submit(luma, index * FRAME_NS)
        expected = one.collect().rgb
        other.submit(luma, index * FRAME_NS)
        off = np.abs(other.collect().rgb.astype(int) - expected)
        assert off.mean() < MEAN_LEVELS, off.mean()
        assert (off > 4).mean() < FAR_SHARE
    assert len(calls) > 40
    luma = padded(next(video(1, (96, 128))))
    ycc, narrow_ycc = exact.infer(luma)[0], narrow.infer(luma)[0]
    off = 255 * np.abs(narrow_ycc - ycc)
    assert 0 < off.mean() < MEAN_LEVELS, off.mean()
    assert (off > 4).mean() < FAR_SHARE
    for colorizer in (one, other):
        colorizer.close()
