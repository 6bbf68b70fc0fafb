"""What hypothesis draws for `st.from_type` of Mask, Matrix and Kernel in the round trips."""

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from sao_cli.data.kernel import Kernel
from sao_cli.data.mask import Mask
from sao_cli.data.precision import PRECISIONS, rounded
from sao_cli.io import Matrix

PROVENANCE = st.dictionaries(
    st.text(max_size=6),
    st.one_of(
        st.integers(-(2**60), 2**60),
        st.text(max_size=8),
        st.booleans(),
        st.none(),
        st.floats(allow_nan=False, allow_infinity=False),
    ),
    max_size=4,
)
SHAPES = st.tuples(st.integers(1, 9), st.integers(1, 9))
# subnormal numbers and extreme exponents included, zeros not: they are no part of a mask
VALUES = st.floats(allow_nan=False, allow_infinity=False).filter(lambda value: value != 0)


@st.composite
def masks(draw):
    """A mask of up to 9 x 9, empty and full rows included."""
    return Mask.from_dense(draw(hnp.arrays(bool, draw(SHAPES))), draw(PROVENANCE))


@st.composite
def matrices(draw):
    """A mask with or without values."""
    mask = draw(masks())
    return Matrix(mask, draw(hnp.arrays(np.float64, mask.nnz, elements=VALUES)) if draw(st.booleans()) else None)


@st.composite
def kernels(draw):
    """A kernel of any precision with up to 4 x 4 channels and 3 axes of taps, some kept though they are all zero."""
    shape = draw(hnp.array_shapes(min_dims=3, max_dims=5, max_side=4))
    dtype = draw(st.sampled_from(sorted(PRECISIONS)))
    width = {"float64": 64, "float32": 32}.get(dtype, 16)
    finite = st.floats(width=width, allow_nan=False, allow_infinity=False)
    values = rounded(draw(hnp.arrays(np.float64, shape, elements=finite, fill=st.just(0.0))), dtype)
    live = (values != 0).any(axis=tuple(range(2, len(shape))))
    kept = live | draw(hnp.arrays(bool, shape[:2]))
    return Kernel(values, Mask.from_dense(kept, draw(PROVENANCE)), dtype)


st.register_type_strategy(Kernel, kernels())
st.register_type_strategy(Mask, masks())
st.register_type_strategy(Matrix, matrices())
