"""Every name that a user types, once: its line of help, its home and its traits, a table for each kind.

Strings only: a construction is imported when its name is asked for, so that to know the names costs nothing.
A home is "module:name" under sao_cli.
"""

from typing import Any

from sao_cli.base.names import Row, table


class Method(Row):
    """One way to make a layer: a mask, weights, the kernels of a convolution."""

    mask: str = ""  # home of what builds its mask
    weight: str = ""  # home of what builds its weights, where they don't go on a mask that is there before
    on: str = ""  # the method whose mask its values go on
    values: str = ""  # these values, unless others are chosen
    takes: tuple[str, ...] = ()  # the options of its construction besides seed and layer
    any_values: bool = False  # other values may be chosen
    keeps: bool = False  # keeps a number of weights, whichever rows they are in
    full: bool = False  # is all ones, whatever degree is asked for
    varied: bool = False  # has columns that do not all have as many ones
    whole_stack: bool = False  # its home builds all layers at once
    drawn: bool = False  # how much a layer keeps depends on the weights that are drawn
    kernels: bool = False  # makes convolution kernels too
    kept_kernel: str = ""  # home of what keeps a part of the scheme's dense kernel
    trains: tuple[str, ...] = ()  # the architectures that `sao train` makes by it

    @property
    def own_law(self) -> str:
        """The law that its values are of, and of no other; empty where they are of none, or may be chosen."""
        return "" if self.any_values or self.values not in LAWS else self.values


_FULL = ("fnn", "lenet300")  # of matrices alone
_OF_KERNELS = ("cnn", "lenet5")
_VANILLA = (*_FULL, *_OF_KERNELS)
_ALL = (*_VANILLA, "lipconvnet")


def _on_mask(name: str, line: str, mask: str, values: str, *takes: str, **traits: Any) -> Method:
    return Method(name, line, mask, "", name, values, takes, any_values=True, **traits)


# fmt: off
METHODS = table(
    _on_mask("sao", "K disjoint complete bipartite graphs: exactly orthogonalisable", "masks.sao:sao_mask",
             "orthogonal", "arrangement", kernels=True, trains=_ALL),
    Method("rg-n", "an SAO mask; its weights are normal", on="sao", values="normal", kernels=True, trains=_VANILLA),
    Method("rg-u", "an SAO mask; its weights are uniform", on="sao", values="uniform", kernels=True, trains=_VANILLA),
    Method("rg-s", "an SAO mask; its weights are a dense orthogonal layer's", on="sao", values="masked orthogonal",
           kernels=True, kept_kernel="weights.kernels.baselines:masked_kernel", trains=_VANILLA),
    _on_mask("ramanujan", "random lifts of K_{c,d}, drawn until one is certified: connected",
             "masks.ramanujan:ramanujan_mask", "normal", "progress", trains=_FULL),
    _on_mask("biregular", "a uniformly random simple (c, d)-biregular graph",
             "masks.biregular:biregular_mask", "normal", "progress"),
    _on_mask("xnet", "every output reads d random inputs", "masks.xnet:xnet_mask", "normal", varied=True),
    _on_mask("nm", "N random ones of each M consecutive inputs, as --pattern 2:4 says",
             "masks.nm:nm_mask", "normal", "pattern", varied=True),
    _on_mask("radix", "RadiX-Net's mixed-radix topology", "masks.radix:radix_stack", "normal", whole_stack=True),
    _on_mask("two-stage", "a product of two SAO stages: connected, exactly orthogonalisable",
             "masks.two_stage:two_stage_mask", "orthogonal", "progress"),
    Method("eoi", "where a product of random Givens rotations is not zero", weight="weights.givens:eoi_weight",
           takes=("sparsity", "progress"), keeps=True, drawn=True, trains=_FULL),
    Method("dense", "all ones", weight="weights.orthogonal:dense_weight", takes=("values",), any_values=True,
           full=True, kernels=True, trains=_ALL),
    Method("lmp", "the largest weights of each dense orthogonal layer", weight="weights.pruned:lmp_weight",
           keeps=True, kernels=True, kept_kernel="weights.kernels.baselines:lmp_kernel"),
    Method("gmp", "the largest weights of all dense orthogonal layers together", weight="weights.pruned:gmp_stack",
           keeps=True, whole_stack=True, drawn=True),
    Method("lrp", "uniformly random positions", "masks.lrp:lrp_mask", "weights.pruned:lrp_weight",
           keeps=True, kernels=True, kept_kernel="weights.kernels.baselines:lrp_kernel"),
)
# fmt: on
MASK_METHODS = {name: row for name, row in METHODS.items() if row.mask}
KERNEL_METHODS = {name: row for name, row in METHODS.items() if row.kernels}


class Value(Row):
    """What numbers stand on a mask."""

    law: bool = False  # independent ones, of a law that knows the mask's degrees alone


VALUES = table(
    Value("orthogonal", "Haar-random blocks, where the mask can be exactly orthogonal"),
    Value("normal", "independent and normal, of variance 1/d", law=True),
    Value("uniform", "independent and uniform, of variance 1/d", law=True),
    Value("lecun-normal", "the same as normal (LeCun et al. 1998)", law=True),
    Value("lecun-uniform", "the same as uniform (LeCun et al. 1998)", law=True),
    Value("glorot-normal", "normal, of variance 2/(c + d) (Glorot and Bengio 2010)", law=True),
    Value("glorot-uniform", "uniform, of variance 2/(c + d) (Glorot and Bengio 2010)", law=True),
    Value("he-normal", "normal, of variance 2/d (He et al. 2015)", law=True),
    Value("he-uniform", "uniform, of variance 2/d (He et al. 2015)", law=True),
    Value("isometry", "as near to orthogonal as any mask lets them be"),
)
LAWS = {name: row for name, row in VALUES.items() if row.law}


class Scheme(Row):
    """One way to put values into a convolution kernel."""

    home: str
    layer: str = ""  # home of the torch layer that stays orthogonal in training
    takes: tuple[str, ...] = ()  # the options of its construction that are its own
    law: bool = False  # independent values, by the law of this name
    central: bool = False  # all in the centre tap
    circular: bool = False  # orthogonal with circular padding; other shapes are cut from a square, strides folded
    sampled: bool = False  # orthogonal where the image's frequencies are its own
    grows: bool = False  # larger than the size that was asked for


# fmt: off
SCHEMES = table(
    Scheme("delta", "an orthogonal matrix in the centre tap: orthogonal under any padding that keeps the image",
           "weights.kernels.delta:delta_kernel", central=True),
    Scheme("eco", "orthogonal at each frequency: so where the image's side divides dilation times size",
           "weights.kernels.eco:eco_kernel", "nets.layers.eco_conv:ECOConv2d", ("stride",),
           circular=True, sampled=True),
    Scheme("soc", "the exponential of a skew-symmetric convolution, as a larger kernel of --terms terms",
           "weights.kernels.soc:soc_kernel", "nets.layers.soc_conv:SOCConv2d", ("terms",), circular=True, grows=True),
    Scheme("normal", "independent normal values of variance 1/(d k^2)", "weights.kernels.baselines:random_kernel",
           law=True),
    Scheme("uniform", "independent uniform values of variance 1/(d k^2)", "weights.kernels.baselines:random_kernel",
           law=True),
)
# fmt: on
SIZED_SCHEMES = {name: row for name, row in SCHEMES.items() if not row.grows}


class Pruning(Row):
    """One way to choose the weights that stay: the largest of a `score`, or the places of a `mask`.

    Both are homes of what takes a weight (m, n, ...) and gives (m, n), the mask also of how many units are to stay.
    Scores that are compared `together` are not negative.
    """

    score: str = ""
    mask: str = ""
    takes: tuple[str, ...] = ()  # the options of `mask` besides seed and layer
    together: bool = False  # scores of all weights are compared
    by_degree: bool = False  # `mask` takes the row degree of an SAO mask


_MAGNITUDE = "pruning.scores.magnitude:unit_magnitudes"
PRUNING = table(
    Pruning("lmp", "the largest magnitudes of each weight", _MAGNITUDE),
    Pruning("gmp", "the largest magnitudes of all weights together", _MAGNITUDE, together=True),
    Pruning("lrp", "random places", mask="pruning.scores.random_places:random_places"),
    Pruning(
        "sao",
        "the SAO mask that keeps most of the squared norm, of the nearest feasible degree",
        mask="pruning.scores.nearest_sao:nearest_sao_mask",
        takes=("groups", "progress"),
        by_degree=True,
    ),
    Pruning(
        "nm",
        "the N largest magnitudes of each M consecutive inputs of a row, as --pattern 2:4 says",
        mask="pruning.scores.largest_of_groups:largest_of_groups",
        takes=("pattern",),
    ),
)
PATTERN = "2:4"  # of method nm, unless another is told: what sparse tensor cores of GPUs read


class TrainMethod(Row):
    """One way to get a sparse network that is trained: made by a method, or dense and pruned by a `rule` of PRUNING."""

    trains: tuple[str, ...]  # the architectures that have it
    rule: str = ""
    scored: bool = False  # pruned by SCORES or DENSITIES of its name, over all layers together
    dense: bool = False  # begins as a dense network, whose initial weights may be of any law
    after: bool = False  # pruned when it is trained, and then finetuned for as long

    @property
    def before(self) -> bool:
        """Whether it is pruned before it is trained."""
        return self.scored or bool(self.rule and not self.after)

    @property
    def prunes(self) -> bool:
        """Whether it makes a dense network sparse."""
        return self.scored or bool(self.rule)


class Score(Row):
    """One way to tell how much each weight matters before training: of what it gives, the largest are kept."""

    home: str  # "module:function" that scores a torch module
    chain: str = ""  # of what scores a chain of matrices without torch
    data: bool = True  # reads labelled samples
    temperature: float = 1.0  # that its logits are divided by
    rounds: int = 0  # of what is dropped little by little; 0 where all is at once
    kernels: bool = True  # has a score of whole 2-D kernels
    drawn: bool = False  # is of random numbers


_SENSITIVITY, _FLOW = "nets.scores.connection_sensitivity", "nets.scores.gradient_flow"
SCORES = table(
    Score("snip", "|w dL/dw|: what the loss loses at once (Lee et al. 2019)", f"{_SENSITIVITY}:snip"),
    Score("grasp", "w * Hg: what the gradient's norm gains (Wang et al. 2020)", f"{_FLOW}:grasp", temperature=200.0),
    Score("grasp-abs", "|w * Hg| (Frankle et al. 2021)", f"{_FLOW}:grasp_abs", temperature=200.0),
    Score("synflow", "each weight's share of all paths (Tanaka et al. 2020)", "nets.scores.synaptic_flow:synflow",
          "pruning.scores.chain_flow:chain_synflow", data=False, rounds=100, kernels=False),
    Score("itersnip", "snip, again after each of its rounds", "nets.scores.foresight:iter_snip", rounds=60,
          kernels=False),
    Score("force", "snip in rounds, whose weights can return (de Jorge et al. 2021)", "nets.scores.foresight:force",
          rounds=60, kernels=False),
    Score("magnitude", "|w|", "nets.scores.data_free:magnitude", "pruning.scores.plain:magnitude_scores", data=False),
    Score("random", "a random number each", "nets.scores.data_free:random", "pruning.scores.plain:random_scores",
          data=False, drawn=True),
)  # fmt: skip
LABELS = table(
    Row("true", "those of the data"),
    Row("uniform", "all classes alike, which needs none"),
    Row("prediction", "the entropy of what the network predicts"),
    Row("argmax", "the class that the network predicts"),
    Row("random", "uniformly random ones"),
    Row("logits", "none: the sum of all that the network gives"),
)
UNITS = table(Row("weight", "every number by itself"), Row("kernel", "a whole 2-D kernel as one"))


class Density(Row):
    """How dense each layer is made, without a score; `home` takes shapes and a sparsity."""

    home: str
    kernels: bool = False  # is of networks of convolutions alone


_DENSITY = "pruning.densities"
DENSITIES = table(
    Density("erk", "p_l = sum(shape)/prod(shape), as far as that is below 1", f"{_DENSITY}:erk_densities"),
    Density("er", "p_l = (m + n)/(m n), as far as that is below 1", f"{_DENSITY}:er_densities"),
    Density("igq", "1/(1 + F N): the ideal gas quotas", f"{_DENSITY}:ideal_gas_densities"),
    Density(
        "smart-ratio",
        "0.3 of matrices; kernel l of L by (L - l + 1)^2 + L - l + 1 (Su et al. 2020)",
        f"{_DENSITY}:smart_ratio_densities",
        kernels=True,
    ),
    Density("uniform", "all layers alike", f"{_DENSITY}:uniform_densities"),
)
SCORED: dict[str, Row] = {**SCORES, **DENSITIES}  # of which exactly kappa of all weights stay
PRUNE_METHODS: dict[str, Row] = {**PRUNING, **SCORED}
WITHIN = table(Row("random", "random places of a layer"), Row("magnitude", "its largest weights"))
CONTROLS = table(
    Row("shuffle", "the mask's ones at random places of their layers"),
    Row("fresh", "the weights drawn anew, under the same mask"),
    Row("invert", "the lowest scores are kept"),
)

_WHEN = {"s": (False, "before training"), "t": (True, "after training, and finetuned")}
TRAIN_METHODS = table(
    *(TrainMethod(row.name, row.line, row.trains, dense=row.full) for row in METHODS.values() if row.trains),
    *(
        TrainMethod(f"{row.name}-{suffix}", f"{row.line}, {when}", _VANILLA, row.name, dense=True, after=after)
        for row in PRUNING.values()
        for suffix, (after, when) in _WHEN.items()
        if not row.by_degree  # an SAO mask is built, and not pruned to
    ),
    *(TrainMethod(row.name, row.line, _VANILLA, scored=True, dense=True) for row in SCORES.values()),
    *(
        TrainMethod(row.name, row.line, _OF_KERNELS if row.kernels else _VANILLA, scored=True, dense=True)
        for row in DENSITIES.values()
    ),
)
# Magnitudes and random places before training are one method, in a layer as in a network that is trained.
BEFORE_TRAINING = {row.name: f"{row.name}-s" for row in PRUNING.values() if not row.by_degree}


class Init(Row):
    """The law of all weights of a dense network."""

    takes_gamma: bool = False  # its variance is told


INITS = table(
    Init("vs-l", "independent and normal, of variance 1/fan_in (LeCun et al. 1998)"),
    Init("vs-g", "independent and normal, of variance 2/(fan_in + fan_out) (Glorot and Bengio 2010)"),
    Init("vs-h", "independent and normal, of variance 2/fan_in (He et al. 2015)"),
    Init("orthogonal", "Haar orthogonal; of a convolution in its centre tap (Xiao et al. 2018)"),
    Init("normal", "independent and normal, of the variance --init-gamma in every layer", takes_gamma=True),
)


ENSEMBLES = table(
    Row("gaussian", "independent and normal, of variance sigma_w^2/d over the d inputs that an output reads"),
    Row("orthogonal", "sigma_w times a Haar orthogonal matrix, or times Haar blocks on an SAO mask"),
)


class Architecture(Row):
    """A network that is trained: of SAO, with its least sizes there, or one whose `widths` are its own."""

    home: str
    depth: int = 0
    width: int = 0
    widths: tuple[int, ...] = ()  # neurons, or channels, of its hidden layers, where no option sizes them
    image: int = 0  # the side of the images that it reads, where they are no vectors
    sized_by: str = "width"  # what its construction calls the width
    fixed: bool = False  # its activation, its gain and its schemes are its own
    blocks: bool = False  # its SAO layers may hold their blocks alone
    enlarges: bool = False  # reads digits with each pixel 3 x 3


# fmt: off
ARCHITECTURES = table(
    Architecture("fnn", "fully connected (SAO, Table 1)", "nets.networks.fnn:FNN", 50, 256, blocks=True),
    Architecture("cnn", "the vanilla CNN (SAO, section III-D.1)", "nets.networks.cnn:CNN", 32, 32, image=32,
                 blocks=True),
    Architecture("lipconvnet", "LipConvNet, orthogonal and of MaxMin (SAO, Table 4)",
                 "nets.networks.lipconvnet:LipConvNet", 5, 32, image=24, sized_by="base", fixed=True, enlarges=True),
    Architecture("lenet300", "LeNet-300-100, fully connected (LeCun et al. 1998)", "nets.networks.fnn:FNN",
                 widths=(300, 100), blocks=True),
    Architecture("lenet5", "LeNet-5 as Caffe has it: two convolutions of 5 x 5, max pooling, 500 neurons",
                 "nets.networks.lenet5:LeNet5", widths=(20, 50, 500), image=28, enlarges=True),
)
# fmt: on
SIZED_ARCHITECTURES = {name: row for name, row in ARCHITECTURES.items() if row.depth}


class Form(Row):
    """How a CNN goes on from its N convolutions."""

    pooled: bool = False  # by an average over the image, and not by two convolutions more


FORMS = table(
    Form("cifar10", "average pooling", pooled=True),
    Form("cinic10", "two more convolutions of stride 2, flattened"),
    Form("cifar100", "two more convolutions of stride 2, flattened"),
)


class DataSet(Row):
    """Labelled images to train on."""

    home: str  # of what reads them from a folder; of those that are bundled, what makes them by a seed
    place: str = ""  # the folder within the user's that an archive, or torchvision, has them in
    archive: str = ""  # the one to fetch
    pickled: str = ""  # the folder of the version that only torchvision reads
    bundled: bool = False  # comes with scikit-learn, and is smaller than any of the paper's
    vision: str = ""  # its class in torchvision.datasets, which can fetch it
    form: str = "cifar10"  # of the paper's CNN for it
    augmented: bool = False  # with the convolutional networks (SAO, section III-D.1)


_IDX, _CIFAR = "io.datasets.idx:read_mnist", "io.datasets.cifar:read_cifar"
DATA = table(
    DataSet("digits", "scikit-learn's 1,797 images of 8 x 8", "io.datasets.bundled:digits", bundled=True),
    DataSet("mnist", "70,000 digits of 28 x 28", _IDX, "MNIST/raw", vision="MNIST"),
    DataSet("fashion-mnist", "70,000 garments of 28 x 28", _IDX, "FashionMNIST/raw", vision="FashionMNIST"),
    DataSet(
        *("cifar10", "60,000 coloured images of 32 x 32, in 10 classes", f"{_CIFAR}10", "cifar-10-batches-bin"),
        *("cifar-10-binary.tar.gz", "cifar-10-batches-py"),
        vision="CIFAR10",
        augmented=True,
    ),
    DataSet(
        *("cifar100", "60,000 coloured images of 32 x 32, in 100 classes", f"{_CIFAR}100", "cifar-100-binary"),
        *("cifar-100-binary.tar.gz", "cifar-100-python"),
        vision="CIFAR100",
        form="cifar100",
        augmented=True,
    ),
    DataSet(
        *("cinic10", "270,000 coloured images of 32 x 32, in 10 classes", "nets.training.vision:class_folders"),
        form="cinic10",
        augmented=True,
    ),
)


class Activation(Row):
    """A function that follows a layer, elementwise."""

    homogeneous: bool = False  # phi(a h) = a phi(h) for a > 0
    takes: tuple[str, ...] = ()  # the numbers, besides its name, that say which function it is
    odd: bool = False  # phi(-h) = -phi(h)


ACTIVATIONS = table(
    Activation("linear", "h", homogeneous=True, odd=True),
    Activation("tanh", "the hyperbolic tangent", odd=True),
    Activation("relu", "max(h, 0)", homogeneous=True),
    Activation("leaky-relu", "h above 0, and 0.01 h below", homogeneous=True),
    Activation("silu", "h times its sigmoid"),
    Activation("gelu", "h Phi(h), by the error function"),
    Activation("selu", "1.05 h above 0, and 1.76 (e^h - 1) below"),
    Activation("softplus", "log(1 + e^h)"),
    Activation("erf", "the error function", odd=True),
    Activation("hard-tanh", "h from -1 to 1, and -1 or 1 beyond", odd=True),
    Activation("sigmoid", "1 / (1 + e^-h)"),
    Activation("relu-tau", "max(h - tau, 0)", takes=("tau",)),
    Activation("soft-threshold", "sign(h) max(|h| - tau, 0)", takes=("tau",), odd=True),
    Activation("crelu", "h - tau from 0 to clip, not torch's concatenated one", takes=("tau", "clip")),
    Activation("cst", "sign(h) times |h| - tau from 0 to clip", takes=("tau", "clip"), odd=True),
)
PLAIN_ACTIVATIONS = {name: row for name, row in ACTIVATIONS.items() if not row.takes}


class Precision(Row):
    """A type of numbers in which weights are kept."""

    bits: int  # of its fraction: 2^-bits is its eps
    computes: bool = False  # `sao train` and `sao jacobian` can compute in it


DTYPES = table(
    Precision("float64", "double precision", 52, computes=True),
    Precision("float32", "single precision", 23, computes=True),
    Precision("float16", "half precision", 10),
    Precision("bfloat16", "half precision with single's range", 7),
)
COMPUTED = {name: row for name, row in DTYPES.items() if row.computes}

DEVICES = table(
    Row("auto", "a GPU where there is one, else the CPU"),
    Row("cpu", "the processor"),
    Row("cuda", "the first GPU, or cuda:N"),
    Row("mps", "the GPU of a Mac"),
)

ARRANGEMENTS = table(
    Row("random", "each row and column in a uniformly random group"),
    Row("minimal", "a generalised de Bruijn digraph: a stack connects all at the least depth"),
)
LAYERS = table(
    Row("masked", "dense weights under a mask, of any method"), Row("blocks", "the weights of an SAO layer alone")
)
SCHEDULES = table(
    Row("steps", "times --decay at each of the --milestones"), Row("cosine", "half a cosine wave, down to 0")
)
FUSE_RULES = table(
    Row("svd", "both vectors become multiples of their first singular vector: the least error"),
    Row("paper", "the longer vector becomes a multiple of the shorter, as in training"),
)
OPTIMIZERS = table(Row("sgd", "stochastic gradient descent with --momentum"), Row("adam", "Adam (Kingma and Ba 2015)"))
CRITERIA = table(
    Row("paper", "of the distinct eigenvalues of the mask"),
    Row("standard", "of all eigenvalues, and the mask is connected"),
)
REFERENCES = table(
    Row("dense", "a Haar orthogonal layer of the same shape, times --gain"),
    Row("marchenko-pastur", "the law of independent entries of the layer's variance"),
    Row("none", "nothing"),
)
PADDINGS = table(
    Row("circular", "as if the image were repeated"),
    Row("zeros", "as many zeros before as after"),
    Row("same", "TensorFlow's zeros"),
    Row("valid", "none"),
    Row("reflect", "the image mirrored, without its edge"),
)
NORMS = table(
    Row("unit", "a norm passes each unit to itself; its mean and variance count as constants"),
    Row("strict", "a norm lets each unit read its whole group"),
)
PATH_MATRICES = table(Row("boolean", "whether there is a path"), Row("f2", "whether there is an odd number of them"))
DEPTH_PICTURES = table(Row("depth", "mean and variance against depth"), Row("histogram", "histograms of log10 sigma"))
SCORE_PICTURES = table(Row("layers", "shares of the scores by layer"), Row("scores", "histograms of log10 |score|"))
PRUNE_PICTURES = table(
    Row("layers", "sparsity by layer, and the effective one"),
    Row("inputs", "the first layer's mask summed over its outputs, as an image of the inputs"),
    Row("classes", "the same of all samples' scores, and of each class's alone"),
    Row("masks", "each layer's mask"),
    Row("scores", "histograms of log10 |score|"),
)
CRITICALITY_PICTURES = table(
    Row("map", "V(q) - q with its fixed points, and the cobweb of five chains"),
    Row("phase", "the plane of sigma_b and sigma_w: the edge of chaos, and where there are several fixed points"),
    Row("slope", "V'(q*) at the edge of chaos against the clip"),
    Row("depth", "quantiles of q and of the activation sparsity by depth: of chains, and of one network"),
    Row("correlation", "1 - c by depth, with its law"),
)
RANK_PICTURES = table(
    Row("cosines", "how |cos| of pairs of columns, and of rows, are spread, and those of random directions"),
    Row("values", "singular values by layer, and tau"),
    Row("errors", "what fusing changes W by, and what it saves, against --tau-cos"),
)
TRAINING_PICTURES = table(
    Row("learning", "accuracy and loss by epoch, of the training and of the test images"),
    Row("jacobian", "the singular values of the network's Jacobian, at the epochs of --jacobian-at"),
    Row("sizes", "of --rare: rows and columns of each layer's W' by epoch, and where some were fused"),
    Row("accuracy", "of --rare: test accuracy against the share of the trained numbers that was fused away"),
)
VALUE_PICTURES = table(Row("density", "the distributions"), Row("cdf", "their CDFs with the KS distance"))
SHELLS = table(
    Row("bash", 'eval "$(sao completion bash)" in ~/.bashrc'),
    Row("zsh", 'eval "$(sao completion zsh)" in ~/.zshrc, after compinit'),
    Row("fish", "sao completion fish | source, in ~/.config/fish/config.fish"),
)
