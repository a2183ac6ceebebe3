"""What a board's memories hold that they should not, by the network's names."""

from __future__ import annotations

from dataclasses import dataclass

from ..compiler.ir.cores import CoreImage
from ..compiler.ir.memory_map import MemoryMap
from ..compiler.ir.program import Program
from ..compiler.ir.region import Region


@dataclass(frozen=True)
class Damage:
    """What a memory of a board holds that it should not: where, by the network's names, and both
    values."""

    variable: str
    expected: int
    found: int
    neuron: str | None = None
    source: str | None = None


def damage_of(
    program: Program, map: MemoryMap, image: CoreImage, region: Region, n: int, wanted: int,
    there: int,
) -> Damage:  # fmt: skip
    """The damage of entry n of a region that is to hold what is wanted, and holds what is there."""
    parts = _fields(map, region, wanted), _fields(map, region, there)
    names = [name for name in parts[0] if parts[0][name] != parts[1].get(name)]
    variable = " ".join([region.name.removesuffix("s"), *names[:1]])
    held = (parts[0][names[0]], parts[1].get(names[0], 0)) if names else (wanted, there)
    neuron = source = None
    if region.name == "rows":
        source = program.source_name(int(image.sources[n]))
    elif region.name in ("routes", "parameter_index") and n < image.neurons:
        neuron = program.neuron_name(image.first + n)
    else:
        variable = f"{variable} of entry {n}"
    return Damage(variable, *held, neuron, source)


def _fields(map: MemoryMap, region: Region, entry: int) -> dict[str, int]:
    parts = region.unpack(entry)
    if region.name == "rows" and not parts["sparse"]:
        extent = Region("rows", 0, 0, map.row_extent)
        parts |= extent.unpack(parts.pop("extent"))
    return parts
