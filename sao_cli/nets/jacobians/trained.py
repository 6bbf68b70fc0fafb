"""The Jacobian of a network that `sao train` made, by the folder of its run."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from sao_cli.base.errors import FileError, FormatError, SaoError
from sao_cli.base.progress import Progress, silent
from sao_cli.catalog import ARCHITECTURES, DATA
from sao_cli.data.arrays import Values
from sao_cli.data.matrix import Matrix
from sao_cli.io.formats.safetensors_files import SafetensorsFile
from sao_cli.io.output import shown
from sao_cli.masks.architectures import LIP_IMAGE
from sao_cli.models.opened import opened
from sao_cli.nets.jacobians.chain import computed_dtype, network_jacobian
from sao_cli.nets.jacobians.images import at_images
from sao_cli.nets.jacobians.points import drawn_inputs
from sao_cli.nets.tracing.loading import load_checkpoint_
from sao_cli.nets.training.folder import FINAL, RunFolder
from sao_cli.nets.training.methods import build_model
from sao_cli.nets.training.settings import TrainingSettings
from sao_cli.reports.networks import DepthJacobian


def run_jacobian(
    folder: str | os.PathLike[str],
    *,
    activation: str | None = None,
    depths: Sequence[int] | None = None,
    inputs: int = 1,
    input_std: float = 1.0,
    x: Values | None = None,
    device: str = "auto",
    dtype: str = "float64",
    by_layer: bool = False,
    seed: int = 0,
    progress: Progress = silent,
) -> Iterator[DepthJacobian]:
    """The singular values of the Jacobian of a trained network, whose run is in `folder`; a row a depth.

    An fnn is a chain of its trained weights and biases, with the run's activation after every layer but the last, and
    as exact as network_jacobian at any depth; `depths` are of its layers, all of them together where it is None. J is
    then d h_l / d x, at the end of the outputs before the softmax. A network of images is rebuilt, and J, of all its
    layers, is d outputs / d image (jacobian_spectrum). The gain of the settings is in the weights, and only told.

    The inputs are `inputs` draws of x ~ N(0, input_std^2 I), or `x` (B, n), (B, channels, side, side) of images.
    `activation` may be told, and is then the run's. Raises FileError where no run is or one that is not finished,
    FormatError for one that can't be read, SaoError for depths and `by_layer` of a network that is no chain, and what
    network_jacobian and jacobian_spectrum raise.
    """
    run = TrainedRun.of(folder)
    run.require_activation(activation)
    asked: dict[str, Any] = {"inputs": inputs, "input_std": input_std, "x": x, "device": device, "dtype": dtype}
    asked |= {"seed": seed, "progress": progress}
    if not ARCHITECTURES[run.settings.arch].image:
        return run.chain_jacobian(depths, by_layer=by_layer, **asked)
    if depths or by_layer:
        what = f"depth {depths[0]}" if depths else "by layer"
        raise SaoError(f"{what}: the run's {run.settings.arch} is no chain of matrices, and J is of all its layers")
    return run.image_jacobian(**asked)


@dataclass(frozen=True)
class TrainedRun:
    """A finished run in a folder: its settings, and the version that trained it."""

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
        names = ("data", "arch", "method", "depth", "width", "widths", "d", "sparsity", "activation", "gain", "seed")
        told = {name: getattr(self.settings, name) for name in names}
        return {"version": self.version, "command": "train"} | {
            key: one for key, one in told.items() if one is not None
        }

    def require_activation(self, activation: str | None) -> None:
        """Raise SaoError where `activation` is told and another than the run's."""
        has = self.settings.activation or "max-min"
        if activation not in (None, has):
            raise SaoError(f"activation {activation!r}: the run's network has {has!r}; leave it out")

    def chain_jacobian(self, depths: Sequence[int] | None, **asked: Any) -> Iterator[DepthJacobian]:
        """The rows of an fnn."""
        assert self.settings.activation is not None
        stack, biases = self.layers()
        told: dict[str, Any] = {"biases": biases, "linear_output": True, "depths": depths or [len(stack)]}
        return network_jacobian(stack, self.settings.activation, **told, **asked)

    def layers(self) -> tuple[list[Matrix], list[Values]]:
        """The weights and the biases of an fnn, first layer first."""
        file = SafetensorsFile(self.path)
        names = [f"net.{2 * number}" for number in range(len(file.stored) // 2)]  # an activation follows each
        if set(file.stored) != {f"{name}.{part}" for name in names for part in ("weight", "bias")}:
            raise self._strange()
        weights = [self._told(Matrix.from_dense(file.read(f"{name}.weight"))) for name in names]
        return weights, [np.asarray(file.read(f"{name}.bias"), dtype=np.float64) for name in names]

    def _strange(self) -> FormatError:
        return FormatError(f"{shown(self.path)} has not the tensors of a trained {self.settings.arch}")

    def _told(self, weight: Matrix) -> Matrix:
        return replace(weight, mask=replace(weight.mask, provenance=self.provenance))

    def image_jacobian(
        self, x: Values | None, inputs: int, input_std: float, seed: int, **asked: Any
    ) -> Iterator[DepthJacobian]:
        """The row of a cnn or a lipconvnet."""
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
