"""Reports on checkpoints that were made smaller: by fusing parallel vectors, and by leaving out needless units."""

from sao_cli.reports.changes import ChosenWeight
from sao_cli.reports.report import Report, fact


class ReducedWeight(
    ChosenWeight,
    record="layer",
    table="name shape new_shape fusions zero merged constant unread error_frobenius error_spectral parameters_saved",
    spare="error_spectral zero unread constant merged shape",
    theory=18,
):
    """What a reduction left of a weight: a line of `sao reduce`, and a row of `reduce_checkpoint`."""

    new_shape: tuple[int, ...] = fact(
        "shape, as it is stored now: that of W' where it is kept as W = P W' Q; with --dense that of the product"
    )
    fusions: int = fact("how often two of its rows or columns were made one")
    zero: int = fact("rows and columns that were removed as zero: no longer than --floor times the longest")
    merged: int = fact("units of the layer that are gone, being multiples of another one")
    constant: int = fact("units that are gone, being the same for every input: the next bias has what they were")
    unread: int = fact("units that are gone, as the next layer has only zeros for them")
    error_frobenius: float = fact("what fusing and removing changed W by", unit="|W - P W' Q|_F / |W|_F")
    error_spectral: float = fact("the same in the spectral norm", unit="|W - P W' Q|_2 / |W|_2")
    parameters_saved: int = fact(
        "numbers fewer in the weight and its bias; the scales and places of P and Q, of which a fused weight of m x n "
        "has m + n each, are not counted",
        unit="m n - m' n', and the bias",
    )
    reason: str | None = fact("why no units of it were looked at; null where they were, or none were to be")


class ReduceSummary(Report, record="summary", theory=18):
    """All weights together: the last line of `sao reduce`."""

    summary: bool = fact("true: this line closes the report", default=True)
    reduced: int = fact("weights that are smaller, or of a lower rank")
    skipped_tensors: int = fact("weights that were asked for and are as they were")
    parameters: int = fact("numbers in all tensors of the checkpoint that are no masks and no whole numbers, each once")
    new_parameters: int = fact("the same of what was written, without P and Q", unit="parameters - parameters_saved")
    fusions: int = fact("how often two rows or columns were made one")
    zero: int = fact("rows and columns that were removed as zero")
    merged: int = fact("units that are gone, being multiples of another one")
    constant: int = fact("units that are gone, being the same for every input")
    unread: int = fact("units that are gone, being read by nothing")
    output_error_max: float | None = fact(
        "largest change of any of the network's outputs; null without an --activation or --module",
        unit="max |y' - y| / rms y",
    )
    output_error_rms: float | None = fact("root mean square change of them", unit="rms (y' - y) / rms y")
    samples: int | None = fact("inputs for which these were taken")
    order: str | None = fact(
        'how it is known which layer reads which: "numbered names", "as named", or "as run" of a --module'
    )
    assumed: str | None = fact("what a file alone does not tell of its network, and is taken for granted")
    reason: str | None = fact("why something is null")
