"""The garbage collector rests while a program starts, works while a command does, and is nobody else's business."""

import gc
import subprocess
import sys

import pytest

from sao_cli.base import collector

TOLD = """
import gc
from sao_cli.cli import main
from sao_cli.cli.plan import plan
plan.callback = lambda **options: print(gc.isenabled(), gc.get_freeze_count() > 0)
main(["plan"])
"""


@pytest.fixture(autouse=True)
def _as_before():
    yield
    gc.unfreeze()
    gc.enable()


def test_it_works_again_when_a_command_begins_and_looks_no_more_at_what_was_there():
    done = subprocess.run([sys.executable, "-c", TOLD], capture_output=True, text=True, check=True)
    assert done.stdout == "True True\n"


def test_it_rests_until_it_is_woken():
    collector.rest()
    assert not gc.isenabled()
    collector.wake()
    assert gc.isenabled()
    assert gc.get_freeze_count() > 0


def test_of_a_program_that_collects_nothing_it_is_not_woken():
    gc.disable()
    collector.wake()
    assert not gc.isenabled()
    collector.rest()
    collector.wake()
    assert not gc.isenabled()
