"""Attention of two pictures both ways by one exponential, where a graph has a softmax for each way.

Reference: the sums that a softmax divides by come out of the very products that it goes into, with a column
of ones in them (Milakov, Gimelshein, Online normalizer calculation for softmax, 2018, take one pass less in
another way). Here the largest number of a row need not be known either: the numbers are cosines, distances
and a distrust, of which float32 holds the exponentials.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

_LARGEST_EXPONENT = 60.0
"""Similarities are within 8 of 0, distances take 18 at most, and distrust 30."""
_RANK, _ROWS, _COLUMNS = 3, 2, 1
"""Of the matrices, and axes along which shares add up to 1."""
_PLACES = 2
"""Numbers of a place: x and y."""


@dataclass(frozen=True, slots=True)
class _BothWays:
    """Attention of two pictures both ways, by a softmax along the rows and one along the columns of a matrix.

    Attributes:
        attended: port of the matrix.
        rows: node of the softmax along its rows.
        sent: product by which marks go by columns.
        returned: product by which they come back by rows.
        taken: product by which colors are taken by rows.
        weighed: what multiplies the similarity by the rows' shares.
        averaged: what adds that up by rows.
    """

    attended: Any
    rows: Any
    sent: Any
    returned: Any
    taken: Any
    weighed: Any
    averaged: Any


def spare_softmaxes(model: Any, opset: Any) -> bool:
    """Change a graph's two softmaxes of one matrix into one exponential of it, in place.

    Written out, the matrix has 1,280 by 560 numbers for a frame of 256x320 and was gone through nine times;
    the graph of the frames took 7.7 ms of one core, and takes 7.0 (8.8 and 7.6 with AVX2 alone). Only what
    the reference's network does with the shares is dealt with: colors are taken by rows, marks go by columns
    and come back by rows, and the similarity is averaged by rows.

    Returns:
        Whether it is so now; a graph of another kind is left as it is.
    """
    found = _both_ways(model)
    if found is None:
        return False
    powers = opset.exp(opset.clamp(found.attended, -_LARGEST_EXPONENT, _LARGEST_EXPONENT))
    sent, values = found.sent.input_value(1), found.taken.input_value(1)
    marks = _with_one(sent, opset)
    sums = opset.matmul(marks, powers, True, False)  # (1, 17, M): a matrix as wide as it need not be turned
    turned = opset.transpose(sums, opset.constant(np.array([0, 2, 1], np.int64)))
    parts = opset.variadic_split(turned, 2, [_width(sent), 1])
    there = opset.divide(parts.output(0), parts.output(1))
    every = opset.matmul(powers, _with_one(opset.concat([values, there], 2).output(0), opset), False, False)
    colors, marked, total = opset.variadic_split(every, 2, [_width(values), _width(sent), 1]).outputs()
    similar = next(one for one in found.weighed.input_values() if not _from(one, found.rows))
    sum_of = opset.reduce_sum(opset.multiply(powers, similar), found.averaged.input_value(1), True)
    for old, new in ((found.taken, colors), (found.returned, marked), (found.averaged, sum_of.output(0))):
        shares = opset.divide(new, total)
        for reader in old.output(0).get_target_inputs():
            reader.replace_source_output(shares.output(0))
    model.validate_nodes_and_infer_types()
    return True


def _both_ways(model: Any) -> _BothWays | None:
    """Where a model attends both ways, by the nodes that are known; None where it has others."""
    softmaxes = [one for one in model.get_ops() if _is(one, "Softmax") and _rank(one.output(0)) == _RANK]
    found = {_axis_of(one): one for one in softmaxes}
    if len(softmaxes) != len(found) or found.keys() != {_ROWS, _COLUMNS}:
        return None
    rows, columns = found[_ROWS], found[_COLUMNS]
    attended = rows.input_value(0)
    if not _from(columns.input_value(0), attended.get_node()):
        return None
    turns = _only([columns], "Transpose")
    sent = _only(turns, "MatMul")
    if not sent or not _multiplies(sent[0], turns[0]) or _whole_numbers(turns[0].input_value(1)) != [0, 2, 1]:
        return None
    readers = _readers(rows)
    returned = [one for one in readers if _is(one, "MatMul") and _from(one.input_value(1), sent[0])]
    taken = [one for one in readers if _is(one, "MatMul") and one not in returned]
    weighed = [one for one in readers if _is(one, "Multiply")]
    averaged = _only(weighed, "ReduceSum")
    nodes = (sent, returned, taken, weighed, averaged)
    if any(len(one) != 1 for one in nodes) or len(readers) != 3 or len(_readers(sent[0])) != 1:
        return None
    by_rows = _multiplies(returned[0], rows) and _multiplies(taken[0], rows) and _sums_rows(averaged[0])
    return _BothWays(attended, rows, *(one[0] for one in nodes)) if by_rows else None


def spare_products(model: Any, opset: Any) -> bool:
    """Change squared distances of places that come from their products, a^2 + b^2 - 2 ab, into the squares of
    differences, in place.

    One matrix less is written and read, and bf16 holds differences of neighbors, where it does not hold those
    of large numbers: colors by bf16 are 3 dB nearer to those by float32.

    Returns:
        Whether it is so now; a graph of another kind is left as it is.
    """
    for product in [one for one in model.get_ops() if _is(one, "MatMul")]:
        doubled = _only([product], "Multiply")
        differences = _only(doubled, "Subtract")
        if not differences or not _is(differences[0].input_value(0).get_node(), "Add"):
            continue
        here, there = product.input_value(0), product.input_value(1)
        squares = [one.get_node() for one in differences[0].input_value(0).get_node().input_values()]
        known = (
            not any(product.get_attributes().values())
            and _numbers(doubled[0], product) == [2.0]
            and _from(differences[0].input_value(1), doubled[0])
            and _width(here) == _height(there) == _PLACES
            and _sums_squares(squares[0], here, _ROWS)
            and _sums_squares(squares[1], there, _COLUMNS)
        )
        if not known:
            continue
        here_parts = opset.variadic_split(here, _ROWS, [1] * _PLACES).outputs()  # (1, P, 1)
        there_parts = opset.variadic_split(there, _COLUMNS, [1] * _PLACES).outputs()  # (1, 1, M)
        away = [opset.subtract(one, other) for one, other in zip(here_parts, there_parts, strict=True)]
        total = opset.add(*(opset.multiply(one, one) for one in away))
        for reader in differences[0].output(0).get_target_inputs():
            reader.replace_source_output(total.output(0))
        model.validate_nodes_and_infer_types()
        return True
    return False


def _with_one(port: Any, opset: Any) -> Any:
    """(1, n, c) -> (1, n, c + 1), the last ones."""
    first = opset.variadic_split(port, 2, [1, _width(port) - 1]).output(0)
    ones = opset.broadcast(opset.constant(np.float32(1.0)), opset.shape_of(first))
    return opset.concat([port, ones.output(0)], 2)


def _sums_squares(reduces: Any, port: Any, axis: int) -> bool:
    """Whether it adds up the squares of that along an axis."""
    if not _is(reduces, "ReduceSum") or not reduces.get_attributes()["keep_dims"]:
        return False
    squares = reduces.input_value(0).get_node()
    of_it = all(_from(one, port.get_node()) for one in squares.input_values())
    return _is(squares, "Multiply") and of_it and _whole_numbers(reduces.input_value(1)) == [axis]


def _numbers(node: Any, beside: Any) -> list[float] | None:
    """The constant numbers that go into it beside a node; None where they are calculated."""
    others = [one.get_node() for one in node.input_values() if not _from(one, beside)]
    if len(others) != 1 or not _is(others[0], "Constant"):
        return None
    return [float(one) for one in np.ravel(others[0].data)]


def _height(port: Any) -> int | None:
    height = port.get_partial_shape()[1]
    return int(height.get_length()) if height.is_static else None


def _width(port: Any) -> int:
    return int(port.get_partial_shape()[2].get_length())


def _is(node: Any, kind: str) -> bool:
    return bool(node.get_type_name() == kind)


def _from(port: Any, node: Any) -> bool:
    return bool(port.get_node().get_friendly_name() == node.get_friendly_name())


def _readers(node: Any) -> list[Any]:
    return [one.get_node() for one in node.output(0).get_target_inputs()]


def _only(nodes: list[Any], kind: str) -> list[Any]:
    """What reads the one node, where that is one node of this kind; none otherwise."""
    readers = _readers(nodes[0]) if len(nodes) == 1 else []
    return readers if [one.get_type_name() for one in readers] == [kind] else []


def _multiplies(matmul: Any, first: Any) -> bool:
    """Whether a product takes the node as its first input, transposes nothing, and knows the width of its
    second input."""
    about = matmul.get_attributes()
    width = matmul.input_value(1).get_partial_shape()[2]
    turned = about["transpose_a"] or about["transpose_b"]
    return _from(matmul.input_value(0), first) and not turned and bool(width.is_static)


def _sums_rows(reduces: Any) -> bool:
    """Whether a reduction sums each row and keeps the sums as a matrix of one column."""
    axes = _whole_numbers(reduces.input_value(1))
    return axes in ([_ROWS], [_ROWS - _RANK]) and bool(reduces.get_attributes()["keep_dims"])


def _rank(port: Any) -> int | None:
    shape = port.get_partial_shape()
    return len(shape) if shape.rank.is_static else None


def _axis_of(softmax: Any) -> int:
    return int(softmax.get_attributes()["axis"]) % _RANK


def _whole_numbers(port: Any) -> list[int] | None:
    """What a constant holds; None of what is calculated."""
    node = port.get_node()
    return [int(one) for one in np.ravel(node.data)] if _is(node, "Constant") else None
