"""A synthetic street by the meadow: what every band of light sees of it at any time."""

from __future__ import annotations

import hashlib
import os
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from irchroma.stream.synthetic import light
from irchroma.stream.synthetic.canvas import FAR_M, Canvas
from irchroma.stream.synthetic.painting import enlarged, paint_static
from irchroma.stream.synthetic.plan import ScenePlan, plan_scene
from irchroma.stream.synthetic.texture import Plane
from irchroma.stream.synthetic.things.actors import Actor, Placed, make_driver, make_swayer, make_walker
from irchroma.stream.synthetic.things.sky import Sky, make_clouds, make_sky

_KEPT_SCENES = 4  # of some 30 MB each
CLOUD_SPEED = 0.006  # of the picture's width in a second
SHADOW = {"rgb": 0.52, "nir": 0.62, "thermal": 0.0}
"""Share of the stored value that a passing shadow takes; the ground stays warm under it."""


@dataclass(frozen=True, slots=True)
class Look:
    """The scene at one moment through one window: all that a picture depends on.

    Attributes:
        time_s: seconds since the start.
        offset: (x, y) of the picture on the stage, pixels.
    """

    time_s: float
    offset: tuple[float, float] = (0.0, 0.0)


class SyntheticScene:
    """Pictures of one scene, the same for the same seed and time.

    `size` (H, W) is that of the pictures, `margin` the pixels on each side that a moving camera may see.
    """

    def __init__(
        self, size: tuple[int, int], seed: int, *, night: bool, people: int, vehicles: int, margin: int = 0
    ) -> None:
        self.size, self.night, self.margin = size, night, margin
        rng = np.random.default_rng((seed, 2))
        double = 2 if max(size) <= 1100 else 1
        self.plan, canvas = _painted(size, seed, margin, double)
        self._canvas = canvas
        self._double = double
        self._clouds = make_clouds(self.plan.layout.view, np.random.default_rng((seed, 3)))
        stage = self.plan.layout.view.size[::-1]
        self.depth = np.ascontiguousarray(cv2.resize(canvas.depth, stage, interpolation=cv2.INTER_NEAREST))
        self.labels = np.ascontiguousarray(cv2.resize(canvas.labels, stage, interpolation=cv2.INTER_NEAREST))
        open_sky = (canvas.depth >= FAR_M).astype(np.float32)
        self._open_sky = np.asarray(cv2.resize(open_sky, stage, interpolation=cv2.INTER_AREA), np.float32)
        self._bands: dict[str, tuple[Plane, Sky]] = {}
        self._actors = self._cast(rng, people, vehicles)

    def picture(self, band: str, look: Look) -> Plane:
        """(H, W, C) float32: `rgb` and `nir` as stored in [0, 255], `thermal` in degrees Celsius."""
        base, sky = self._band(band)
        stage = base.copy()
        self._drift_clouds(stage, sky, look.time_s)
        for thing in self._placed(look.time_s):
            gain = self._lamp_gain(thing, band)
            if thing.shadow is not None and SHADOW[band] and not self.night:
                caster, laid = thing.shadow
                cover, where = caster.coverage(laid, stage.shape[:2])
                if cover is not None:
                    cover = cover * (self.depth[where] > thing.distance_m - 1)
                    stage[where] *= (1 - SHADOW[band] * thing.opacity * cover)[..., None]
            thing.sprite.over(
                stage, band, thing.transform, distance_m=thing.distance_m, depth=self.depth,
                opacity=thing.opacity, gain=gain,
            )  # fmt: skip
        return self._window(stage, look.offset, cv2.INTER_LINEAR)

    def label_map(self, look: Look) -> NDArray[np.uint8]:
        """(H, W) uint8 classes, see `synthetic.light.LABELS`."""
        labels = self.labels.copy()
        for thing in self._placed(look.time_s):
            cover, where = thing.sprite.coverage(thing.transform, labels.shape)
            if cover is not None:
                solid = (cover * thing.opacity > 0.5) & (self.depth[where] > thing.distance_m)
                labels[where][solid] = thing.sprite.label
        return np.asarray(self._window(labels, look.offset, cv2.INTER_NEAREST), np.uint8)

    def _cast(self, rng: np.random.Generator, people: int, vehicles: int) -> list[Actor]:
        layout, night = self.plan.layout, self.night
        actors: list[Actor] = [
            make_swayer(layout, tree.patch, tree.x, tree.z, tree.high_m, rng, night)
            for tree in self.plan.swaying
        ]
        actors += [make_driver(layout, bool(k % 2), rng, night) for k in range(vehicles)]
        routes = self.plan.routes
        return actors + [make_walker(layout, routes[k % len(routes)], rng, night) for k in range(people)]

    def _placed(self, time_s: float) -> list[Placed]:
        """From far to near: what is in the scene."""
        found = [thing for actor in self._actors if (thing := actor(time_s))]
        return sorted(found, key=lambda thing: -thing.distance_m)

    def _lamp_gain(self, thing: Placed, band: str) -> float:
        if not self.night or band != "nir":
            return 1.0
        corner = thing.transform @ np.array([thing.sprite.size[1] / 2, thing.sprite.size[0] / 2, 1])
        row, column = np.clip([corner[1], corner[0]], 0, np.array(self.depth.shape) - 1).astype(int)
        lamp = light.spotlight(self.depth.shape, np.float32(thing.distance_m) + np.zeros((1, 1), np.float32))
        lit = float(np.clip(1.3 * lamp[row, column] + 0.004, 0, 1.4))
        return float(lit**0.45)  # what it multiplies is gamma coded

    def _drift_clouds(self, stage: Plane, sky: Sky, time_s: float) -> None:
        shift = CLOUD_SPEED * self.size[1] * time_s % sky.period_px
        first, share = int(shift), shift % 1
        rows, wide = sky.clouds.shape[0], stage.shape[1]
        rows = min(rows, stage.shape[0])
        added = sky.clouds[:rows, first : first + wide] * (1 - share)
        added += sky.clouds[:rows, first + 1 : first + 1 + wide] * share
        stage[:rows] += added * self._open_sky[:rows, :, None]

    def _band(self, band: str) -> tuple[Plane, Sky]:
        if band not in self._bands:
            sky = make_sky(self.plan.layout.view, band, self._clouds, self.night)
            large = _develop(self._canvas, band, self.night, self._double, sky)
            stage = cv2.resize(large, self.plan.layout.view.size[::-1], interpolation=cv2.INTER_AREA)
            stage = cv2.GaussianBlur(stage, (0, 0), 0.65 if band == "thermal" else 0.4)  # the lens
            self._bands[band] = (np.asarray(stage, np.float32).reshape(*self.depth.shape, -1), sky)
        return self._bands[band]

    def _window(self, stage: NDArray[np.generic], offset: tuple[float, float], how: int) -> Plane:
        """Cut the picture out of the stage at a fractional offset."""
        cut = np.asarray(stage)
        if self.margin:
            matrix = np.array(
                [[1, 0, -self.margin - offset[0]], [0, 1, -self.margin - offset[1]]], np.float64
            )
            cut = np.asarray(cv2.warpAffine(stage, matrix, self.size[::-1], flags=how))
        if self.plan.mirror:
            cut = np.asarray(cv2.flip(cut, 1))
        return cut.reshape(*self.size, *stage.shape[2:])


def _painted(size: tuple[int, int], seed: int, margin: int, double: int) -> tuple[ScenePlan, Canvas]:
    """A scene's plan and canvas, from the user's cache where it has been painted before: a quarter of the
    time."""
    file = _cache_file(f"{size} {seed} {margin} {double}")
    if file is not None and file.is_file():
        try:
            with file.open("rb") as data, np.load(data) as planes:
                plan = plan_scene(size, seed, margin, planes["trees"])
                canvas = Canvas.of(enlarged(plan.layout.view, double), planes)
            file.touch()
            return plan, canvas
        except (OSError, ValueError, KeyError, IndexError, EOFError, zipfile.BadZipFile):
            pass  # cut short, say; painted anew
    plan = plan_scene(size, seed, margin)
    canvas = paint_static(plan, double)
    canvas.thin()
    if file is not None:
        try:
            with tempfile.NamedTemporaryFile(dir=file.parent, suffix=".part", delete=False) as part:
                np.savez(part, trees=plan.drawn, **canvas.planes())  # type: ignore[arg-type]
            os.replace(part.name, file)
            for old in sorted(file.parent.glob("*.npz"), key=os.path.getmtime)[:-_KEPT_SCENES]:
                old.unlink()
        except OSError:  # a full disk, another process that tidies up: the next run paints again
            Path(part.name).unlink(missing_ok=True)
    return plan, canvas


def _cache_file(scene: str) -> Path | None:
    """Where a scene's canvas is kept; another version of this code has another place. None for nowhere."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    try:
        folder = (Path(base) if base.startswith("/") else Path.home() / ".cache") / "irchroma" / "scenes"
        folder.mkdir(parents=True, exist_ok=True)
        code = b"".join(file.read_bytes() for file in sorted(Path(__file__).parent.rglob("*.py")))
    except (OSError, RuntimeError):
        return None
    if not os.access(folder, os.W_OK | os.X_OK):
        return None
    about = f"{scene} {np.__version__} {cv2.__version__}".encode() + code
    return folder / f"{hashlib.sha256(about).hexdigest()[:24]}.npz"


def _develop(canvas: Canvas, band: str, night: bool, double: int, sky: Sky) -> Plane:
    """Light the canvas and see it through the air in one band, at the canvas's size."""
    wide = canvas.view.size[1]
    far = canvas.depth >= FAR_M
    clear = np.repeat(sky.clear, double, 0)[: canvas.view.size[0]]
    light_, heat, surface = (p.astype(np.float32) for p in (canvas.light, canvas.heat, canvas.surface))
    sun, open_ = light_[..., :1], light_[..., 1:]
    if band == "thermal":
        warm = cv2.GaussianBlur(np.ascontiguousarray(sun), (0, 0), wide / 400)[..., None]
        picture = heat[..., 2:3] if night else heat[..., :1] + heat[..., 1:2] * (0.3 * sun + 0.7 * warm)
    elif band == "nir" and night:
        lamp = light.spotlight(canvas.view.size, canvas.depth)[..., None]
        picture = light.expose_nir(surface[..., 3:] * open_ * (1.3 * lamp + 0.004))
    elif band == "nir":
        picture = surface[..., 3:] * (sun * light.SUN_NIR + open_ * light.SKY_NIR)
        share = light.haze_share(canvas.depth, band)[..., None]
        picture = light.expose_nir(picture * (1 - share) + share * light.HAZE_NIR)
    else:
        picture = surface[..., :3] * (sun * light.SUN_RGB + open_ * light.SKY_RGB)
        share = light.haze_share(canvas.depth, band)[..., None]
        picture = light.expose_rgb(picture * (1 - share) + share * light.HAZE_RGB)
    return np.where(far[..., None], np.broadcast_to(clear[:, None, :], picture.shape), picture).astype(
        np.float32
    )
