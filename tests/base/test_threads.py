"""One BLAS thread for what is small, and the caller's own number after it."""

import numpy as np
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
