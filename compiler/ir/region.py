"""A region of a core's memory as its host sees it: entries of some bits, in units of 16."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .errors import SpikefabError
from .language import signed_bits

UNIT = 16  # bits of a host access
Fields = tuple[tuple[str, int], ...]  # name and bits, from the least significant


@dataclass(frozen=True)
class Region:
    """`entries` of `bits` each; `fields` names their bits where they have parts."""

    name: str
    entries: int
    bits: int
    fields: Fields = ()

    @property
    def units(self) -> int:
        """Accesses of 16 bits per entry."""
        return -(-self.bits // UNIT)

    @property
    def unit_bits(self) -> int:
        """Low address bits that choose the unit of an entry."""
        return (self.units - 1).bit_length()

    def pack(self, **values: int) -> int:
        """An entry from its fields; those left out are 0."""
        entry, at = 0, 0
        left = dict(values)
        for name, bits in self.fields:
            value = left.pop(name, 0)
            if not -(1 << bits) < value < 1 << bits:
                raise SpikefabError(
                    f"{name} = {value}", f"memory '{self.name}'", f"it has {bits} bits"
                )
            entry |= (value & ((1 << bits) - 1)) << at
            at += bits
        assert not left, f"no fields {sorted(left)} in '{self.name}'"
        return entry

    def unpack(self, entry: int) -> dict[str, int]:
        """The fields of an entry, each as an unsigned number."""
        values = {}
        for name, bits in self.fields:
            values[name] = entry & ((1 << bits) - 1)
            entry >>= bits
        return values


def field_bits(lo: int, hi: int) -> int:
    """Bits that hold [lo, hi]: two's complement where lo is negative, else unsigned."""
    return signed_bits(lo, hi) if lo < 0 else max(1, hi.bit_length())


def packed_region(name: str, entries: int, fields: Fields) -> Region:
    """A region whose entries are these fields, without gaps."""
    return Region(name, entries, max(1, sum(bits for _, bits in fields)), fields)


def units(region: Region, entries: Sequence[int]) -> list[int]:
    """The 16-bit accesses that write these entries, each padded to a power of two of units."""
    flat = []
    for entry in entries:
        for unit in range(1 << region.unit_bits):
            flat.append(entry >> (unit * UNIT) & 0xFFFF)
    return flat
