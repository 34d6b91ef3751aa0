"""A classic colorizer learns, repeats from its seed, resumes as if it had not stopped, and is exported."""

from pathlib import Path

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from irchroma.engines.errors import EngineError, EngineOptionError  # noqa: E402
from irchroma.engines.network.network import NetworkOptions, open_network  # noqa: E402
from irchroma.engines.training.classic.training import (  # noqa: E402
    METHODS,
    ClassicOptions,
    ClassicTraining,
    NirPictures,
    ThermalPictures,
)
from irchroma.engines.training.export import write_graph  # noqa: E402


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pairs of one hill before one sky."""
    folder = tmp_path_factory.mktemp("data")
    random = np.random.default_rng(0)
    for part, count in (("train", 4), ("val", 2)):
        for side in ("ir", "rgb"):
            (folder / "nir" / part / side).mkdir(parents=True)
        for number in range(count):
            rgb = np.full((96, 128, 3), (235, 206, 135), np.uint8)  # blue sky as OpenCV's BGR
            top = int(random.integers(30, 60))
            rgb[top:] = (34, 139, 34)
            rgb = np.clip(rgb + random.normal(0, 6, rgb.shape), 0, 255).astype(np.uint8)
            ir = np.where(np.arange(96)[:, None] < top, 90, 200) + random.normal(0, 6, (96, 128))
            cv2.imwrite(str(folder / "nir" / part / "rgb" / f"t_forest_{number}.png"), rgb)
            cv2.imwrite(str(folder / "nir" / part / "ir" / f"t_forest_{number}.png"), ir.astype(np.uint8))
    return folder


def short(out: Path, steps: int, resume: bool = False) -> ClassicOptions:
    return ClassicOptions(out, steps=steps, batch=2, side=64, epoch=2, resume=resume)


@pytest.mark.parametrize("name", METHODS)
def test_a_run_repeats_from_its_seed_and_resumes(name: str, data: Path, tmp_path: Path) -> None:
    pictures = NirPictures(data)
    whole = ClassicTraining(name, pictures, short(tmp_path / "whole", 4))
    whole.run()
    begun = ClassicTraining(name, pictures, short(tmp_path / "parts", 4))
    for _ in range(2):
        begun.advance(begun.make(begun.steps.done))
        begun.steps.done += 1
    begun.steps.save()
    rest = ClassicTraining(name, pictures, short(tmp_path / "parts", 4, resume=True))
    assert rest.steps.done == 2
    rest.run()
    for one, other in zip(whole.network.parameters(), rest.network.parameters(), strict=True):
        assert torch.allclose(one, other, atol=1e-6)


@pytest.mark.parametrize("name", METHODS)
def test_the_exported_graph_says_what_the_network_says(name: str, data: Path, tmp_path: Path) -> None:
    training = ClassicTraining(name, NirPictures(data), short(tmp_path, 2))
    method = training.run()
    training.network.eval()
    model = method.exported().eval()
    path = write_graph(model, tmp_path / f"{name}_nir.onnx")
    luma = np.random.default_rng(1).random((1, 1, 64, 96), np.float32)
    network = open_network(path, NetworkOptions(runtime="onnxruntime"))
    ycc, confidence = network.infer(luma)
    with torch.no_grad():
        known, sure = model(torch.from_numpy(luma))
    assert np.abs(ycc - known.numpy()).max() < 0.01  # weights are float16 in the file
    assert np.abs(confidence - sure.numpy()).max() < 0.02
    assert np.abs(ycc[:, :1] - luma).max() < 1e-5  # the sensor's luma is kept
    network.close()


def test_options_that_make_no_sense_are_refused(tmp_path: Path, data: Path) -> None:
    with pytest.raises(EngineOptionError, match="multiple of 32"):
        ClassicOptions(tmp_path, side=70)
    with pytest.raises(EngineError, match="nothing to resume"):
        ClassicTraining("zhang2016", NirPictures(data), short(tmp_path / "none", 2, resume=True))


@pytest.fixture(scope="module")
def thermal_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Thermal pairs by day, and one labeled street: sky above a tree above a road."""
    folder = tmp_path_factory.mktemp("thermal_data")
    random = np.random.default_rng(0)
    labels = np.full((96, 128), 3, np.uint8)
    labels[:30], labels[30:60] = 0, 5
    color = np.array([(210, 200, 190), (60, 120, 70), (120, 120, 120)], np.uint8)  # as OpenCV's BGR
    rgb = np.broadcast_to(color[np.digitize(np.arange(96), [30, 60])][:, None], (96, 128, 3))
    for name, plane in (("color/camvid", rgb), ("color/camvid_labels", labels)):
        (folder / name).mkdir(parents=True)
        cv2.imwrite(str(folder / name / "0001TP.png"), plane)
    for part in ("train", "val"):
        for side in ("ir", "rgb"):
            (folder / "thermal" / part / side).mkdir(parents=True)
        for number in range(2):
            noisy = np.clip(rgb + random.normal(0, 6, rgb.shape), 0, 255).astype(np.uint8)
            heat = np.clip(labels * 30.0 + 20 + random.normal(0, 4, labels.shape), 0, 255).astype(np.uint8)
            cv2.imwrite(str(folder / "thermal" / part / "rgb" / f"FLIR_{number}.png"), noisy)
            cv2.imwrite(str(folder / "thermal" / part / "ir" / f"FLIR_{number}.png"), heat)
    return folder


def test_thermal_is_learned_from_pairs_and_from_labels_drawn_as_heat(thermal_data: Path) -> None:
    pictures = ThermalPictures(thermal_data)
    batch = pictures.batch(10, 64, np.random.default_rng(0))
    assert batch.luma.shape == (10, 1, 64, 64)
    assert batch.rgb.shape == (10, 3, 64, 64)
    assert (batch.scene == -1).all()  # no name tells one
    labeled = (batch.labels != 11).flatten(1).any(1)
    assert int(labeled.sum()) == 4  # four in ten have labels
    assert len(pictures.truths()) == 3
    sky = pictures.truths()[-1][:8]  # asked for as on a fine day: blue
    assert sky[..., 2].mean() > sky[..., 0].mean() + 20


def test_thermal_begins_with_near_infrared_s_weights(data: Path, thermal_data: Path, tmp_path: Path) -> None:
    nir = ClassicTraining("zhang2016", NirPictures(data), short(tmp_path / "nir", 2))
    nir.run()
    options = ClassicOptions(tmp_path / "thermal", steps=4, batch=2, side=64, start=nir.steps.checkpoint)
    begun = ClassicTraining("zhang2016", ThermalPictures(thermal_data), options)
    assert begun.steps.done == 0
    for one, other in zip(nir.network.parameters(), begun.network.parameters(), strict=True):
        assert torch.equal(one, other)
    with pytest.raises(EngineError, match="of another method"):
        ClassicTraining("iizuka2016", ThermalPictures(thermal_data), options)
    with pytest.raises(EngineError, match="nothing to start from"):
        ClassicTraining(
            "zhang2016", NirPictures(data), ClassicOptions(tmp_path, start=tmp_path / "nothing.pt")
        )


def test_clusters_are_found_anew_when_the_semantics_are_learned_again(data: Path, tmp_path: Path) -> None:
    first = ClassicTraining("cheng2015", NirPictures(data), short(tmp_path / "first", 4))
    first.run()
    assert first.network.clustered
    again = ClassicTraining(
        "cheng2015",
        NirPictures(data),
        ClassicOptions(tmp_path / "again", 4, 2, side=64, start=first.steps.checkpoint),
    )
    assert again.network.clustered
    again.advance(again.make(0))
    assert not again.network.clustered
