"""Sparse neural networks: build masks and weights, verify eigenvalue conditions, reachability and isometry.

What is asked most, by topics; help(sao_cli.expansion) tells one of them, dir(sao_cli) and docs/python.md have all:

    masks        sao_mask, ramanujan_mask, biregular_mask, two_stage_mask, mask_stack, plan
    weights      sao_weight, dense_weight, weight_stack, isometry, repair, build_kernel
    measures     expansion, reachability, spectrum, kernel_spectrum, singular_values, ks_test, criticality, ranks
    checkpoints  audit_checkpoint, prune_checkpoint, repair_checkpoint, reduce_checkpoint, rank_checkpoint, read_stack
    modules      audit_model, Network, load_network, module_spectra; nets has torch's layers, initialisers, training
    comparing    compare, compare_checkpoints, sweep, paper_entries
    files        read_masks, write_masks, read_weights, write_weights, open_checkpoint, write_checkpoint
    help         explain, topics, doctor

Reports have fields, to_dict(), and in lists to_frame(). The names are told in __init__.pyi and load on first use
(PEP 562), so that a command pays only for what it needs.
"""

from typing import Any

from sao_cli.base.lazy import lazy_names
from sao_cli.data.coercion import register_reader

__version__ = "0.1.0"

__getattr__, __dir__ = lazy_names(__name__, __file__)


def _read_path(path: str) -> list[Any]:
    from sao_cli.io.reading import read_weights

    return list(read_weights(path))


register_reader(_read_path)
