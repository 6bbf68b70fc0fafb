"""Option sets at random over all commands: exit codes 0, 1 and 2 alone, one line of words, and nothing else on stderr.

The options are click's own lists, so that a new one is among them without a word here.

python tests/cli/test_fuzz_options.py SEED COUNT    (as many more by hand)
"""

import json
import os
import random
import re
import resource
import signal
import sys
import traceback
import unicodedata
from collections import Counter
from pathlib import Path

import click
import numpy as np
from click.testing import CliRunner

from sao_cli import sao_mask, write_masks
from sao_cli.cli import COMMANDS, main
from sao_cli.cli.shared import streams as standard_streams
from sao_cli.cli.shared import types
from sao_cli.cli.shared.paths import InputFile, Model, OutputFile, OutputFolder, Picture
from sao_cli.data.matrix import Matrix
from sao_cli.io import write_matrices
from sao_cli.io.checkpoints import write_checkpoint

PATIENCE = 30  # seconds of the processor that one option set may take
MEMORY = 3 << 30  # bytes of address space that the sets may take together, beyond what is loaded
EVIL = "\x1b]0;x\x07\x9b\u202e\x7f\n"
TEXTS = ("", "-", "nan", "-1", "0", "x" * 5000, EVIL, "a,b", "\ud800", "é", "$", "../..", "*", "[", "none", "1e999")
WHOLE = ("3", "4", "5", "7", "8", "16", "2", "1", "0", "-1")
HUGE = ("1000000000000", "9223372036854775808", "-9223372036854775809", "1" + 30 * "0", "1" + 5000 * "0")
REAL = ("0.5", "0.75", "0.9", "1", "2", "1.1", "0", "-1", "1e-320", "1e300", "nan", "inf", "-inf", "-0.0", "0x1p3")
CONDITIONS = ("sigma_min>0.1", "dead_inputs==0", "sigma_min>", "nothing<1", "ks.pvalue>=0.05", "shape==3", "name==a")
FILES = {  # by the option's type, the narrower ones first
    Model: "m.safetensors m.safetensors m.safetensors m.npz hostile.safetensors . a.mtx gone cut",
    InputFile: "a.mtx w.mtx w.mtx k.safetensors m.npz evil.mtx x.npy gone cut - .",
    Picture: "p.svg p.png p.gif m.safetensors gone/p.svg",
    OutputFolder: "run a.mtx new/run -",
    OutputFile: "o.mtx o.npz o.safetensors o.safetensors o.pt o.jsonl - a.mtx m.safetensors gone/o .",
}
RARELY = {"plot": 0.05, "picture": 0.05, "html": 0.3, "heavy_tail": 0.1}  # what takes long, or is of no use alone
RARELY |= {"title": 0.02, "plot_width": 0.02, "dpi": 0.02}  # what is refused without --plot
ENDLESS = {
    "epochs",
    "warmup",
    "repeats",
    "steps",
    "terms",
    "rounds",
}  # so many, one by one, were asked for, and are done
SMALL = {  # that what an option set does is done in milliseconds; often, and not always
    "mask": {"m": "8", "n": "8"},
    "plan": {},
    "verify": {},
    "reach": {"m": "8", "n": "8"},
    "weights": {"m": "8", "n": "8"},
    "kernel": {"c_out": "4", "c_in": "4"},
    "spectrum": {"m": "8", "n": "8"},
    "jacobian": {"depths": "3", "width": "8"},
    "criticality": {"activation": "tanh"},
    "sensitivity": {"method": "magnitude"},
    "prune": {"sparsity": "0.5", "output": "o.safetensors"},
    "reduce": {"output": "o.safetensors"},
    "repair": {"output": "o.safetensors"},
    "train": {"depth": "3", "width": "8", "epochs": "0", "jacobian_at": "none"},
}
ALWAYS = {"train": 1, "jacobian": 0.95}  # whose default networks take seconds
OF_OTHERS = {"sweep"}  # whose runs are other commands
QUICK = ("sao/table1", "sao/table2", "sao/table3", "nothing")  # items of papers that train nothing
SHARE = {
    "train": 0.25,
    "audit": 2,
    "prune": 2,
    "compare": 2,
    "reduce": 2,
    "explain": 0.3,
    "doctor": 0.2,
}  # of the sets; others have 1


def generate(command, rng):
    """The words of one command line after the command's name."""
    given = dict.fromkeys([*SMALL.get(command.name, ())], 1) if rng.random() < ALWAYS.get(command.name, 0.8) else {}
    for option in command.params:
        if isinstance(option, click.Option) and rng.random() < RARELY.get(option.name, 1.6 / len(command.params)):
            given[option.name] = 2 if rng.random() < (0.4 if option.multiple else 0.06) else 1
    words = []
    for option in command.params:
        for _ in range(given.get(option.name, 0)):
            words += spelled(command, option, rng)
        if isinstance(option, click.Argument) and rng.random() < (0.95 if option.required else 0.4):
            words += [value_of(option, rng) for _ in range(1 if option.nargs == 1 else rng.choice((1, 2, 2, 3)))]
    if rng.random() < 0.02:
        words.append(rng.choice(["--nothing", "--", "extra", EVIL, "--m", "-x"]))
    return words


def spelled(command, option, rng):
    """The option as it is written, with a value where it takes one."""
    name = rng.choice([*option.opts, *option.secondary_opts])
    if option.is_flag:
        return [name]
    small = SMALL.get(command.name, {}).get(option.name)
    value = small if small is not None and rng.random() < 0.8 else value_of(option, rng)
    return [f"{name}={value}"] if rng.random() < 0.2 and name.startswith("--") else [name, value]


def value_of(option, rng):
    """A value that the option's type and help suggest, or now and then one that they do not."""
    kind = option.type
    if rng.random() < 0.04:
        return rng.choice(TEXTS)
    if option.name == "ids":
        return rng.choice(QUICK)
    for known, values in FILES.items():
        if isinstance(kind, known):
            return rng.choice([*values.split(), *getattr(kind, "names", ())])
    if isinstance(kind, types.Named):
        return rng.choice([*kind.known, kind.also or "all", "nothing", "1"])
    if isinstance(kind, click.IntRange | type(click.INT)):
        few = option.name in ENDLESS
        return rng.choice(WHOLE[-4:] if few else WHOLE if rng.random() < 0.9 else HUGE)
    if isinstance(kind, click.FloatRange | type(click.FLOAT)):
        return rng.choice(REAL)
    if isinstance(kind, types.Sizes):
        return rng.choice(("1", "2", "3", "4", "6", "8", "4x3", "4x3x2", "0", "999999999", "same", "valid", "x"))
    if option.name == "checks":
        return rng.choice(CONDITIONS)
    words = re.findall(r"[a-z0-9][a-z0-9.*-]*", f"{option.help} {option.default}".lower())
    return rng.choice([*words, *words, *WHOLE, "8,4,2", "4x3", "layer.1", "1.weight", "fc*", "conv*=2"])


def prepare(folder):
    """Small files of every kind, whole, evil and cut."""
    os.chdir(folder)
    rng = np.random.default_rng(0)
    stack = [Matrix.from_dense(rng.normal(size=(4, 4))) for _ in range(2)]
    write_masks([sao_mask(8, 8, 2), sao_mask(8, 8, 4)], "a.mtx")
    write_matrices(stack, "w.mtx")
    evil = {"method": EVIL, "scheme": EVIL, EVIL: EVIL}
    write_matrices([Matrix.from_dense(matrix.to_dense(), evil) for matrix in stack], "evil.mtx")
    tensors = {"0.weight": rng.normal(size=(8, 4)), "1.weight": rng.normal(size=(4, 8)), "1.bias": np.zeros(4)}
    kernel = rng.normal(size=(4, 2, 3, 3)).astype(np.float32)
    write_checkpoint(tensors | {"conv.weight": kernel}, "m.safetensors")
    write_checkpoint({f"{EVIL}{name}": tensor for name, tensor in tensors.items()}, "hostile.safetensors")
    write_checkpoint({"weight": kernel}, "k.safetensors")
    np.savez("m.npz", **tensors)
    np.save("x.npy", rng.normal(size=(2, 8)))
    Path("cut").write_bytes(Path("m.safetensors").read_bytes()[:300])
    pipes = ("a.mtx", "w.mtx", "evil.mtx", "k.safetensors")
    return [b"", b"\x1b[31m", *(Path(name).read_bytes() for name in pipes)]


class HangError(BaseException):
    """An option set that takes longer than PATIENCE."""


def hang(*_):
    raise HangError


def fuzz(seed, count, folder):
    """Run so many option sets; gives back the exit codes by command, and the faults."""
    rng = random.Random(seed)
    pipes = prepare(folder)
    kept = {path.name: path.read_bytes() for path in Path().iterdir()}
    context = click.Context(main)
    commands = [main.get_command(context, name) for name in COMMANDS if name not in OF_OTHERS]
    shares = [SHARE.get(command.name, 1) for command in commands]
    codes, faults = Counter(), []
    signal.signal(signal.SIGPROF, hang)
    for number in (1, 2):  # what libraries write past Python
        os.dup2(os.open("native", os.O_WRONLY | os.O_CREAT | os.O_APPEND), number)
    for _ in range(count):
        [command] = rng.choices(commands, shares)
        words, stdin = generate(command, rng), rng.choice(pipes)
        standard_streams.has_input = rng.choice((bool, lambda: True))  # bool() is False: none
        signal.setitimer(signal.ITIMER_PROF, PATIENCE)
        try:
            done = CliRunner().invoke(main, [command.name, *words], prog_name="sao", input=stdin)
        except HangError:
            faults.append(("it hangs", [command.name, *words], traceback.format_exc()))
            continue
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
        codes[command.name, done.exit_code] += 1
        if native := Path("native").read_bytes():
            faults.append((f"a library wrote {native[:200]!r}", [command.name, *words], ""))
            os.truncate("native", 0)
        changed = [file for file, content in kept.items() if Path(file).read_bytes() != content]
        if (fault := fault_of(command.name, done, words, changed)) is not None:
            faults.append((fault, [command.name, *words], done.stderr[-1500:]))
        for file in changed:
            Path(file).write_bytes(kept[file])
    return codes, faults


def fault_of(name, done, words, changed):
    """What is wrong with how a command ended, or None."""
    judges = name == "verify" or any(word.startswith("--check") for word in words)
    if done.exit_code not in (0, 1, 2) or (done.exit_code == 1 and not judges):
        return f"exit code {done.exit_code}: {done.exception!r}"
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        return "".join(traceback.format_exception(done.exception))
    if not all(line.startswith("sao") for line in done.stderr.splitlines()) or "Traceback" in done.stderr:
        return "stderr holds more than the lines of sao"
    if done.exit_code == 2 and not done.stderr:
        return "an error without a word"
    binary = done.stdout_bytes[4:9] == b"\0\0\0\0{"  # safetensors
    if any(map(harmful, done.stderr)) or (not binary and any(map(harmful, done.stdout))):
        return "a control character"
    for line in done.stdout.splitlines() if not binary else ():
        if line.startswith("{"):
            json.loads(line, parse_constant=lambda constant: 1 / 0)
    if left := list(Path().rglob(".sao-*.part")):
        return f"left behind: {left}"
    failed = done.exit_code == 2 and name not in ("verify", "audit")  # whose reports and pages say what can't be told
    over = [file for file in changed if failed or " ".join(words).count(file) > 1]
    return f"written over: {over}" if over else None


def harmful(one):
    return one != "\n" and not one.isprintable() and unicodedata.category(one) in ("Cc", "Cf", "Cs", "Zl", "Zp")


def bounded(seed, count, folder):
    """fuzz, with the address space bounded, and stdout and stderr caught, as long as it goes on."""
    streams = [os.dup(number) for number in (1, 2)]
    before = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, before[1]))
    try:
        return fuzz(seed, count, folder)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
        for number, stream in enumerate(streams, 1):
            os.dup2(stream, number)


def test_no_option_set_ends_in_a_traceback(tmp_path, monkeypatch):
    import torch  # its address space is no command's

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(standard_streams, "has_input", standard_streams.has_input)
    codes, faults = bounded(0, 2000, tmp_path)
    assert torch is not None
    assert not faults, faults[:3]
    assert {name for name, code in codes if code == 0} == set(COMMANDS) - OF_OTHERS


if __name__ == "__main__":
    import tempfile

    import torch

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as here:
        found_codes, found_faults = bounded(int(sys.argv[1]), int(sys.argv[2]), here)
    by_code = Counter()
    for (_, code), times in found_codes.items():
        by_code[code] += times
    click.echo(f"seed {sys.argv[1]}: {dict(by_code)}; {len(found_faults)} faults; {dict(found_codes)}")
    for fault in found_faults:
        click.echo(f"{fault[0][-3000:]}\n  {fault[1]}\n  {fault[2]}")
