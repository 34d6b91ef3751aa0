"""`glcic`: dilated convolutions complete the picture, a global and a local discriminator give one answer.

Reference: Iizuka, Simo-Serra, Ishikawa, Globally and Locally Consistent Image Completion, ACM TOG 36(4),
2017; numbers are that paper's tables, equations and sections. Different here: widths are a quarter of the
paper's, the pictures are 128 pixels wide instead of 256 (the local one 64 instead of 128), the batch is
smaller and the phases are shares of the steps. The blending at the border (section 3.4: fast marching, then
Poisson) is done for every method alike where a picture is filled, by `irchroma.engines.repair.membrane`.
"""

# mypy: disallow-subclassing-any=False

from __future__ import annotations

import torch
from torch import Tensor, nn

from irchroma.engines.training.repair.context_encoder import made_up, real
from irchroma.engines.training.repair.method import LOCAL, SIDE, RepairBatch, completed, known_mean

DILATIONS = (2, 4, 8, 16)  # table 1
COMPLETION_SHARE, JUDGE_SHARE = 0.18, 0.02  # section 3.3: 90 000 and 10 000 of 500 000 steps
ALPHA = 0.0004  # eq. 5: weight of the discriminators


def _conv(before: int, after: int, kernel: int, step: int = 1, dilation: int = 1) -> list[nn.Module]:
    """Convolution, batch normalization, ReLU, at the same size (appendix A)."""
    padding = dilation * (kernel // 2)
    return [
        nn.Conv2d(before, after, kernel, step, padding, dilation, bias=False),
        nn.BatchNorm2d(after),
        nn.ReLU(inplace=True),
    ]


def _up(before: int, after: int) -> list[nn.Module]:
    """A deconvolution of 4x4 that doubles the size."""
    return [
        nn.ConvTranspose2d(before, after, 4, 2, padding=1, bias=False),
        nn.BatchNorm2d(after),
        nn.ReLU(inplace=True),
    ]


class CompletionNetwork(nn.Module):
    """The completion network (table 1).

    Args:
        share: of the paper's widths, which are 64 to 256.
    """

    def __init__(self, share: float = 0.25) -> None:
        super().__init__()
        w32, w64, w128, w256 = (max(4, round(share * width)) for width in (32, 64, 128, 256))
        self.layers = nn.Sequential(
            *_conv(2, w64, 5),
            *_conv(w64, w128, 3, 2),
            *_conv(w128, w128, 3),
            *_conv(w128, w256, 3, 2),
            *_conv(w256, w256, 3),
            *_conv(w256, w256, 3),
            *(layer for dilation in DILATIONS for layer in _conv(w256, w256, 3, dilation=dilation)),
            *_conv(w256, w256, 3),
            *_conv(w256, w256, 3),
            *_up(w256, w128),
            *_conv(w128, w128, 3),
            *_up(w128, w64),
            *_conv(w64, w32, 3),
            nn.Conv2d(w32, 1, 3, padding=1),
        )

    def forward(self, holed: Tensor, hole: Tensor) -> Tensor:
        """See `RepairMethod.network`; the sigmoid of the paper is a shift by the known pixels' mean here."""
        mean = known_mean(holed, hole)
        seen = torch.cat([(holed - mean) * (1.0 - hole), hole], dim=1)
        answer: Tensor = self.layers(seen) + mean
        return answer


def _eye(side: int, width: int, answer: int) -> nn.Sequential:
    """5x5 convolutions of stride 2 down to 4x4, then a vector (table 2)."""
    layers: list[nn.Module] = []
    before, after, at = 1, width, side
    while at > 4:
        layers += [
            nn.Conv2d(before, after, 5, 2, padding=2, bias=False),
            nn.BatchNorm2d(after),
            nn.ReLU(inplace=True),
        ]
        before, after, at = after, min(4 * width, 2 * after), at // 2
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(before * 16, answer), nn.ReLU(inplace=True))


class JoinedDiscriminator(nn.Module):
    """The whole picture and the half-sized square around the hole, each a vector; both together one logit."""

    def __init__(self, width: int = 16, answer: int = 128) -> None:
        super().__init__()
        self.whole = _eye(SIDE, width, answer)
        self.local = _eye(LOCAL, width, answer)
        self.together = nn.Linear(2 * answer, 1)

    def forward(self, picture: Tensor, around: Tensor) -> Tensor:
        """(N, 1, S, S) and (N, 1, S / 2, S / 2) -> (N, 1)."""
        answer: Tensor = self.together(torch.cat([self.whole(picture), self.local(around)], dim=1))
        return answer


class Glcic:
    """The method: squared errors alone, then the judge alone, then both against each other (section 3.3)."""

    name = "glcic"

    def __init__(self) -> None:
        self.network: nn.Module = CompletionNetwork()
        self.judge: nn.Module | None = JoinedDiscriminator()

    def _said(self, batch: RepairBatch, picture: Tensor) -> Tensor:
        if self.judge is None:
            raise RuntimeError("glcic needs its judge")
        answer: Tensor = self.judge(picture, batch.local(picture))
        return answer

    def loss(
        self, batch: RepairBatch, made: Tensor, progress: float
    ) -> tuple[Tensor | None, dict[str, float]]:
        """Eq. 2 in the hole; from the third phase on with the judge (eq. 5)."""
        if COMPLETION_SHARE <= progress < COMPLETION_SHARE + JUDGE_SHARE:
            return None, {}
        squared = ((made - batch.luma) ** 2 * batch.hole).mean() / batch.hole.mean().clamp(min=1e-3)
        if progress < COMPLETION_SHARE:
            return squared, {"squared": squared.item()}
        adversarial = real(self._said(batch, completed(batch, made)))
        return squared + ALPHA * adversarial, {"squared": squared.item(), "adversarial": adversarial.item()}

    def judgement(self, batch: RepairBatch, made: Tensor, progress: float) -> Tensor | None:
        """Eq. 3, which the judge brings up, from the second phase on."""
        if progress < COMPLETION_SHARE:
            return None
        return real(self._said(batch, batch.luma)) + made_up(self._said(batch, completed(batch, made)))
