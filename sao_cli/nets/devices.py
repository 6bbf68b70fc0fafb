"""Which device to compute on, in what, and with how many of its threads. Torch is loaded once it is needed."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import importlib.util
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sao_cli.base.errors import MemoryLimitError, SaoError
from sao_cli.base.memory import format_bytes, require_memory
from sao_cli.base.threads import SMALL, one_thread
from sao_cli.catalog import COMPUTED

if TYPE_CHECKING:
    import torch

DRIVERS = {"linux": "libcuda.so.1", "win32": "nvcuda.dll"}  # without which there is no CUDA device


def device_name(name: str = "auto", dtype: str = "float64") -> str:
    """What find_device(name, dtype) calls its device; "cpu" without loading torch, where that is certain.

    >>> device_name("cpu")
    'cpu'
    """
    if name == "cpu" or (name == "auto" and not _may_have_cuda()):
        return "cpu"
    return str(find_device(name, dtype))


def check_dtype(dtype: str) -> None:
    """Raise SaoError for what is neither float64 nor float32."""
    if dtype not in COMPUTED:
        raise SaoError(f"dtype {dtype!r} can't resolve a Jacobian; choose one of {', '.join(COMPUTED)}")


def computed_dtype(dtype: str) -> torch.dtype:
    """Torch's `dtype`, float64 or float32; SaoError for any other."""
    check_dtype(dtype)
    import torch

    found: torch.dtype = getattr(torch, dtype)
    return found


def find_device(name: str = "auto", dtype: str = "float64") -> torch.device:
    """The torch device called `name`; "auto" is CUDA where there is one, else the CPU.

    Raises SaoError for a name that torch does not know, for a device that is not there, and for float64 on one that
    has none (mps).

    >>> find_device("cpu")
    device(type='cpu')
    """
    import torch

    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise SaoError(f"unknown device {name!r}; there are auto, cpu, cuda, cuda:N and mps") from error
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise SaoError(f"device {name!r} is not there: torch sees {torch.cuda.device_count()} CUDA devices; use cpu")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise SaoError(f"device {name!r} is not there: torch sees no Apple GPU; use cpu")
    if device.type not in ("cpu", "cuda", "mps"):
        raise SaoError(f"unknown device {name!r}; there are auto, cpu, cuda, cuda:N and mps")
    if device.type == "mps" and dtype == "float64":
        raise SaoError("mps has no float64; use --dtype float32, or cpu")
    return device


def described_devices() -> list[tuple[str, str, str]]:
    """(name, "fine" or "note", what there is to say) of each device that torch sees: the CPU, and what else."""
    import torch

    found = [("cpu", "fine", f"{torch.get_num_threads()} threads of torch")]
    for number in range(torch.cuda.device_count()):
        one = torch.cuda.get_device_properties(number)
        found.append((f"cuda:{number}", "fine", f"{one.name}, {format_bytes(one.total_memory)}"))
    if torch.backends.mps.is_available():
        found.append(("mps", "fine", "an Apple GPU, which has no float64"))
    if len(found) == 1:
        built = f"CUDA {torch.version.cuda}" if torch.version.cuda else "the CPU alone"
        found.append(("gpu", "note", f"none that torch {torch.__version__} sees, which is built for {built}"))
    return found


def require_device_memory(device: torch.device, needed: float, what: str) -> None:
    """Raise MemoryLimitError where `needed` bytes for `what` are more than is free on the device now.

    What torch holds of a GPU's memory without using it counts as free.
    """
    if device.type != "cuda":  # an Apple GPU shares the computer's memory
        require_memory(needed, what)
        return
    kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    free = torch.cuda.mem_get_info(device)[0] + kept
    if needed > free:
        raise MemoryLimitError(f"{what} needs {format_bytes(needed)}, and {format_bytes(free)} is free on {device}")


@contextlib.contextmanager
def full_precision(side: int) -> Iterator[None]:
    """Inside it float32 products are float32's, not TF32's, and small matrices get one thread, as in one_thread(side).

    cuDNN's convolutions are TF32's by torch's default, with the 11 bits that float16 has.
    """
    import torch

    switches = _tf32_switches()
    threads, before = torch.get_num_threads(), [getattr(owner, name) for owner, name, _ in switches]
    if side <= SMALL:
        torch.set_num_threads(1)
    for owner, name, off in switches:
        setattr(owner, name, off)
    try:
        with one_thread(side):
            yield
    finally:
        torch.set_num_threads(threads)
        for (owner, name, _), value in zip(switches, before, strict=True):
            setattr(owner, name, value)


def _tf32_switches() -> list[tuple[Any, str, Any]]:
    """What allows TF32, and the value that does not; torch 2.9 has new names, and bears no mixing with the old."""
    import torch

    cuda, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    if hasattr(cuda, "fp32_precision"):
        return [(part, "fp32_precision", "ieee") for part in (cuda, cudnn.conv, cudnn.rnn)]
    return [(cuda, "allow_tf32", False), (cudnn, "allow_tf32", False)]


def _may_have_cuda() -> bool:
    """False where torch is not built for GPUs, or their driver is not there, told without loading torch."""
    if "torch" in sys.modules:
        return True
    built = _built_for()
    if built != "cuda" or sys.platform not in DRIVERS:
        return built != "cpu"
    try:
        ctypes.CDLL(DRIVERS[sys.platform])
    except OSError:
        return False
    return True


@functools.cache
def _built_for() -> str:
    """ "cpu", "cuda", or "" for what else torch may be built for, by the file in which its build says so."""
    try:
        spec = importlib.util.find_spec("torch")
        text = Path(spec.origin).with_name("version.py").read_text() if spec and spec.origin else ""
    except (OSError, ValueError):
        return ""
    told = dict(re.findall(r"^(cuda|hip)\b.*= (.+)$", text, re.MULTILINE))
    if told.get("hip") != "None" or "cuda" not in told:
        return ""
    return "cpu" if told["cuda"] == "None" else "cuda"
