"""`spikefab compile`: from a network file to a program file, with the mapping report."""

from __future__ import annotations

from typing import Any

import click

from .. import Program, Report, SpikefabError, compile, load, save_program
from ..compiler.frontend.profiles import PROFILES
from ..compiler.ir.spikes import load_labels
from .console import check_output, say, say_json, share, table
from .inputs import read_input
from .sweep import compare_widths, read_widths


@click.command("compile")
@click.argument("net")
@click.option("-o", "--output", help="The program file to write; with --sweep, the plot (.png).")
@click.option("--chip", default="auto", show_default=True, help="A named chip or a .json file.")
@click.option("--profile", help=f"What wrote the file: {', '.join(PROFILES)}.")
@click.option("--dt", type=float, help="Seconds per step.")
@click.option("--reset", type=click.Choice(["zero", "subtract"]))
@click.option("--discretisation", type=click.Choice(["euler", "exponential"]))
@click.option("--fires", type=click.Choice([">", ">="]), help="How a potential is compared.")
@click.option("--floor", help="The least potential: none, threshold (minus it), or a number.")
@click.option("--norm-input", type=click.BOOL, help="Whether sinabs had norm_input: yes or no.")
@click.option("--complete", type=click.BOOL, help="Whether Rockpool lost nothing: yes or no.")
@click.option("--count-bits", type=click.IntRange(1, 8), help="Spikes per step, up to 2^bits - 1.")
@click.option("--dilate", is_flag=True, help="Allow several ticks per step, for short loops.")
@click.option("--weight-bits", type=click.IntRange(2, 16), show_default="8")
@click.option("--cores", type=click.IntRange(1), help="Cut the network into just so many cores.")
@click.option("--calibrate", help="Input (.npz) to choose scales on and measure fidelity with.")
@click.option("--sweep", metavar="weight-bits=A..B", help="Write no program; compare these widths "
              "on the calibration input, in a table and, with -o, a plot.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
def compile_command(
    net: str,
    output: str | None,
    chip: str,
    dilate: bool,
    weight_bits: int | None,
    cores: int | None,
    calibrate: str | None,
    sweep: str | None,
    as_json: bool,
    **reading: Any,
) -> None:
    """Compile NET (.nir, or SuperNeuroMAT's .json) to a program, and print the mapping report."""
    widths = None
    if sweep is not None:
        widths = read_widths(sweep)
        for wrong, why, hint in (
            (calibrate is None, "it compares on an input", "give it by --calibrate"),
            (weight_bits is not None, "it sets the weight bits itself", "leave out --weight-bits"),
            (not (output or ".png").endswith(".png"), "it writes a picture", "-o FILE.png"),
        ):
            if wrong:
                raise SpikefabError("--sweep", "spikefab compile", why, hint)
    elif output is None:
        raise click.UsageError("Missing option '-o' / '--output'.", click.get_current_context())
    if output is not None:
        check_output(output)
    network = load(net, **reading)
    spikes = labels = None
    if calibrate is not None:
        ports = {i.name: i.size for i in network.inputs}
        spikes = read_input(calibrate, ports, network.settings).spikes
        labels = load_labels(calibrate)

    def compiled(bits: int) -> tuple[Program, Report]:
        return compile(
            network,
            chip,
            weight_bits=bits,
            dilate=dilate,
            cores=cores,
            calibrate=spikes,
            labels=labels,
        )

    if widths is not None:
        compare_widths(widths, lambda bits: compiled(bits)[1], output, as_json)
        return
    assert output is not None
    program, report = compiled(weight_bits or 8)
    save_program(program, output)
    if as_json:
        say_json({**report.to_json(), "output": output})
    else:
        print_report(report)
        say(f"wrote {output}")


def print_report(report: Report) -> None:
    """The mapping report for people."""
    say(
        f"{report.neurons} neurons, {report.synapses} synapses on {report.cores} core(s) of chip "
        f"'{report.chip}', {report.period} tick(s) per step"
    )
    table(
        "Populations",
        [
            "name",
            "neurons",
            "synapses",
            "cores",
            "stage",
            "weight LSB",
            "weight error",
            "clipped",
            "headroom",
        ],
        [
            [
                p.name,
                p.neurons,
                p.synapses,
                p.cores,
                p.stage,
                f"{p.weight_lsb:.4g}",
                "exact" if p.exact else f"{100 * p.weight_error:.2f} %",
                share(p.clipped),
                f"{p.headroom_bits} bits",
            ]
            for p in report.populations
        ],
    )
    if report.samples:
        table(
            f"On {report.samples} samples, beside the float reference",
            ["name", "spikes agree", "value error", "potential in float", "fits up to", "saturated",
             "dead", "dead in float"],
            [
                [
                    p.name,
                    share(p.spike_agreement),
                    share(p.value_error),
                    None if p.potential_low is None
                    else f"{p.potential_low:.3g}..{p.potential_high:.3g}",
                    f"{p.potential_limit:.3g}",
                    p.saturated,
                    p.dead,
                    p.dead_in_float,
                ]
                for p in report.populations
            ],
        )
    for q in report.plastic:
        say(
            f"  {q.name}: learns by {q.rule}, {q.synapses} synapses of {q.bytes_per_synapse:.3g} "
            f"bytes, weights {q.w_min:.4g}..{q.w_max:.4g}; a row is visited {q.visited}"
        )
    for p in report.populations:
        finer = f" (finer for {p.finer} neurons)" if p.finer else ""
        say(
            f"  {p.name}: {p.model}, {p.weight_bits}-bit weights{finer}, potential {p.lsb:.4g} "
            "per LSB"
        )
    table(
        "Fullest core",
        ["memory", "used", "of", "fill"],
        [
            [m, used, limit or "unlimited", share(used / limit) if limit else None]
            for m, (used, limit) in report.memories.items()
        ],
    )
    mean = "unknown" if report.mean_cycles is None else f"{report.mean_cycles:.0f}"
    say(
        f"clock cycles per tick, busiest core: mean {mean}, worst {report.worst_cycles}, "
        f"idle {report.constant_cycles}"
    )
    if report.agreement is not None:
        say(
            f"same answer as the float reference: {share(report.agreement)} of "
            f"{report.samples} samples"
        )
    if report.accuracy is not None:
        say(f"accuracy: {share(report.accuracy)}, in float {share(report.accuracy_in_float)}")
    for warning in report.warnings:
        say(f"warning: {warning}")
    for name, value in report.settings.items():
        say(f"{name}: {value}")
    for assumption in report.assumptions:
        say(f"assumed: {assumption}")
