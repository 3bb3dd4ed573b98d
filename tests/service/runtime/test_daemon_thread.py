"""Work in a daemon thread settles for whoever waits for it, however it ends."""

import asyncio

import pytest

from service.runtime.daemon_thread import in_daemon_thread


class _Panic(BaseException):
    """What libraries in Rust raise when they give up."""


def _panic() -> None:
    raise _Panic("index out of bounds")


def _fail() -> None:
    raise ValueError("no")


def test_results_and_errors_come_back() -> None:
    assert asyncio.run(in_daemon_thread("test", lambda: 1)) == 1
    with pytest.raises(ValueError, match="no"):
        asyncio.run(in_daemon_thread("test", _fail))


def test_a_panic_comes_back_as_an_error() -> None:
    with pytest.raises(RuntimeError, match="_Panic: index out of bounds"):
        asyncio.run(asyncio.wait_for(in_daemon_thread("test", _panic), 5))
