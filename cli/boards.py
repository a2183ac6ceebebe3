"""`spikefab boards`: what can be built for, and what is attached."""

from __future__ import annotations

import shutil

import click

from ..boards.catalogue import BOARDS, attached
from .console import say, say_json, table


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def boards(as_json: bool) -> None:
    """List the boards, what fits on each, and the serial ports on USB that may be one."""
    known = [
        {
            "board": board.name,
            "title": board.title,
            "part": board.part,
            "chip": board.chip.name,
            "neurons": board.chip.neurons,
            "axons": board.chip.axons,
            "synapses": board.chip.synapse_words * board.chip.lanes,
            "clock_mhz": board.clock_mhz,
            "baud": board.baud,
            "usb": [_id(usb) for usb in board.usb],
            "programmer": board.programmer[0],
            "programmer_found": shutil.which(board.programmer[0]) is not None,
        }
        for board in BOARDS.values()
    ]
    ports = [
        {
            "port": port.device,
            "usb": _id(port.usb),
            "description": port.description,
            "boards": list(port.boards),
        }
        for port in attached()
    ]
    if as_json:
        say_json({"boards": known, "ports": ports})
        return
    columns = ("board", "part", "chip", "neurons", "axons", "synapses", "clock_mhz", "baud")
    table("Boards", [c.replace("_mhz", ", MHz") for c in columns],
          [[board[c] for c in columns] for board in known])  # fmt: skip
    missing = sorted({str(b["programmer"]) for b in known if not b["programmer_found"]})
    if missing:
        say(f"to flash, not there: {', '.join(missing)}")
    if not ports:
        say("no serial ports on USB")
        return
    table("Ports", ["port", "USB id", "says", "may be"],
          [[port["port"], port["usb"], port["description"], ", ".join(port["boards"]) or None]
           for port in ports])  # fmt: skip


def _id(usb: tuple[int, int]) -> str:
    return "{:04x}:{:04x}".format(*usb)
