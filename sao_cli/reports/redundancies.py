"""Reports on redundancy in the rank of parameters: parallel rows and columns, soft ranks, units to spare."""

from sao_cli.reports.changes import StoredWeight
from sao_cli.reports.report import Report, fact


class NearPair(Report, theory=18):
    """Two rows, or two columns, of a weight that are near to parallel or to opposite; see measure.redundancy.pairs."""

    i: int = fact("number of the first, from 0")
    j: int = fact("number of the second; above i")
    cosine: float = fact("cosine of their angle, with its sign", unit="w_i.w_j / (|w_i| |w_j|)")
    distance: float = fact(
        "how far apart their directions are, at the length of the shorter one, which fusing keeps",
        unit="|w_kept| sqrt(2 (1 - |cos|))",
    )
    ratio: float = fact(
        "times what the kept one is nearest to the one that fusing drops: the longer, of equal ones the second",
        unit="w_dropped.w_kept / |w_kept|^2",
    )


class AxisRedundancy(Report, theory=18):
    """The columns of a weight, or its rows, as vectors."""

    zero: int = fact("those no longer than --floor times the longest: removed rather than fused")
    max_cosine: float | None = fact("largest |cosine| of two others; null where there are not two")
    pairs: tuple[NearPair, ...] = fact("the --pairs nearest to parallel, whatever the thresholds are, nearest first")


class SpareFeatures(Report, theory=18):
    """Units of a layer that the next one can do without; no unit is counted twice."""

    mergeable: int = fact(
        "those that are multiples of others, but for one each, by a factor that the --activation passes on; without "
        "one those that are equal: [w_i, b_i] = r [w_j, b_j]"
    )
    constant: int = fact("those that are the same for every input: rows of zeros")
    unread: int = fact("those for which the next layer has only zeros")


class RankRow(
    StoredWeight[None],
    record="layer",
    table="name m n rank rank_with_bias soft_rank mlis_soft slack columns.zero columns.max_cosine rows.zero "
    "rows.max_cosine fusions parameters_saved error_frobenius features.mergeable features.constant features.unread",
    spare="rank_with_bias features.unread features.constant features.mergeable slack mlis_soft error_frobenius "
    "columns.zero rows.zero m n parameters_saved",
    theory=18,
):
    """The redundancy of one tensor of a checkpoint: a line of `sao rank`; see models.rank for the definitions.

    `None` stands for what is not known or has no meaning, and `reason` says why.
    """

    m: int | None = fact("rows of the matrix that is measured: outputs", default=None)
    n: int | None = fact("its columns: inputs; of a kernel c_in k_1 ... k_D", default=None)
    bias: bool | None = fact("it has a bias b, which [W, b] has as its last column", default=None)
    rank: int | None = fact(
        "singular values that can be told from zero",
        unit="how many s_i > max(m, n) eps s_1, eps of the dtype, float32's of a narrower one",
        default=None,
    )
    rank_with_bias: int | None = fact("the same of [W, b]; the rank where there is no bias", default=None)
    soft_rank: int | None = fact(
        "singular values of [W, b] that are no less than the slack `tau`", unit="how many s_i >= tau", default=None
    )
    mlis_soft: int | None = fact(
        "columns of [W, b] that QR with column pivoting takes until all others are nearer than `tau` to their span: a "
        "soft maximal linearly independent subset",
        default=None,
    )
    tau: float | None = fact("the slack of both", unit="absolute; --tau-relative times s_1 of [W, b]", default=None)
    slack: float | None = fact(
        "how near to dependent the columns of [W, b] are; 0 where there are more than rows",
        unit="least |[W, b] a| of all a with |a| = 1",
        default=None,
    )
    stable_rank: float | None = fact("stable rank of W", unit="sum s_i^2 / s_1^2", default=None)
    columns: AxisRedundancy | None = fact("its columns", default=None)
    rows: AxisRedundancy | None = fact("its rows", default=None)
    fusions: int | None = fact(
        "how often `sao reduce` would make two rows or columns one, at --tau-cos and --tau-euc", default=None
    )
    parameters_saved: int | None = fact(
        "numbers fewer in what is left of W, with zero rows and columns gone too; the scales and places of those that "
        "were fused, of which W has m + n each, are not counted",
        unit="m n - m' n'",
        default=None,
    )
    error_frobenius: float | None = fact("what that changes W by", unit="|W - P W' Q|_F / |W|_F", default=None)
    error_spectral: float | None = fact("the same in the spectral norm", unit="|W - P W' Q|_2 / |W|_2", default=None)
    features: SpareFeatures | None = fact("its units that the next layer can do without", default=None)
    skipped: bool = fact("it is not measured, and `reason` says why", default=False)
    reason: str | None = fact("why something is null", default=None)
    singular_values: object = fact("(min(m, n + 1),) those of [W, b], descending", default=None, repr=False)


class RankSummary(Report, record="summary", theory=18):
    """All weights together, one under several names counted once: the last line of `sao rank`."""

    summary: bool = fact("true: this line closes the report", default=True)
    measured: int = fact("weights that were measured")
    skipped_tensors: int = fact("tensors that were not")
    parameters: int = fact("numbers in the measured ones")
    fusions: int = fact("how often two rows or columns would be made one")
    zero: int = fact("rows and columns that would be removed, being no longer than --floor times the longest")
    parameters_saved: int = fact("numbers fewer in what would be left of them")
    mergeable: int = fact("units that are multiples of others, where the next layer is known")
    constant: int = fact("units that are the same for every input, where the next layer is known")
    unread: int = fact("units that the next layer does not read, where it is known")
