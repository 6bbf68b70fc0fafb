"""Text from outside, such as the names of tensors, made harmless and short."""

from __future__ import annotations

import html
from typing import Any

from sao_cli.io.output import shown

NAME = 90  # characters of a name on a page
NOTHING = "–"


def shortened(text: str, width: int, gap: str = "…") -> str:
    """`text` in at most `width` characters: what is too long loses its middle, for names differ at both ends.

    >>> shortened("encoder.layer.11.attention.self.query.weight", 24)
    'encoder.lay…query.weight'
    """
    if len(text) <= width:
        return text
    tail = width // 2
    return f"{text[: max(width - len(gap) - tail, 0)]}{gap}{text[len(text) - tail :]}"


def escaped(text: object) -> str:
    """`text` for the content or a quoted attribute of an element: markup is text, and nothing unprintable is left.

    >>> escaped("<b>\\x1b[2J")
    '&#x27;&lt;b&gt;\\\\x1b[2J&#x27;'
    """
    return html.escape(shown(str(text)))


def name_of(text: str) -> str:
    """The name of a tensor, escaped and short."""
    return html.escape(shortened(shown(text), NAME))


def cell(value: Any) -> str:
    """A fact for people, escaped: four digits, yes or no, sizes as 3 x 4.

    >>> cell(0.123456), cell(True), cell(None), cell([3, 4])
    ('0.1235', 'yes', '–', '3 × 4')
    """
    if value is None:
        return NOTHING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list | tuple):
        return " × ".join(map(cell, value)) or NOTHING
    return f"{value:,}" if isinstance(value, int) else escaped(value)


def counted(count: int, one: str, many: str | None = None) -> str:
    """
    >>> counted(1, "layer"), counted(1200, "layer")
    ('1 layer', '1,200 layers')
    """
    return f"{count:,} {one if count == 1 else many or one + 's'}"
