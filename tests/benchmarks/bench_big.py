"""`sao audit` of a checkpoint in the shape of a 7-billion-parameter network: two of its blocks measured, all projected.

python tests/benchmarks/bench_big.py                two blocks, made on the spot: 0.8 GB (half an hour)
python tests/benchmarks/bench_big.py --fast-only    without the exact audits (a few minutes)
python tests/benchmarks/bench_big.py --shrink 8     sides of an eighth: whether it runs

A block has q, k, v, o of 4096 x 4096, gate and up of 11008 x 4096, down of 4096 x 11008 and two norms; there are 32,
an embedding and a head of 32000 x 4096, all of Gaussian numbers in bfloat16, a block in a shard with an index. Times of
single tensors are processor seconds of a whole process, less those of one of a tensor of 8 x 8; what a cluster takes is
computed from them, as `projection` says.
"""

import contextlib
import heapq
import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import side_by_side as bench  # before numpy: it sets the number of BLAS threads

# isort: split
import numpy as np
from bench_jobs import Run, cluster, measured

BLOCKS, MEASURED = 32, 2
FAST_GOAL, JOBS_GOAL, MEMORY_GOAL = 0.1, 0.7, 800.0
HAND_OUT = 0.0035  # seconds in which a client of Dask hands out a job and takes its row in (bench_sweep.py)
DISK = 1e9  # bytes a second that a shared disk gives to all workers together: an assumption
WHERE = {"one core": 1, "--jobs 2": 2, "a cluster of 32 cores": 32}
PIECE = 2**22

Shapes = dict[str, tuple[int, ...]]


def block_shapes(block: int, shrink: int) -> Shapes:
    width, inner = 4096 // shrink, 11008 // shrink
    shapes: Shapes = {f"self_attn.{part}_proj.weight": (width, width) for part in "qkvo"}
    shapes |= {f"mlp.{part}_proj.weight": (inner, width) for part in ("gate", "up")}
    shapes |= {"mlp.down_proj.weight": (width, inner)}
    shapes |= {f"{part}_layernorm.weight": (width,) for part in ("input", "post_attention")}
    return {f"model.layers.{block}.{name}": shape for name, shape in shapes.items()}


def write_shard(path: Path, shapes: Shapes, seed: int = 0) -> int:
    """A safetensors file of Gaussian numbers in bfloat16, written piece by piece; how many bytes its tensors have."""
    header, end = {}, 0
    for name, shape in shapes.items():
        size = 2 * int(np.prod(shape))
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [end, end := end + size]}
    told = json.dumps(header).encode()
    told += b" " * (-len(told) % 8)
    rng = np.random.default_rng(seed)
    with path.open("wb") as file:
        file.write(len(told).to_bytes(8, "little") + told)
        for shape in shapes.values():
            left = int(np.prod(shape))
            while left:
                numbers = rng.standard_normal(min(left, PIECE), dtype=np.float32) / np.float32(np.sqrt(shape[-1]))
                file.write((numbers.view(np.uint32) >> 16).astype(np.uint16).tobytes())  # bfloat16 is its first half
                left -= len(numbers)
    return end


def checkpoint(folder: Path, shrink: int) -> None:
    """Some of the blocks, a shard each, and the index that names them."""
    folder.mkdir()
    places, total = {}, 0
    for block in range(MEASURED):
        shard = f"model-{block + 1:05}-of-{MEASURED:05}.safetensors"
        shapes = block_shapes(block, shrink)
        total += write_shard(folder / shard, shapes, block)
        places |= dict.fromkeys(shapes, shard)
    told = {"metadata": {"total_size": total}, "weight_map": places}
    (folder / "model.safetensors.index.json").write_text(json.dumps(told))


def seconds_of_tensors(folder: Path, fast: list[str], shrink: int) -> dict[tuple[int, ...], float]:
    """Processor seconds that each shape adds to a process, by (m, n); (0, 0) is the process's own."""
    big, inner, words = 4096 // shrink, 11008 // shrink, 32000 // shrink
    taken = {}
    for shape in ((8, 8), (big, big), (inner, big), (big, inner), (words, big)):
        write_shard(path := folder / "one.safetensors", {"one.weight": shape})
        taken[shape] = measured(["audit", str(path), *fast], []).longest
        path.unlink()
    start = taken.pop((8, 8))
    return {(0, 0): start, **{shape: max(one - start, 0.01) for shape, one in taken.items()}}


def works(shrink: int, blocks: int) -> Iterator[tuple[int, ...]]:
    """The shapes of the matrices of so many blocks."""
    for block in range(blocks):
        yield from (shape for shape in block_shapes(block, shrink).values() if len(shape) == 2)


def scheduled(seconds: list[float], workers: int) -> float:
    """When the last of some jobs ends, each handed to the worker that is free first, the longest first."""
    ends = [0.0] * workers
    for one in sorted(seconds, reverse=True):
        heapq.heapreplace(ends, ends[0] + one)
    return max(ends)


def projection(taken: dict[tuple[int, ...], float], shrink: int) -> None:
    """What all blocks, the embedding (with --include) and the head take, and what bounds it.

    Assumed: every core as fast as this one, and free; memory's traffic not in each other's way; the longest first, as
    `sao audit` hands them out; a start of a process before the first; HAND_OUT a job, one after another; DISK.
    """
    shapes = [*works(shrink, BLOCKS), *[(32000 // shrink, 4096 // shrink)] * 2]
    seconds, size = [taken[shape] for shape in shapes], 2.0 * sum(m * n for m, n in shapes)
    print(f"  all {BLOCKS} blocks, embedding and head: {len(shapes)} matrices, {size / 1e9:.1f} GB; projected")
    for where, workers in WHERE.items():
        work = taken[0, 0] * (1 if workers == 1 else 2) + scheduled(seconds, workers)
        bounds = {"the sums": work, "reading at 1 GB/s": size / DISK}
        bounds |= {"handing out": HAND_OUT * len(shapes)} if workers > 2 else {}
        told = ", ".join(f"{name} {value:.0f} s" for name, value in bounds.items())
        least = sum(seconds) / workers
        bound = max(bounds, key=lambda name: bounds[name])
        print(
            f"    {where}: {max(bounds.values()):.0f} s, bound by {bound} ({told}; even shares {least:.0f} s, ", end=""
        )
        print(f"the longest tensor {max(seconds):.1f} s)", flush=True)


def two_blocks(model: Path, address: str, workers: list[int], fast: list[str]) -> dict[str, Run]:
    """Each place in turn; the same bytes of all."""
    places = {"one core": ([], []), "--jobs 2": (["--jobs", "2"], [])}
    places |= {"Dask, 2 workers": (["--cluster", address], workers)}
    runs = {}
    for place, (options, beside) in places.items():
        runs[place] = one = measured(["audit", str(model), *fast, *options], beside)
        told = f"{one.wall:.1f} s, longest way {one.longest:.1f} s of a processor, {one.peak:.0f} MB over all processes"
        print(f"  {MEASURED} blocks, {place}: {told}", flush=True)
    assert len({one.printed for one in runs.values()}) == 1
    rows = [json.loads(line) for line in runs["one core"].printed.splitlines()]
    assert sum("sigma_max" in row and row.get("sigma_max") is not None for row in rows) == 7 * MEASURED
    assert {row["exact"] for row in rows if row.get("sigma_max") is not None} == {not fast}
    return runs


def main() -> None:
    shrink = int(sys.argv[sys.argv.index("--shrink") + 1]) if "--shrink" in sys.argv else 1
    ways: dict[str, list[str]] = {"--fast": ["--fast"]} if shrink == 1 else {}
    ways |= {} if "--fast-only" in sys.argv else {"exact": []}
    found = {}
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        model = Path(name) / "model"
        checkpoint(model, shrink)
        address, processes = cluster(Path(name))
        stack.callback(lambda: [process.kill() for process in processes])
        for way, fast in ways.items():
            print(way, flush=True)
            runs = found[way] = two_blocks(model, address, [one.pid for one in processes[1:]], fast)
            bench.print_ratio("  --jobs 2 / one core", runs["--jobs 2"].longest, runs["one core"].longest, JOBS_GOAL)
            bench.print_ratio("  peak of all processes / goal", runs["--jobs 2"].peak, MEMORY_GOAL, 1, unit="MB")
            taken = seconds_of_tensors(Path(name), fast, shrink)
            told = ", ".join(f"{m} x {n} {seconds:.2f}" for (m, n), seconds in taken.items() if m)
            print(f"  processor seconds of a tensor: {told}; of a process {taken[0, 0]:.2f}", flush=True)
            expected = taken[0, 0] + sum(taken[shape] for shape in works(shrink, MEASURED))
            bench.print_ratio("  one core, as projected / measured", expected, runs["one core"].longest)
            projection(taken, shrink)
    if len(found) == len(("--fast", "exact")):
        fast, exact = (found[way]["one core"].longest for way in ("--fast", "exact"))
        bench.print_ratio("audit --fast / audit, two blocks on one core, processor time", fast, exact, FAST_GOAL)


if __name__ == "__main__":
    main()
