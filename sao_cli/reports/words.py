"""What `sao explain` knows besides the reports: kinds of names of the catalog, verdicts, and words of the field."""

from collections.abc import Mapping

from sao_cli import catalog
from sao_cli.base.names import Row, table

THEORY = (  # the headings of docs/theory.md, which no installation has
    "A mask and its graph",
    "The SAO mask",
    "Eigenvalue conditions, two readings",
    "How lambda_2 is computed, and what makes it a verdict",
    "Ramanujan masks",
    "The other masks",
    "Reachability",
    "Weights",
    "The spectrum of one layer",
    "The Kolmogorov-Smirnov test",
    "The Jacobian of a deep network",
    "Convolutions",
    "Checkpoints: audit, prune, repair",
    "Training",
    "Networks as they ran",
    "Pruning at initialisation",
    "The edge of chaos",
    "Redundancy in the rank of weights",
)


class Word(Row):
    """A word whose meaning docs/theory.md tells in a section."""

    theory: int = 0


VERDICTS = table(
    Word("trainable", "nothing stands against training a network of that depth from there", 17),
    Word("stable", "a variance q near the fixed point comes back to it: |V'(q)| < 1", 17),
    Word("unstable", "V'(q*) > 1, so that the variance of signals moves away from q*", 17),
    Word("half-stable", "V'(q*) = 1 and V''(q*) is not 0: on one side of q* the variance runs away", 17),
    Word("neutral", "V'(q) = 1 and V''(q) = 0: every variance nearby stays where it is", 17),
    Word(
        "several-fixed-points", "there are others besides q*, and too many networks of the width leave q* for one", 17
    ),
    Word("ordered", "chi_1 < 1: two inputs grow alike, layer by layer, and gradients vanish", 17),
    Word("chaotic", "chi_1 > 1: inputs that are nearly equal grow apart, and gradients explode", 17),
    Word("critical", "chi_1 = 1, the edge of chaos: small differences neither grow nor vanish", 17),
    Word("too-sparse", "more hidden outputs are 0 than in any network that was trained: a risk, and no theorem", 17),
    Word("reproduced", "the paper's number lies within the spread found here, on its data and at its scale"),
    Word("refuted", "what is exact, or is said of all networks, is otherwise here"),
    Word("not reproduced", "the paper's number is outside of the spread, or of other data or another scale"),
    Word("not run", "what it takes is not there; the reason says what"),
    Word("same", "equal number by number, and in its network where that is known", 13),
    Word("changed", "of the same shape, and other numbers or facts", 13),
    Word("reshaped", "of another shape; the facts are compared all the same", 13),
    Word("only before", "the later checkpoint has no tensor of that name", 13),
    Word("only after", "the earlier checkpoint has no tensor of that name", 13),
    Word("bound", "an error that is never exceeded, but for a chance that is told", 9),
    Word("estimate", "an error that is only likely to hold", 9),
    Word("floor", "the search for isometry is at the least residual that the mask's structural rank allows", 8),
    Word("slow", "the search for isometry stopped: a step gained less than 2 %", 8),
    Word("drift", "the search for isometry stopped: it would have emptied the mask", 8),
    Word("steps", "the search for isometry stopped: it had taken all of its steps", 8),
    Word("fine", "an installation has it, and it works"),
    Word("note", "worth knowing of an installation, and no fault"),
    Word("missing", "an installation lacks it, and only some tasks need it"),
    Word("broken", "an installation lacks it, or it fails, and sao needs it"),
    Word("worse", "repaired values would have been worse than those that were there, which stay", 13),
)
WORDS = table(
    Word("mask", "which weights of a layer are there: a 0/1 matrix M of shape (m, n), outputs by inputs", 1),
    Word("component", "a part of a mask's graph in which everything is joined; a dead node is one", 1),
    Word("expander", "a sparse graph that is connected well: its lambda_2 is far below lambda_1", 3),
    Word("ramanujan graph", "a connected one whose lambda_2 is at most sqrt(c-1) + sqrt(d-1), about the least", 3),
    Word("dynamical isometry", "all singular values of the input-output Jacobian are near 1, so that signals and "
         "gradients keep their lengths through any depth", 11),
    Word("jacobian", "of a network: J = D_L W_L ... D_1 W_1, D_l the diagonal of phi'(h_l)", 11),
    Word("singular values", "by what factors a layer stretches orthogonal directions; always in descending order", 9),
    Word("stack", "the layers of a network, first layer first", 7),
    Word("chain", "layers each of which reads what the one before gives", 13),
    Word("kernel", "the weight of a convolution, of shape (c_out, c_in/groups, k, k)", 12),
    Word("tap", "one place of a kernel: a (c_out, c_in/groups) matrix", 12),
    Word("gain", "a factor on every weight matrix of a network", 8),
    Word("score", "a number for each weight, of which pruning keeps the largest", 16),
    Word("collapse", "a layer of which pruning leaves nothing, so that no signal passes", 16),
    Word("path", "kept weights that lead from an input of a network to an output", 15),
    Word("dead input", "an input that no output reads: a column of zeros", 1),
    Word("dead output", "an output that reads no input: a row of zeros", 1),
    Word("activation sparsity", "the share of hidden outputs that are exactly 0; never that of weights", 17),
    Word("edge of chaos", "chi_1 = 1: where a deep network begins, so that signals neither die nor explode", 17),
    Word("ks test", "the two-sample Kolmogorov-Smirnov test: the largest gap D of two distribution functions, and how "
         "likely so large a one is for samples of one law", 10),
)  # fmt: skip


class Topic(Row):
    """A kind of names: what one of them is called, which there are, the option that takes one, sections of theory."""

    one: str
    names: Mapping[str, Row]
    option: str = ""
    theory: tuple[int, ...] = ()


TOPICS = table(
    Topic("words", "words of the field", "word", WORDS),
    Topic("verdicts", "what a report finds, in a word", "verdict", VERDICTS),
    Topic("methods", "ways to make a layer", "method", catalog.METHODS, "--method", (6, 8)),
    Topic("values", "what numbers stand on a mask", "values", catalog.VALUES, "--values", (8,)),
    Topic("schemes", "ways to put values into a convolution's kernel", "scheme", catalog.SCHEMES, "--scheme", (12,)),
    Topic("prunings", "ways to choose the weights that stay", "pruning", catalog.PRUNING, "--method", (13,)),
    Topic("scores", "how much each weight matters before training", "score", catalog.SCORES, "--method", (16,)),
    Topic("densities", "how dense each layer is made", "density", catalog.DENSITIES, "--method", (16,)),
    Topic("trainings", "sparse networks that are trained", "training", catalog.TRAIN_METHODS, "--method", (14,)),
    Topic("inits", "laws of a dense network's weights", "init", catalog.INITS, "--init", (16,)),
    Topic("activations", "functions after a layer", "activation", catalog.ACTIVATIONS, "--activation", (9, 17)),
    Topic("architectures", "networks that are trained", "architecture", catalog.ARCHITECTURES, "--arch", (14,)),
    Topic("data", "labelled images to train on", "data", catalog.DATA, "--data", (14,)),
    Topic("criteria", "eigenvalue conditions", "criterion", catalog.CRITERIA, "--criterion", (3,)),
    Topic("references", "what a spectrum is compared with", "reference", catalog.REFERENCES, "--reference", (9, 10)),
    Topic("arrangements", "which nodes of an SAO mask are in a group", "arrangement", catalog.ARRANGEMENTS,
          "--arrangement", (7,)),
    Topic("paddings", "what a convolution reads beyond an image", "padding", catalog.PADDINGS, "--padding", (12,)),
    Topic("norms", "what the norms of a module pass", "norms", catalog.NORMS, "--norms", (15,)),
    Topic("labels", "what scores take for the labels", "labels", catalog.LABELS, "--labels", (16,)),
    Topic("controls", "pruning gone wrong on purpose", "control", catalog.CONTROLS, "--control", (16,)),
    Topic("ensembles", "laws of a network at the edge of chaos", "ensemble", catalog.ENSEMBLES, "--weights", (17,)),
    Topic("fuse rules", "what two parallel vectors become", "rule", catalog.FUSE_RULES, "--rule", (18,)),
    Topic("dtypes", "types of numbers", "dtype", catalog.DTYPES, "--round-to", (8,)),
)  # fmt: skip
