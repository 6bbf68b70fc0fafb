"""What `sao prune --plot` draws: gathered while weights are pruned, so that a pipe has pictures too."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import click

from sao_cli.base.errors import SaoError
from sao_cli.catalog import SCORES
from sao_cli.io.output import shown

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from sao_cli.cli.shared.picture_options import PictureFile
    from sao_cli.io.checkpoints import Checkpoint
    from sao_cli.models.score_pruning import Scored
    from sao_cli.models.stored_scores import StoredScores
    from sao_cli.plots import MaskImage
    from sao_cli.reports.changes import Changes

Image = int | tuple[int, ...] | None
OF_INPUTS = ("inputs", "classes")


def require_drawable(
    picture: str, image: Image, plot: PictureFile | None, method: str, scores_file: str | None
) -> None:
    """Raise UsageError for a picture that the method does not give, and for an --image that nothing draws."""
    if image is not None and (plot is None or picture not in OF_INPUTS):
        raise click.UsageError("--image is of the picture of the first layer's inputs: --plot FILE --picture inputs")
    if plot is not None and picture == "scores" and scores_file is None and method not in SCORES:
        known = ", ".join(SCORES)
        raise click.UsageError(f"--picture scores: {method} gives no scores to draw; {known} and --scores FILE do")


def require_classes(
    picture: str, plot: PictureFile | None, method: str, scores_file: str | None, asked: Mapping[str, Any]
) -> None:
    """Raise UsageError for a picture of classes without scores of samples, or beside options that choose otherwise."""
    if plot is None or picture != "classes":
        return
    if scores_file is not None or method not in SCORES or not SCORES[method].data:
        known = ", ".join(name for name, row in SCORES.items() if row.data)
        told = "scores of a file tell" if scores_file is not None else f"{method} tells"
        raise click.UsageError(f"--picture classes: {told} of no samples and their classes; {known} do")
    others = ("control", "effective", "include", "exclude")
    if asked["skip_ends"] or any(asked[name] for name in others):
        raise click.UsageError(
            "--picture classes is of masks that scores of all layers choose; leave out --skip-ends, "
            + ", ".join(f"--{name}" for name in others)
        )


def class_scores(
    score: Callable[..., StoredScores], scoring: Mapping[str, Any], seed: int
) -> Iterator[tuple[int, StoredScores]]:
    """Each class, and what `score` finds of its samples alone. Raises SaoError for more than a picture has panels."""
    import numpy as np

    from sao_cli.io.datasets.samples import load_samples
    from sao_cli.plots import MAX_PANELS

    samples = load_samples(scoring["data"], scoring["data_folder"], scoring["samples"], seed=seed)
    labels = np.unique(samples.y).tolist()
    if len(labels) >= MAX_PANELS:
        raise SaoError(
            f"--picture classes has room for {MAX_PANELS - 1} classes, and {shown(samples.name)} has {len(labels)}"
        )
    for label in labels:
        yield label, score(label=label)


class PrunePicture:
    """One picture of one pruning: `watch` is for prune_checkpoint, and `save` writes it when that is done.

    Raises SaoError, before anything is pruned, for inputs that are no image, and for scores that can't be drawn.
    """

    def __init__(
        self,
        file: PictureFile,
        picture: str,
        image: Image,
        checkpoint: Checkpoint,
        asked: Mapping[str, Any],
        classes: Iterable[tuple[int, StoredScores]],
    ) -> None:
        self.file, self.picture, self.image, self.checkpoint = file, picture, image, checkpoint
        self._scores: Figure | None = None
        self._masks: dict[str, MaskImage] = {}
        self._count = 0
        self._inputs: NDArray[Any] | None = None
        if picture == "scores":
            self._scores = _score_figure(asked["scores"])
        elif picture in OF_INPUTS:
            self._find_first(asked)
        self._of_classes = {label: self._first_mask(found, asked["sparsity"]) for label, found in classes}

    def watch(self, name: str, left: NDArray[Any]) -> None:
        """Keep what the picture shows of a weight."""
        from sao_cli.plots import MAX_PANELS, MaskImage

        if self.picture == "masks" and left.size:
            self._count += 1
            if len(self._masks) < MAX_PANELS:
                self._masks[name] = MaskImage.of(left)
        elif self.picture in OF_INPUTS and name in self._names:
            self._inputs = left if left.shape[1] == self._width else left.T  # a tied one may lie across

    def save(self, changes: Changes[Any, Any]) -> None:
        """Write the picture."""
        self.file.save(self._figure(changes))

    def _figure(self, changes: Changes[Any, Any]) -> Figure:
        from sao_cli.plots import class_image_figure, input_image_figure, layer_sparsity_figure, mask_image_figure

        if self._scores is not None:
            return self._scores
        if self.picture == "layers":
            return layer_sparsity_figure(changes.changed)
        if self.picture == "masks":
            return mask_image_figure(self._masks, self._count)
        if self._inputs is None:  # it stays as it is
            self._inputs = self._turned(self.checkpoint.read(self._first))
        if self.picture == "classes":
            of_classes = {f"class {label}": mask for label, mask in self._of_classes.items()}
            return class_image_figure({"all": self._inputs, **of_classes}, self.image)
        return input_image_figure(self._inputs, self.image, self._first.name)

    def _find_first(self, asked: Mapping[str, Any]) -> None:
        """The network's first layer, whose inputs must be an image."""
        from sao_cli.models.select import Selection
        from sao_cli.plots import image_sides

        patterns = (asked[name] for name in ("include", "exclude", "groups", "transpose"))
        structure = Selection.of(*patterns).structure(self.checkpoint)
        if not structure.order.names:
            raise SaoError(f"{self.checkpoint.name}: there is no matrix whose inputs --picture inputs could show")
        self._first = next(one for one in structure.entries if one.name == structure.order.names[0])
        self._names = {self._first.name, *structure.tied_with(self._first)}
        layout = structure.layout(self._first)
        self._turned = layout.outputs_first
        _, self._width, *taps = layout.shape(self._first.shape)
        if taps:
            raise SaoError(
                f"{shown(self._first.name)}, the first layer, is of kernels, whose inputs are channels and no pixels; "
                "--picture masks shows them"
            )
        image_sides(self._width, self.image)

    def _first_mask(self, found: StoredScores, sparsity: float) -> NDArray[Any]:
        """What these scores keep of the first layer, outputs first."""
        from sao_cli.pruning.selection import select

        facts = found.facts
        sizes = {name: math.prod(facts.shapes[name]) // one.size for name, one in found.scores.items()}
        masks = facts.masks or select(found.scores, sparsity, sizes).masks
        if not self._names & masks.keys():
            raise SaoError(
                f"{shown(self._first.name)}, the first layer, has no scores; --picture masks shows the others"
            )
        return self._turned(next(mask for name, mask in masks.items() if name in self._names))


def _score_figure(scores: Scored) -> Figure:
    import numpy as np

    from sao_cli.plots import score_histogram_figure

    named = scores if isinstance(scores, Mapping) else scores.scores
    return score_histogram_figure({name: np.asarray(one, dtype=np.float64) for name, one in named.items()})
