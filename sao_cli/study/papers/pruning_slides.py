"""The slides of SNIP and of the signal propagation perspective, and SNIP's table of LeNets (Lee et al. 2019, 2020)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sao_cli.io.datasets.samples import load_samples
from sao_cli.nets.experiments.first_layer import first_layer_counts
from sao_cli.nets.experiments.initial_variance import inputs_like_mnist, variance_row
from sao_cli.nets.experiments.lenets import lenet_errors
from sao_cli.nets.experiments.memorisation import memorisation_errors
from sao_cli.nets.experiments.sculpting import sculpted_errors
from sao_cli.nets.experiments.transfer import transfer_errors
from sao_cli.nets.experiments.unsupervised_pruning import unsupervised_errors
from sao_cli.study.papers.cells import CLAIM, EXACT, Asked, Cell, CellGroup

HOME = f"{__name__}:"
MNIST = "mnist"
LENETS = {  # sparsity, weights that are kept, and the test error in percent (SNIP, Table 1)
    "lenet300": ((0.0, "2.67E+5", "1.7"), (0.95, "1.33E+4", "1.6"), (0.98, "5.3E+3", "2.4")),
    "lenet5": ((0.0, "4.31E+5", "0.9"), (0.98, "8.6E+3", "0.8"), (0.99, "4.3E+3", "1.1")),
}
GAMMAS: dict[float, tuple[str, str, str | None, tuple[str, ...], str]] = {  # mean, std, CN, sparsity by layer, error
    1e-4: ("2.46E-7", "9.90E-8", "4.66", ("0.97", "0.80", "0.80", "0.80", "0.80", "0.81", "0.48"), "2.66"),
    1e-3: ("5.74E-4", "2.45E-4", "8.54", ("0.97", "0.80", "0.80", "0.80", "0.80", "0.81", "0.48"), "2.67"),
    1e-2: ("4.49E-1", "2.51E-1", "51.4", ("0.96", "0.80", "0.80", "0.80", "0.81", "0.81", "0.49"), "2.67"),
    1e-1: ("2.30E+1", "2.56E+1", "2.92E+4", ("0.96", "0.81", "0.82", "0.82", "0.82", "0.80", "0.45"), "2.61"),
    1.0: ("1.03E+3", "2.61E+3", "3.34E+11", ("0.85", "0.88", "0.99", "1.00", "1.00", "1.00", "0.91"), "90.2"),
    10.0: ("3.67E+4", "2.64E+5", None, ("0.84", "0.95", "1.00", "1.00", "1.00", "1.00", "1.00"), "90.2"),
}
UNSUPERVISED = {  # the way here: what the slides call it, and the errors at K = 3 and 7
    "labels": ("GT", "2.46", "2.61"),
    "sum of logits": ("Pred. (raw)", "3.31", "3.60"),
    "entropy": ("Pred. (softmax)", "3.11", "3.56"),
    "uniform": ("Unif.", "2.77", "2.94"),
}
TRANSFER = {  # trained on, and the mask of: errors with labels, and without
    ("mnist", "mnist"): ("2.42", "2.94"),
    ("mnist", "fashion-mnist"): ("2.66", "2.80"),
    ("fashion-mnist", "fashion-mnist"): ("11.90", "13.01"),
    ("fashion-mnist", "mnist"): ("14.17", "13.39"),
}
MODERN = ("VGG16", "ResNet32", "ResNet56", "ResNet110", "WRN16")
MODERN_ERRORS = {
    "VS-L": ("8.16", "11.96", "10.43", "9.13", "45.08"),
    "VS-G": ("8.18", "11.89", "10.60", "9.17", "44.56"),
    "VS-H": ("8.36", "12.21", "10.63", "9.08", "46.62"),
    "LDI": ("8.11", "11.55", "10.08", "8.88", "44.20"),
    "LDI-AI": ("7.99", "11.47", "9.85", "8.78", "44.12"),
}
MEMORISING, LONG = 60, 300  # epochs of learning by heart; the slides tell none, and what lacks the capacity has no end
EPOCHS = 20  # of LeNets with --full; SNIP's code has 10,000 steps by default, and 20 epochs are 12,000


def lenet(asked: Asked) -> Iterator[CellGroup]:
    """What LeNets get wrong after SNIP."""
    data = asked.data_of(MNIST)
    for arch, rows in LENETS.items():
        for sparsity, weights, error in rows:
            named = f"{arch}, {100 * sparsity:g} % pruned" if sparsity else f"{arch}, dense"
            # the paper counts the biases of the dense networks, and of the pruned ones the weights that are kept
            what, key = ("weights", "kept") if sparsity else ("weights and biases", "parameters")
            counted = Cell(label=f"{named}: {what}", paper=weights, key=key, kind=EXACT)
            told = {"arch": arch, "sparsity": sparsity, "data": data, "folder": _folder(asked, data), "seed": 0}
            if data == MNIST:
                told |= {"epochs": 0}
                yield CellGroup(
                    cells=(counted,), function=f"{HOME}lenet_error", keywords=told, data=data, own_data=MNIST
                )
            else:
                missing = f"of MNIST's 784 pixels, and {data} are smaller: --data mnist --data-folder FOLDER"
                yield CellGroup(cells=(counted,), missing=missing)
            epochs = EPOCHS if asked.full or data != MNIST else 1
            if arch == "lenet5" and not asked.full:
                epochs = 5 if data != MNIST else 1
            cell = Cell(label=f"{named}: test error", paper=error, key="error", unit="%", group=arch)
            told = {key: value for key, value in told.items() if key != "seed"} | {"epochs": epochs}
            yield CellGroup(
                cells=(cell,),
                function=f"{HOME}lenet_error",
                keywords=told,
                seeds=asked.count(3 if asked.full or arch == "lenet300" else 1),
                data=data,
                own_data=MNIST,
                scale=None if asked.full else f"{epochs} of {EPOCHS} epochs",
            )


def lenet_error(
    arch: str, sparsity: float, data: str, folder: str | None, epochs: int, seed: int
) -> dict[str, float | None]:
    """The test error in percent, the weights that are kept, and these with the biases."""
    [row] = lenet_errors(arch, (sparsity,), data=data, folder=folder, epochs=epochs, seeds=(seed,))
    return {"error": row.test[0], "kept": row.kept, "parameters": row.kept + row.biases}


def masks(asked: Asked) -> Iterator[CellGroup]:
    """Which inputs SNIP's mask of the first layer keeps."""
    data = asked.data_of(MNIST)
    labels = {
        "all": "all classes: more weights read pixels with ink than pixels without",
        "each": "each class alone: more weights read its pixels with ink than those without",
    }
    evidence = {
        "all": "{with:.3g} of 300 units read a pixel with ink, {without:.3g} one without",
        "each": "true of {classes:.0f} classes",
    }
    cells = tuple(
        Cell(label=label, key=key, kind=CLAIM, unit="holds", evidence=evidence[key]) for key, label in labels.items()
    )
    told = {"data": data, "folder": _folder(asked, data)}
    yield CellGroup(
        cells=cells,
        function=f"{HOME}kept_inputs",
        keywords=told,
        seeds=asked.count(3),
        data=data,
        own_data=MNIST,
    )


def kept_inputs(data: str, folder: str | None, seed: int) -> dict[str, float | None]:
    """Mean kept weights of the first layer at pixels where half of the scored images have ink, and where none has."""
    samples = load_samples(data, folder, seed=seed)
    x = samples.x[:, 0]
    bright = x > (x.min() + x.max()) / 2
    found: list[tuple[float, float]] = []
    for row in first_layer_counts(data, folder, seed=seed):
        scored = samples.y == row.label if row.label is not None else slice(None)
        share = bright[scored].mean(axis=0)
        inked, blank = share >= min(0.5, float(share.max())), share == 0
        found.append((float(row.counts[inked].mean()), float(row.counts[blank].mean()) if blank.any() else 0.0))
    (inked_mean, blank_mean), *classes = found
    holding = sum(one > other for one, other in classes)
    told: dict[str, float | None] = {"all": float(inked_mean > blank_mean), "each": float(holding == len(classes))}
    return told | {"with": inked_mean, "without": blank_mean, "classes": float(holding)}


def random_labels(asked: Asked) -> Iterator[CellGroup]:
    """Whether pruned networks learn random labels by heart."""
    data = asked.data_of(MNIST)
    epochs = LONG if asked.full else MEMORISING
    evidence = (
        "training errors {dense random:.1f} % dense and {random:.1f} % pruned, {fast:.1f} % at rate 0.1; "
        "of true labels {true:.1f} %"
    )
    claims = {
        "dense learns": "the dense network learns random labels by heart: under 10 % wrong",
        "pruned does not": "99 % pruned it does not: over half wrong",
        "task": "99 % pruned it learns the task: under 20 % of true labels wrong",
        "any rate": "99 % pruned it has not the capacity: over half of random labels wrong at rate 0.1 too, "
        f"after {epochs} epochs",
    }
    cells = tuple(
        Cell(label=label, key=key, kind=CLAIM, unit="holds", evidence=evidence) for key, label in claims.items()
    )
    told = {"data": data, "folder": _folder(asked, data), "fast_epochs": epochs}
    yield CellGroup(
        cells=cells,
        function=f"{HOME}memorised",
        keywords=told,
        seeds=asked.count(3),
        data=data,
        own_data=MNIST,
    )


def memorised(data: str, folder: str | None, fast_epochs: int, seed: int) -> dict[str, float | None]:
    """Training errors on 1,000 images with random and with true labels, dense and 99 % pruned, and what they show.

    After 60 epochs at rate 0.01, and of the pruned network with random labels after `fast_epochs` at 0.1, too.
    """
    asked: dict[str, Any] = {"data": data, "folder": folder, "seeds": (seed,)}
    dense, _, random, true = (row.train[0] for row in memorisation_errors((0.0, 0.99), epochs=MEMORISING, **asked))
    fast = memorisation_errors((0.99,), learning_rate=0.1, epochs=fast_epochs, **asked)[0].train[0]
    told = {"dense random": dense, "random": random, "true": true, "fast": fast}
    shown = {"dense learns": dense < 10, "pruned does not": random > 50, "task": true < 20, "any rate": fast > 50}
    return {**told, **{key: float(value) for key, value in shown.items()}}


def gamma(asked: Asked) -> Iterator[CellGroup]:
    """The table of initial variances: the Jacobian, and what SNIP keeps of each layer."""
    data = asked.data_of(MNIST)
    images = None if asked.full or data == "digits" else 10_000
    for variance, (mean, std, condition, sparsities, error) in GAMMAS.items():
        named = f"gamma {variance:g}"
        conditions = (
            Cell(label=f"{named}: CN", paper=condition, key="condition")
            if condition
            else Cell(label=f"{named}: CN is infinite", key="infinite", kind=CLAIM, unit="holds")
        )
        cells = (
            Cell(label=f"{named}: mean of singular values", paper=mean, key="mean"),
            Cell(label=f"{named}: their standard deviation", paper=std, key="std"),
            conditions,
            *(
                Cell(label=f"{named}: sparsity of layer {layer}", paper=paper, key=str(layer), group=named)
                for layer, paper in enumerate(sparsities, 1)
            ),
        )
        told = {"variance": variance, "data": data, "folder": _folder(asked, data), "images": images}
        yield CellGroup(
            cells=cells,
            function=f"{HOME}of_variance",
            keywords=told,
            seeds=asked.count(5 if data == "digits" or asked.full else 3),
            data=data,
            own_data=MNIST,
            scale=None if images is None else f"{images} of 60000 images",
        )
        trained = Cell(label=f"{named}: test error", paper=error, unit="%")
        yield CellGroup(cells=(trained,), missing="the slides do not tell how it is trained")


def of_variance(
    variance: float, data: str, folder: str | None, images: int | None, seed: int
) -> dict[str, float | None]:
    """The row of one variance: mean, deviation, condition, and sparsities by layer."""
    x, y = inputs_like_mnist(data, folder, count=images)
    row = variance_row(x, y, variance, jacobian_samples=2000, seed=seed)
    told: dict[str, float | None] = {"mean": row.mean, "std": row.std, "condition": row.condition_pooled}
    told["infinite"] = float(row.condition_pooled is None)
    return told | {str(layer): share for layer, share in enumerate(row.sparsity, 1)}


def patterns(asked: Asked) -> Iterator[CellGroup]:
    """In which layers SNIP prunes most, by the initial variance."""
    data = asked.data_of(MNIST)
    told = {"data": data, "folder": _folder(asked, data)}
    evidence = "layers 2 and 6 have sparsity {second:.3f} and {sixth:.3f}"
    claims = {
        1e-4: ("uniform", "gamma 1e-4: tanh is pruned alike in all square layers, within 0.05"),
        1.0: ("later", "gamma 1: tanh is pruned more in later layers than in the second"),
        10.0: ("later", "gamma 10: tanh is pruned more in later layers than in the second"),
    }
    for variance, (key, label) in claims.items():
        cell = Cell(label=label, key=key, kind=CLAIM, unit="holds", evidence=evidence)
        yield CellGroup(
            cells=(cell,),
            function=f"{HOME}pattern",
            keywords={"variance": variance, **told},
            seeds=asked.count(3),
            data=data,
            own_data=MNIST,
        )


def pattern(variance: float, data: str, folder: str | None, seed: int) -> dict[str, float | None]:
    """Whether the square layers are pruned alike, and whether the later ones are pruned more."""
    x, y = inputs_like_mnist(data, folder)
    square = variance_row(x, y, variance, jacobian_samples=1, seed=seed).sparsity[1:-1]
    told: dict[str, float | None] = {"second": square[0], "sixth": square[-1]}
    uniform = max(square) - min(square) < 0.05
    return told | {"uniform": float(uniform), "later": float(square[-1] > square[0] + 0.05)}


def unsupervised(asked: Asked) -> Iterator[CellGroup]:
    """Pruning with other labels than the true ones."""
    data = asked.data_of(MNIST)
    for hidden, place in ((3, 1), (7, 2)):
        for way, row in UNSUPERVISED.items():
            cell = Cell(
                label=f"K = {hidden}, {row[0]} ({way})", paper=row[place], key="error", unit="%", group=str(hidden)
            )
            yield _ways(cell, asked, data, data, way, hidden)


def transfer(asked: Asked) -> Iterator[CellGroup]:
    """Masks of other data than those that are learnt."""
    for (learnt, scored), papers in TRANSFER.items():
        for way, paper in zip(("labels", "uniform"), papers, strict=True):
            label = f"{learnt} with a mask of {scored}, {way}"
            cell = Cell(label=label, paper=paper, key="error", unit="%", group=way)
            if asked.folder is None:
                needs = "needs mnist and fashion-mnist in one --data-folder; `sao train --download` fetches them"
                yield CellGroup(cells=(cell,), missing=needs)
            elif asked.data is not None and {learnt, scored} != {asked.data}:
                yield CellGroup(cells=(cell,), missing=f"not of {asked.data} alone")
            else:
                yield _ways(cell, asked, learnt, scored, way, 3)


def _ways(cell: Cell, asked: Asked, learnt: str, scored: str, way: str, hidden: int) -> CellGroup:
    small = learnt == "digits"
    epochs, images = (40, None) if small else (20, None) if asked.full else (4, 8000)
    told = {"learnt": learnt, "scored": scored, "way": way, "hidden": hidden, "images": images, "epochs": epochs}
    own = MNIST if small else learnt
    return CellGroup(
        cells=(cell,),
        function=f"{HOME}way_error",
        keywords={**told, "folder": _folder(asked, learnt), "rate": 0.01 if small else 0.1},
        seeds=asked.count(3 if small or asked.full else 1),
        data=learnt,
        own_data=own,
        scale=None if images is None else f"{images} images, {epochs} epochs",
    )


def way_error(
    learnt: str,
    scored: str,
    way: str,
    hidden: int,
    images: int | None,
    epochs: int,
    folder: str | None,
    rate: float,
    seed: int,
) -> dict[str, float | None]:
    """The test error in percent of a network that is pruned in some way, by its own data or by others."""
    told: dict[str, Any] = {"images": images, "ways": [way], "hidden": [hidden], "epochs": epochs, "seeds": (seed,)}
    told |= {"learning_rate": rate}
    if learnt == scored:
        [row] = unsupervised_errors(learnt, folder, **told)
    else:
        [row] = transfer_errors(learnt, [scored], folder, **told)
    return {"error": row.rates.test[0]}


def sculpting(asked: Asked) -> Iterator[CellGroup]:
    """Whether a network that is grown and pruned back does better than the small one."""
    data = asked.data_of(MNIST)
    small = data == "digits"
    for width in (100, 300):
        cell = Cell(
            label=f"two layers of {width} pruned to the size of two of 20 do better",
            key="better",
            kind=CLAIM,
            unit="holds",
            evidence="errors {small:.1f} % of the small one and {grown:.1f} % of the grown one",
        )
        images, epochs = (None, 20) if small or asked.full else (8000, 8)
        told = {"data": data, "folder": _folder(asked, data), "width": width, "images": images, "epochs": epochs}
        yield CellGroup(
            cells=(cell,),
            function=f"{HOME}sculpted",
            keywords=told,
            seeds=asked.count(3),
            data=data,
            own_data=MNIST,
            scale=None if images is None else f"{images} images, {epochs} epochs",
        )


def sculpted(
    data: str, folder: str | None, width: int, images: int | None, epochs: int, seed: int
) -> dict[str, float | None]:
    """Test errors in percent of the small network and of the grown one."""
    told: dict[str, Any] = {"data": data, "folder": folder, "images": images, "epochs": epochs, "seeds": (seed,)}
    small, grown = (row.test[0] for row in sculpted_errors((20, 20), [(width, width)], **told))
    return {"small": small, "grown": grown, "better": float(grown < small)}


def modern(asked: Asked) -> Iterator[CellGroup]:
    """Modern networks, which are none of those that can be trained here."""
    for init, errors in MODERN_ERRORS.items():
        for network, error in zip(MODERN, errors, strict=True):
            cell = Cell(label=f"{network}, {init}: test error", paper=error, unit="%")
            yield CellGroup(cells=(cell,), missing=f"no {network} in `sao train`")


def _folder(asked: Asked, data: str) -> str | None:
    return None if data == "digits" else asked.folder
