"""The papers and their tables and figures, by ID: what each shows, needs and takes. Strings and numbers alone."""

from typing import Any

from sao_cli.base.names import Row, table

SAO, SNIP = "SAO (Esguerra et al. 2023)", "SNIP (Lee et al. 2019)"
SPP, EOC, RARE = "signal propagation (Lee et al. 2020)", "edge of chaos (Price et al. 2024)", "RaRe (Lee et al. 2021)"


class Item(Row):
    """A table or figure, or a group of them; `home` makes its parts of what is asked, and times are of one core."""

    place: str
    home: str
    takes: str
    takes_full: str = "the same"
    data: str = ""  # the paper's own
    also: str = ""  # other data that it reads beside them
    depths: tuple[int, ...] = ()  # those of a table that has several, of which some can be picked

    @property
    def reads(self) -> tuple[str, ...]:
        """All the data of the paper that it reads from a folder."""
        return tuple(name for name in (self.data, self.also) if name)


def _item(name: str, place: str, line: str, home: str, takes: str, **traits: Any) -> Item:
    return Item(name, line, place, f"study.papers.{home}", takes, **traits)


# fmt: off
ITEMS = table(
    _item("sao/fig7", f"Fig. 7, {SAO}", "eigenvalues of SAO masks, and the Ramanujan condition",
          "layer_figures:fig7", "a second"),
    _item("sao/fig8", f"Fig. 8, {SAO}", "the depth at which all inputs reach all outputs",
          "layer_figures:fig8", "6 s, 40 seeds", takes_full="30 s, 200 seeds"),
    _item("sao/fig9", f"Fig. 9, {SAO}", "null singular values of pruned and of Ramanujan layers",
          "layer_figures:fig9", "10 s, 20 seeds", takes_full="2 min, 200 seeds"),
    _item("sao/fig10", f"Fig. 10, {SAO}", "SAO's singular values beside a dense layer's",
          "layer_figures:fig10", "3 s, 20 seeds", takes_full="30 s, 200 seeds"),
    _item("sao/fig11", f"Fig. 11, {SAO}", "mean and variance of a trained network's Jacobian by method and depth",
          "trained_jacobians:fig11", "a minute of digits at depth 50", takes_full="days, 100 epochs at six depths",
          data="mnist", depths=(50, 200, 400, 600, 800, 1000)),
    _item("sao/table1", f"Table 1, {SAO}", "sizes of the fully-connected network", "network_sizes:table1", "a second"),
    _item("sao/table2", f"Table 2, {SAO}", "its learning rates by depth", "network_sizes:table2", "a second"),
    _item("sao/table3", f"Table 3, {SAO}", "the CNN's learning rates by depth", "network_sizes:table3", "a second"),
    _item("sao/table4", f"Table 4, {SAO}", "the convolutions of LipConvNet", "network_sizes:table4", "a second"),
    _item("sao/table5", f"Table 5 and Eq. 5, {SAO}", "the delta-orthogonal kernel, and the block for ReLU",
          "network_sizes:table5", "a second"),
    _item("sao/table6", f"Table 6, {SAO}", "p-values of 16 Kolmogorov-Smirnov tests against a dense layer",
          "layer_figures:table6", "20 s, 60 seeds", takes_full="a minute, 200 seeds"),
    _item("sao/table7", f"Table 7, {SAO}", "accuracies of deep networks by method and depth",
          "accuracy_tables:table7", "5 min of digits at depth 50; 15 min of MNIST, 1 epoch",
          takes_full="days, 100 epochs at six depths", data="mnist", depths=(50, 200, 400, 600, 800, 1000)),
    _item("sao/table8", f"Table 8, {SAO}", "weights of the vanilla CNN, and its accuracies",
          "accuracy_tables:table8", "a second, the weights; half an hour with data", takes_full="days, 200 epochs",
          data="cifar10", depths=(32, 128, 256, 512, 768)),
    _item("sao/table9", f"Table 9, {SAO}", "sparsities of the wide CNN, and its accuracies",
          "accuracy_tables:table9", "a second, the sparsities; hours with data", takes_full="days, 200 epochs",
          data="cinic10", depths=(8, 16, 32, 128)),
    _item("sao/table10", f"Table 10, {SAO}", "the same on CIFAR-100",
          "accuracy_tables:table10", "a second, the sparsities; an hour with data", takes_full="days, 200 epochs",
          data="cifar100", depths=(8, 16, 32)),
    _item("sao/table11", f"Table 11, {SAO}", "sparsities of LipConvNet, and its accuracies",
          "accuracy_tables:table11", "a second, the sparsities; hours with data", takes_full="days, 200 epochs",
          data="cifar10", depths=(5, 10, 15)),
    _item("sao/table12", f"Table 12, {SAO}", "the wide CNN of ECO kernels",
          "accuracy_tables:table12", "a second, the sparsities", data="cinic10", depths=(8, 16)),
    _item("snip/lenet", f"Table 1, {SNIP}", "weights and errors of LeNets after SNIP",
          "pruning_slides:lenet", "20 s of digits; 5 min of MNIST, 1 epoch", takes_full="2 hours, 20 epochs of MNIST",
          data="mnist"),
    _item("snip/masks", f"slides of {SNIP}", "which inputs the first layer's mask keeps",
          "pruning_slides:masks", "5 s of digits; 20 s of MNIST", data="mnist"),
    _item("snip/random-labels", f"slides of {SNIP}", "whether pruned networks learn random labels by heart",
          "pruning_slides:random_labels", "20 s of digits; a minute of MNIST",
          takes_full="2 min, 300 epochs at rate 0.1", data="mnist"),
    _item("spp/gamma", f"slides of {SPP}", "the Jacobian and SNIP's sparsities by the initial variance",
          "pruning_slides:gamma", "15 s of digits; 15 s of MNIST, a sixth of it", takes_full="2 min, all of MNIST",
          data="mnist"),
    _item("spp/patterns", f"slides of {SPP}", "which layers SNIP prunes most, by the initial variance",
          "pruning_slides:patterns", "5 s of digits; 30 s of MNIST", data="mnist"),
    _item("spp/unsupervised", f"slides of {SPP}", "errors after pruning without labels",
          "pruning_slides:unsupervised", "a minute of digits; 10 s of MNIST, a seventh of it",
          takes_full="10 min, 20 epochs of MNIST", data="mnist"),
    _item("spp/transfer", f"slides of {SPP}", "errors with masks of other data",
          "pruning_slides:transfer", "a minute of two data sets", takes_full="an hour", data="mnist",
          also="fashion-mnist"),
    _item("spp/sculpting", f"slides of {SPP}", "networks that are grown, and pruned back",
          "pruning_slides:sculpting", "a minute", takes_full="10 min", data="mnist"),
    _item("spp/modern", f"slides of {SPP}", "errors of modern networks by their initial weights",
          "pruning_slides:modern", "not run", data="cifar10"),
    _item("eoc/map", f"poster, {EOC}", "stability of the variance's fixed points, with and without a clip",
          "chaos_poster:variance_map", "2 s"),
    _item("eoc/failures", f"poster, {EOC}", "both failures of training", "chaos_poster:failures", "a minute",
          takes_full="an hour, 100 epochs", data="mnist"),
    _item("eoc/accuracies", f"poster, {EOC}", "whether sparse activations keep the accuracy",
          "chaos_poster:accuracies", "2 min of digits", takes_full="hours, 100 epochs", data="mnist"),
    _item("rare/table1", f"Table 1, {RARE}", "sizes of the network, its accuracies and what fusing saves",
          "redundancy_tables:table1", "2 min of digits", takes_full="weeks, 2,000 epochs of 20 seeds",
          data="fashion-mnist"),
    _item("rare/table2", f"Table 2, {RARE}", "the sizes that layers end with, and the weights that they come to",
          "redundancy_tables:table2", "a minute of digits", takes_full="weeks, 2,000 epochs of 20 seeds",
          data="fashion-mnist"),
    _item("rare/ablation", f"Table 1 and Fig. 3, {RARE}", "what each part gives, and how strong a loss saves how much",
          "redundancy_tables:ablation", "3 min of digits", takes_full="months, 2,000 epochs of 20 seeds",
          data="fashion-mnist"),
)
# fmt: on
PAPERS = table(
    Row("sao", f"all of {SAO}"),
    Row("snip", f"all of {SNIP}"),
    Row("spp", f"all of {SPP}"),
    Row("eoc", f"all of {EOC}"),
    Row("rare", f"all of {RARE}"),
    Row("all", "all of them"),
)
NAMES: dict[str, Row] = {**ITEMS, **PAPERS}


def items_of(names: tuple[str, ...]) -> list[str]:
    """The IDs that the names stand for, each once, in the order of the table.

    >>> items_of(("sao/table6", "sao/fig7")), len(items_of(("all",))) == len(ITEMS)
    (['sao/fig7', 'sao/table6'], True)
    """
    wanted = set(names)
    return [item for item in ITEMS if {item, item.partition("/")[0], "all"} & wanted]
