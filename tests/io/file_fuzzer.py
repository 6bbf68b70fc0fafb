"""Files of every format, damaged in every way: what the commands do with them. Run by hand for more:

python tests/io/file_fuzzer.py FIRST_SEED COUNT
"""

import gzip
import io
import json
import re
import resource
import sys
import tempfile
import time
import warnings
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np
import scipy.sparse
import torch
from click.testing import CliRunner

from sao_cli.cli import main
from sao_cli.data.kernel import Kernel
from sao_cli.data.mask import Mask
from sao_cli.data.matrix import Matrix
from sao_cli.data.precision import rounded
from sao_cli.io import write_weights
from sao_cli.io.checkpoints import write_checkpoint
from sao_cli.masks.sao import sao_mask

ROOM = 3 << 29  # bytes that all may take, besides what is taken when it begins
CONTROLS = re.compile(rb"[\x00-\x08\x0b-\x1f\x7f]|\xc2[\x80-\x9f]")
COMMANDS = ["audit", "spectrum", "verify", "prune", "reach", "weights"]
OPTIONS = {  # so that a whole file of its kind gets through, where the command reads the kind at all
    ("spectrum", "kernel"): ["--image", "6"],
    ("spectrum", "network"): ["--tensor", "0.weight"],
    ("verify", "network"): ["--tensor", "conv.weight"],
    ("reach", "network"): ["--tensor", "0.weight"],
}


def arguments(number, kind, path, output):
    """The command line for a case: the commands in turn, once as JSON and once as a table."""
    command = COMMANDS[number % len(COMMANDS)]
    options = [*OPTIONS.get((command, kind), [])]
    if command == "prune":
        options += ["--all", "--sparsity", "0.5", "-o", str(output)]
    if number // len(COMMANDS) % 2:
        options += ["--table"]
    return [command, str(path), *options]


def sources():
    """Whole files: (suffix, kind, bytes) each, small enough that a command takes some milliseconds."""
    rng = np.random.default_rng(0)
    mask = sao_mask(6, 8, 4, seed=1)
    matrix = Matrix(mask, rounded(rng.standard_normal(mask.nnz), "bfloat16"), "bfloat16")
    kernel = Kernel.from_dense(rng.standard_normal((3, 2, 3, 3)).astype(np.float32))
    other = Matrix(Mask.from_dense(rng.random((5, 6)) < 0.6), None)
    for suffix, weights in [
        (".mtx", [mask_of(mask)]), (".mtx", [matrix, other]), (".mtx.gz", [matrix, other]), (".npz", [matrix]),
        (".npz", [kernel]), (".npy", [mask_of(mask)]), (".npy", [kernel]), (".safetensors", [matrix, other]),
        (".safetensors", [kernel]), (".pt", [matrix, other]),
    ]:  # fmt: skip
        with tempfile.NamedTemporaryFile(suffix=suffix) as file:
            write_weights(weights, file.name)
            yield suffix, "kernel" if weights == [kernel] else "matrix", Path(file.name).read_bytes()
    torch.manual_seed(0)
    dense = matrix.to_dense()
    yield ".mtx", "matrix", b"%%MatrixMarket matrix array real general\n2 3\n1.5\n-2\n3e-1\n4\n5\n6\n"
    yield ".mtx", "matrix", b"%%MatrixMarket matrix coordinate real symmetric\n3 3 4\n1 1 1.5\n2 1 -2\n3 2 4\n3 3 2\n"
    for layout in ("csc", "coo", "bsr", "dia"):
        yield ".npz", "matrix", written(scipy.sparse.save_npz, scipy.sparse.csr_array(dense).asformat(layout))
    coo = {"coords": np.array(np.nonzero(dense)), "data": dense[dense != 0], "shape": np.array(dense.shape)}
    yield ".npz", "matrix", written(np.savez, fill_value=np.float64(0), **coo)
    yield (
        ".npz",
        "network",
        written(np.savez_compressed, **{"0.weight": dense, "1.weight": dense.T, "1.bias": np.ones(8)}),
    )
    network = {"0.weight": torch.randn(8, 6), "0.bias": torch.zeros(8), "1.weight": torch.randn(5, 8).bfloat16()}
    network |= {"conv.weight": torch.randn(4, 3, 3, 3), "bn.running_mean": torch.zeros(4), "step": torch.tensor(3)}
    sparse = torch.from_numpy(dense)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        layouts = [sparse.to_sparse(), sparse.to_sparse_csr(), sparse.to_sparse_csc(), sparse.to_sparse_bsr((2, 2))]
        layouts.append(sparse.to_sparse_bsc((3, 4)))
    for tensors in (network, *({"w": layout} for layout in layouts)):
        yield (
            ".pt",
            "network" if tensors is network else "matrix",
            written(lambda file, it: torch.save(it, file), tensors),
        )
    yield (
        ".pt",
        "network",
        written(lambda file, it: torch.save(it, file, _use_new_zipfile_serialization=False), network),
    )
    with tempfile.NamedTemporaryFile(suffix=".safetensors") as file:
        write_checkpoint({name: tensor for name, tensor in network.items() if name != "step"}, file.name, {"a": "b"})
        yield ".safetensors", "network", Path(file.name).read_bytes()
    index = {"metadata": {"total_size": 1}, "weight_map": {"a.weight": "shard.safetensors", "b.weight": "none.bin"}}
    yield ".index.json", "matrix", json.dumps(index).encode()


def mask_of(mask):
    return Matrix(mask, None)


def saved(tensors, **options):
    buffer = io.BytesIO()
    torch.save(tensors, buffer, **options)
    return buffer.getvalue()


def written(save, *values, **named):
    buffer = io.BytesIO()
    save(buffer, *values, **named)
    return buffer.getvalue()


# damage: each takes bytes and gives others


def cut(content, rng):
    return content[: rng.integers(len(content) + 1)]


def flipped(content, rng):
    found = bytearray(content)
    for place in rng.integers(len(found), size=rng.integers(1, 5)):
        found[place] = rng.integers(256)
    return bytes(found)


def one_bit(content, rng):
    found = bytearray(content)
    found[rng.integers(len(found))] ^= 1 << int(rng.integers(8))
    return bytes(found)


def removed(content, rng):
    start, end = np.sort(rng.integers(len(content) + 1, size=2))
    return content[:start] + content[min(end, start + 40) :]


def repeated(content, rng):
    start, end = np.sort(rng.integers(len(content) + 1, size=2))
    return content[:end] + content[start:]


def swapped(content, rng):
    a, b, c = np.sort(rng.integers(len(content) + 1, size=3))
    return content[:a] + content[b:c] + content[a:b] + content[c:]


NUMBERS = b"0 -1 1 7 99 65536 4294967296 99999999999999999999 1e400 nan [] {}".split()
TEXTS = [b"\x1b[31m", b"\\u001b]0;title\\u0007", b"\xc2\x9b31m", b"\r\n", b"\0", b"\\ud800", b"\xff"]
TEXTS += [b'%sao {"method": "\\u001b[2J", "scheme": "\\u009b31m"}\n']


def renumbered(content, rng):
    """One number, as text, is another."""
    places = list(re.finditer(rb"\d+", content[:4000]))
    if not places:
        return flipped(content, rng)
    place = places[rng.integers(len(places))]
    return content[: place.start()] + NUMBERS[rng.integers(len(NUMBERS))] + content[place.end() :]


def inserted(content, rng):
    place = rng.integers(min(len(content), 600) + 1)
    return content[:place] + TEXTS[rng.integers(len(TEXTS))] + content[place:]


def extreme(content, rng):
    """Four or eight bytes in a row are an extreme number."""
    width = int(rng.choice([4, 8]))
    number = int(rng.choice([-1, 0, 1, 5, 2**31 - 1, -(2**31)] if width == 4 else [-1, 2**62, -(2**63)]))
    place = int(rng.integers(max(len(content) - width, 0) + 1))
    return content[:place] + number.to_bytes(width, "little", signed=True) + content[place + width :]


PLAIN = [cut, flipped, one_bit, removed, repeated, swapped, renumbered, inserted, extreme]


def damaged(content, rng):
    """The file, damaged: its bytes, or what is packed in it, whose wrapping is whole then."""
    change = PLAIN[rng.integers(len(PLAIN))]
    inner = rng.random() < 0.6
    if inner and content.startswith(b"PK"):
        return in_records(content, rng, change)
    if inner and content.startswith(b"\x1f\x8b"):
        return gzip.compress(change(gzip.decompress(content), rng), 1)
    return change(content, rng)


def in_records(content, rng, change):
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        records = {name: archive.read(name) for name in archive.namelist()}
    names = list(records)
    one, two = (names[place] for place in rng.integers(len(names), size=2))
    kind = rng.random()
    if kind < 0.2:
        records[one], records[two] = records[two], records[one]
    elif kind < 0.25:
        del records[one]
    elif records[one]:
        records[one] = change(records[one], rng)
    compression = zipfile.ZIP_DEFLATED if rng.random() < 0.3 else zipfile.ZIP_STORED
    buffer = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(buffer, "w", compression) as archive:
        warnings.simplefilter("ignore")
        for name, record in records.items():
            archive.writestr(name, record)
    return buffer.getvalue()


def run(first, count, folder):
    """Run COUNT damaged files by the commands in turn; returns codes by suffix, what was wrong, and the slowest."""
    whole = list(sources())
    runner = CliRunner()
    (folder / "shard.safetensors").write_bytes(
        next(content for suffix, _, content in whole if suffix == ".safetensors")
    )
    codes, wrong, slowest = Counter(), [], (0.0, 0)
    for seed in range(first, first + count):
        rng = np.random.default_rng(seed)
        suffix, kind, content = whole[seed % len(whole)]
        path = folder / f"file{suffix}"
        path.write_bytes(damaged(content, rng))
        start = time.process_time()
        command = arguments(seed // len(whole), kind, path, folder / "out.safetensors")
        done = runner.invoke(main, command)
        slowest = max(slowest, (time.process_time() - start, seed))
        codes[suffix, done.exit_code] += 1
        said = done.stdout_bytes + done.stderr_bytes
        if done.exit_code not in (0, 1, 2) or b"Traceback" in said or CONTROLS.search(said):
            wrong.append(f"seed {seed}: {' '.join(command)}: {done.exit_code} {said[-800:]!r}")
        elif done.exit_code == 2 and len(done.stderr_bytes.splitlines()) < 1:
            wrong.append(f"seed {seed}: {' '.join(command)}: nothing was said")
    return codes, wrong, slowest


def peak():
    """Bytes that this process held at most; what getrusage tells counts whoever started it too."""
    return 1024 * int(re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[1])


def main_by_hand(first, count):
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + ROOM,) * 2)
    with tempfile.TemporaryDirectory() as folder:
        codes, wrong, slowest = run(first, count, Path(folder))
    for line in wrong[:40]:
        sys.stdout.write(f"{line}\n")
    told = {
        "codes": {f"{suffix} {code}": times for (suffix, code), times in sorted(codes.items())},
        "wrong": len(wrong),
        "slowest": slowest,  # seconds, and the seed
        "peak": peak(),
    }
    sys.stdout.write(f"{json.dumps(told)}\n")


if __name__ == "__main__":
    main_by_hand(*map(int, sys.argv[1:3]))
