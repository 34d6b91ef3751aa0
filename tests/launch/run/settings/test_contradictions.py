"""Flags that contradict each other, or that would do nothing."""

from __future__ import annotations

import pytest

from irchroma.launch.cli import main


@pytest.mark.parametrize(
    ("flags", "why"),
    [
        (("--segment", "-1"), "0 or more"),
        (("--segment", "60"), "records none"),
        (("--keep-segments", "3"), "needs --segment"),
        (("--collect", "pairs", "--no-color-camera"), "leave out --no-color-camera"),
        (("--stall", "0"), "stall_s must be above 0"),
        (("--runtime", "tensorflow"), "unknown runtime"),
        (("--best", "--size", "fast"), "--best is the network of size best: leave it out, or size fast"),
        (("--best", "--engine", "nir:fast"), "leave it out, or size fast"),
        (("--best", "--auto"), "however long it takes: leave out --auto, or --best"),
        (("--best", "--fixed"), "however long it takes: leave out --fixed, or --best"),
        (("--token", "a long secret"), "--token is of a page, and no output is one"),
        (("--viewer-token", "a long secret"), "--viewer-token is of a page, and no output is one"),
        (("--tls-cert", "cert.pem"), "--tls-cert is of a page, and no output is one"),
        (("--engine", "nir:fast", "--size", "best"), "--size best contradicts engine nir:fast"),
        (("--engine", "zhang2016", "--size", "best"), "--size best contradicts engine zhang2016"),
    ],
)
def test_flags_that_would_do_nothing_or_contradict_each_other_are_refused(
    flags: tuple[str, ...], why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", "test:nir?size=64x48&frames=3", "--to", "null", *flags]) == 1
    said = capsys.readouterr().err
    assert why in said
    assert len(said.splitlines()) == 1
