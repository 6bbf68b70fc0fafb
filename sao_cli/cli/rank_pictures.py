"""What `sao rank --plot` draws: gathered while weights are measured, so that a pipe has pictures too."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from sao_cli.base.progress import Progress
    from sao_cli.cli.shared.picture_options import PictureFile
    from sao_cli.reports.redundancies import RankRow


class RankPicture:
    """One picture of one report: `watch` is for rank_checkpoint, and `save` writes it when that is done."""

    def __init__(
        self, file: PictureFile, picture: str, thresholds: dict[str, float], seed: int, progress: Progress
    ) -> None:
        self.file, self.picture, self.thresholds, self.seed, self.progress = file, picture, thresholds, seed, progress
        self._rows: list[RankRow] = []
        self._found: list[Any] = []

    def watch(self, row: RankRow, matrix: NDArray[Any]) -> None:
        """Keep what the picture shows of a weight; of the first layers alone, as many as it has room for."""
        from sao_cli.plots import MAX_PANELS

        self._rows.append(row)
        if len(self._found) < MAX_PANELS:
            self._found.append(_OF[self.picture](self, matrix))

    def save(self) -> None:
        """Write the picture."""
        self.file.save(self._figure())

    def _figure(self) -> Figure:
        from sao_cli.plots import cosine_figure, fusing_figure, singular_value_figure

        tau_cos, tau_euc = self.thresholds["tau_cos"], self.thresholds["tau_euc"]
        if self.picture == "cosines":
            return cosine_figure(self._rows, self._found, tau_cos)
        if self.picture == "errors":
            return fusing_figure(self._rows, self._found, tau_cos, tau_euc)
        return singular_value_figure(self._rows)

    def _cosines(self, matrix: NDArray[Any]) -> Any:
        from sao_cli.measure.redundancy.cosines import cosine_histogram

        told: dict[str, Any] = {"floor": self.thresholds["floor"], "seed": self.seed}
        return cosine_histogram(matrix.T, **told), cosine_histogram(matrix, **told)

    def _errors(self, matrix: NDArray[Any]) -> Any:
        from sao_cli.measure.redundancy.fusing_curve import fusing_curve

        limits: dict[str, Any] = {name: self.thresholds[name] for name in ("tau_euc", "floor")}
        return fusing_curve(matrix, **limits, progress=self.progress)

    def _values(self, matrix: NDArray[Any]) -> None:
        """Nothing: the row has them."""


_OF = {"cosines": RankPicture._cosines, "errors": RankPicture._errors, "values": RankPicture._values}
