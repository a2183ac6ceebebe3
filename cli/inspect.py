"""`spikefab inspect`: what a network file or a program holds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import numpy as np

from .. import Program, SpikefabError, load_program
from ..compiler.frontend.nir_reader import describe
from ..compiler.ir.validate import core_use
from .console import say, say_json, table


@click.command()
@click.argument("path")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def inspect(path: str, as_json: bool) -> None:
    """Show what PATH holds: a network and what it leaves undetermined, or a program by core."""
    if _is_program(path):
        found = describe_program(load_program(path))
        show = _show_program
    else:
        found = describe(path)
        show = _show_network
    if as_json:
        say_json(found)
    else:
        show(found)


def _is_program(path: str) -> bool:
    """Whether a file begins as a program does: the length of a JSON header, then the header."""
    try:
        with Path(path).open("rb") as stream:
            head = stream.read(9)
    except OSError as fault:
        raise SpikefabError("cannot read", path, fault.strerror or str(fault)) from None
    return path.endswith(".spikefab") or head[8:9] == b"{"


def describe_program(program: Program) -> dict[str, Any]:
    """A program as JSON-ready values, core by core."""
    use = core_use(program)
    weight = program.synapses.weight
    cores = []
    for core in range(program.cores):
        a, b = int(program.core_first[core]), int(program.core_first[core + 1])
        cores.append(
            {
                "core": core,
                "first": program.neuron_name(a),
                "last": program.neuron_name(b - 1),
                **{memory: int(used[core]) for memory, used in use.items()},
                "synapses": int(program.survey.synapses[core]),
                "worst_cycles": program.worst_cycles(core),
            }
        )
    return {
        "hash": program.hash,
        "chip": program.chip.to_json(),
        "period": program.period,
        "delays": list(program.synapses.delays),
        "synapses": program.synapses.count + sum(q.count for q in program.plastic),
        "weights": [int(weight.min(initial=0)), int(weight.max(initial=0))],
        "inputs": [{"name": i.name, "size": i.size} for i in program.inputs],
        "populations": [
            {
                "name": p.name,
                "size": p.size,
                "model": program.models[p.model].identity,
                "start": p.start,
                "output": p.output,
                "lsb": p.lsb,
                "parameters": {k: _range(v) for k, v in p.parameters.items()},
            }
            for p in program.populations
        ],
        "plastic": [
            {
                "name": q.name,
                "rule": program.rules[q.rule].identity,
                "synapses": q.count,
                "delay": q.delay,
                "learning": q.learning,
                "parameters": q.parameters,
            }
            for q in program.plastic
        ],
        "signals": list(program.signals),
        "cores": cores,
        "notes": program.notes,
    }


def _range(values: Any) -> int | list[int]:
    lo, hi = int(np.min(values)), int(np.max(values))
    return lo if lo == hi else [lo, hi]


def _show_program(found: dict[str, Any]) -> None:
    say(
        f"program {found['hash']} for chip '{found['chip']['name']}': {found['synapses']} synapses"
        f", weights {found['weights'][0]}..{found['weights'][1]}, delays {found['delays']} ticks, "
        f"{found['period']} tick(s) per step"
    )
    for i in found["inputs"]:
        say(f"input '{i['name']}': {i['size']} lines")
    for p in found["populations"]:
        values = ", ".join(f"{k} {v}" for k, v in p["parameters"].items())
        say(
            f"population '{p['name']}': {p['size']} x {p['model']}, stage {p['start']}"
            f"{', output' if p['output'] else ''}; {values}"
        )
    for q in found["plastic"]:
        values = ", ".join(f"{k} {v}" for k, v in q["parameters"].items())
        say(
            f"plastic '{q['name']}': {q['synapses']} synapses by {q['rule']}, delay {q['delay']}"
            f"{'' if q['learning'] else ', off'}; {values}"
        )
    if found["signals"]:
        say(f"signals: {', '.join(found['signals'])}")
    columns = list(found["cores"][0])
    table("Cores", columns, [[c[k] for k in columns] for c in found["cores"]])
    for assumption in found["notes"].get("assumptions", []):
        say(f"assumed: {assumption}")


def _show_network(found: dict[str, Any]) -> None:
    rows = []
    for node in found["nodes"]:
        ranges = "; ".join(
            f"{k} {p['min']:.4g}..{p['max']:.4g}"
            if "min" in p
            else f"{k} {p.get('word') or p.get('problem', '')}"
            for k, p in node["parameters"].items()
        )
        rows.append([node["name"], node["type"], node["shape"], ranges])
    table(found["file"], ["node", "type", "shape", "parameters"], rows)
    say("edges: " + ", ".join(f"{a} -> {b}" for a, b in found["edges"]))
    for c in found["connections"]:
        say(f"connection '{c['source']}' to '{c['target']}': {c['synapses']} synapses")
    for gap in found["undetermined"]:
        say(f"not in the file: {gap['name']} ({gap['flag']}): {gap['why']}")
    for profile, why_not in found["profiles"].items():
        say(f"profile {profile}: {'does not fit: ' + why_not if why_not else 'may fit'}")
    if found["likely"]:
        name, signs = found["likely"]["profile"], found["likely"]["signs"]
        say(f"likely exporter: {name}, as {'; '.join(signs)}")
    for problem in found["unsupported"]:
        say(f"not supported: {problem}")
