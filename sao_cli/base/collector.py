"""The garbage collector, which rests while a program starts: it would only look through modules that stay."""

import gc

_resting = False


def rest() -> None:
    """Collect nothing until `wake`, in a process of our own."""
    global _resting
    _resting = gc.isenabled()
    gc.disable()


def wake() -> None:
    """Collect as usual, where `rest` was called, and look no more at what is there already."""
    global _resting
    if _resting:
        _resting = False
        gc.freeze()
        gc.enable()


def leave() -> None:
    """Let the interpreter end without a last look at all that is there: the system takes it back."""
    gc.freeze()
