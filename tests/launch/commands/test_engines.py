"""`irchroma engines`: the list, the inspection, and what is not here."""

from __future__ import annotations

import pytest

from irchroma.engines import catalog
from irchroma.engines.network import network
from irchroma.launch.cli import main


def test_the_list_names_every_engine_and_runtime(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["engines", "list"]) == 0
    said = capsys.readouterr().out
    for band in catalog.BANDS:
        for size in catalog.SIZES:
            assert f"{band}:{size}" in said
    assert "ironbow" in said
    for runtime in network.RUNTIMES:
        assert runtime in said


def test_missing_files_and_engines_without_a_network_are_refused_in_one_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for arguments in (
        ["inspect", "gray"],
        ["inspect", "none.onnx"],
        ["inspect", "none.plan"],
        ["inspect", "x"],
    ):
        assert main(["engines", *arguments]) == 1
        assert len(capsys.readouterr().err.splitlines()) == 1


@pytest.mark.parametrize("size", catalog.SIZES)
@pytest.mark.parametrize("kind", catalog.BANDS)
def test_shipped_networks_take_luma_and_give_ycc_and_confidence(
    kind: str, size: str, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("onnx")
    if not catalog.weights_path(kind, size).is_file():
        pytest.skip(f"weights of {kind} {size} are not here")
    assert main(["engines", "inspect", f"{kind}:{size}"]) == 0
    said = capsys.readouterr().out
    assert "luma float32" in said
    assert "ycc float32" in said
    assert "confidence float32" in said
