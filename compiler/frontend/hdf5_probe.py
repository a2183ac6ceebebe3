"""Whether the HDF5 library survives a file.

A damaged file can send the C library into an endless loop or a segmentation fault, which no
exception handler sees. So a child process reads it first, all but its large arrays.
"""

from __future__ import annotations

import contextlib
import faulthandler
import os
import signal
import sys
import warnings
from typing import Any

import h5py

SECONDS = 5  # of processor time; a file's structure takes milliseconds
_WALL_SECONDS = 120
_LARGE = 1 << 20  # elements; arrays beyond are left to the parent


def harm(path: str) -> str:
    """What reading the file does to a process, in words; empty if it survives."""
    if not hasattr(os, "fork"):
        return ""
    with warnings.catch_warnings():  # of threads: the child runs none of their code
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        _read_and_exit(path)
    status = os.waitpid(child, 0)[1]
    if not os.WIFSIGNALED(status):
        return ""
    if os.WTERMSIG(status) in (signal.SIGXCPU, signal.SIGALRM, signal.SIGKILL):
        return "its structure is damaged: the HDF5 library does not come to an end with it"
    return "its structure is damaged: the HDF5 library crashes on it"


def _read_and_exit(path: str) -> None:
    with contextlib.suppress(BaseException):
        import resource

        faulthandler.disable()
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(_WALL_SECONDS)
        sys.setrecursionlimit(200)
        with h5py.File(path, "r") as stored:
            _walk(stored, set())
    os._exit(0)


def _walk(group: Any, seen: set[int]) -> None:
    for key in group:
        with contextlib.suppress(Exception):
            item = group[key]
            address = h5py.h5o.get_info(item.id).addr
            if address in seen:
                continue
            seen.add(address)
            if isinstance(item, h5py.Group):
                _walk(item, seen)
            elif item.size is not None and item.size <= _LARGE:
                item[()]
