"""The virtual board: a design compiled to a native program, behind a pseudo-terminal.

The program's clock runs while bytes pass or the design's `busy` is high and a while longer, as fast
as the machine can; time on the wire is counted in clocks, and no baud rate holds.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import warnings
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from ..compiler.ir.errors import SpikefabError
from ..emulator.cache import cache_folder

if TYPE_CHECKING:
    from amaranth.hdl import Elaboratable

KINDS = ("flip", "lose", "repeat", "insert", "stall")
COMPILERS = ("g++", "clang++", "c++")
FLAGS = ("-std=c++17", "-O3", "-DNDEBUG")
OLDEST_YOSYS = (0, 40)
PATIENCE = 10.0
"""Seconds that a program is given to end."""


@dataclass(frozen=True)
class Faults:
    """Damage on the wire, in both directions; the same bytes are damaged for the same seed.

    rate: share of bytes that are damaged. kinds: in which ways, each as likely: `flip` one bit,
    `lose` the byte, `repeat` it, `insert` a random byte before it, `stall` it for up to 50,000
    clocks. power_cycle: after how many bytes to the board it loses power, once, and begins anew.
    Raises SpikefabError for other kinds and rates.
    """

    seed: int = 1
    rate: float = 0.0
    kinds: tuple[str, ...] = ("flip", "lose", "repeat", "insert")
    power_cycle: int | None = None

    def __post_init__(self) -> None:
        """Check."""
        unknown = [kind for kind in self.kinds if kind not in KINDS]
        if unknown:
            raise SpikefabError(f"kind '{unknown[0]}'", "Faults", hint=f"use {', '.join(KINDS)}")
        if not 0 <= self.rate <= 1:
            raise SpikefabError(f"rate {self.rate}", "Faults", hint="use 0 to 1")
        if not 0 <= self.seed < 1 << 63:
            raise SpikefabError(f"seed {self.seed}", "Faults", hint="use 0 to 2**63 - 1")
        if self.power_cycle is not None and self.power_cycle < 1:
            raise SpikefabError(
                f"power_cycle {self.power_cycle}", "Faults", hint="use 1 or more, or None"
            )


def build(design: Elaboratable, name: str, divisor: int, traced: bool = False) -> Path:
    """The program of a design on a board, made once and kept in the user's cache folder.

    design: has ports `rx` (In(1)) and `tx` (Out(1)), and may have `busy` (Out(1)), which says that
    it works on though no byte passes; all is clocked by `sync`. divisor: its clocks per bit.
    traced: it can write the waveform of a tick, for a design that has a `core`, and is slower.
    Raises SpikefabError without Amaranth or a C++ compiler, and for a design without the ports.
    """
    _check_system()
    compiler = _compiler()
    try:
        from amaranth.back import rtlil
        from amaranth.back.cxxrtl import YosysError, find_yosys
        from amaranth.hdl import UnusedElaboratable
    except ModuleNotFoundError as fault:
        raise SpikefabError(
            f"no module '{fault.name}'", "the virtual board", hint="pip install 'spikefab[rtl]'"
        ) from None
    try:
        yosys: Any = find_yosys(lambda version: version >= OLDEST_YOSYS)
    except YosysError as fault:
        raise SpikefabError(
            "no Yosys", "the virtual board", str(fault), "pip install 'spikefab[rtl]'"
        ) from None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnusedElaboratable)
        text = _without_zeros(rtlil.convert(design, name="top", emit_src=False))
    _check_ports(text, name)
    main = Path(__file__).with_name("virtual.cpp")
    version = subprocess.run([*compiler, "--version"], capture_output=True, text=True).stdout
    flags = [*FLAGS, f"-DDIVISOR={divisor}", f"-DTRACED={traced:d}"]
    facts = [text, main.read_text(), version, *compiler, *flags, str(yosys.version())]
    digest = hashlib.sha256("\0".join(facts).encode()).hexdigest()[:24]
    folder = cache_folder()
    executable = folder / f"board_{name}_{digest}"
    if not executable.exists():
        with tempfile.TemporaryDirectory(dir=folder, prefix="building_") as building:
            source, program = Path(building, "design.h"), Path(building, "program")
            source.write_text(_cxx(yosys, text, traced))
            feedback = "converged = false" in source.read_text()
            command = [*compiler, *flags, f"-DFEEDBACK={feedback:d}"]
            command += [f"-I{building}", f"-I{_runtime(yosys)}", str(main), "-o", str(program)]
            _compile(command, name)
            os.replace(program, executable)
    return executable


def _check_system() -> None:
    if sys.platform == "win32":
        raise SpikefabError(
            "no pseudo-terminals", "Windows", hint="use the virtual board on Linux, WSL or macOS"
        )


def _compiler() -> list[str]:
    """The command of a C++ compiler: CXX, or the first that is there."""
    wished = shlex.split(os.environ.get("CXX", ""))
    for command in [wished] if wished else [[name] for name in COMPILERS]:
        if shutil.which(command[0]):
            return command
    raise SpikefabError(
        "no C++ compiler",
        "the virtual board",
        f"CXX is '{wished[0]}', which is not there" if wished else f"no {', '.join(COMPILERS)}",
        "install one (Debian: apt install g++; macOS: xcode-select --install)",
    )


def _without_zeros(text: str) -> str:
    """RTLIL without the zeros that memories begin with, which they do anyhow."""

    def kept(cell: re.Match[str]) -> str:
        contents = re.search(r"connect \\DATA \d+'([01x]*)", cell[0])
        return cell[0] if contents is None or "1" in contents[1] else ""

    return re.sub(r"^  cell \$meminit_v2 .*\n(?:    .*\n)*?  end\n", kept, text, flags=re.M)


def _check_ports(text: str, name: str) -> None:
    """All ports but `busy` are there, a bit each."""
    top = text[text.index("attribute \\top 1") :].split("\nend\n")[0]
    for port, way in (("rx", "input"), ("tx", "output"), ("clk", "input")):
        if not re.search(rf"^  wire width 1 {way} \d+ +\\{port}$", top, flags=re.M):
            raise SpikefabError(f"no {way} '{port}' of one bit", f"design '{name}'")


def _cxx(yosys: Any, text: str, traced: bool) -> str:
    """The C++ of RTLIL, with the names of all wires if traced; it writes memories with the function
    of `virtual.cpp`."""
    from amaranth.back.cxxrtl import YosysError

    level = 4 if traced else 0
    script = f"read_rtlil <<end_of_rtlil\n{text}\nend_of_rtlil\nwrite_cxxrtl -g{level}\n"
    try:
        converted: str = yosys.run(["-q", "-"], script, ignore_warnings=True)
    except YosysError as fault:
        why = str(fault).splitlines()[-1]
        raise SpikefabError("Yosys failed", "the virtual board", why) from None
    return re.sub(r"(memory_\w+)\.update\(", r"write_memory(\1, ", converted)


def _runtime(yosys: Any) -> Path:
    """Where the headers are that the C++ needs."""
    return Path(str(yosys.data_dir())) / "include" / "backends" / "cxxrtl" / "runtime"


def _compile(command: list[str], name: str) -> None:
    said = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if said.returncode:
        lines = [*said.stderr.splitlines(), f"it ended with {said.returncode}"]
        why = next((line for line in lines if "error" in line), lines[0])
        raise SpikefabError(f"{command[0]} failed", f"design '{name}'", why)


class VirtualBoard:
    """A running program of `build`: `port` is its pseudo-terminal, for `serial.Serial`.

    divisor: that of `build`. Bytes that the host does not read stop the design's clock, after some
    thousands; none is lost but by `faults`. Closed at the end of a `with`, and with this process.
    Raises SpikefabError where the program does not start, or has another divisor.
    """

    port: str

    def __init__(self, executable: Path, divisor: int, faults: Faults | None = None) -> None:
        _check_system()
        faults = faults or Faults()
        arguments = [faults.seed, faults.rate, faults.power_cycle or 0, *faults.kinds]
        self._executable = executable
        try:
            self._process = subprocess.Popen(
                [executable, *map(str, arguments)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                start_new_session=True,  # or an interrupt would end it before this process does
            )
        except OSError as fault:
            raise SpikefabError(
                "the virtual board does not start", str(executable), fault.strerror or ""
            ) from None
        started = self._answer()
        self.port = started["port"]
        if started["divisor"] != divisor:
            self.close()
            raise SpikefabError(
                f"{divisor} clocks per bit", str(executable), f"it has {started['divisor']}"
            )

    def statistics(self) -> dict[str, int]:
        """What passed on the wire since the start or `reset_statistics`.

        `clocks` simulated; bytes taken `from_host`, on the wire to the board (`bytes_in`) and from
        it (`bytes_out`), with the clocks from which (`first_in`, `first_out`) and to which
        (`last_in`, `last_out`) they were there, and given `to_host`; `broken` bytes from the board,
        without a stop bit; `power_cycles`; how many bytes of both directions were damaged, by kind,
        between host and wire.
        """
        return self._ask("statistics")

    def reset_statistics(self) -> None:
        """Count from here."""
        self._ask("reset")

    def set_rate(self, rate: float) -> None:
        """Damage another share of the bytes that follow. Raises SpikefabError if not 0 to 1."""
        self._ask(f"faults {Faults(rate=rate).rate}")

    def trace(self, tick: int, path: str) -> None:
        """Have the waveform of a tick written as VCD; of a board that is built to be traced.

        tick: how many of the core's ticks go by before it. Raises OSError for a file that cannot be
        written.
        """
        self._check_trace(self._ask(f"trace {tick} {path}"))

    def traced(self) -> int:
        """How many clocks were written, when the tick is over. Raises OSError."""
        said = self._ask("traced")
        self._check_trace(said)
        assert said["done"]
        return int(said["clocks"])

    def _check_trace(self, said: dict[str, Any]) -> None:
        if said["error"]:
            raise OSError(said["error"], os.strerror(said["error"]))

    def close(self) -> None:
        """End the program; nothing if it has ended."""
        for stream in (self._process.stdin, self._process.stdout, self._process.stderr):
            if stream:
                with suppress(BrokenPipeError):
                    stream.close()
        try:
            self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def __enter__(self) -> VirtualBoard:
        """This board."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        fault: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close it."""
        self.close()

    def _ask(self, command: str) -> dict[str, Any]:
        stdin = self._process.stdin
        assert stdin
        if stdin.closed:
            raise SpikefabError("the virtual board is closed", str(self._executable))
        with suppress(BrokenPipeError):  # it has ended, which the answer tells
            stdin.write(command + "\n")
            stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout
        assert self._process.stderr
        line = self._process.stdout.readline()
        if not line:
            why = self._process.stderr.read()
            self.close()
            raise SpikefabError("the virtual board has ended", str(self._executable), why)
        answer: dict[str, Any] = json.loads(line)
        return answer
