"""One BLAS thread for what is small, and the caller's own number after it."""

import os
import subprocess
import sys

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from sao_cli.base.threads import SMALL, one_thread


def counts():
    return [library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"]


def test_small_work_takes_one_thread_and_large_work_all():
    assert np.linalg.det(np.eye(2)) == 1  # the library is loaded
    with threadpool_limits(2, user_api="blas"):
        before = counts()
        with one_thread():
            assert min(counts()) == 1
        assert counts() == before
        with one_thread(SMALL + 1):
            assert counts() == before


LATE = """
import numpy, threadpoolctl
from sao_cli.base.threads import one_thread

def counts():
    return {one["num_threads"] for one in threadpoolctl.threadpool_info() if one["user_api"] == "blas"}

def libraries():
    return len(threadpoolctl.threadpool_info())

threadpoolctl.threadpool_limits(2)
before = libraries()
with one_thread():
    FIRST
    assert counts() == {1}
assert counts() == {2}, counts()
SECOND
with one_thread():
    assert counts() == {1}, counts()
assert counts() == {2}
assert libraries() > before
"""


@pytest.mark.parametrize("inside", [True, False])
def test_a_library_that_is_loaded_late_has_one_thread_too(inside):
    load = "import scipy.linalg"
    first, second = (load, "") if inside else ("pass", load + "; threadpoolctl.threadpool_limits(2)")
    code = LATE.replace("FIRST", first).replace("SECOND", second)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_of_several_threads_inside_the_last_to_leave_gives_back():
    first, second, environment = one_thread(), one_thread(), dict(os.environ)
    with threadpool_limits(2, user_api="blas"):
        first.__enter__()
        second.__enter__()
        first.__exit__(None, None, None)
        assert set(counts()) == {1}
        second.__exit__(None, None, None)
        assert set(counts()) == {2}
    assert dict(os.environ) == environment


ASKED_ELSEWHERE = """
import threading, numpy, threadpoolctl
from sao_cli.base.threads import one_thread, single_threaded

def counts():
    return {one["num_threads"] for one in threadpoolctl.threadpool_info() if one["user_api"] == "blas"}

def elsewhere():
    with CONTEXT():
        assert counts() == {1}, counts()
    done.set()
    ended.wait()

threadpoolctl.threadpool_limits(2)
done, ended = threading.Event(), threading.Event()
thread = threading.Thread(target=elsewhere)
thread.start()
assert done.wait(60)
try:
    assert counts() == {2}, counts()
    with CONTEXT():
        assert counts() == {1}, counts()
    assert counts() == {2}, counts()
    with threadpoolctl.threadpool_limits(1):
        assert counts() == {1}, counts()
finally:
    ended.set()
"""


@pytest.mark.parametrize("context", ["one_thread", "single_threaded"])
def test_a_thread_that_asked_before_and_lives_takes_it_from_no_other(context):
    code = ASKED_ELSEWHERE.replace("CONTEXT", context)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
