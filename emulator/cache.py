"""Generated kernels on disk: a module per content hash, compiled once and kept."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import sys
import tempfile
from pathlib import Path
from types import ModuleType

import numba
import platformdirs


def cache_folder() -> Path:
    """Where kernels are kept: SPIKEFAB_CACHE, or the user's cache folder, or a temporary one."""
    wished = os.environ.get("SPIKEFAB_CACHE") or platformdirs.user_cache_dir("spikefab")
    folder = Path(wished) / "kernels"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError:
        return Path(tempfile.mkdtemp(prefix="spikefab-kernels-"))


def generated_module(source: str) -> ModuleType:
    """The module of `source`, imported by path; its machine code is kept between processes."""
    versions = f"{numba.__version__} {sys.version}"
    name = "kernel_" + hashlib.sha256(f"{versions}\n{source}".encode()).hexdigest()[:24]
    if name in sys.modules:
        return sys.modules[name]
    folder = cache_folder()
    path = folder / f"{name}.py"
    if not path.exists() or path.read_text() != source:
        with tempfile.NamedTemporaryFile("w", dir=folder, delete=False) as stream:
            stream.write(source)
        os.replace(stream.name, path)
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module
