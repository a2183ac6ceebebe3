"""The core as Verilog: converted by Amaranth and Yosys, headed by its ports, and made readable."""

from __future__ import annotations

import re
import textwrap
import warnings
from collections.abc import Iterator

from amaranth.back import rtlil, verilog
from amaranth.hdl import UnusedElaboratable, Value
from amaranth.lib.data import StructLayout
from amaranth.lib.wiring import Flow

from ..compiler.ir.errors import SpikefabError
from ..compiler.ir.memory_map import MemoryMap
from .core import Core
from .emit import event_layout, output_layout
from .primitives import Target
from .readable import readable

WIDTH = 100
OLDEST_YOSYS = (0, 40)


def core_verilog(map: MemoryMap, target: Target = "generic") -> str:
    """The Verilog of a core; its top module is `core`. Raises SpikefabError without a Yosys."""
    core = Core(map, target)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnusedElaboratable)
        text = rtlil.convert(core, name="core", emit_src=False)
    return _header(core) + readable(_converted(text))


def _converted(text: str) -> str:
    """Yosys' Verilog of RTLIL. Zeros in memories are left out: they would be a line per word."""
    contents = re.findall(r"^  cell \$meminit_v2 (?:.*\n)*?  +connect \\DATA (.*)", text, re.M)
    assert not any("1" in bits.split("'")[1] for bits in contents), "a memory begins with zeros"
    script = f"""read_rtlil <<end_of_rtlil
{text}
end_of_rtlil
delete t:$meminit_v2
proc -nomux -norom
memory_collect
write_verilog -norename -noattr
"""
    try:
        yosys = verilog.find_yosys(lambda version: version >= OLDEST_YOSYS)
        # It warns of the processes that it keeps, which are those that Verilog can say.
        converted: str = yosys.run(["-q", "-"], script, ignore_warnings=True)
    except verilog.YosysError as fault:
        raise SpikefabError(
            "no Verilog", "Yosys", str(fault).splitlines()[-1], "pip install 'spikefab[rtl]'"
        ) from None
    # A simulator need not run `always @*` before something changes, and what is constant stays
    # unknown then. Yosys has them all watch a variable that never changes: let it, once.
    watched = r"\\\$auto\$verilog_backend\S+ *"
    converted = re.sub(f"reg {watched}= 0;", "reg at_start;\n  initial at_start <= 0;", converted)
    return re.sub(watched, "at_start", converted)


def plain(name: str) -> str:
    """A name as one line of ASCII."""
    return name.encode("unicode_escape").decode()


# The header.

MEANING = {
    "clk": "clock; all is on its rising edge",
    "rst": "one clock with it resets what controls, and no memory",
    "memory__address": "address of a 16-bit access to a memory",
    "memory__write": "write",
    "memory__read": "read",
    "memory__write_data": "what to write",
    "memory__ready": "whether an access is taken in this clock; only between ticks",
    "memory__read_data": "what was read",
    "memory__read_valid": "high in the clock in which what was read is there",
    "digest": "CRC-32 of what the tick before updated",
    "events__payload": "an event for the next tick: ",
    "events__valid": "whether there is one",
    "events__ready": "whether it is taken in this clock; only between ticks",
    "start": "one clock with it, while idle, runs a tick",
    "idle": "whether the core is between ticks",
    "output__payload": "what comes out: ",
    "output__valid": "whether there is something",
    "output__ready": "whether it is taken in this clock; the core waits",
    "phase": "0 idle, 1 deliver, 2 update, 3 emit, 4 learn (the rest is for tests)",
    "counting": "whether this clock counts",
    "retired__write": "Deliver writes an accumulator, by lane",
    "retired__place": "where: delay slot and accumulator word, by lane",
    "retired__sum": "the sum, by lane",
    "stored": "Update writes a neuron",
    "stored_neuron": "which",
    "stored_state": "its state",
    "stored_value": "its spike count or value",
}


def _header(core: Core) -> str:
    """A comment: ports, sizes, models."""
    map = core.map
    lines = [
        f"One core of chip '{plain(map.chip.name)}', written by Spikefab.",
        "",
        "Ports",
        *_table([("port", "direction", "bits", "meaning"), *_ports(core)]),
        "",
        "In output__payload, kind 0 is a neuron, with its spike count, or its value in two's",
        f"complement of {map.value_bits} bits; kind 1, 2 or 3 is how many clocks deliver, update",
        "or emit took, and 3 ends the tick.",
        "",
        f"Target: {core.target}",
        "",
        "Sizes",
        *_table([(k, str(v)) for k, v in map.chip.to_json().items()
                 if k not in ("name", "models", "rules", "cores")]),
        "",
        "Models, with what takes the fields of the memories 'state' and 'parameters'",
    ]  # fmt: skip
    for n, model in enumerate(map.models):
        lines += textwrap.wrap(f"{n}  {plain(model.identity)}", WIDTH - 4, subsequent_indent="   ")
        for prefix, variables in (("s", model.state), ("p", model.parameters)):
            for k, (name, (lo, hi)) in enumerate(sorted(variables.items())):
                lines.append(f"   {prefix}{k}  {plain(name)}, {lo} to {hi}")
    if map.rules:
        lines += ["", "Learning rules; where one reports kind 2 again, that is what learn took"]
        lines += [f"{n}  {plain(rule.identity)}" for n, rule in enumerate(map.rules)]
    return "".join(f"// {line}".rstrip() + "\n" for line in lines) + "\n"


def _ports(core: Core) -> Iterator[tuple[str, str, str, str]]:
    """(name, direction, bits, meaning) of every port."""
    layouts = {
        "events__payload": event_layout(core.map),
        "output__payload": output_layout(core.map),
    }
    for name in ("clk", "rst"):
        yield name, "input", "1", MEANING[name]
    for path, member, value in core.signature.flatten(core):
        name = "__".join(str(part) for part in path)
        fields = _fields(layouts[name]) if name in layouts else ""
        direction = "input" if member.flow == Flow.In else "output"
        yield name, direction, str(len(Value.cast(value))), MEANING[name] + fields


def _fields(layout: StructLayout) -> str:
    return ", ".join(
        f"{name} [{field.offset + field.width - 1}:{field.offset}]" for name, field in layout
    )


def _table(rows: list[tuple[str, ...]]) -> list[str]:
    widths = [max(len(row[n]) for row in rows) for n in range(len(rows[0]) - 1)]
    return [
        "  " + "  ".join([*(c.ljust(w) for c, w in zip(row, widths, strict=False)), row[-1]])
        for row in rows
    ]
