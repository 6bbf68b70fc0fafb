"""Reports on where signals neither die nor explode: the edge of chaos of deep networks."""

from sao_cli.reports.report import Report, fact


class FixedPoint(Report, theory=17):
    """A variance q of pre-activations that a layer keeps: V(q) = q."""

    q: float = fact("variance of pre-activations", unit="q = sigma_b^2 + sigma_w^2 E phi(sqrt(q) z)^2")
    slope: float = fact("V'(q): by what a deviation from it grows in a layer", unit="sigma_w^2 E[phi^2 (z^2-1)]/(2q)")
    curvature: float = fact("V''(q)", unit="sigma_w^2 E[phi^2 (z^4-6z^2+3)]/(4q^2)")
    stability: str = fact(
        "stable (|V'| < 1), unstable, half-stable (V' = 1, V'' not 0: on one side q runs away) or neutral (1 and 0)"
    )
    chi_1: float = fact("by what a small difference of two inputs grows in a layer, squared", unit="sigma_w^2 E phi'^2")
    phase: str = fact("ordered (chi_1 < 1), chaotic (chi_1 > 1) or critical")
    xi_q: float | None = fact(
        "layers in which a deviation of q falls to 1/e; null where it does not", unit="-1/ln |V'(q)|"
    )
    xi_c: float | None = fact(
        "layers in which the correlation of two inputs falls to 1/e of its distance to where it tends; null where "
        "chi_1 = 1, which takes as long as it likes",
        unit="-1/ln C'(c*)",
    )
    correlation: float = fact("c*, to which the correlation of two inputs tends")
    activation_sparsity: float = fact("expected share of hidden units that are exactly 0 there")


class PredictedJacobian(Report, theory=17):
    """The squared singular values of D_L W_L ... D_1 W_1 in the limit of wide layers, all of them at q*."""

    mean: float | None = fact("their mean; null where it leaves the range of float64", unit="chi_1^L")
    variance: float | None = fact(
        "their variance, over the square of their mean; null where phi' is 0 everywhere",
        unit="L (E phi'^4/(E phi'^2)^2 - 1 + spread), spread 1 Gaussian, 1 + 1/d with d ones a row, 0 orthogonal",
    )


class CriticalityThresholds(Report, theory=17):
    """What a verdict holds its numbers against: our choice, but for what is cited."""

    correlation_lengths: float = fact("layers that a signal survives, in units of xi_c (Schoenholz et al. 2017)")
    escape: float = fact("largest share of chains that may leave q*")
    activation_sparsity: float = fact(
        "the largest that arXiv 2402.16184 trains; past it there is no theory, but a risk"
    )
    margin: float = fact("|V' - 1| and |chi_1 - 1| that count as none")


class Criticality(
    Report,
    record="depth",
    table="depth activation activation_sparsity q_star sigma_w sigma_b chi_1 slope xi_q xi_c escape jacobian.variance "
    "verdict trainable_depth",
    spare="xi_q xi_c trainable_depth q_star chi_1 jacobian.variance activation_sparsity slope sigma_b sigma_w",
    theory=17,
):
    """Whether signals pass through a network of that depth as it begins: a line of `sao criticality`.

    See measure.criticality for the definitions.
    """

    activation: str = fact("activation phi after every layer but the last")
    activation_sparsity: float = fact(
        "expected share of hidden units that are exactly 0", unit="P(phi(sqrt(q*) z) = 0)"
    )
    tau: float | None = fact("threshold of phi; null of those without")
    clip: float | None = fact("how far phi rises from its threshold; null of those without")
    q_star: float = fact("variance of pre-activations at the fixed point that is examined", unit="V(q*) = q*")
    sigma_w: float = fact("standard deviation of weights times sqrt(fan-in)", unit="(E phi'^2)^(-1/2) at the edge")
    sigma_b: float = fact("standard deviation of biases", unit="(q* - sigma_w^2 E phi^2)^(1/2) at the edge")
    chi_1: float = fact("by what a small difference of two inputs grows in a layer, squared", unit="sigma_w^2 E phi'^2")
    slope: float = fact("V'(q*): by what a deviation of q grows in a layer")
    curvature: float = fact("V''(q*)")
    fixed_points: tuple[FixedPoint, ...] = fact("all fixed points, ascending")
    xi_q: float | None = fact("layers in which a deviation of q falls to 1/e; null where it does not")
    xi_c: float | None = fact("layers in which a correlation falls to 1/e of its distance to c*; null where infinite")
    correlation_law: str = fact(
        "how 1 - c_l falls: exponential, algebraic (kappa/l^power) or constant (of a linear phi)"
    )
    correlation_power: int | None = fact("2 of a phi with kinks, 1 of a smooth one; null where not algebraic")
    kappa: float | None = fact(
        "factor of the algebraic law; null where there is none",
        unit="9 pi/(sigma_w^2 sum Delta_i^2 p(theta_i/sqrt q))^2 with kinks, 2/(sigma_w^2 q E phi''^2) without",
    )
    depth: int = fact("weight matrices, the last among them")
    ensemble: str = fact("law of the weights: gaussian or orthogonal")
    d: int | None = fact("ones in a row of the mask; null of dense layers")
    width: int | None = fact("units of a layer; null where networks of finite width were not asked for")
    chains: int | None = fact("networks of that width whose q is followed; null without a width")
    q_std: float | None = fact(
        "standard deviation of q at the last layer, V taken as straight about q*; null without a width",
        unit="sigma_w^2 (Var(phi^2)/N sum_{l<L-1} V'^(2l))^(1/2)",
    )
    escape_level: float | None = fact("q that a chain passes when it has left q*; null without a width")
    escape: float | None = fact("share of chains that pass it up to that depth; null without a width")
    escape_stderr: float | None = fact("its standard error", unit="(p (1-p)/chains)^(1/2)")
    jacobian: PredictedJacobian = fact("squared singular values of the Jacobian up to that depth")
    verdict: str = fact(
        "trainable, or the worst reason why not: unstable, half-stable, several-fixed-points, chaotic, ordered, "
        "too-sparse"
    )
    reasons: tuple[str, ...] = fact("why it is not trainable, each with its numbers, the worst first")
    trainable: bool = fact("nothing was found that stands against it")
    trainable_depth: int | None = fact(
        "least of 6 xi_c and the depth at which escape passes its threshold; null where neither is a limit up to depth"
    )
    thresholds: CriticalityThresholds = fact("what the verdict holds its numbers against")
