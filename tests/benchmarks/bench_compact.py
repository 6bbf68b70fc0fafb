"""Forward passes of pruned layers as compact_ leaves them, beside the dense layer with its zeros written in.

python tests/benchmarks/bench_compact.py    half a minute
"""

import side_by_side  # before torch: it sets the thread counts

# isort: split
import torch
from torch import nn

from sao_cli.nets import compact_, sparsify

BATCH = 256


def main() -> None:
    torch.set_num_threads(1)
    print("| layer | method | sparsity | becomes | ms | of the dense one's time |\n|---|---|---|---|---|---|")
    for width in (256, 1024, 4096):
        for method in ("sao", "ramanujan", "lmp"):
            for sparsity in (0.5, 0.9, 0.98):
                model = nn.Sequential(nn.Linear(8, width), nn.Linear(width, width), nn.Linear(width, 8))
                sparsify(model, method, sparsity=sparsity)
                row = next(row for row in compact_(model, torch.randn(BATCH, 8)) if row.name == "1")
                assert row.seconds is not None
                assert row.new_seconds is not None
                ratio = row.new_seconds / row.seconds
                became = row.replaced_by or "stays"
                what = f"{width} | {method} | {row.sparsity:.4g} | {became}"
                print(f"| {what} | {row.new_seconds * 1e3:.3g} | {ratio:.3f} |", flush=True)


if __name__ == "__main__":
    assert side_by_side
    main()
