"""The parts of which synthetic scenes are made."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from irchroma.stream.synthetic import light
from irchroma.stream.synthetic.camera import SyntheticCamera
from irchroma.stream.synthetic.canvas import Patch, View
from irchroma.stream.synthetic.light import LEAF, linear_to_srgb, srgb_to_linear
from irchroma.stream.synthetic.options import parse_test_address
from irchroma.stream.synthetic.scene import Look, SyntheticScene
from irchroma.stream.synthetic.texture import fractal, tile
from irchroma.stream.synthetic.things.person import PHASES, draw_person, person_materials
from irchroma.stream.synthetic.things.sprite import Sprite
from irchroma.stream.synthetic.things.vehicle import car_materials, draw_car

VIEW = View((128, 160), 160.0, (80.0, 50.0), 4.5)


@pytest.fixture(scope="module")
def scene():
    return SyntheticScene((192, 240), 8, night=False, people=3, vehicles=2)


def test_the_ground_that_a_pixel_sees_is_projected_back_onto_it():
    x, z = VIEW.ground()
    for row, column in ((127, 3), (90, 80), (60, 155)):
        point = np.array([[x[row, column], 0, z[row, column]]], np.float32)
        np.testing.assert_allclose(VIEW.project(point)[0], (column + 0.5, row + 0.5), atol=0.01)
    assert (z[:49] > 1e5).all()


def test_srgb_goes_there_and_back():
    levels = np.linspace(0, 1, 256, dtype=np.float32)
    np.testing.assert_allclose(linear_to_srgb(srgb_to_linear(levels)), levels, atol=1e-5)
    assert srgb_to_linear(np.array([0.5], np.float32))[0] == pytest.approx(0.21404, abs=1e-5)


def test_textures_have_unit_deviation_and_tiles_have_no_seam():
    rng = np.random.default_rng(0)
    for texture in (fractal(rng, (90, 130), 40), tile(rng, 128, 32)):
        assert texture.mean() == pytest.approx(0, abs=1e-4)
        assert texture.std() == pytest.approx(1, abs=1e-3)
    texture = tile(rng, 128, 32)
    inside = np.abs(np.diff(texture, axis=1)).mean()
    seam = np.abs(texture[:, 0] - texture[:, -1]).mean()
    assert seam < 2 * inside


@pytest.mark.parametrize("band", ["rgb", "nir", "thermal"])
def test_a_sprite_lies_where_its_transform_says_at_every_scale(band):
    patch = Patch((40, 24), LEAF)
    patch.alpha[:] = 0
    patch.alpha[10:30, 8:16] = 1
    sprite = Sprite(patch, light.TREE, sun=1, sky=1, night=False)
    for scale in (2.0, 1.0, 0.5, 0.25):
        picture = np.zeros((100, 100, 3 if band == "rgb" else 1), np.float32)
        depth = np.full((100, 100), 1e6, np.float32)
        sprite.over(picture, band, np.array([[scale, 0, 20], [0, scale, 10]]), distance_m=0.1, depth=depth)
        rows, columns = np.mgrid[0:100, 0:100] + 0.5
        weight = picture[..., 0] / picture[..., 0].sum()
        assert (weight * columns).sum() == pytest.approx(20 + 12 * scale, abs=0.15)
        assert (weight * rows).sum() == pytest.approx(10 + 20 * scale, abs=0.15)
        assert picture[..., 0].sum() == pytest.approx(160 * scale**2 * picture[..., 0].max(), rel=0.12)


def test_a_sprite_behind_something_is_hidden():
    sprite = Sprite(Patch((10, 10), LEAF), light.TREE, sun=1, sky=1, night=False)
    picture = np.zeros((20, 20, 1), np.float32)
    depth = np.full((20, 20), 5.0, np.float32)
    sprite.over(picture, "nir", np.array([[1.0, 0, 5], [0, 1.0, 5]]), distance_m=9, depth=depth)
    assert not picture.any()


def test_a_person_has_a_warm_face_and_cooler_clothes_and_moves_its_legs():
    materials = person_materials(np.random.default_rng(1))
    poses = [draw_person(materials, np.pi / 2, phase, 60, False) for phase in range(0, PHASES, 5)]
    for pose in poses:
        body = pose.alpha > 0.9
        assert 1.55 < np.flatnonzero(body.any(1)).size / 60 < 1.9
        head, chest = slice(14, 24), slice(45, 55)
        assert pose.thermal[head, :, 0][body[head]].max() == pytest.approx(33, abs=0.3)
        assert np.median(pose.thermal[chest, :, 0][body[chest]]) < 29
    assert np.mean((poses[0].alpha > 0.5) != (poses[1].alpha > 0.5)) > 0.01


def test_a_car_has_hot_tyres_and_stands_on_its_anchor():
    car = draw_car(VIEW, (1.75, 10.0), 0.0, False, car_materials(np.random.default_rng(1)))
    body = car.patch.alpha > 0.9
    assert car.patch.thermal[..., 0][body].max() > 38
    rows, columns = np.nonzero(body)
    assert rows.max() == pytest.approx(car.anchor[1], abs=3)
    assert columns.min() < car.anchor[0] < columns.max()
    assert 1.5 < np.ptp(columns[rows > rows.max() - 6]) / car.px_per_m < 2.0


def test_a_scene_holds_what_a_street_holds(scene):
    shares = np.bincount(scene.label_map(Look(4.0)).ravel(), minlength=15) / (192 * 240)
    for name, least in (("sky", 0.08), ("building", 0.05), ("road", 0.15), ("pavement", 0.05), ("tree", 0.04),
                        ("grass", 0.02), ("car", 0.001), ("pole", 0.001)):  # fmt: skip
        assert shares[light.LABELS.index(name)] > least, name


def test_the_daylight_truth_is_colored_as_the_world_is(scene):
    rgb, labels = scene.picture("rgb", Look(4.0)), scene.label_map(Look(4.0))
    assert rgb.min() > -1
    assert rgb.max() < 256
    grass = rgb[labels == light.GRASS].mean(0)
    assert grass[1] > grass[0] > grass[2]
    sky = rgb[labels == light.SKY]
    blue = sky[sky.sum(1) < np.percentile(sky.sum(1), 30)].mean(0)
    assert blue[2] > blue[1] > blue[0]
    road = rgb[labels == light.ROAD].mean(0)
    assert np.ptp(road) < 20


def test_pictures_change_with_time_and_not_otherwise(scene):
    for band in ("rgb", "nir", "thermal"):
        first = scene.picture(band, Look(2.0))
        np.testing.assert_array_equal(first, scene.picture(band, Look(2.0)))
        assert (first != scene.picture(band, Look(2.2))).any()


def test_by_night_the_lamp_lights_what_is_near():
    dark = SyntheticScene((192, 240), 8, night=True, people=0, vehicles=0)
    luma, labels = dark.picture("nir", Look(0.0))[..., 0], dark.label_map(Look(0.0))
    road = labels == light.ROAD
    rows = np.nonzero(road)[0]
    assert (
        luma[rows.max() - 25, :][road[rows.max() - 25]].mean()
        > 3 * luma[rows.min() + 2][road[rows.min() + 2]].mean()
    )
    assert luma[labels == light.SKY].mean() < 25
    celsius = dark.picture("thermal", Look(0.0))[..., 0]
    assert celsius[labels == light.GRASS].mean() < celsius[labels == light.ROAD].mean() < 15


def test_a_camera_keeps_its_scene_however_many_others_there_are() -> None:
    """Beyond three each frame was drawn anew, at ten times the cost, but of whoever came in time."""
    cameras = [SyntheticCamera(parse_test_address(f"test:nir?size=64x48&seed={seed}")) for seed in range(5)]
    first = [camera._scene(0) for camera in cameras]
    assert all(camera._scene(1) is scene for camera, scene in zip(cameras, first, strict=True))


def test_cameras_that_begin_together_draw_the_scene_that_they_share_once() -> None:
    with ThreadPoolExecutor(6) as threads:
        cameras = [SyntheticCamera(parse_test_address("test:nir?size=64x48&seed=77")) for _ in range(6)]
        scenes = list(threads.map(lambda camera: camera._scene(0), cameras))
    assert len({id(scene) for scene in scenes}) == 1
