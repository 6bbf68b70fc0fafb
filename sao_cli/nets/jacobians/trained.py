"""The Jacobian of a network that `sao train` made, by the folder of its run."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sao_cli.base.errors import FileError, FormatError, SaoError
from sao_cli.base.progress import Progress, silent
from sao_cli.catalog import ARCHITECTURES, DATA
from sao_cli.data.arrays import Values
from sao_cli.data.matrix import Matrix
from sao_cli.io.formats.safetensors_files import SafetensorsFile
from sao_cli.io.output import shown
from sao_cli.masks.architectures import LIP_IMAGE
from sao_cli.models.opened import opened
from sao_cli.nets.jacobians.chain import network_jacobian
from sao_cli.nets.jacobians.points import drawn_inputs, fitted_inputs, sample_inputs
from sao_cli.nets.training.folder import FINAL, RunFolder
from sao_cli.nets.training.settings import TrainingSettings
from sao_cli.reports.networks import DepthJacobian

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class TrainedRun:
    """A finished run of `sao train`: its network's file, its settings, and the version that trained it.

    >>> TrainedRun.of("no-folder")
    Traceback (most recent call last):
    sao_cli.base.errors.FileError: no-folder holds no run: it has no settings.json
    """

    path: Path
    settings: TrainingSettings
    version: str

    @classmethod
    def of(cls, folder: str | os.PathLike[str]) -> TrainedRun:
        """The run in `folder`. Raises FileError and FormatError where there is none, or one that is not finished."""
        run = RunFolder(os.fsdecode(folder))
        settings, _ = run.settings()
        path = run.path / FINAL
        if not path.exists():
            way_out = f"`sao train --resume -o {run.path}` goes on with it"
            raise FileError(f"{shown(run.path)} is a run that is not finished, without {FINAL}; {way_out}")
        return cls(path, settings, SafetensorsFile(path).metadata.get("sao", ""))

    @property
    def provenance(self) -> dict[str, Any]:
        """Where a row of it comes from."""
        names = (
            *("data", "arch", "method", "depth", "width", "widths", "d", "sparsity"),
            *("activation", "tau", "clip", "gain", "sigma_b", "seed"),
        )
        told = {name: getattr(self.settings, name) for name in names}
        return {"version": self.version, "command": "train"} | {
            key: one for key, one in told.items() if one is not None
        }

    def require_activation(self, activation: str) -> None:
        """Raise SaoError for another activation than the run's."""
        has = str(self.settings.function or "max-min")
        if activation != has:
            raise SaoError(f"activation {activation!r}: the run's network has {has!r}; leave it out")

    def jacobian(
        self,
        depths: Sequence[int] | None = None,
        *,
        inputs: int = 1,
        input_std: float = 1.0,
        x: Values | None = None,
        by_layer: bool = False,
        device: str = "auto",
        dtype: str = "float64",
        seed: int = 0,
        progress: Progress = silent,
    ) -> Iterator[DepthJacobian]:
        """The singular values of the trained network's Jacobian; a row a depth.

        A network of matrices alone is a chain of its trained weights and biases, with the run's activation after each
        but the last, and as exact as network_jacobian at any depth; `depths` are of its layers, all of them where it is
        None, and then J is d outputs / d x, before the softmax. A network of images is rebuilt, and J, of all its
        layers, is d outputs / d image (jacobian_spectrum). The gain of the settings is in the weights, and only told.

        The inputs are `inputs` draws of x ~ N(0, input_std^2 I), or `x`, (B, n) or (B, channels, side, side). Raises
        SaoError for depths and `by_layer` of a network of images, FormatError where the file is not of such a network,
        and what network_jacobian and jacobian_spectrum raise.
        """
        asked: dict[str, Any] = {"inputs": inputs, "input_std": input_std, "x": x, "device": device, "dtype": dtype}
        asked |= {"seed": seed, "progress": progress}
        if not self.reads_images:
            return self._chain(depths, by_layer=by_layer, **asked)
        if depths or by_layer:
            what = f"depth {depths[0]}" if depths else "by layer"
            raise SaoError(
                f"{what}: the run's {self.settings.arch} is no chain of matrices, and J is of all its layers"
            )
        return self._of_images(**asked)

    @property
    def reads_images(self) -> bool:
        """Whether its inputs are images, and no vectors."""
        return bool(ARCHITECTURES[self.settings.arch].image)

    def samples(self, data: str, folder: str | None = None, inputs: int = 1, *, progress: Progress = silent) -> Values:
        """(inputs, ...) of `data`, for `x`: the first test images as the network was trained to read them.

        FILE.npz is used as it is. Raises what load_data and fitted_inputs raise.
        """
        shape = _image_shape(self.settings) if self.reads_images else (self.layers()[0][0].mask.n,)
        if data not in DATA:
            return sample_inputs(data, folder, inputs, shape, progress=progress)
        from sao_cli.nets.training.data import input_moments, load_data

        images = load_data(replace(self.settings, data=data), folder, progress=progress)
        mean, spread = input_moments(images, self.settings)
        return fitted_inputs((images.test_images[: max(inputs, 1)] - mean) / spread, inputs, shape, data)

    def _chain(self, depths: Sequence[int] | None, **asked: Any) -> Iterator[DepthJacobian]:
        function = self.settings.function
        assert function is not None
        stack, biases = self.layers()
        depths = depths or (None if asked["by_layer"] else [len(stack)])
        told: dict[str, Any] = {"biases": biases, "linear_output": True, "depths": depths}
        return network_jacobian(stack, function, **told, **asked)

    def layers(self) -> tuple[list[Matrix], list[Values]]:
        """The weights and the biases of a network of matrices alone, first layer first."""
        with opened(self.path) as checkpoint:
            entries = {entry.name: entry for entry in checkpoint.entries}
            names = [f"net.{2 * number}" for number in range(len(entries) // 2)]  # an activation follows each
            if set(entries) != {f"{name}.{part}" for name in names for part in ("weight", "bias")}:
                raise self._strange()
            weights = [self._told(Matrix.from_dense(checkpoint.read(entries[f"{name}.weight"]))) for name in names]
            biases = [checkpoint.file.read(f"{name}.bias") for name in names]
        return weights, [np.asarray(bias, dtype=np.float64) for bias in biases]

    def _strange(self) -> FormatError:
        return FormatError(f"{shown(self.path)} has not the tensors of a trained {self.settings.arch}")

    def _told(self, weight: Matrix) -> Matrix:
        return replace(weight, mask=replace(weight.mask, provenance=self.provenance))

    def _of_images(
        self, x: Values | None, inputs: int, input_std: float, seed: int, **asked: Any
    ) -> Iterator[DepthJacobian]:
        from sao_cli.nets.devices import computed_dtype
        from sao_cli.nets.jacobians.images import at_images

        model, shape = self.network()
        model.to(computed_dtype(asked["dtype"]))  # the trained numbers are the network, whatever they are kept in
        settings, x = self.settings, drawn_inputs(inputs, shape, input_std, seed) if x is None else x
        told = {
            "depth": settings.sizes[0],
            "method": settings.method,
            "activation": settings.activation or "max-min",
            "gain": float(settings.gain or 1.0),
        }
        yield at_images(model, x, told, seed=seed, **asked)

    def network(self) -> tuple[nn.Module, tuple[int, int, int]]:
        """The trained network of images in eval mode, and the shape of an image."""
        from sao_cli.nets.tracing.loading import load_checkpoint_
        from sao_cli.nets.training.methods import build_model

        with opened(self.path) as checkpoint:
            shape, settings = _image_shape(self.settings), self.settings
            if not ARCHITECTURES[settings.arch].fixed:  # its trained kernels are kept dense
                settings = replace(settings, method="dense", d=None, sparsity=None, layers="masked")
            sizes = [tensor.shape[0] for name, tensor in checkpoint.file.stored.items() if name.endswith(".bias")]
            if not sizes:
                raise self._strange()
            model = build_model(settings, *shape[:2], classes=sizes[-1])
            load_checkpoint_(model, checkpoint)
        return model.eval(), shape


def _image_shape(settings: TrainingSettings) -> tuple[int, int, int]:
    """(channels, side, side) of the images that the network reads, as training.data.load_data makes them."""
    row, data = ARCHITECTURES[settings.arch], DATA[settings.data]
    channels = 3 if data.augmented else 1  # of the data, the coloured ones are augmented
    side = 8 if data.bundled else 32 if channels == 3 or not settings.hidden else 28
    if row.fixed or (row.enlarges and data.bundled):
        side = LIP_IMAGE
    return channels, side, side
