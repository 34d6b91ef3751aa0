"""Bad pixels and non-uniformity found in recordings of the synthetic camera, against its truth."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from tests.stream.sensor.test_layout import lepton_rows

from irchroma.calibration.bad_pixels import BadPixelFinder
from irchroma.calibration.errors import CalibrationError
from irchroma.calibration.uniformity import from_scene, is_uniform, one_point, two_point
from irchroma.launch.cli import main
from irchroma.launch.commands.calibrate.nuc import measure
from irchroma.stream.sensor.correction import Correction
from irchroma.stream.sensor.profile import BLINKING, DEAD, STUCK, CameraScale, load_profile
from irchroma.stream.synthetic.camera import SyntheticCamera
from irchroma.stream.synthetic.options import parse_test_address
from irchroma.stream.synthetic.sensor import SyntheticSensor

SMALL = "size=320x256"


@pytest.mark.parametrize(
    "address",
    [
        f"test:thermal?dead=0.003&fpn=6&stripes=3&{SMALL}",
        f"test:thermal?dead=0.003&pan=30&{SMALL}&seed=4",
        f"test:nir?dead=0.003&{SMALL}&people=8",
    ],
)
def test_bad_pixels_are_found_and_nothing_else(address: str) -> None:
    camera = SyntheticCamera(parse_test_address(address))
    finder = BadPixelFinder()
    for number in range(48):
        finder.add(camera.frame(number).pixels)
    found, truth = finder.result().kinds, camera.frame(0).defects
    fixed = (truth == DEAD) | (truth == STUCK)
    found_fixed = (found == DEAD) | (found == STUCK)
    share = 0.99 if camera.options.band == "thermal" else 0.97  # 8 bits: some are stuck at the scene's level
    assert (found_fixed & fixed).sum() >= share * fixed.sum()
    assert (found_fixed & fixed).sum() >= 0.99 * found_fixed.sum()
    blinking = truth == BLINKING
    assert ((found == BLINKING) & blinking).sum() >= 0.9 * blinking.sum()
    assert ((found == BLINKING) & blinking).sum() >= 0.9 * (found == BLINKING).sum()


def test_a_sensor_without_faults_has_none_found() -> None:
    camera = SyntheticCamera(parse_test_address(f"test:thermal?fpn=6&{SMALL}"))
    finder = BadPixelFinder()
    for number in range(24):
        finder.add(camera.frame(number).pixels)
        finder.add(camera.frame(number).pixels)  # a repetition is no look
    assert finder.result().kinds.sum() == 0
    assert finder.result().frames == 24


def test_recordings_that_show_nothing_are_refused() -> None:
    finder = BadPixelFinder()
    with pytest.raises(CalibrationError, match="only 0 different frames"):
        finder.result()
    with pytest.raises(CalibrationError, match="in color"):
        finder.add(np.zeros((8, 8, 3), np.uint8))
    still = [np.full((64, 80), 7000, np.uint16)] * 12
    with pytest.raises(CalibrationError, match="stands still"):
        from_scene(still, np.zeros((64, 80), bool))
    with pytest.raises(CalibrationError, match="record one of them warmer"):
        two_point(
            np.full((8, 8), 7000.0, np.float32), np.full((8, 8), 7001.0, np.float32), np.zeros((8, 8), bool)
        )


def test_uniform_views_give_the_pattern_to_a_tenth_and_better() -> None:
    sensor = SyntheticSensor(parse_test_address(f"test:thermal?fpn=10&stripes=4&{SMALL}"), (256, 320))
    flat = np.full((256, 320), 7300, np.float32)
    frames = [sensor.expose(flat, number, number / 30) for number in range(60)]
    mean = np.mean(frames, axis=0).astype(np.float32)
    assert is_uniform(mean)
    none = np.zeros(flat.shape, bool)
    assert np.std(sensor.pattern + one_point(mean, none).offset) < sensor.pattern.std() / 10
    warm = (mean - 7300) * 1.0 + (8300 - 7300) * (1 + sensor.pattern / 200) + 7300
    found = two_point(mean, warm.astype(np.float32), none)
    assert found.gain is not None
    for seen in (mean, warm):
        corrected = found.gain * (seen - found.about) + found.about + found.offset
        assert corrected.std() < 0.5
    scene = SyntheticCamera(parse_test_address(f"test:thermal?fpn=10&{SMALL}")).frame(0)
    assert not is_uniform(scene.pixels.astype(np.float32))


def test_a_lawn_at_night_that_is_as_even_as_a_lens_cap_is_a_scene() -> None:
    random = np.random.default_rng(5)
    lawn = cv2.GaussianBlur(random.normal(0, 1, (120, 160)).astype(np.float32), (0, 0), 1.5)
    pattern = random.normal(0, 3, lawn.shape) + random.normal(0, 3, 160)
    seen = (3000 + 12 * lawn / lawn.std() + pattern).astype(np.float32)
    assert not is_uniform(seen)
    with pytest.raises(CalibrationError, match="stands still"):
        measure([np.stack([seen] * 20).astype(np.uint16)], np.zeros(seen.shape, bool), "auto")
    with pytest.raises(CalibrationError, match="not uniform"):
        measure([np.stack([seen] * 20).astype(np.uint16)], np.zeros(seen.shape, bool), "one-point")
    cat = [np.round(seen + random.normal(0, 2, seen.shape)).astype(np.uint16) for _ in range(40)]
    for number, frame in enumerate(cat):
        frame[50:80, 10 + 3 * number : 30 + 3 * number] += 150
    with pytest.raises(CalibrationError, match="stands still"):  # what walks is no pan
        from_scene(cat, np.zeros(seen.shape, bool))
    bulge = -8 * np.hypot(*np.meshgrid(np.linspace(-1, 1, 160), np.linspace(-1, 1, 120)))  # a lens's shade
    assert is_uniform((3000 + bulge + pattern).astype(np.float32))


def test_a_scene_that_moves_past_gives_the_pattern_without_eating_the_scene() -> None:
    camera = SyntheticCamera(parse_test_address(f"test:thermal?fpn=8&stripes=4&pan=40&shake=4&{SMALL}"))
    frames = [camera.frame(number).pixels for number in range(0, 135, 3)]
    found = from_scene(frames, np.zeros(frames[0].shape, bool))
    pattern = camera.sensor(0).pattern
    assert found.method == "scene"
    assert np.std(pattern + found.offset) < pattern.std() / 3.5  # a twelfth at 640x512 from 120 frames
    frame = camera.frame(200)
    corrected = frame.pixels + found.offset
    edges = np.abs(cv2.Laplacian(frame.clean.astype(np.float32), cv2.CV_32F)) > 100
    step = cv2.Laplacian(corrected.astype(np.float32), cv2.CV_32F)[edges]
    truth = cv2.Laplacian(frame.clean.astype(np.float32), cv2.CV_32F)[edges]
    assert np.polyfit(truth, step, 1)[0] == pytest.approx(1, abs=0.01)  # edges are as strong as they were


@pytest.mark.parametrize("count", [5, 6])
def test_a_pan_of_few_frames_is_no_camera_that_stands_still(count: int) -> None:
    random = np.random.default_rng(3)
    scene = sum(
        size * blurred / blurred.std()
        for size in (1.5, 6, 24)
        for blurred in [cv2.GaussianBlur(random.normal(0, 1, (120, 400)), (0, 0), size)]
    )
    pattern = random.normal(0, 8, (120, 160))
    frames = [
        np.round(3000 + 4 * scene[:, place : place + 160] + pattern).astype(np.uint16)
        for place in np.linspace(0, 36, count).astype(int)
    ]
    found = from_scene(frames, np.zeros(pattern.shape, bool))
    assert np.std(pattern + found.offset) < 0.8 * pattern.std()
    still = [np.round(frames[0] + random.normal(0, 2, pattern.shape)).astype(np.uint16) for _ in frames]
    with pytest.raises(CalibrationError, match="stands still"):
        from_scene(still, np.zeros(pattern.shape, bool))


def test_the_commands_write_one_profile_that_a_run_applies(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    address = "test:thermal?dead=0.002&fpn=8&pan=40&shake=4&frames=56&size=320x256"
    out = tmp_path / "gate.toml"
    arguments = ["bad-pixels", address, "--out", str(out), "--missing", "5,5,20,10"]
    assert main(["calibrate", *arguments]) == 0
    assert main(["calibrate", "nuc", address, "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert " dead, " in said
    assert "scene: fixed pattern of" in said
    assert (tmp_path / "gate-bad-pixels-overview.png").is_file()
    assert (tmp_path / "gate-nuc-overview.png").is_file()
    profile = load_profile(out)
    frame = SyntheticCamera(parse_test_address(address)).frame(30)
    corrected = Correction(profile).apply(frame.pixels).astype(float)
    outside = np.ones(frame.pixels.shape, bool)
    outside[5:15, 5:25] = False
    outside &= frame.defects == 0
    before, after = (one - frame.clean for one in (frame.pixels.astype(float), corrected))
    assert after[outside].std() < before[outside].std() / 2
    assert np.abs(after[frame.defects > 0]).max() < 1000 < np.abs(before[frame.defects > 0]).max()


@pytest.mark.parametrize(
    ("seconds", "said"),
    [([], "in 91 frames, the first 10 s: --seconds looks at more"), (["--seconds", "0"], "in 110 frames\n")],
)
def test_bad_pixels_say_where_they_were_looked_for_in_a_part(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], seconds: list[str], said: str
) -> None:
    address = "test:thermal?frames=110&rate=9&size=160x128"
    assert main(["calibrate", "bad-pixels", address, "--out", str(tmp_path / "gate.toml"), *seconds]) == 0
    assert said in capsys.readouterr().out


def test_what_cannot_be_measured_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(tmp_path / "x.toml")
    still = "test:thermal?frames=20&size=160x128&people=0&vehicles=0"
    for arguments, said in (
        (["bad-pixels", "test:thermal?frames=5&size=160x128", "--out", out], "only 5 different frames"),
        (["nuc", still, "--out", out, "--method", "one-point"], "not uniform: cover the lens"),
        (["nuc", still, "--out", out, "--method", "two-point"], "two recordings"),
        (["nuc", still, "--out", out], "stands still"),
        (["bad-pixels", str(tmp_path / "none.mkv"), "--out", out], "no such file"),
    ):
        assert main(["calibrate", *arguments]) == 1
        error = capsys.readouterr().err
        assert said in error
        assert error.count("\n") == 1


def test_the_second_of_two_recordings_is_never_left_out_in_silence() -> None:
    noise = np.random.default_rng(0).normal(0, 3, (4, 64, 80))
    wall = (8000 + noise).astype(np.uint16)
    scene = wall + np.linspace(0, 900, 80).astype(np.uint16)
    none = np.zeros((64, 80), bool)
    assert measure([wall, wall + np.uint16(500)], none, "auto").method == "two-point"
    with pytest.raises(CalibrationError, match="and the second is none"):
        measure([wall, scene], none, "auto")
    with pytest.raises(CalibrationError, match="and the first is none"):
        measure([scene, wall], none, "auto")
    for method in ("one-point", "scene"):
        with pytest.raises(CalibrationError, match=f"--method {method} takes one recording, got 2"):
            measure([wall, wall], none, method)


def test_a_camera_with_telemetry_rows_is_calibrated_by_its_layout(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    camera = SyntheticCamera(parse_test_address("test:thermal?dead=0.002&size=160x120&scale=lepton"))
    frames = [np.vstack([camera.frame(number).pixels, lepton_rows(3, number)]) for number in range(30)]
    raw, out = tmp_path / "lepton.raw", tmp_path / "lepton.toml"
    raw.write_bytes(np.stack(frames).astype("<u2").tobytes())
    address = f"raw:{raw}?size=160x122&format=gray16le&rate=9"
    assert main(["calibrate", "bad-pixels", address, "--camera", "lepton", "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert "reading raw:" in said
    assert "up to 10 s of it" in said
    assert "of 160x120 pixels in 30 frames" in said
    profile = load_profile(out)
    assert (profile.layout, profile.size, profile.scale is not None) == ("lepton", (120, 160), True)
    truth, found = camera.frame(0).defects, profile.faults.bad_pixels
    assert found is not None
    assert (found[truth > 0] > 0).mean() > 0.9
    assert main(["calibrate", "nuc", address, "--out", str(out)]) == 1  # read by the same layout
    assert "stands still" in capsys.readouterr().err
    assert main(["calibrate", "nuc", address, "--camera", "boson", "--out", str(out)]) == 1
    assert "of another camera than --camera boson: its layout is lepton, not boson" in capsys.readouterr().err
    out.write_text(out.read_text().replace("per_kelvin = 100.0", "per_kelvin = 98.5"))  # by a black body
    assert main(["calibrate", "bad-pixels", address, "--camera", "lepton", "--out", str(out)]) == 0
    assert load_profile(out).scale == CameraScale(98.5)
    plain = "test:thermal?size=64x48&frames=20"
    assert main(["calibrate", "bad-pixels", plain, "--out", str(tmp_path / "small.toml")]) == 0
    capsys.readouterr()
    other = "test:thermal?size=320x256&frames=20"
    assert main(["calibrate", "nuc", other, "--out", str(tmp_path / "small.toml")]) == 1
    assert "a camera of 64x48 pixels, the recording of 320x256" in capsys.readouterr().err
    assert main(["calibrate", "nuc", other, "--seconds", "-1", "--out", str(tmp_path / "n.toml")]) == 1
    assert "--seconds must be 0" in capsys.readouterr().err
