"""Provenance (where a matrix came from) as the one-line JSON that streams and files carry."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


def provenance_json(provenance: Mapping[str, Any]) -> str:
    """`provenance` as strict JSON in one line of ASCII, keys in their order; NaN and infinities become null."""
    try:
        return json.dumps(dict(provenance), allow_nan=False)
    except (TypeError, ValueError):  # numpy's numbers, NaN; imported only now, since the reports' classes take 3 ms
        from sao_cli.results import plain

        return json.dumps(plain(dict(provenance)), allow_nan=False)


def parsed_provenance(text: str | bytes) -> dict[str, Any] | None:
    """The provenance that `text` holds, unknown keys included, or None where it is no JSON object."""
    try:
        found = json.loads(text)
    except (TypeError, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
