"""Every random number comes from one seed: --seed -> numpy Generators, one child stream a layer."""

from typing import TYPE_CHECKING

from sao_cli.base.errors import SaoError

if TYPE_CHECKING:
    import numpy as np


# What a layer's numbers are for, where that is not its mask: generator(seed, layer, VALUES). Streams of different
# purposes are independent, so that a reference or an input never repeats the weights that it is compared with.
VALUES, REFERENCE, INPUTS, PROBES = 1, 2, 3, 4
SPLIT, ORDER, AUGMENT = 5, 6, 7  # of data, in streams of layer 0, which no layer of weights is
SEARCH, LABELS = 8, 9
SCORES, CONTROL = 10, 11
BIASES, CHAINS = 12, 13
FRESH_BATCHES, FRESH_WEIGHTS = 14, 15
DROPOUT = 16
SHUFFLED = 17


def generator(seed: int, *stream: int) -> "np.random.Generator":
    """A numpy Generator (PCG64) for `seed` and the child stream that `stream` names, such as a layer's number.

    The same arguments give the same numbers on every machine; different streams are independent
    (numpy's SeedSequence with `stream` as the spawn key). Raises SaoError for a negative seed.
    """
    import numpy as np

    if seed < 0:
        raise SaoError(f"seed {seed} is negative; seeds are whole numbers from 0")
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=stream))
