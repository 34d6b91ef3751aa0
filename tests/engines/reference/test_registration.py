"""Laying color pictures over infrared ones, by structure alone."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from tests import daytime_scene

from irchroma.engines.reference import registration, structure


def test_edges_in_common_are_the_product_of_both_fields() -> None:
    random = np.random.default_rng(5)
    first, second = (random.integers(0, 256, (48, 64), dtype=np.uint8) for _ in range(2))
    edges = structure.Edges.of(first)
    fields = structure.structure_field(first), structure.structure_field(second)
    expected = (fields[0] * fields[1]).sum(2)
    np.testing.assert_allclose(edges.common(structure.Edges.of(second)), expected, atol=1e-6)
    assert edges.squared.shape == (48, 64)
    assert edges.squared.min() >= 0.0


def test_structure_ignores_gray_levels_and_their_sign() -> None:
    _, infrared = daytime_scene.draw(1)
    field = structure.structure_field(infrared)
    inverse = structure.structure_field((255 - infrared) // 2)
    assert structure.total_agreement(field, inverse) > 0.9
    assert structure.agreement(field, inverse, 17).mean() > 0.8


def test_a_shift_between_color_and_infrared_is_found_to_a_part_of_a_pixel() -> None:
    rgb, infrared = daytime_scene.draw(2)
    gray = daytime_scene.moved(rgb, 1.0, 0.0, (7.0, -4.0)).mean(2).astype(np.uint8)
    peak = structure.correlate(structure.structure_field(infrared), structure.structure_field(gray))
    assert peak.shift_px == pytest.approx((7.0, -4.0), abs=0.4)
    assert peak.evidence > registration.SAME_SCENE


@pytest.mark.parametrize(
    ("zoom", "turn", "shift"),
    [(1.0, 0.0, (0.0, 0.0)), (1.0, 1.5, (9.0, -6.0)), (1.2, 0.0, (4.0, 8.0)), (0.85, -2.0, (-12.0, 5.0))],
)
def test_a_reference_is_registered_although_the_camera_zoomed_turned_and_shook(
    zoom: float, turn: float, shift: tuple[float, float]
) -> None:
    rgb, infrared = daytime_scene.draw(3)
    reference = daytime_scene.moved(rgb, zoom, turn, shift)
    found = registration.register(infrared, reference.mean(2).astype(np.uint8))
    assert found.same_scene
    back = registration.warp(reference, found.matrix, daytime_scene.SIZE)
    inside = (slice(40, -40), slice(50, -50))
    gray = structure.structure_field(rgb.mean(2).astype(np.uint8)[inside])
    laid = structure.structure_field(back.mean(2).astype(np.uint8)[inside])
    assert structure.correlate(gray, laid).shift_px == pytest.approx((0, 0), abs=1.0)
    assert structure.total_agreement(gray, laid) > 0.6


def test_pairs_that_lie_right_are_left_where_they_are() -> None:
    for seed in range(4, 8):
        rgb, infrared = daytime_scene.draw(seed)
        found = registration.register(infrared, rgb.mean(2).astype(np.uint8))
        assert np.array_equal(found.matrix, np.eye(2, 3))


def test_another_scene_is_told_from_the_same() -> None:
    pairs = [daytime_scene.draw(seed) for seed in range(20, 25)]
    for i, (_, infrared) in enumerate(pairs):
        for j, (rgb, _) in enumerate(pairs):
            found = registration.register(infrared, rgb.mean(2).astype(np.uint8))
            assert found.same_scene == (i == j), (i, j, found)


def test_a_picture_of_another_shape_is_laid_without_distortion() -> None:
    rgb, infrared = daytime_scene.draw(9, (240, 426))
    cut = np.ascontiguousarray(infrared[:, 53:373])  # 4:3 out of 16:9
    found = registration.register(cut, rgb.mean(2).astype(np.uint8))
    assert found.same_scene
    assert found.matrix[:, :2].diagonal() == pytest.approx((320 / 426, 1.0), abs=0.01)


def test_an_empty_picture_is_no_scene() -> None:
    rgb, infrared = daytime_scene.draw(3)
    flat = np.full_like(infrared, 100)
    assert not registration.register(flat, rgb.mean(2).astype(np.uint8)).same_scene
    assert not registration.register(infrared, flat).same_scene


def test_edges_that_agree_clearly_make_up_for_evidence_that_is_lacking(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As of crops by another camera, of which every fourth was missed."""
    rgb, infrared = daytime_scene.draw(4)
    gray = rgb.mean(2).astype(np.uint8)
    evidence = registration.register(infrared, gray).evidence
    monkeypatch.setattr(registration, "SAME_SCENE", evidence + 1.0)
    monkeypatch.setattr(registration, "SAME_SCENE_SEARCHED", evidence + 1.0)
    assert registration.register(infrared, gray).same_scene
    monkeypatch.setattr(registration, "CLEAR", ((8.0, 0.95),))
    assert "evidence" in registration.register(infrared, gray).lacking


def test_a_chance_peak_of_another_scene_is_not_refined(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refining takes half as long as the search, and nearly every other scene was refined."""
    refined = []
    refine = registration.refine
    monkeypatch.setattr(registration, "refine", lambda *given: refined.append(given) or refine(*given))
    pairs = [daytime_scene.draw(seed) for seed in range(20, 23)]
    short = 0
    for (_, infrared), (rgb, _) in itertools.permutations(pairs, 2):
        refined.clear()
        found = registration.register(infrared, rgb.mean(2).astype(np.uint8))
        assert not found.same_scene
        if registration.CLEAR[1][0] <= found.evidence < registration.CLEAR[0][0]:
            short += 1
            assert not refined
    assert short > 1


def test_what_was_lacking_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    rgb, infrared = daytime_scene.draw(4)
    _, other = daytime_scene.draw(24)
    gray = rgb.mean(2).astype(np.uint8)
    assert registration.register(infrared, gray, search=False).lacking == ""
    assert "evidence" in registration.register(other, gray, search=False).lacking
    monkeypatch.setattr(registration, "AGREEMENT", 0.9)
    monkeypatch.setattr(registration, "CLEAR", ((8.0, 0.95),))
    found = registration.register(infrared, gray, search=False)
    assert found.lacking == f"agreement of edges {found.agreement:.3f}, needed 0.90"
    assert not found.same_scene
    assert found.evidence > registration.SAME_SCENE
