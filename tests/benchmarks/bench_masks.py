"""Growth of the constructions: seconds and peak memory of a fresh process, and the exponent in n.

python tests/benchmarks/bench_masks.py
"""

import itertools

import side_by_side

SIZES = {
    "sao": (1_000, 10_000, 100_000, 1_000_000),
    "ramanujan": (256, 1024, 4096),
    "biregular": (1_000, 10_000, 100_000, 1_000_000),
}
CODE = "from sao_cli import mask_stack; mask_stack([{n}, {n}], method={method!r}, d=4, seed=1)"


def main() -> None:
    for method, sizes in SIZES.items():
        print(f"\n{method} masks, d = 4\n{'n':>9} {'seconds':>9} {'peak MB':>9}")
        times = []
        for n in sizes:
            times.append(side_by_side.median_seconds(_builder(method, n), 5))
            peak = side_by_side.peak_memory_mb(CODE.format(n=n, method=method))
            print(f"{n:>9} {times[-1]:>9.4f} {peak:>9.1f}")
        print(f"exponent {side_by_side.growth_exponent(sizes, times):.2f}")


def _builder(method, n):
    """Builds with another seed each time: some seeds take more draws than others."""
    from sao_cli import mask_stack

    seeds = itertools.count()
    return lambda: mask_stack([n, n], method=method, d=4, seed=next(seeds))


if __name__ == "__main__":
    main()
