"""Small histograms of singular values for a terminal: one a line, or one of several lines."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from sao_cli.base.errors import SaoError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

HEIGHTS = {False: " ▁▂▃▄▅▆▇█", True: " .:-=+*#@"}
EIGHTHS = " ▏▎▍▌▋▊▉█"
ALIKE = 1e-4  # values that differ by less, relatively, are told as one


def sparkline(
    values: ArrayLike, width: int = 17, low: float = 0.0, high: float | None = None, *, ascii: bool = False
) -> str:
    """A histogram of `width` characters, as tall as the share of its fullest bin; blank where nothing is.

    The first bin has its middle at `low` and the last one at `high`, by default the largest value, or 2 where that is
    less: at the default width 0, 1 and 2 are middles then, and what is equal but for rounding stays in one bin. What
    is outside counts in the end bins. A bin that holds anything shows; no values give blanks. `ascii` for a stream
    that can't carry blocks. Raises SaoError for a value that is not finite, fewer than 2 characters, or an empty range.

    >>> sparkline([0, 0.3, 1, 1, 1, 1, 1, 1, 2], ascii=True)
    ': :     @       :'
    """
    import numpy as np

    sample = _finite(values)
    high = max(2.0, sample.max(initial=0.0)) if high is None else high
    if width < 2 or not 0 < high - low < math.inf:
        raise SaoError(f"{width} characters from {low:g} to {high:g}; a histogram needs 2 and a range from low to high")
    bins = _nearest((sample.clip(low, high) - low) / (high - low) * (width - 1))
    counts = np.bincount(bins, minlength=width)
    levels = np.ceil(8 * counts / max(counts.max(), 1)).astype(int)
    return "".join(HEIGHTS[ascii][level] for level in levels)


def bars(values: ArrayLike, rows: int = 12, width: int = 24, *, ascii: bool = False) -> list[str]:
    """The lines of a histogram over the range of the values, ascending: "0.95 - 1.05 | ████████ 134".

    At most `rows` bins as wide as 1, 2 or 5 times a power of 10, each around a multiple of that, so that 0 and 1 are
    not at a border; bars of at most `width` characters, in eighths. Values that differ by less than 1e-4, relatively,
    are one line, and no values are no lines. `ascii` for a stream that can't carry blocks. Raises SaoError for a value
    that is not finite, fewer than 2 rows, or no width.

    >>> print("\\n".join(bars([0, 0.5, 1, 1, 1], width=6, ascii=True)))
    0.00 - 0.05 | ## 1
    0.05 - 0.15 | 0
    0.15 - 0.25 | 0
    0.25 - 0.35 | 0
    0.35 - 0.45 | 0
    0.45 - 0.55 | ## 1
    0.55 - 0.65 | 0
    0.65 - 0.75 | 0
    0.75 - 0.85 | 0
    0.85 - 0.95 | 0
    0.95 - 1.05 | ###### 3
    """
    import numpy as np

    sample = _finite(values)
    if rows < 2 or width < 1:
        raise SaoError(f"{rows} rows of {width} characters; a histogram needs 2 rows and 1 character")
    if not sample.size:
        return []
    bottom, top = float(sample.min()), float(sample.max())
    if top - bottom <= max(ALIKE * max(abs(bottom), abs(top)), 1e-300):
        return [f"{float(sample.mean()):.6g} | {_bar(width, ascii)} {sample.size}"]
    step, decimals = _step(bottom, top, rows)
    bins = _nearest(sample / step)
    first = int(bins.min())
    counts = np.bincount(bins - first).tolist()
    borders = [(first + k - 0.5) * step for k in range(len(counts) + 1)]
    if bottom >= 0:
        borders[0] = max(borders[0], 0.0)
    plain = decimals <= 8 and top < 1e6
    told = [f"{border:.{decimals}f}" if plain else f"{border:.7g}" for border in borders]
    widest = max(map(len, told))
    most = max(counts)
    drawn = [_bar(width * count / most, ascii) for count in counts]
    return [
        f"{told[k]:>{widest}} - {told[k + 1]:>{widest}} | {bar}{' ' if bar else ''}{count}"
        for k, (bar, count) in enumerate(zip(drawn, counts, strict=True))
    ]


def _finite(values: ArrayLike) -> NDArray[np.float64]:
    import numpy as np

    sample = np.asarray(values, dtype=np.float64).ravel()
    if not np.isfinite(sample).all():
        raise SaoError(f"the value {sample[~np.isfinite(sample)][0]}; a histogram needs finite values")
    return sample


def _nearest(places: NDArray[np.float64] | float) -> NDArray[np.int64]:
    """The nearest whole numbers; the nudge keeps together what is equal but for rounding on a border too."""
    import numpy as np

    return np.rint(np.asarray(places) + 1e-6).astype(np.int64)


def _step(bottom: float, top: float, rows: int) -> tuple[float, int]:
    """The least width of bins by which `rows` of them are enough, and the decimals that the borders then need."""
    exponent = math.floor(math.log10((top - bottom) / rows))
    while True:
        for leading, finer in ((1, 1), (2, 0), (5, 1)):  # borders are at half steps: 0.05, 0.1, 0.25
            step = leading * 10.0**exponent
            if _nearest(top / step) - _nearest(bottom / step) < rows:
                return step, max(0, finer - exponent)
        exponent += 1


def _bar(length: float, ascii: bool) -> str:
    """A bar of `length` characters, in eighths, or in whole ones; what is more than nothing shows."""
    if ascii:
        return "#" * math.ceil(length)
    whole, rest = divmod(math.ceil(8 * length), 8)
    return "█" * whole + EIGHTHS[rest].strip()
