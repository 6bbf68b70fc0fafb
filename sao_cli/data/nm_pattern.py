"""N:M sparsity: of each M consecutive inputs of a row at most N are kept, as sparse tensor cores of GPUs read 2:4."""

from __future__ import annotations

import re
from typing import NamedTuple

from sao_cli.base.errors import InfeasibleError, SaoError

LARGEST = 2**31  # of M; a row has no more inputs


class NMPattern(NamedTuple):
    """At most `kept` of each group of `of` consecutive inputs of a row; written "2:4".

    >>> NMPattern.parse("2:4").sparsity, str(NMPattern(1, 2))
    (0.5, '1:2')
    """

    kept: int
    of: int

    @classmethod
    def parse(cls, text: str) -> NMPattern:
        """The pattern that "N:M" names. Raises SaoError for other text, and unless 1 <= N < M."""
        found = re.fullmatch(r"(\d{1,10}):(\d{1,10})", str(text), re.ASCII)
        if found is None or not 1 <= int(found[1]) < int(found[2]) < LARGEST:
            raise SaoError(f"{text!r} is no N:M pattern: N of each M inputs are kept, 1 <= N < M, as in 2:4")
        return cls(int(found[1]), int(found[2]))

    @property
    def sparsity(self) -> float:
        """The share of zeros where all groups keep as many as they may."""
        return 1 - self.kept / self.of

    def degree(self, n: int) -> int:
        """The ones of a row of n inputs. Raises InfeasibleError unless M divides n."""
        if (reason := self.why_not(n)) is not None:
            raise InfeasibleError(f"no {self} mask: {reason}")
        return n // self.of * self.kept

    def why_not(self, n: int) -> str | None:
        """Why rows of n inputs can't have it: M does not divide n; None where they can."""
        return f"{self.of} does not divide its {n} inputs" if n % self.of else None

    def __str__(self) -> str:
        return f"{self.kept}:{self.of}"
