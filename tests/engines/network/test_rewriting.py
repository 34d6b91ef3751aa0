"""The reference's network in cells, and without the layers that its band's network has computed already."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from irchroma.engines import catalog
from irchroma.engines.network.eight_bit.twins import twin_path
from irchroma.engines.network.network import NetworkOptions, Tensor, Tensors, installed, open_network
from irchroma.engines.network.rewriting.early import EARLY, EARLY_CHANNELS, KnowsEarly, alike
from irchroma.engines.network.sharing import SharedNetwork
from irchroma.engines.neural.exemplar import ExemplarNetwork
from irchroma.engines.neural.given_picture import GivenPicture
from irchroma.engines.neural.tokens import encode, places
from irchroma.engines.reference.pictures import Reference

pytestmark = pytest.mark.skipif(not installed("openvino"), reason="OpenVINO is not installed")

OPTIONS = NetworkOptions("openvino", threads=1, cache=None, exact=True)
HEIGHT, WIDTH = 64, 96
BANDS = tuple(catalog.BANDS)


def luma(seed: int = 0) -> Tensor:
    return np.random.default_rng(seed).random((1, 1, HEIGHT, WIDTH), np.float32)


def picture() -> Reference:
    rgb = np.random.default_rng(7).integers(0, 256, (96, 128, 3), dtype=np.uint8)
    return Reference(rgb, np.full(rgb.shape[:2], 255, np.uint8))


def inputs(given: GivenPicture, known: float = 1.0) -> Tensors:
    """A frame that its band has colored in some way, and a reference in place."""
    random = np.random.default_rng(1)
    tokens = encode(picture(), given._pictures)
    return {
        "luma": luma(),
        "own": random.random((1, 3, HEIGHT, WIDTH), np.float32) - np.float32([0, 0.5, 0.5]).reshape(3, 1, 1),
        "sureness": random.random((1, 1, HEIGHT, WIDTH), np.float32),
        "place": places(HEIGHT // 8, WIDTH // 8),
        "there": np.ascontiguousarray(tokens["values"][:, :, 6:8].transpose(0, 2, 1)),
        "known": np.full((1, 1, 1, 1), known, np.float32),
        "strength": np.ones((1, 1, 1, 1), np.float32),
        **tokens,
    }


@pytest.fixture(params=BANDS)
def given(request: pytest.FixtureRequest) -> Iterator[GivenPicture]:
    made = GivenPicture(request.param, OPTIONS)
    yield made
    made.close()


def opened(path: Path) -> Any:
    return open_network(path, OPTIONS)


def opened_name() -> str:
    """In which precision networks run where nobody asks for an exact one."""
    network = open_network(catalog.weights_path("nir", "fast"), replace(OPTIONS, exact=False))
    network.close()
    return network.name


def frames_of(given: GivenPicture) -> Path:
    return catalog.weights_path(catalog.REFERENCE.name, given.band)


@pytest.mark.parametrize("known", [0.0, 1.0])
def test_in_cells_and_on_pixels_it_says_what_the_whole_graph_says(given: GivenPicture, known: float) -> None:
    from irchroma.engines.network.openvino_runtime import OpenVinoCells, OpenVinoGraph, open_graph

    asked = inputs(given, known)
    whole, cells = OpenVinoGraph(frames_of(given), OPTIONS), open_graph(frames_of(given), OPTIONS)
    assert isinstance(cells, OpenVinoCells)
    expected = {name: one.copy() for name, one in whole.run(asked).items()}
    said = cells.run(asked)
    assert said.keys() == expected.keys() == {"ycc", "confidence"}
    assert np.abs(expected["ycc"] - asked["own"]).max() > 0.01
    for name, one in expected.items():
        np.testing.assert_allclose(said[name], one, atol=2e-5)
    whole.close()
    cells.close()


def test_attention_both_ways_takes_one_exponential_and_no_softmax_of_the_matrix(given: GivenPicture) -> None:
    from openvino import opset13

    from irchroma.engines.network.openvino_runtime import OpenVinoGraph
    from irchroma.engines.network.rewriting.attention import spare_products, spare_softmaxes

    def kinds(graph: OpenVinoGraph) -> Counter[str]:
        return Counter(node.get_type_name() for node in graph.model.get_ops())

    asked = inputs(given)
    asked["bias"] = asked["bias"].copy()
    asked["bias"][..., ::3] = -30.0  # not trusted
    whole, spared = (OpenVinoGraph(frames_of(given), OPTIONS) for _ in range(2))
    before = kinds(whole)
    assert spare_softmaxes(spared.model, opset13)
    after = kinds(spared)
    assert before["Softmax"] - after["Softmax"] == 2
    assert after["Exp"] - before["Exp"] == 1
    assert before["MatMul"] - after["MatMul"] == 1  # colors and marks come back together
    assert spare_products(spared.model, opset13)
    assert not spare_products(spared.model, opset13)
    expected, said = (
        {name: one.copy() for name, one in graph.run(asked).items()} for graph in (whole, spared)
    )
    assert np.abs(expected["ycc"] - asked["own"]).max() > 0.01
    for name, one in expected.items():
        np.testing.assert_allclose(said[name], one, atol=2e-5)
    whole.close()
    spared.close()


def test_a_graph_with_other_softmaxes_is_left_as_it_is(tiny_network: Path, given: GivenPicture) -> None:
    from openvino import opset13

    from irchroma.engines.network.openvino_runtime import OpenVinoGraph
    from irchroma.engines.network.rewriting.attention import spare_products, spare_softmaxes

    path = frames_of(given)
    for other in (tiny_network, path.with_name(f"{path.stem}_picture.onnx")):
        graph = OpenVinoGraph(other, OPTIONS)
        before = [node.get_friendly_name() for node in graph.model.get_ordered_ops()]
        assert not spare_softmaxes(graph.model, opset13)
        assert not spare_products(graph.model, opset13)
        assert [node.get_friendly_name() for node in graph.model.get_ordered_ops()] == before
        graph.close()


@pytest.mark.parametrize("other", ["keep_dims", "sum of columns", "turned otherwise"])
def test_an_attention_that_adds_up_or_turns_otherwise_is_left_as_it_is(
    given: GivenPicture, other: str
) -> None:
    import openvino
    from openvino import opset13

    from irchroma.engines.network.openvino_runtime import OpenVinoGraph
    from irchroma.engines.network.rewriting.attention import spare_softmaxes

    graph = OpenVinoGraph(frames_of(given), OPTIONS)
    matrices = [
        one
        for one in graph.model.get_ops()
        if one.get_type_name() == "Softmax" and len(one.get_output_partial_shape(0)) == 3
    ]
    columns = next(one for one in matrices if one.get_attributes()["axis"] == 1)
    rows = next(one for one in matrices if one.get_attributes()["axis"] == 2)
    (turned,) = (one.get_node() for one in columns.output(0).get_target_inputs())
    weighed = next(
        one.get_node()
        for one in rows.output(0).get_target_inputs()
        if one.get_node().get_type_name() == "Multiply"
    )
    (total,) = (one.get_node() for one in weighed.output(0).get_target_inputs())
    changed: Any
    if other == "turned otherwise":
        replaced, changed = turned, opset13.transpose(columns, opset13.constant(np.array([0, 1, 2])))
    else:
        kept = other != "keep_dims"
        replaced = total
        changed = opset13.reduce_sum(weighed, opset13.constant(np.array([1 if kept else 2])), kept)
        changed = changed if kept else opset13.unsqueeze(changed, opset13.constant(np.array([2])))
    for reader in replaced.output(0).get_target_inputs():
        reader.replace_source_output(changed.output(0))
    nothing = opset13.constant(np.zeros((1, 1, 1), np.float32))
    replaced.input(0).replace_source_output(nothing.output(0))  # it would count as a reader still
    graph.model = openvino.Model(graph.model.outputs, graph.model.get_parameters(), "changed")
    before = [node.get_friendly_name() for node in graph.model.get_ordered_ops()]
    assert not spare_softmaxes(graph.model, opset13)
    assert [node.get_friendly_name() for node in graph.model.get_ordered_ops()] == before
    graph.close()


def test_distances_of_another_sum_are_left_as_they_are(given: GivenPicture) -> None:
    from openvino import opset13

    from irchroma.engines.network.openvino_runtime import OpenVinoGraph
    from irchroma.engines.network.rewriting.attention import spare_products

    graph = OpenVinoGraph(frames_of(given), OPTIONS)
    (product,) = (
        one
        for one in graph.model.get_ops()
        if one.get_type_name() == "MatMul" and one.input_value(1).get_node().get_friendly_name() == "there"
    )
    (doubled,) = (one.get_node() for one in product.output(0).get_target_inputs())
    factor = next(at for at in (0, 1) if doubled.input_value(at).get_node().get_type_name() == "Constant")
    doubled.input(factor).replace_source_output(opset13.constant(np.float32(1.9)).output(0))
    assert not spare_products(graph.model, opset13)
    graph.close()


def test_in_bf16_it_says_nearly_what_it_says_in_float32(given: GivenPicture) -> None:
    from irchroma.engines.network.openvino_runtime import open_graph

    exact = open_graph(frames_of(given), OPTIONS)
    quick = open_graph(frames_of(given), replace(OPTIONS, exact=False))
    band = opened(catalog.weights_path(given.band, "fast"))
    *_, early = band.infer_early(luma())
    for more in ({}, {EARLY: early.copy()}):
        asked = inputs(given) | more
        asked["there"] += np.float32(0.02)  # a little beside the places, as a shaking camera has it
        expected, said = exact.run(asked), quick.run(asked)
        assert np.abs(expected["ycc"] - asked["own"]).max() > 0.01
        for name in expected:
            assert (
                np.square(said[name] - expected[name]).mean() < 1e-5
            )  # 50 dB: noise is harder than pictures
    assert exact.name == "openvino f32"
    assert quick.name == opened_name()
    for one in (exact, quick, band):
        one.close()


def test_with_what_the_band_s_network_knows_it_says_nearly_the_same(given: GivenPicture) -> None:
    from irchroma.engines.network.openvino_runtime import open_graph

    asked, cells = inputs(given), open_graph(frames_of(given), OPTIONS)
    expected = cells.run(asked)["ycc"]
    for path in (catalog.weights_path(given.band, "fast"), twin_path(given.band, "fast")):
        own = opened(path)
        *_, early = own.infer_early(asked["luma"])
        assert early.shape == (1, EARLY_CHANNELS, HEIGHT // 8, WIDTH // 8)
        said = cells.run(asked | {EARLY: early.copy()})["ycc"]
        assert np.square(said - expected).mean() < 10**-5.5  # 55 dB; noise is harder than pictures, 65 dB
        nothing = cells.run(asked | {EARLY: np.zeros_like(early)})["ycc"]
        assert np.square(nothing - expected).mean() > 10**-5.5  # it does look at them
        own.close()
    cells.close()


def test_a_network_says_the_same_whether_it_tells_what_its_first_layers_know(given: GivenPicture) -> None:
    own = opened(catalog.weights_path(given.band, "fast"))
    ycc, confidence = (one.copy() for one in own.infer(luma()))
    told = own.infer_early(luma())
    np.testing.assert_allclose(told[0], ycc, atol=1e-5)
    np.testing.assert_allclose(told[1], confidence, atol=1e-5)
    own.close()


def test_a_graph_of_another_shape_is_left_as_it_is(given: GivenPicture) -> None:
    from irchroma.engines.network.openvino_runtime import OpenVinoGraph, open_graph

    path = frames_of(given)
    graph = open_graph(path.with_name(f"{path.stem}_picture.onnx"), OPTIONS)
    assert type(graph) is OpenVinoGraph
    assert {port.any_name for port in graph.model.inputs} == {"luma", "place", "small"}
    graph.close()


def test_first_layers_are_the_same_of_float_and_of_8_bits_and_no_others() -> None:
    some = {
        band: [opened(path) for path in (catalog.weights_path(band, "fast"), twin_path(band, "fast"))]
        for band in BANDS
    }
    layers = {band: [one.first_layers() for one in networks] for band, networks in some.items()}
    for networks in some.values():
        for one in networks:
            one.close()
    for floats, bits in layers.values():
        assert len(floats) == 15  # stem, 2 of the first block, 3 each of four
        assert alike(floats, bits)
    changed = [one.copy() for one in layers["nir"][0]]
    changed[5] *= np.float32(1.05)
    assert not alike(layers["nir"][0], changed)
    assert not alike(layers["nir"][0], changed[:-1])
    assert not alike([], [])


def test_a_camera_of_several_is_told_through_its_seat(given: GivenPicture, tiny_network: Path) -> None:
    network = opened(catalog.weights_path(given.band, "fast"))
    expected = [one.copy() for one in network.infer_early(luma())]
    shared = SharedNetwork(network)
    seat = shared.seat()
    assert seat is not None
    seat.prepare_early(luma().shape)
    for one, other in zip(seat.infer_early(luma()), expected, strict=True):
        np.testing.assert_array_equal(one, other)
    assert len(seat.infer(luma())) == 2
    assert alike(seat.first_layers(), network.first_layers())
    seat.close()
    other_seat = SharedNetwork(opened(tiny_network)).seat()
    assert other_seat is not None
    assert other_seat.first_layers() == []
    other_seat.close()


def test_the_engine_takes_it_from_the_networks_that_ship_and_from_no_other(
    given: GivenPicture, tiny_network: Path
) -> None:
    class Counted(KnowsEarly):
        """Its calls."""

        lanes = best_batch = 1

        def __init__(self, network: Any) -> None:
            self.network, self.calls = network, [0, 0]
            self.name = network.name

        def first_layers(self) -> list[Tensor]:
            layers: list[Tensor] = self.network.first_layers()
            return layers

        def infer(self, luma: Tensor) -> Any:
            self.calls[0] += 1
            return self.network.infer(luma)

        def infer_early(self, luma: Tensor) -> Any:
            self.calls[1] += 1
            return self.network.infer_early(luma)

        def prepare_early(self, shape: tuple[int, ...]) -> None:
            self.network.prepare_early(shape)

        def close(self) -> None:
            self.network.close()

    given.give(picture())
    shipped = (catalog.weights_path(given.band, "fast"), twin_path(given.band, "fast"))
    for path, expected in (*((path, [0, 2]) for path in shipped), (tiny_network, [2, 0])):
        own = Counted(opened(path))
        network = ExemplarNetwork(own, given, OPTIONS)
        assert network.infer(luma())[0].shape == network.infer(luma(1))[0].shape == (1, 3, HEIGHT, WIDTH)
        assert own.calls == expected
        network.close()
