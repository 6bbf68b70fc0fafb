"""`sao audit` as a whole process, beside bare SVDs of the same matrices and beside WeightWatcher, and its memory.

python tests/benchmarks/bench_audit.py            the weights of a sentence encoder in shape (about a minute)
python tests/benchmarks/bench_audit.py --memory   and a file of 2 GB, made on the spot (some minutes more)
python tests/benchmarks/bench_audit.py --large    one of 4096 x 4096 in float32, one of 11008 x 4096 in bfloat16, alone
"""

import importlib.util
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import side_by_side as bench  # before numpy: it sets the number of BLAS threads

# isort: split
import numpy as np
from bench_big import write_shard
from safetensors.numpy import save_file

LAYERS = 6
REPEATS = 5
SVD_GOAL, WEIGHTWATCHER_GOAL, MEMORY_GOAL = 2.5, 0.2, 600.0
LARGE_GOAL, FAST_GOAL = 0.5, 0.1
LARGE = {  # name: shape, and the goal for the peak of memory in MB
    "float32": ((4096, 4096), 300.0),
    "bfloat16": ((11008, 4096), 420.0),
}

NOTES = """
A large matrix is one Gram matrix and its eigenvalues, n^2 m and 4/3 n^3 multiplications and additions, in float64,
since singular values are told to float64's digits of the largest. Both stages run at nearly the rate of BLAS's products
(symmetric ones of 48 columns at four fifths of it); the second, from a band of 48 to three diagonals, is 6 n^2 48
operations that wait for memory. Wider bands cost more there than they gain before, and narrower ones the other way
round. At the rate of products alone Gram matrix and reduction would come to about half of LAPACK's whole time, before
the file is read and hashed and the process has started, which is why half of the whole process is not reached.
`--fast` takes 64 products with the matrix, each a pass over it, as much as reading and hashing the file.
"""

AUDIT = [sys.executable, "-m", "sao_cli", "audit"]
PEAK = """
from sao_cli.cli import main
try:
    main(["audit", {path!r}, "--json", "-q", "-o", {output!r}, *{options!r}])
except SystemExit as end:
    assert not end.code
"""
ONE_STAGE = """
from sao_cli.measure.values import two_stages
two_stages.LARGE = 10**9  # numpy's product and eigvalsh of the whole Gram matrix, in the same process otherwise
"""
WEIGHTWATCHER = """
import weightwatcher
import torch
from safetensors.torch import load_file
state = load_file({path!r})
model = torch.nn.Module()
for name, weight in state.items():
    layer = torch.nn.Linear(weight.shape[1], weight.shape[0], bias=False)
    layer.weight.data = weight
    model.add_module(name.replace(".", "_"), layer)
details = weightwatcher.WeightWatcher(model=model).analyze()
assert len(details) == len(state)
"""


def encoder_weights() -> dict[str, np.ndarray]:
    """37 float32 matrices of 384 x 384 to 1536 x 384, with tails: Gaussian, and a decaying spectrum on top of it."""
    rng = np.random.default_rng(0)
    shapes = {"pooler.weight": (384, 384)}
    for layer in range(LAYERS):
        for part in ("query", "key", "value", "output"):
            shapes[f"layer.{layer}.attention.{part}.weight"] = (384, 384)
        shapes[f"layer.{layer}.intermediate.weight"] = (1536, 384)
        shapes[f"layer.{layer}.output.weight"] = (384, 1536)
    return {name: _with_tail(rng, *shape) for name, shape in shapes.items()}


def _with_tail(rng: np.random.Generator, m: int, n: int, rank: int = 40) -> np.ndarray:
    spikes = rng.standard_normal((m, rank)) @ (rng.standard_normal((rank, n)) / np.arange(1, rank + 1)[:, None])
    return ((rng.standard_normal((m, n)) + spikes / 4) / np.sqrt(n)).astype(np.float32)


def audit(path: Path, *options: str) -> list[dict]:
    done = subprocess.run([*AUDIT, str(path), "--json", "-q", *options], check=True, stdout=subprocess.PIPE, text=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def audit_against_svds(path: Path, weights: dict[str, np.ndarray]) -> None:
    """The whole process against the SVDs alone, which are handed their matrices."""
    found = {row["name"]: row for row in audit(path) if "name" in row}
    gap = max(_disagreement(found[name], weight) for name, weight in weights.items())
    print(f"{len(weights)} matrices: sigma_max and sigma_min within {gap:.2g} sigma_max of numpy's float64 SVD")
    calls = [lambda: audit(path), lambda: [np.linalg.svd(weight, compute_uv=False) for weight in weights.values()]]
    ours, theirs = bench.interleaved(calls, REPEATS)
    bench.print_ratio("sao audit, whole process / numpy svd, float32", ours, theirs, SVD_GOAL)


def _disagreement(row: dict, weight: np.ndarray) -> float:
    values = np.linalg.svd(weight.astype(np.float64), compute_uv=False)
    return max(abs(row["sigma_max"] - values[0]), abs(row["sigma_min"] - values[-1])) / values[0]


def audit_against_weightwatcher(path: Path) -> None:
    """Both as whole processes: import, load, analyze. WeightWatcher fits power laws, as --heavy-tail does."""
    if importlib.util.find_spec("weightwatcher") is None:
        print("weightwatcher is not installed (pip install 'sao-cli[bench]'): not compared")
        return
    command = [sys.executable, "-c", WEIGHTWATCHER.format(path=str(path))]

    def weightwatcher() -> None:
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def heavy_tail() -> None:
        audit(path, "--heavy-tail")

    plain, heavy, theirs = bench.interleaved([lambda: audit(path), heavy_tail, weightwatcher], 2)
    bench.print_ratio("sao audit / weightwatcher, whole processes", plain, theirs, WEIGHTWATCHER_GOAL)
    bench.print_ratio("sao audit --heavy-tail / weightwatcher, whole processes", heavy, theirs)


def large(folder: Path) -> None:
    """One large matrix in a process, beside the same with numpy's eigvalsh, with --fast, and beside WeightWatcher."""
    for dtype, (shape, memory_goal) in LARGE.items():
        write_one(path := folder / f"{dtype}.safetensors", dtype, shape)
        told = {"path": str(path), "output": str(folder / "rows.json")}
        exact, fast = (PEAK.format(**told, options=options) for options in ([], ["--fast"]))
        codes = {"audit": exact, "with numpy's eigvalsh": ONE_STAGE + exact, "--fast": fast}
        if dtype == "float32" and importlib.util.find_spec("weightwatcher") is not None:
            codes["weightwatcher"] = WEIGHTWATCHER.format(path=str(path))
        runs: dict[str, list[tuple[float, float]]] = {name: [] for name in codes}
        for turn in range(REPEATS):
            for name, code in codes.items():
                if name != "weightwatcher" or turn < 2:
                    runs[name].append(bench.process_cost(code, talks=name != "weightwatcher"))
        seconds, peaks = ({name: statistics.median(one) for name, one in side.items()} for side in _sides(runs))
        job = f"sao audit of one {shape[0]} x {shape[1]} {dtype}, whole process"
        for other, goal in (("with numpy's eigvalsh", LARGE_GOAL), ("weightwatcher", WEIGHTWATCHER_GOAL)):
            if other in seconds:
                bench.print_ratio(job, seconds["audit"], seconds[other], goal, instead=other)
        bench.print_ratio(f"{job}, --fast", seconds["--fast"], seconds["audit"], FAST_GOAL, instead="without --fast")
        bench.print_value(f"{job}, peak", peaks["audit"], "MB", memory_goal)
        for name in [name for name in peaks if name != "audit"]:
            bench.print_value(f"{job}, peak {name}", peaks[name], "MB")


def _sides(runs: dict[str, list[tuple[float, float]]]) -> list[dict[str, list[float]]]:
    return [{name: [one[side] for one in each] for name, each in runs.items()} for side in range(2)]


def write_one(path: Path, dtype: str, shape: tuple[int, int]) -> None:
    if dtype == "bfloat16":
        write_shard(path, {"one.weight": shape})
    else:
        write_random(path, {"one.weight": shape})


def memory(folder: Path) -> None:
    """The peak of an audit of 2 GB: two layers of 4096, tall and wide ones, an embedding, and many of 1024 x 4096."""
    path = folder / "large.safetensors"
    shapes = {"embed_tokens.weight": (16384, 4096), "up.weight": (11008, 4096), "down.weight": (4096, 11008)}
    shapes |= {f"square.{number}.weight": (4096, 4096) for number in range(2)}
    shapes |= {f"layer.{number}.weight": (1024, 4096) for number in range(75)}
    write_random(path, shapes)
    start = time.perf_counter()
    output = folder / "rows.json"
    peak = bench.peak_memory_mb(PEAK.format(path=str(path), output=str(output), options=[]))
    rows = [json.loads(line) for line in output.read_text().splitlines()]
    assert sum(row.get("sigma_min") is not None for row in rows) == len(shapes) - 1  # all but the embedding
    print(f"{path.stat().st_size / 1e9:.3g} GB, {len(shapes)} tensors, in {time.perf_counter() - start:.0f} s")
    bench.print_ratio("peak memory / goal", peak, MEMORY_GOAL, 1, unit="MB")


def write_random(path: Path, shapes: dict[str, tuple[int, int]]) -> None:
    """A safetensors file of float32 Gaussian matrices, written row by row."""
    header, end = {}, 0
    for name, (m, n) in shapes.items():
        header[name] = {"dtype": "F32", "shape": [m, n], "data_offsets": [end, end := end + 4 * m * n]}
    told = json.dumps(header).encode()
    told += b" " * (-len(told) % 8)
    with path.open("wb") as file:
        file.write(len(told).to_bytes(8, "little") + told)
        for piece in _random_pieces(shapes):
            file.write(piece.tobytes())


def _random_pieces(shapes: dict[str, tuple[int, int]]) -> Iterator[np.ndarray]:
    rng = np.random.default_rng(0)
    for m, n in shapes.values():
        for _ in range(0, m, 256):
            yield rng.standard_normal((256, n), dtype=np.float32) / np.float32(np.sqrt(n))


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        if "--large" in sys.argv[1:]:
            large(Path(folder))
            return
        path = Path(folder) / "encoder.safetensors"
        weights = encoder_weights()
        save_file(weights, path)
        audit_against_svds(path, weights)
        audit_against_weightwatcher(path)
        if "--memory" in sys.argv[1:]:
            memory(Path(folder))


if __name__ == "__main__":
    main()
