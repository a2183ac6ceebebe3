"""`spikefab demo`: the main job on real input, from a trained network to exact spikes."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click
import numpy as np

from .. import (
    Emulator,
    FloatReference,
    Program,
    Recording,
    SpikefabError,
    SpikeTrain,
    answer_by_count,
    compile,
    load,
)
from ..boards.diff import diff as compare
from ..boards.open import VIRTUAL
from ..compiler.ir.file import whole_file
from ..examples import digits
from .compile import print_report
from .console import check_output, note, progress, say, say_json, share
from .devices import EMULATOR, open_device

BOARD_IMAGES = 10  # that the virtual board is given


@click.command()
@click.option("-o", "--output", default="demo-out", show_default=True, help="Folder for pictures.")
@click.option("--weight-bits", type=click.IntRange(2, 16), default=8, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON.")
def demo(output: str, weight_bits: int, as_json: bool) -> None:
    """Compile a trained network for handwritten digits, run its whole test split, and part of it on
    the virtual board."""
    folder = Path(output)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as fault:
        raise SpikefabError("cannot write", output, fault.strerror or str(fault)) from None
    picture = folder / "raster.png"
    check_output(str(picture))
    began = time.monotonic()
    images, labels = digits.load_test_images()
    network = load(digits.NETWORK, profile="snntorch", reset=digits.RESET)
    raster = digits.encode(images)
    spikes = {network.inputs[0].name: SpikeTrain.from_dense(raster)}
    seen = SpikeTrain.from_dense(digits.encode(digits.load_calibration_images()))
    program, report = compile(
        network, weight_bits=weight_bits, calibrate={network.inputs[0].name: seen}
    )
    with progress("running") as step:
        run = Emulator(program, threads=2).run(
            spikes, digits.STEPS, samples=len(images), progress=step
        )
    reference = FloatReference(network).run(spikes, digits.STEPS, len(images))
    answers, told = answer_by_count(run), answer_by_count(reference)
    assert run.cycles is not None
    figures: dict[str, Any] = {
        "accuracy": float(np.mean(answers == labels)),
        "accuracy_float": float(np.mean(told == labels)),
        "agreement": float(np.mean(answers == told)),
        "test_images": len(images),
        "steps": digits.STEPS,
        "cycles_per_inference": float(run.cycles.sum(axis=(1, 2, 3)).mean()),
        "seconds": round(time.monotonic() - began, 3),
    }
    figures["virtual_board"] = _on_virtual_board(program, raster[:BOARD_IMAGES], run)
    first = Emulator(program).run(
        SpikeTrain.from_dense(raster[0]), digits.STEPS, record=[p.name for p in program.populations]
    )
    trains = {network.inputs[0].name: SpikeTrain.from_dense(raster[0]), **first.spikes}
    sizes = {i.name: i.size for i in program.inputs} | {p.name: p.size for p in program.populations}
    _picture(picture, images[0], int(labels[0]), int(answers[0]), trains, sizes)
    if as_json:
        say_json({**figures, "picture": str(picture)})
        return
    print_report(report)
    say("")
    say(f"{len(images)} test images, {digits.STEPS} steps each")
    say(f"accuracy: {share(figures['accuracy'])} in {weight_bits}-bit fixed point, "
        f"{share(figures['accuracy_float'])} in float")
    say(f"same answer in both: {share(figures['agreement'])}")
    say(f"clock cycles per inference: {figures['cycles_per_inference']:.0f}")
    say(f"{figures['seconds']} s; raster of the first image in {picture}")
    if (board := figures["virtual_board"]) is None:
        return
    say(f"virtual board, {BOARD_IMAGES} images, {board['ticks']} ticks, {board['cycles']} cycles: "
        + ("every spike, state and clock cycle equal" if board["equal"] else "DIFFERENT"))


def _on_virtual_board(program: Program, raster: Any, run: Recording) -> dict[str, Any] | None:
    """Run images on the gateware and compare with what the emulator does; None without one."""
    try:
        with (
            open_device(EMULATOR, program) as emulator,
            open_device(VIRTUAL, program) as board,
            progress("the virtual board") as step,
        ):
            spikes = SpikeTrain.from_dense(raster)
            found = compare(emulator, board, spikes, digits.STEPS, progress=step)
    except SpikefabError as fault:
        note(f"no virtual board: {fault}")
        return None
    assert run.cycles is not None
    return {
        "equal": found.equal,
        "ticks": found.ticks,
        "cycles": int(run.cycles[: len(raster)].sum(dtype=np.int64)),
    }


def _picture(
    path: Path,
    image: Any,
    label: int,
    answer: int,
    trains: dict[str, SpikeTrain],
    sizes: dict[str, int],
) -> None:
    """Draw an image and the spikes of every layer that it causes."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 6), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(len(trains), 2, width_ratios=[1, 3],
                               height_ratios=[max(sizes[n], 24) for n in trains])
    shown = figure.add_subplot(grid[:, 0])
    shown.imshow(np.asarray(image).reshape(8, 8), cmap="gray_r")
    shown.set_title(f"digit {label}, answered {answer}")
    shown.set_axis_off()
    for row, (name, train) in enumerate(trains.items()):
        axes = figure.add_subplot(grid[row, 1])
        axes.scatter(train.step, train.index, marker="|", s=24, color="black", linewidths=1)
        axes.set_xlim(-0.5, digits.STEPS - 0.5)
        axes.set_ylim(sizes[name] - 0.5, -0.5)
        axes.set_ylabel(f"{name}\n{sizes[name]} neurons" if row else f"{name}\n{sizes[name]} lines")
        if row < len(trains) - 1:
            axes.set_xticklabels([])
    axes.set_xlabel("step")
    with whole_file(path) as stream:
        figure.savefig(stream, format="png", dpi=110)
