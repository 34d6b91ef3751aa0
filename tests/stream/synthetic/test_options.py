"""The spelling of `test:` addresses."""

from fractions import Fraction

import pytest

from irchroma.stream.errors import StreamOptionError
from irchroma.stream.synthetic.options import _EXAMPLES, _READERS, SyntheticOptions, parse_test_address


def test_a_bare_address_is_an_endless_camera_of_640_by_512():
    options = parse_test_address("test:thermal")
    assert options == SyntheticOptions(band="thermal")
    assert options.size == (512, 640)
    assert options.frames is None


def test_every_switch_of_the_long_example_is_read():
    options = parse_test_address(
        "test:nir?size=320x240&rate=30000/1001&frames=300&seed=7&fpn=8&stripes=4&dead=0.001&drift=0.02"
        "&ffc=every:10,hold:0.4&jumps=every:5&cut=3.0&daynight=10&night_size=160x120&pan=20&shake=1&live=1"
        "&telemetry=0&people=2&vehicles=0&light=day&noise=0"
    )
    assert options.size == (240, 320)
    assert options.night_size == (120, 160)
    assert options.rate == Fraction(30000, 1001)
    assert (options.frames, options.seed, options.people, options.vehicles) == (300, 7, 2, 0)
    assert (options.fpn, options.stripes, options.dead, options.drift) == (8, 4, 0.001, 0.02)
    assert (options.ffc_every_s, options.ffc_hold_s, options.jumps_every_s) == (10, 0.4, 5)
    assert (options.cut_s, options.daynight_s, options.pan, options.shake) == (3, 10, 20, 1)
    assert options.live
    assert not options.telemetry
    assert options.noise_sd == 0


def test_seconds_become_frames_at_the_rate():
    assert parse_test_address("test:nir?seconds=2&rate=25").frames == 50


def test_every_key_has_an_example_that_is_accepted():
    for key in _READERS:
        if key != "rate":
            few = "&frames=9" if key == "ahead" else ""  # what is drawn ahead must have an end
            parse_test_address(f"test:nir?{key}={_EXAMPLES[key]}{few}")
    assert _EXAMPLES.keys() == _READERS.keys()


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("test:nri", "did you mean test:nir"),
        ("test:", "there are test:nir and test:thermal"),
        ("test:nir?sise=640x512", "did you mean 'size'"),
        ("test:nir?size=640", "write it like size=640x512"),
        ("test:nir?size=8x8", "between 16x16"),
        ("test:nir?rate=0", "1 to 1000"),
        ("test:nir?rate=1/0", "write it like rate=30"),
        ("test:nir?frames=-1", "frames of a test camera is 0 to"),
        ("test:nir?seed=x", "write it like seed=8"),
        ("test:nir?dead=0.7", "dead of a test camera is 0 to 0.5"),
        ("test:nir?ffc=every:1,hold:2", "must be shorter"),
        ("test:nir?ffc=often:1", "write it like ffc=every:10,hold:0.5"),
        ("test:nir?noise=nan", "write it like noise"),
        ("test:nir?live=maybe", "write it like live=1"),
        ("test:nir?light=dusk", "one of day, night"),
        ("test:thermal?scale=kelvin", "one of tlinear, lepton, raw14"),
        ("test:thermal?daynight=5", "test:thermal has no color by day"),
    ],
)
def test_a_mistake_is_one_clear_line(address, said):
    with pytest.raises(StreamOptionError) as caught:
        parse_test_address(address)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
