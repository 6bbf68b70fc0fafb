"""What trained networks get right (SAO, Tables 7 to 12), and how many weights they have."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from sao_cli.catalog import DATA, TRAIN_METHODS
from sao_cli.masks.architectures import cnn_shapes, conv_degrees, lipconvnet_shapes, plan_convolutions
from sao_cli.nets.experiments.error_rates import error_rates
from sao_cli.nets.training.settings import TrainingSettings
from sao_cli.study.papers.cells import EXACT, Asked, Cell, CellGroup

HOME = f"{__name__}:"
DEGREE = 4
DEPTHS_7 = (50, 200, 400, 600, 800, 1000)
TABLE_7: dict[str, tuple[str, ...]] = {
    "Dense": ("98.41", "98.40", "98.21", "96.64", "97.90", "97.58"),
    "GMP-S": ("10.00",) * 6,
    "GMP-T": ("10.00",) * 6,
    "RG-S": ("10.00",) * 6,
    "RG-T": ("10.00",) * 6,
    "RG-N": ("94.39", "94.66", "92.51", "91.80", "10.00", "10.00"),
    "RG-U": ("95.99", "95.83", "92.97", "93.20", "10.00", "10.00"),
    "SAO": ("94.47", "94.91", "95.21", "95.94", "95.71", "95.93"),
}
# Of Table 8, by N and width: method, row degree (none of dense networks), weights, accuracy by tanh and by relu. The
# block of N = 32 and 256 channels is not legible in the text at hand.
Row8 = tuple[str, int | None, str, str | None, str | None]
TABLE_8: dict[tuple[int, int], tuple[Row8, ...]] = {
    (32, 32): (
        ("Dense", None, "2.87E+05", "78.27", "82.77"),
        ("LMP-S", 16, "1.44E+05", "79.57", "81.56"),
        ("LMP-T", 16, "1.44E+05", "80.84", "83.38"),
        ("LMP-T", 4, "3.66E+04", "74.45", "10.00"),
        ("RG-S", 16, "1.44E+05", "78.87", "10.00"),
        ("SAO", 16, "1.44E+05", "79.24", "82.59"),
        ("SAO", 4, "3.66E+04", "78.46", "78.71"),
    ),
    (128, 32): (
        ("Dense", None, "1.17E+06", "73.28", "76.50"),
        ("LMP-S", 16, "5.86E+05", "69.98", "75.64"),
        ("LMP-T", 16, "5.86E+05", "78.34", "77.31"),
        ("SAO", 16, "5.86E+05", "74.76", "75.01"),
        ("SAO", 4, "1.47E+05", "74.20", "76.20"),
    ),
    (128, 128): (
        ("Dense", None, "1.87E+07", "75.00", "85.34"),
        ("LMP-S", 64, "9.37E+06", "73.78", "74.70"),
        ("LMP-T", 64, "9.37E+06", "76.84", "86.47"),
        ("SAO", 64, "9.37E+06", "77.63", "84.50"),
        ("SAO", 4, "5.89E+05", "73.67", "81.96"),
    ),
    (256, 32): (
        ("Dense", None, "2.35E+06", "74.35", "72.56"),
        ("SAO", 16, "1.18E+06", "74.38", "63.33"),
        ("SAO", 4, "2.95E+05", "69.88", "70.96"),
    ),
    (512, 32): (
        ("Dense", None, "4.71E+06", "77.56", "73.76"),
        ("SAO", 16, "2.36E+06", "76.35", "74.00"),
        ("SAO", 4, "5.90E+05", "68.40", "59.86"),
    ),
    (768, 32): (
        ("Dense", None, "6.70E+06", "76.78", "56.60"),
        ("SAO", 16, "3.35E+06", "76.23", "60.69"),
        ("SAO", 4, "8.38E+05", "68.95", "54.54"),
    ),
}
# Sparsity in percent, method, and accuracies by N.
Accuracies = tuple[tuple[str, str, tuple[str, ...]], ...]
TABLE_9: Accuracies = (
    ("0", "Dense", ("81.32", "81.23", "81.47", "77.94")),
    ("50.00", "SAO", ("79.78", "80.35", "80.37", "75.87")),
    ("50.00", "LMP-S", ("79.54", "80.32", "80.12", "75.97")),
    ("75.00", "SAO", ("77.08", "77.16", "78.83", "73.72")),
    ("75.00", "LMP-S", ("76.90", "78.25", "78.03", "10.00")),
    ("87.50", "SAO", ("73.57", "75.70", "76.63", "71.05")),
    ("87.50", "LMP-S", ("72.94", "74.11", "10.00", "10.00")),
    ("96.875", "SAO", ("64.66", "66.51", "68.45", "65.48")),
    ("96.875", "LMP-S", ("10.00", "10.00", "10.00", "10.00")),
)
TABLE_10: Accuracies = (
    ("0", "Dense", ("67.35", "66.52", "63.10")),
    ("50.00", "SAO", ("66.49", "64.17", "62.23")),
    ("75.00", "SAO", ("63.12", "63.47", "61.10")),
    ("96.875", "SAO", ("51.61", "53.75", "54.23")),
)
TABLE_11: Accuracies = (
    ("0", "Dense", ("80.15", "78.75", "79.04")),
    ("50.00", "SAO", ("79.84", "79.73", "77.35")),
    ("87.50", "SAO", ("76.77", "75.24", "75.26")),
    ("93.75", "SAO", ("75.86", "73.44", "73.53")),
    ("96.875", "SAO", ("73.39", "72.51", "72.00")),
    ("98.4375", "SAO", ("72.45", "70.01", "70.79")),
)
TABLE_12: Accuracies = (
    ("0", "Dense", ("79.10", "77.85")),
    ("50.00", "SAO", ("77.92", "75.24")),
    ("96.875", "SAO", ("68.45", "69.87")),
)
WIDE = 128  # channels of Tables 9, 10 and 12
EPOCHS = {"digits": 20}  # of a default run; of other data, which are larger, FEW
FEW, FULL_FNN, FULL_CONV = 1, 100, 200


def table7(asked: Asked) -> Iterator[CellGroup]:
    """Accuracies of deep networks of tanh on MNIST, by method and depth."""
    data = asked.data_of("mnist")
    for depth in asked.depths or (DEPTHS_7 if asked.full else DEPTHS_7[:1]):
        for method, row in TABLE_7.items():
            paper, name = row[DEPTHS_7.index(depth)], method.lower()
            cell = Cell(label=f"N = {depth}, {method}", paper=paper, key="accuracy", unit="%", group=str(depth))
            target: dict[str, Any] = {} if name == "dense" else {"sparsity": 1 - DEGREE / 256}
            settings = {"arch": "fnn", "depth": depth, "method": name, **target}
            yield _trained(cell, settings, data, "mnist", asked, full=FULL_FNN, seeds=1)


def table8(asked: Asked) -> Iterator[CellGroup]:
    """Weights of the vanilla CNN, all of them, and its accuracies on CIFAR-10."""
    chosen = {sizes: rows for sizes, rows in TABLE_8.items() if not asked.depths or sizes[0] in asked.depths}
    for (depth, width), rows in chosen.items():
        for method, d, weights, *_ in rows:
            cell = Cell(
                label=f"{_named(depth, width, method, d)}: weights",
                paper=weights,
                key="weights",
                kind=EXACT,
                evidence="the paper's would be those of {depth:.0f} layers",
            )
            sized: dict[str, Any] = {"depth": depth, "width": width, "d": d, "paper": weights}
            yield CellGroup(cells=(cell,), function=f"{HOME}cnn_weights", keywords=sized)
    for (depth, width), rows in chosen.items():
        smallest = (depth, width) == (32, 32)
        for method, d, _, *papers in rows:
            for activation, paper in zip(("tanh", "relu"), papers, strict=True):
                named = _named(depth, width, method, d)
                told = {"arch": "cnn", "depth": depth, "width": width, "activation": activation}
                told |= {"method": method.lower(), **({} if d is None else {"sparsity": 1 - d / width})}
                cell = Cell(
                    label=f"{named}, {activation}", paper=paper, key="accuracy", unit="%", group=f"{depth} {width}"
                )
                yield _convolutional(cell, told, asked, "cifar10", runs=smallest or bool(asked.depths))


def cnn_weights(depth: int, width: int, d: int | None, paper: str) -> dict[str, float | None]:
    """The weights of a CNN's convolutions, and how many of them a paper's number would be of."""

    def counted(layers: int) -> int:
        return sum(row.parameters or 0 for row in plan_convolutions(cnn_shapes(layers, width), d=d))

    weights, first = counted(depth), counted(1)
    each = counted(2) - first
    return {"weights": weights, "depth": round((float(paper) - first) / each) + 1}


def table9(asked: Asked) -> Iterator[CellGroup]:
    """The CNN on CINIC-10."""
    yield from _by_sparsity(TABLE_9, (8, 16, 32, 128), asked, "cinic10", "delta")


def table10(asked: Asked) -> Iterator[CellGroup]:
    """The CNN on CIFAR-100."""
    yield from _by_sparsity(TABLE_10, (8, 16, 32), asked, "cifar100", "delta")


def table11(asked: Asked) -> Iterator[CellGroup]:
    """LipConvNet on CIFAR-10."""
    yield from _by_sparsity(TABLE_11, (5, 10, 15), asked, "cifar10", "lipconvnet")


def table12(asked: Asked) -> Iterator[CellGroup]:
    """The CNN of ECO kernels on CINIC-10."""
    yield from _by_sparsity(TABLE_12, (8, 16), asked, "cinic10", "eco")


def _by_sparsity(
    table: Accuracies, depths: tuple[int, ...], asked: Asked, own: str, network: str
) -> Iterator[CellGroup]:
    lip = network == "lipconvnet"
    arch = "lipconvnet" if lip else "cnn"
    for sparsity in dict.fromkeys(row[0] for row in table if row[0] != "0"):
        ends = ("least", "largest")
        cells = tuple(
            Cell(label=f"{sparsity} %: {end} sparsity of a sparse layer", paper=sparsity, key=end, unit="%", kind=EXACT)
            for end in ends
        )
        told = {"arch": arch, "sparsity": float(sparsity) / 100}
        yield CellGroup(cells=cells, function=f"{HOME}layer_sparsities", keywords=told)
    for sparsity, method, row in table:
        for depth, paper in zip(depths, row, strict=True):
            if asked.depths and depth not in asked.depths:
                continue
            named = f"N = {depth}, {method}" + ("" if sparsity == "0" else f" {sparsity} %")
            cell = Cell(label=named, paper=paper, key="accuracy", unit="%", group=str(depth))
            told = {"arch": arch, "depth": depth, "method": method.lower()}
            told |= {} if lip else {"width": WIDE, "activation": "relu"}
            told |= {} if sparsity == "0" else {"sparsity": float(sparsity) / 100}
            if network == "eco":
                yield CellGroup(cells=(cell,), missing="no CNN of `sao train` has ECO kernels")
                continue
            yield _convolutional(cell, told, asked, own, runs=depth == depths[0] or depth in asked.depths)


def layer_sparsities(arch: str, sparsity: float) -> dict[str, float | None]:
    """The least and the largest sparsity of the layers behind the first, of whole kernels, in percent."""
    shapes = lipconvnet_shapes(10) if arch == "lipconvnet" else cnn_shapes(8, WIDE)
    degrees = conv_degrees(shapes, sparsity=sparsity)
    found = [
        100 * (1 - degree / max(shape.c_out, shape.reads))
        for shape, degree in zip(shapes, degrees, strict=True)
        if degree is not None
    ]
    return {"least": min(found), "largest": max(found)}


def _named(depth: int, width: int, method: str, d: int | None) -> str:
    return f"N = {depth}, {width} channels, {method}" + ("" if d is None else f" d = {d}")


def _convolutional(cell: Cell, settings: Mapping[str, Any], asked: Asked, own: str, *, runs: bool) -> CellGroup:
    """A CNN's accuracy: run where data are named, since none are at hand; one that takes long where it is asked for."""
    if asked.data is None and asked.folder is None:
        return CellGroup(cells=(cell,), missing=f"{_fetched(own)}; or --data digits, which are other data")
    if not (runs or asked.full):
        return CellGroup(cells=(cell,), missing="not at this scale: --depth or --full asks for it")
    return _trained(cell, settings, asked.data_of(own), own, asked, full=FULL_CONV, seeds=1)


def _fetched(name: str) -> str:
    row = DATA[name]
    way = f"`sao train --data {name} --data-folder FOLDER --download` fetches it" if row.vision else "fetched by hand"
    return f"needs {name} ({row.line}): --data-folder FOLDER, {way}"


def _trained(
    cell: Cell, settings: Mapping[str, Any], data: str, own: str, asked: Asked, *, full: int, seeds: int
) -> CellGroup:
    """The accuracy of a trained network, where there is such a method."""
    method, arch = settings["method"], settings["arch"]
    if method not in TRAIN_METHODS or arch not in TRAIN_METHODS[method].trains:
        return CellGroup(cells=(cell,), missing=f"no method {method} of a {arch} in `sao train`")
    epochs = full if asked.full else EPOCHS.get(data, FEW)
    told = {**settings, "data": data, "epochs": epochs, "jacobian_at": ()}
    return CellGroup(
        cells=(cell,),
        function=f"{HOME}accuracy",
        keywords={"settings": told, "folder": asked.folder if data != "digits" else None},
        seeds=asked.count(seeds if data == "digits" or asked.full else 1),
        data=data,
        own_data=own,
        scale=None if epochs == full else f"{epochs} of {full} epochs",
    )


def accuracy(settings: Mapping[str, Any], folder: str | None, seed: int) -> dict[str, float | None]:
    """The share of test images that the trained network gets right, in percent."""
    rates = error_rates(TrainingSettings(**settings), folder, seeds=(seed,))
    return {"accuracy": 100 - rates.test[0]}
