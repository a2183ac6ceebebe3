"""Runs the engines of each workload side by side and compares them.

All engines of a workload and size prepare first, one after another, each in a process of its own;
then their repetitions take turns (A B C A B C ...), so that what disturbs the machine disturbs all
of them. The figures are medians over the repetitions.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from threading import Timer
from types import TracebackType

from .protocol import Repetition
from .workloads import WORKLOADS, Build, FeedForward, Plastic, RandomNet, Workload

ROOT = Path(__file__).resolve().parents[1]
"""The folder that holds `bench/`: what a process needs on its path to import it as `bench`."""

PEERS = Path(".venv-peers", "bin", "python")
PREPARE_LIMIT = 1800.0
RUN_LIMIT = 600.0
"""Seconds after which an engine that has not answered is taken for dead."""

LOADED = "W1-loaded"
LOADED_REPEAT = 9

SHORT, SHORT_TIMES = 10_000, 3
"""Up to so many neurons a repetition of W1 takes less than a second: so much that it falls wholly
into one of the speeds that a shared processor changes between. It is repeated more often."""


class BenchError(Exception):
    """A workload that is not there, or an engine that failed."""


@dataclass(frozen=True)
class Engine:
    """One contender: the module that speaks `protocol`, and what it is run with."""

    name: str
    module: str
    options: tuple[str, ...] = ()
    threads: int = 1
    is_peer: bool = False

    @property
    def label(self) -> str:
        """The name, with the threads where they are several."""
        return self.name if self.threads == 1 else f"{self.name} x{self.threads}"


@dataclass(frozen=True)
class Result:
    """One figure of one engine; `step_seconds` and `firing` where the workload has steps."""

    workload: str
    size: str
    engine: str
    threads: int
    metric: str
    value: float
    unit: str
    clock: str
    """`cpu` or `wall`: which time the figure is of."""
    step_seconds: float | None = None
    step_wall_seconds: float | None = None
    firing: float | None = None
    """Share of the neurons that fire in a step."""

    def to_dict(self) -> dict[str, str | int | float]:
        """The object of `--json`, without what the workload does not have."""
        return {name: value for name, value in vars(self).items() if value is not None}


@dataclass
class Outcome:
    """What a call of `measure` found."""

    results: list[Result] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    """One line for each engine that failed."""
    missing: list[str] = field(default_factory=list)
    """One line for each engine left out because its environment is not there."""


def engines(name: str, workload: Workload) -> list[Engine]:
    """The contenders of a workload, in the order of their turns."""
    product = f"{__package__}.spikefab_engine"
    ours = Engine("spikefab", product)
    two_threads = Engine("spikefab", product, ("--threads", "2"), threads=2)
    if isinstance(workload, FeedForward):
        return [ours, Engine("torch", "bench.peers.torch_w2", is_peer=True)]
    if isinstance(workload, Plastic):
        counts = Engine("spikefab-nocounts", product, ("--no-counts",))
        return [ours, counts, Engine("brian2", "bench.peers.brian2_stdp", is_peer=True)]
    if isinstance(workload, Build):
        return [
            Engine(f"spikefab-{form}", product, ("--form", form)) for form in ("rows", "csr", "coo")
        ]
    if name == LOADED:
        return [ours, two_threads]
    return [
        ours,
        Engine("spikefab-nocounts", product, ("--no-counts",)),
        *([two_threads] if workload.neurons >= 100_000 else []),
        Engine("bare", "bench.bare"),
        Engine("brian2", "bench.peers.brian2_w1", is_peer=True),
    ]


def select(names: Sequence[str]) -> list[tuple[str, Workload]]:
    """The workloads asked for as `NAME` or `NAME:SIZE`, all of them if none is.

    Raises:
        BenchError: a name or size is not there.
    """
    chosen: list[tuple[str, Workload]] = []
    for asked in names or list(WORKLOADS):
        name, _, size = asked.partition(":")
        if name not in WORKLOADS:
            raise BenchError(f"no workload {name!r}: there are {', '.join(WORKLOADS)}")
        sizes = [workload for workload in WORKLOADS[name] if size in ("", workload.size)]
        if not sizes:
            known = ", ".join(workload.size for workload in WORKLOADS[name])
            raise BenchError(f"no size {size!r} of workload {name}: there are {known}")
        chosen += [(name, workload) for workload in sizes]
    return chosen


def peers_python() -> Path | None:
    """The interpreter of the peers' environment, which `make peers` makes beside the sources."""
    places = (folder / PEERS for folder in (ROOT, Path.cwd()))
    return next((place for place in places if place.exists()), None)


class EngineProcess:
    """A running engine; as a context manager it is ended, whatever happens."""

    def __init__(
        self, engine: Engine, name: str, workload: Workload, python: Path, scratch: str
    ) -> None:
        self.what = f"{name} {workload.size}: {engine.label}"
        self.engine = engine
        self.repetitions: list[Repetition] = []
        environment = {**os.environ, "TMPDIR": scratch}
        if engine.module.startswith("bench."):
            inherited = environment.get("PYTHONPATH")
            paths = [str(ROOT), *([inherited] if inherited else [])]
            environment["PYTHONPATH"] = os.pathsep.join(paths)
        self._errors = tempfile.TemporaryFile(  # noqa: SIM115 (closed with the process)
            "w+", encoding="utf-8", errors="replace"
        )
        self._process = subprocess.Popen(
            [str(python), "-P", "-m", engine.module, name, workload.size, *engine.options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env=environment,
            start_new_session=True,
        )

    def prepare(self) -> dict[str, str | int | float]:
        """Waits until the engine holds its network; returns its notes."""
        notes: dict[str, str | int | float] = self._answer(PREPARE_LIMIT)["ready"]
        return notes

    def run(self) -> None:
        """Has one repetition done and keeps it."""
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # the answer that is missing tells more
            self._process.stdin.write("run\n")
            self._process.stdin.flush()
        self.repetitions.append(Repetition(**self._answer(RUN_LIMIT)))

    def __enter__(self) -> EngineProcess:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        if kind is not None:
            self._signal(signal.SIGTERM)
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            self._signal(signal.SIGKILL)
            self._process.wait()
        self._process.stdout.close()
        self._errors.close()

    def _answer(self, limit: float) -> dict:  # type: ignore[type-arg]
        assert self._process.stdout is not None
        overdue: list[bool] = []

        def stop() -> None:
            overdue.append(True)
            self._signal(signal.SIGKILL)

        timer = Timer(limit, stop)
        timer.start()
        try:
            line = self._process.stdout.readline()
        finally:
            timer.cancel()
        if overdue:
            raise BenchError(f"{self.what} gave no answer within {limit:.0f} s")
        if not line:
            status = self._process.wait()
            raise BenchError(f"{self.what} ended with status {status}: {self._last_words()}")
        answer: dict[str, object] = json.loads(line)
        return answer

    def _last_words(self) -> str:
        self._errors.seek(0)
        lines = [line.strip() for line in self._errors if line.strip()]
        words = lines[-1][:300] if lines else "nothing on standard error"
        if self.engine.is_peer and words.startswith(("ModuleNotFoundError", "ImportError")):
            words += "; `make peers` installs it"
        return words

    def _signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)


def measure(names: Sequence[str] = (), repeat: int = 5) -> Outcome:
    """Measures workloads, given as `NAME` or `NAME:SIZE`; progress goes to standard error.

    An engine that is missing or fails is left out and named in the outcome; the others go on.

    Raises:
        BenchError: a name or size is not there.
    """
    outcome = Outcome()
    peers = peers_python()
    for name, workload in select(names):
        contenders = engines(name, workload)
        if peers is None:
            for engine in filter(lambda engine: engine.is_peer, contenders):
                note = f"{engine.name} left out: no {PEERS.parts[0]}; `make peers` makes it"
                if note not in outcome.missing:
                    outcome.missing.append(note)
                    _say(note)
        runnable = [engine for engine in contenders if peers is not None or not engine.is_peer]
        with ExitStack() as stack:
            # Scratch files are the harness's, so that a killed engine leaves none behind.
            scratch = stack.enter_context(tempfile.TemporaryDirectory(prefix="spikefab-bench-"))
            running = _prepare_all(runnable, name, workload, peers, scratch, stack, outcome)
            if name == LOADED:
                stack.enter_context(_busy_core())
            for turn in range(_repetitions(name, workload, repeat)):
                for process in list(running):
                    _say(f"{process.what}, repetition {turn + 1}")
                    try:
                        process.run()
                    except BenchError as error:
                        running.remove(process)
                        outcome.errors.append(str(error))
                        _say(str(error))
        outcome.errors += _differences(running)
        for process in running:
            outcome.results += summarise(name, workload, process.engine, process.repetitions)
    return outcome


def summarise(
    name: str, workload: Workload, engine: Engine, repetitions: Sequence[Repetition]
) -> list[Result]:
    """The figures of one engine: medians over its repetitions.

    Where one thread runs undisturbed, the time is CPU time, which is what Brian2 reports; two
    threads, and what runs beside a busy process, are timed by the wall clock.
    """
    common = (name, workload.size, engine.name, engine.threads)
    if isinstance(workload, Build):
        seconds = median(r.seconds for r in repetitions)
        peak = median(r.peak_bytes for r in repetitions) / workload.net.synapses
        return [
            Result(*common, "build and compile", seconds, "s", "wall"),
            Result(*common, "peak memory per synapse", peak, "B", "wall"),
        ]
    by_wall = engine.threads > 1 or name == LOADED
    times = [r.seconds if by_wall else r.cpu_seconds for r in repetitions]
    timed = list(zip(repetitions, times, strict=True))
    if isinstance(workload, FeedForward):
        metric, unit = "samples per second", "samples/s"
        neurons = sum(workload.layers[1:]) * workload.samples
        speed = median(r.samples / t for r, t in timed)
    else:
        metric, unit = "synaptic events per second", "events/s"
        neurons = workload.neurons
        speed = median(r.synaptic_events / t for r, t in timed)
    return [
        Result(
            *common,
            metric,
            speed,
            unit,
            clock="wall" if by_wall else "cpu",
            step_seconds=median(t / r.steps for r, t in timed),
            step_wall_seconds=median(r.seconds / r.steps for r in repetitions),
            firing=median(r.spikes / r.steps for r in repetitions) / neurons,
        )
    ]


def _repetitions(name: str, workload: Workload, repeat: int) -> int:
    if isinstance(workload, Build):
        return 1
    if isinstance(workload, RandomNet) and workload.neurons <= SHORT:
        return SHORT_TIMES * repeat
    return max(repeat, LOADED_REPEAT) if name == LOADED else repeat


def _prepare_all(
    contenders: Sequence[Engine],
    name: str,
    workload: Workload,
    peers: Path | None,
    scratch: str,
    stack: ExitStack,
    outcome: Outcome,
) -> list[EngineProcess]:
    """Starts the engines one after another; those that cannot are named in the outcome."""
    running = []
    for engine in contenders:
        python = peers if engine.is_peer and peers is not None else Path(sys.executable)
        process = stack.enter_context(EngineProcess(engine, name, workload, python, scratch))
        _say(f"{process.what} prepares")
        try:
            notes = process.prepare()
        except BenchError as error:
            outcome.errors.append(str(error))
            _say(str(error))
            continue
        _say(f"{process.what} ready: " + ", ".join(f"{k} {v}" for k, v in notes.items()))
        running.append(process)
    return running


def _differences(running: Sequence[EngineProcess]) -> Iterator[str]:
    """Names the engines that should compute the very same spikes as the first one and do not."""
    exact = [process for process in running if not process.engine.is_peer]
    for process in exact[1:]:
        pairs = zip(exact[0].repetitions, process.repetitions, strict=True)
        for turn, (expected, found) in enumerate(pairs):
            if (expected.spikes, expected.synaptic_events) != (found.spikes, found.synaptic_events):
                yield (
                    f"{process.what} gives {found.spikes} spikes in repetition {turn + 1}, "
                    f"{exact[0].engine.label} gives {expected.spikes}: not the same network"
                )
                break


@contextmanager
def _busy_core() -> Iterator[None]:
    """Another process that keeps one core busy."""
    spin = "import os\nparent = os.getppid()\nwhile os.getppid() == parent: pass"
    with subprocess.Popen([sys.executable, "-c", spin]) as process:
        try:
            yield
        finally:
            process.kill()


def _say(line: str) -> None:
    print(f"bench: {line}", file=sys.stderr, flush=True)
