"""Components against networkx, and the pieces that they are cut into."""

import networkx as nx
import numpy as np
import pytest

from sao_cli.data.mask import Mask
from sao_cli.measure.graph.component_edges import Kinds
from sao_cli.measure.graph.components import find_components

from .. import known_graphs as known

MASKS = [
    known.random_pattern(40, 50, 0.02, 0),
    known.random_pattern(200, 150, 0.006, 1),
    known.random_pattern(9, 9, 0.5, 2),
    known.union(known.cycle(5), known.projective_plane(2), known.complete(2, 4), known.cycle(5)),
    known.shuffled(known.union(*[known.random_lift(2, 3, 4, seed) for seed in range(10)]), 3),
    known.shuffled(known.padded(known.cycle(300), 3, 2), 4),
    Mask.from_dense(np.zeros((3, 2))),
    Mask.from_dense([[1]]),
    Mask.from_dense(np.triu(np.ones((6, 6)))),
]


def partition(graph):
    return {frozenset(nodes) for nodes in nx.connected_components(graph)}


@pytest.mark.parametrize("mask", MASKS)
def test_components_are_those_of_networkx(mask):
    components = find_components(mask)
    labels = np.concatenate((components.columns, components.rows))  # networkx numbers the inputs first
    found = {frozenset(np.flatnonzero(labels == k).tolist()) for k in range(components.count)}
    dead = {frozenset([node]) for node in np.flatnonzero(labels < 0).tolist()}
    assert found | dead == partition(mask.to_networkx())
    assert components.dead == len(dead)
    assert components.ones.sum() == mask.nnz
    first_rows = [np.flatnonzero(components.rows == k)[0] for k in range(components.count)]
    assert first_rows == sorted(first_rows)


@pytest.mark.parametrize("mask", MASKS)
def test_each_component_keeps_its_ones_in_order(mask):
    components = find_components(mask)
    numbers = np.arange(components.count)[::-1]
    pieces = {}
    for number, piece in zip(numbers, components.masks(numbers), strict=True):
        rows, columns = components.rows == number, components.columns == number
        expected = mask.to_dense()[np.ix_(rows, columns)]
        assert np.array_equal(piece.to_dense(), expected)
        degrees = np.concatenate((piece.row_degrees, piece.column_degrees)).astype(int)
        assert components.squared_degrees[number] == degrees @ degrees
        pieces[number] = expected
    seen = 0
    for batch, matrices in components.batches(numbers):
        seen += len(batch)
        assert all(np.array_equal(dense, pieces[k]) for k, dense in zip(batch, matrices, strict=True))
    assert seen == components.count


def test_batches_of_one_shape_are_split_where_they_grow_large(monkeypatch):
    monkeypatch.setattr("sao_cli.measure.graph.components._CHUNK_ENTRIES", 100)
    components = find_components(known.union(*[known.projective_plane(2)] * 5, known.cycle(6)))
    shapes = [matrices.shape for _, matrices in components.batches(np.arange(6))]
    assert shapes == [(1, 6, 6), (2, 7, 7), (2, 7, 7), (1, 7, 7)]


def test_kinds_of_components():
    spider = Mask.from_dense([[1, 1, 1, 0], [1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 1]])
    pan = Mask.from_dense([[1, 1, 0], [1, 1, 1]])
    path = Mask.from_dense([[1, 1, 0], [0, 1, 1]])
    parts = known.union(known.complete(2, 2), known.cycle(4), path, path.T, spider, pan, known.complete(1, 3))
    kinds = Kinds.of(find_components(parts))
    assert [kind.tolist() for kind in (kinds.complete, kinds.cycle, kinds.path, kinds.dense, kinds.large)] == [
        [0, 6],
        [1],
        [2, 3],
        [4, 5],
        [],
    ]
