"""The core as Verilog."""

from __future__ import annotations

import re
import warnings

from amaranth.back import verilog
from amaranth.hdl import UnusedElaboratable

from ..compiler.ir.memory_map import MemoryMap
from .core import Core
from .primitives import Target


def core_verilog(map: MemoryMap, target: Target = "generic") -> str:
    """The Verilog of a core; its top module is `core`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnusedElaboratable)
        text: str = verilog.convert(Core(map, target), name="core", strip_internal_attrs=True)
    # A simulator need not run `always @*` before something changes, and what is constant stays
    # unknown then. Yosys has them all watch a variable that never changes: let it, once.
    return re.sub(r"reg (\\\$auto\$verilog_backend\S+)\s+= 0;", r"reg \1 ; initial \1 <= 0;", text)
