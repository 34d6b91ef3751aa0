"""What a count means in degrees: by the camera, the configuration or the engine's name."""

from irchroma.launch.run.settings.options import RunConfig, with_scale
from irchroma.stream.sensor.profile import CameraScale


def test_an_engine_that_names_its_gain_alone_keeps_the_offset_of_the_camera() -> None:
    scale = CameraScale(per_kelvin=100.0, offset_celsius=-273.15)
    palette = with_scale(RunConfig(engine="palette:above=37C,gain=0.02"), scale).palette
    assert (palette.gain, palette.offset) == (0.02, -273.15)
    palette = with_scale(RunConfig(engine="palette:above=37C,gain=0.02,offset=-10"), scale).palette
    assert (palette.gain, palette.offset) == (0.02, -10.0)
    palette = with_scale(RunConfig(engine="palette:ironbow"), scale).palette
    assert (palette.gain, palette.offset) == (0.01, -273.15)
