"""The known spectra once more, as other programs would hand them over: Matrix Market text from networkx and scipy."""

import io
import math

import networkx as nx
import numpy as np
import pytest
import scipy.io

from sao_cli.data.mask import Mask
from sao_cli.io import read_masks
from sao_cli.measure.graph.expansion import expansion

from .. import known_graphs as known


def bipartite(graph):
    """The biadjacency matrix of a connected bipartite networkx graph, as networkx makes it."""
    rows, columns = (sorted(side) for side in nx.bipartite.sets(graph))
    return nx.bipartite.biadjacency_matrix(graph, rows, columns)


@pytest.mark.parametrize(
    ("matrix", "lambda_2"),
    [
        (bipartite(nx.heawood_graph()), math.sqrt(2)),
        (bipartite(nx.complete_bipartite_graph(7, 7)), 0),
        (bipartite(nx.complete_bipartite_graph(3, 8)), 0),
        (bipartite(nx.hypercube_graph(5)), 3),
        (bipartite(nx.cubical_graph()), 1),
        (bipartite(nx.pappus_graph()), math.sqrt(3)),
        (bipartite(nx.desargues_graph()), 2),
        (bipartite(nx.moebius_kantor_graph()), math.sqrt(3)),
        (nx.to_scipy_sparse_array(nx.petersen_graph()), 2),
        (known.projective_plane(5).to_scipy(), math.sqrt(5)),
        (known.generalised_quadrangle(3).to_scipy(), math.sqrt(6)),
        (known.affine_plane_less_a_class().to_scipy(), 4),
    ],
)
@pytest.mark.parametrize("layout", ["coordinate", "array"])
@pytest.mark.parametrize("dtype", [np.int8, np.float32, np.float64])
def test_lambda_2_of_what_scipy_writes(matrix, lambda_2, layout, dtype):
    matrix = matrix.astype(dtype)
    stream = io.BytesIO()
    scipy.io.mmwrite(stream, matrix.toarray() if layout == "array" else matrix)
    (mask,) = read_masks(io.BytesIO(stream.getvalue()))
    assert mask == Mask.from_scipy(matrix)
    result = expansion(mask)
    assert result.lambda_2 == pytest.approx(lambda_2, abs=1e-12 + result.error)
    assert result.connected
    assert result.ramanujan is True
