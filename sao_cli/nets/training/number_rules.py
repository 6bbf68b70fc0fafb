"""How settings that are out of range are refused."""

from typing import Any

from sao_cli.base.errors import SaoError


def require(holds: bool, name: str, value: Any, rule: str) -> None:
    """Raise SaoError, which gives the value and the rule, unless it `holds`."""
    if not holds:
        raise SaoError(f"{name} {value}: it is {rule}")
