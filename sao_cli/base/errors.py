"""Errors that name the value, the rule and the way out; every one of them is the user's to mend (exit code 2)."""

from collections.abc import Iterable


class SaoError(Exception):
    """Something is wrong with what was asked or given; its text is one line for a person."""


class InfeasibleError(SaoError, ValueError):
    """Sizes, degrees or densities that no mask can have; the text names the nearest that one can."""


class FormatError(SaoError, ValueError):
    """Input that is not what it should be: no matrix, a truncated one, indices out of range."""


class FileError(SaoError, OSError):
    """A file or stream that can't be read or written."""


class MemoryLimitError(SaoError, MemoryError):
    """A result that would not fit in memory; raised before anything is allocated."""


class DeadlineError(SaoError):
    """A process that did not converge within its stated number of steps."""


class ExecutorError(SaoError):
    """Work that could not be done where it was sent: a scheduler that is gone, a worker of another version."""


class LostJobError(ExecutorError):
    """A job whose worker died, and died again wherever it was tried anew."""


def unknown_name(kind: str, name: str, known: Iterable[str]) -> str:
    """The text for a name that is none of `known`: the nearest one, and all there are."""
    import difflib  # only now: most commands name what there is

    known = list(known)
    near = difflib.get_close_matches(str(name), known, 1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return f"{kind} {name!r}; {hint}there are: {', '.join(known)}"


class SaoWarning(UserWarning):
    """Something was mended or is worth knowing, and the work went on; the command line says it on stderr."""
