"""Reports on how much each weight matters before training."""

from sao_cli.reports.report import Report, fact


class PooledJacobian(Report, theory=16):
    """The singular values of d outputs / d inputs at all samples together, in evaluation mode."""

    mean: float = fact("mean of the singular values")
    std: float = fact("their standard deviation", unit="of the population")
    condition_pooled: float | None = fact(
        "the largest of all over the least; null where that can't be told from zero", unit="s_max / s_min"
    )


class SensitivityLayer(
    Report,
    record="layer",
    table="name shape parameters score_share score_signed score_max zero_scores nan_scores",
    spare="nan_scores zero_scores shape parameters score_signed",
    theory=16,
):
    """The scores of one weight: a line of `sao sensitivity`."""

    name: str = fact("name of the tensor")
    shape: tuple[int, ...] = fact("its shape")
    parameters: int = fact("its numbers")
    method: str = fact("method that scored it")
    score_share: float | None = fact("its share of the sum of the absolute scores of all layers", unit="sum |s| / all")
    score_signed: float | None = fact(
        "sum of its scores before absolute values were taken: of relu networks without biases the same for all layers; "
        "null of methods without a derivative, and of those in rounds"
    )
    score_max: float | None = fact("its largest score; the largest of all are kept")
    zero_scores: int = fact("its scores that are 0")
    nan_scores: int = fact("its scores that are no finite number, by which nothing can be chosen")


class SensitivitySummary(Report, record="summary", theory=16):
    """All scored weights together: the last line of `sao sensitivity`."""

    summary: bool = fact("true: this line closes the report", default=True)
    parameters: int = fact("numbers of all scored weights")
    samples: int | None = fact("samples that were read; null of methods that read none")
    labels: str | None = fact("whose labels: true, uniform, prediction, argmax or random; null where there are none")
    loss: float | None = fact("mean cross-entropy of the samples; null of methods that have none")
    sum_abs: float | None = fact("sum of the absolute scores of all layers", unit="sum |s|")
    rounds: int | None = fact("rounds in which weights were dropped; null of methods that score once")
    temperature: float | None = fact("what the logits were divided by; null of methods without a loss")
    training_mode: bool = fact("batch norms used the statistics of the samples")
    jacobian: PooledJacobian | None = fact("the network's Jacobian at the samples; null where there are none")
    reason: str | None = fact("why something is null")
