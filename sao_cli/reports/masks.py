"""Reports on masks: feasible degrees, expansion, reachability."""

from typing import Generic, Never

from sao_cli.reports.report import Gap, Report, fact


class Layered(Report, theory=1):
    """What says which layer of a stack a report is on."""

    layer: int = fact("number of the layer in its stack, from 1; of reach, how many layers lead there")


class NamedLayer(Layered, theory=1):
    """A layer that may have a name of its own."""

    name: str | None = fact("name of the weight in its network; null where it has none", default=None)


class LayerSize(Report, Generic[Gap], theory=1):
    """How large a layer is."""

    m: int | Gap = fact(
        "outputs of the layer, rows of its matrix; of a convolution channels, or the rows of its map", default=None
    )
    n: int | Gap = fact(
        "inputs of the layer, columns of its matrix; of a convolution channels, or the columns of its map", default=None
    )


class MaskCounts(Report, Generic[Gap], theory=1):
    """How many ones a mask has; of a kernel's mask, each one is a whole kernel."""

    nnz: int | Gap = fact("ones of the mask, weights that are not zero", compared=True, default=None)
    sparsity: float | Gap = fact(
        "share of zeros", unit="1 - nnz/(m n), of a weight 1 - nnz/size", compared=True, default=None
    )


class MeanDegrees(Report, theory=1):
    """How many ones rows and columns have; of a kernel's mask, how many kernels."""

    c: float = fact("column degree: ones of a column, the mean", unit="nnz/n")
    d: float = fact("row degree: ones of a row, the mean", unit="nnz/m")


class NMFacts(Report, theory=1):
    """Which N:M pattern a mask has; see measure.graph.nm_groups."""

    nm: str | None = fact(
        "the sparsest N:M pattern that it has, of M = 2, 4, 8, 16, 32 that divide its inputs: at most N ones in each M "
        "consecutive inputs of a row (of a kernel that is audited, at each tap); null where none is below M:M",
        compared=True,
        default=None,
    )
    ones_of_4: int | None = fact(
        "the most ones in four consecutive inputs of a row; up to 2 it is 2:4, which sparse tensor cores read; null "
        "where 4 does not divide the inputs",
        compared=True,
        default=None,
    )


class GraphFacts(NMFacts, Generic[Gap], theory=1):
    """What a mask is as a bipartite graph of outputs and inputs; see measure.graph.expansion."""

    biregular: bool | Gap = fact("all rows have as many ones, and all columns have", compared=True, default=None)
    row_degree: tuple[int, int] | Gap = fact("least and most ones of a row", compared=True, default=None)
    column_degree: tuple[int, int] | Gap = fact("least and most ones of a column", compared=True, default=None)
    components: int | Gap = fact(
        "connected components of the graph, an isolated node being one", compared=True, default=None
    )
    connected: bool | Gap = fact("the graph has one component", compared=True, default=None)
    dead_inputs: int | Gap = fact("inputs that no output reads: columns of zeros", compared=True, default=None)
    dead_outputs: int | Gap = fact("outputs that read no input: rows of zeros", compared=True, default=None)
    lambda_2: float | Gap = fact(
        "second largest singular value of the mask, counted with multiplicity", compared=True, default=None
    )
    bound: float | None = fact(
        "Ramanujan bound; of an irregular mask, with the mean degrees", unit="sqrt(c-1) + sqrt(d-1)", default=None
    )
    ramanujan: bool | None = fact(
        "the standard condition: connected, and lambda_2 <= bound", compared=True, theory=3, default=None
    )
    ramanujan_paper: bool | None = fact(
        "the paper's condition: biregular, and lambda_2_distinct <= bound", compared=True, theory=3, default=None
    )


class Plan(
    Layered,
    record="layer",
    table="layer m n c d sparsity parameters feasible",
    spare="parameters c n m",
    theory=6,
):
    """The degrees that one layer can have, and what its method makes of what was asked: a line of `sao plan`.

    What is of the layer that is built is None where no target was given.
    """

    m: int = fact("outputs, rows; of a convolution its channels")
    n: int = fact("inputs, columns; of a convolution channels, c_in s^2 where its stride s is folded into them")
    c: int | None = fact("column degree: ones of each column; null where columns vary")
    d: int | None = fact("row degree: ones of each row; null where rows vary")
    sparsity: float | None = fact("share of zeros that the degrees achieve", unit="1 - nnz/(m n)")
    parameters: int | None = fact("weights that are kept, biases not counted")
    feasible: tuple[int, ...] = fact("every row degree that the method can have, ascending")


class ConvPlan(
    Plan,
    record="layer",
    table="layer m n c d kernel stride side scheme sparsity parameters feasible",
    theory=12,
):
    """A Plan of one convolution, whose degrees count whole 2-D kernels: a line of `sao plan --cnn` and `--lipconvnet`.

    m and n are the channels of its kernel.
    """

    kernel: tuple[int, ...] = fact("taps of a convolution along each axis")
    stride: tuple[int, ...] = fact("stride along each axis")
    side: int = fact("side of the image that comes in")
    scheme: str = fact("how a convolution treats its stride: delta; eco and soc fold it into channels")


class Expansion(
    GraphFacts[Never],
    MeanDegrees,
    MaskCounts[Never],
    LayerSize[Never],
    NamedLayer,
    record="layer",
    table="layer name m n d components lambda_1 lambda_2 lambda_2_distinct bound ramanujan ramanujan_paper holds",
    spare="m n lambda_1 d ramanujan_paper ramanujan components lambda_2",
    theory=4,
):
    """The eigenvalue conditions of one mask: a line of `sao verify`, and what `expansion` gives.

    See measure.graph.expansion. `None` stands for what can't be told, and `reason` then says why.
    """

    density: float = fact("share of ones", unit="nnz/(m n)", theory=1)
    lambda_1: float = fact("largest singular value of the mask; sqrt(c d) where it is biregular", theory=1)
    lambda_2_distinct: float = fact("second largest distinct singular value of the mask", theory=1)
    spectral_gap: float = fact("how far the two largest are apart", unit="lambda_1 - lambda_2", theory=1)
    delta_s: float | None = fact("how far lambda_2 is below its bound", unit="bound - lambda_2", theory=3)
    regularity_gap: float = fact("how far the mask is from a regular one", unit="lambda_1 - sqrt(c d)", theory=3)
    criterion: str = fact('the condition that decides, "paper", "standard" or a pattern N:M', theory=3)
    holds: bool | None = fact("the condition that decides holds", theory=3)
    error: float = fact("how far lambda_2 may be off, as error_kind says")
    error_kind: str = fact('"bound", never exceeded, or "estimate"')
    certificate: str = fact("by which routes the verdict was found")
    failure_probability: float = fact("the chance that a certificate is wrong, over its random start; 0 elsewhere")
    reason: str | None = fact("why something is null", default=None)


class Reached(Layered, Generic[Gap], theory=7):
    """Who reaches whom through the first `layer` layers."""

    inputs: int = fact("inputs of the first layer; of a Jacobian or a chain, of what it leads through")
    outputs: int = fact("outputs of the last layer")
    reachable: float = fact("share of the input-output pairs that some path joins")
    odd_paths: float | Gap = fact(
        "share of the pairs that an odd number of paths joins (over F2, even numbers cancel)", default=None
    )
    rank_f2: int | None = fact("rank over F2 of the matrix of odd paths, with --rank", default=None)
    unreached_outputs: int = fact("outputs that no input reaches")
    lost_inputs: int = fact("inputs that reach no output; with --list, the keys of ListedUnits have their numbers")
    full: bool = fact("every input reaches every output")


class ListedUnits(Report, theory=7):
    """What --list adds to a line that counts lost inputs and unreached outputs: their numbers."""

    lost_input_units: tuple[int, ...] = fact("numbers of the inputs that reach no output, from 0")
    unreached_output_units: tuple[int, ...] = fact("numbers of the outputs that no input reaches, from 0")


class Depth(
    Reached[Never],
    record="depth",
    table="layer inputs outputs reachable odd_paths rank_f2 unreached_outputs lost_inputs full",
    spare="inputs outputs odd_paths unreached_outputs",
):
    """Who reaches whom through the first `layer` layers of a stack: a line of `sao reach`, one of `reachability`."""


class ReachSummary(Report, record="summary", theory=7):
    """The last line of `sao reach`: the first full depth, and the least that the degrees allow."""

    summary: bool = fact("true: this line closes the report", default=True)
    layers: int = fact("how many layers there are")
    full_at: int | None = fact("the first depth at which every input reaches every output, in layers from 1")
    minimum_possible: int | None = fact(
        "the least depth at which one input could have reached every output, had no two paths met",
        unit="least l with c_1 ... c_l >= m_l, c the largest column degrees",
    )
