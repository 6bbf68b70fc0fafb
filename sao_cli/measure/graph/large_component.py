"""The second singular value of one component that is too large for a dense SVD, with a two-sided verdict."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from sao_cli.base.memory import available_memory
from sao_cli.base.rng import generator
from sao_cli.base.threads import one_thread
from sao_cli.data.mask import Mask
from sao_cli.measure.graph.certificates import (
    cholesky_below,
    cholesky_slack,
    gram_matrix,
    missing,
    overlap,
    upper_bound,
)
from sao_cli.measure.graph.edge import EPSILON, FAILS, HOLDS, UNDECIDED, Question, root
from sao_cli.measure.krylov.grid_lanczos import GridGram, GridLanczos
from sao_cli.measure.krylov.lanczos import Gram, Pace, Ritz, iterate, perron_pair, random_direction, ritz_vector

CHOLESKY_SIDE = 4096  # shorter side up to which a dense factorisation is affordable: about a second
TOLERANCE = 1e-8  # relative, of lambda_2^2, at which a Lanczos process may stop; our choice


class LargeComponent:
    """One component: Lanczos from below, and from above a Cholesky factorisation or the Lanczos polynomial.

    After `run`, `verdict` is HOLDS, FAILS or UNDECIDED, `route` says how it was found, and `failure_probability`
    bounds the chance that this is wrong. `number` names the component's stream of random numbers.
    """

    def __init__(self, mask: Mask, question: Question, number: int, failure_probability: float) -> None:
        self._question = question
        self._allowed = failure_probability
        self.failure_probability = 0.0
        self.route = "lanczos"
        self.verdict = UNDECIDED
        self.certain = False  # whether the errors are bounds
        self._gram = gram = GridGram(mask)
        self._residual = 0.0  # of the trivial pair
        if question.degrees is not None:
            self._top = float(math.prod(question.degrees))
            gram.uniform = True
        else:
            with one_thread():
                self._top, gram.direction, self._residual = perron_pair(Gram(mask), question.progress)
        self._delta = overlap(gram.dimension, failure_probability)
        self._number = number
        self._process, self._pace = self._start(), Pace()
        self._value, self._error, self._below = 0.0, 0.0, 0.0  # of lambda_2^2, and its error upwards and downwards

    def run(self) -> None:
        with one_thread():  # of vectors: the factorisation below may take all
            least = self._gram.roundoff(self._top, 1.0)
            ritz, used_up = iterate(
                self._process, self._enough, least, self._question.progress, "lambda_2", self._pace.due
            )
        self._judge(ritz)
        self._value, self._error = ritz.value, self._remaining(ritz)
        self._below = self._uncertainty(ritz.value)
        finished = used_up or self._is_accurate(ritz) or self._question.verdict_only
        if not finished:
            self._error = self._upper_bound() - ritz.value
        if self.verdict == FAILS:
            self.route = "ritz value above the bound"
        elif not self._factorise(ritz) and (self.verdict == HOLDS or not finished):
            self.route = f"lanczos, upper bound fails with probability {self._allowed:g}"
            self.failure_probability = self._allowed
        if not finished:
            self.route += f" (stopped after {self._process.steps} steps)"

    @property
    def first(self) -> tuple[float, float]:
        """lambda_1 and its error."""
        summing = 0.0 if self._question.degrees is not None else self._gram.summing
        return root(self._top, self._trivial_error(self._value + self._error, summing) + summing)

    @property
    def second(self) -> tuple[float, float]:
        """lambda_2 and its error."""
        return root(self._value, max(self._error, self._below) if self.certain else self._error + self._below)

    def _start(self) -> GridLanczos:
        """The process before its first step, always the same.

        Its stream is one that no mask is drawn from: the bound holds for a start that is independent of the mask.
        """
        return GridLanczos(self._gram, random_direction(self._gram, generator(self._question.seed, 0, self._number)))

    def _enough(self, ritz: Ritz) -> bool:
        self._judge(ritz)
        bound_squared = self._question.bound_squared
        if self.verdict == UNDECIDED and bound_squared is not None:
            # converged, and not farther from the bound than rounding: no more steps would tell
            near = abs(bound_squared - ritz.value) <= 2 * self._uncertainty(ritz.value)
            return near and ritz.error <= self._rounding
        return self._question.verdict_only or self._is_accurate(ritz)

    def _judge(self, ritz: Ritz) -> None:
        bound_squared = self._question.bound_squared
        if bound_squared is None or self.verdict != UNDECIDED:
            return
        if ritz.value - self._uncertainty(ritz.value) > bound_squared:
            self.verdict = FAILS
            return
        left = missing(bound_squared - self._rounding, *self._recurrence(bound_squared))
        self._pace.look(self._process.steps, left)
        if left <= 0:
            self.verdict = HOLDS

    def _is_accurate(self, ritz: Ritz) -> bool:
        left, allowed = self._remaining(ritz), max(TOLERANCE * ritz.value, self._rounding)
        if left > allowed > 0:
            self._pace.look(self._process.steps, math.log(left / allowed))
        return left <= allowed

    def _remaining(self, ritz: Ritz) -> float:
        """How much greater lambda_2^2 can be: by the residual, and because it stays below lambda_1^2."""
        return min(ritz.error, max(self._top + self._residual - ritz.value, 0.0))

    def _upper_bound(self) -> float:
        high = self._top + self._residual
        return upper_bound(self._value, high, *self._recurrence(high))

    def _recurrence(self, eigenvalue: float) -> tuple[list[float], list[float], float, float]:
        """What `missing` takes, with the roundoff for one that is no greater than `eigenvalue`, or that large."""
        process = self._process
        return process.alphas, process.betas, self._delta, self._roundoff(eigenvalue)

    def _roundoff(self, eigenvalue: float) -> float:
        """Of one step, along the vector of this eigenvalue; |A q_k| is at most alpha_k + beta_k + beta_{k-1}."""
        alphas, betas = np.array(self._process.alphas), np.array(self._process.betas)
        images = alphas + betas + np.append(0.0, betas[:-1])
        return self._gram.roundoff(max(eigenvalue, float(images.max())), self._process.peak)

    def _uncertainty(self, value: float) -> float:
        """By how much lambda_2^2 can lie below a Ritz value."""
        return self._trivial_error(value) + self._rounding

    @property
    def _rounding(self) -> float:
        """What rounding can do to a Ritz value: T_k's eigenvalues stay within a few steps' worth (Paige 1980)."""
        return 4 * math.sqrt(self._process.steps + 1) * self._roundoff(0.0)

    def _trivial_error(self, value: float, summing: float = 0.0) -> float:
        """What an inexact trivial vector changes: the residual, or its square over the gap where that is less.

        `summing` bounds what the residual itself is off.
        """
        residual, gap = self._residual + summing, self._top - summing - value
        return min(residual, residual**2 / gap) if gap > 0 else residual

    def _factorise(self, ritz: Ritz) -> bool:
        """Whether a Cholesky factorisation certifies the verdict, for certain; tried where it is affordable."""
        bound_squared, size = self._question.bound_squared, self._gram.size
        if bound_squared is None or size > CHOLESKY_SIDE or available_memory() < 24 * size**2:
            return False
        self._question.progress("cholesky", 0, None)
        entries = gram_matrix(self._gram)
        slack = self._error + self._rounding + cholesky_slack(size, self._top, bound_squared)
        near = self._value + 2 * slack
        # just above the Ritz value, so that one factorisation gives the verdict and a certain error
        tight = near < bound_squared and not self._question.verdict_only
        if tight and cholesky_below(self._gram, self._top, near, entries):
            self._error = near - self._value
            self._below = max(self._value - self._from_below(ritz, entries), 0.0)
            self.certain = True
        elif not cholesky_below(self._gram, self._top, bound_squared * (1 - 4 * EPSILON), entries):
            return False
        self.verdict, self.route = HOLDS, "cholesky"
        return True

    def _from_below(self, ritz: Ritz, entries: NDArray[np.float64]) -> float:
        """A lower bound on lambda_2^2: the lesser of the two Ritz values of the trivial and the Ritz vector's span.

        By Cauchy's interlacing it is one whatever the two vectors are; what rounding does to so small a problem is at
        most that of sums of N numbers of one sign, taken four times.
        """
        from scipy.linalg import eigh

        size = self._gram.size
        trivial = np.full(size, 1 / math.sqrt(size)) if self._gram.direction is None else self._gram.direction
        basis = np.stack((trivial, ritz_vector(self._start(), ritz.vector)), axis=1)
        values = eigh(basis.T @ (entries @ basis), basis.T @ basis, eigvals_only=True)
        return float(values[0]) - 4 * EPSILON * size * self._gram.row_sum
