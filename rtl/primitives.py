"""What an FPGA has as hard blocks: the multiplier and the large single-port memory.

`generic` is plain Amaranth, for inference and simulation. `ice40` names the blocks of the iCE40
UltraPlus: Yosys can lose registers of a multiplier that it infers there, and cannot place a memory
that comes with initial values, as every memory that Amaranth emits does.
"""

from __future__ import annotations

from typing import Any, Literal

from amaranth import Array, Cat, ClockSignal, Const, Instance, Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from ..compiler.ir.schedule import MULTIPLIER_CLOCKS

Target = Literal["generic", "ice40"]
UNIT = 16  # bits of a memory word that one bit of the write mask stands for
SPRAM_WORDS = 16_384  # words of UNIT bits in one SB_SPRAM256KA
SPRAM_BANKS = 4
LINE_REGISTERS = 80  # that are worth a block RAM, where those are counted (iCE40)


class Multiplier(wiring.Component):  # type: ignore[misc]
    """Product of two signed numbers: one per clock, `latency` clocks after its operands.

    Parameters
    ----------
    a_bits, b_bits: widths of the operands.
    target: on `ice40`, operands of at most 16 bits take one SB_MAC16; wider ones are inferred.

    Members
    -------
    a: In(signed(a_bits))
    b: In(signed(b_bits))
    product: Out(signed(a_bits + b_bits)), of the operands of `latency` clocks ago.
    """

    latency = MULTIPLIER_CLOCKS  # operands are registered, then the product

    def __init__(self, a_bits: int, b_bits: int, target: Target = "generic") -> None:
        self.target = target
        super().__init__({
            "a": In(signed(a_bits)),
            "b": In(signed(b_bits)),
            "product": Out(signed(a_bits + b_bits)),
        })

    def elaborate(self, platform: Any) -> Module:
        """The block of the target."""
        m = Module()
        if self.target == "ice40" and max(len(self.a), len(self.b)) <= 16:
            product = Signal(signed(32))
            m.submodules.mac = _mac16(_extended(self.a, 16), _extended(self.b, 16), product)
            m.d.comb += self.product.eq(product)
            return m
        held_a = Signal.like(self.a, name="held_a", reset_less=True)
        held_b = Signal.like(self.b, name="held_b", reset_less=True)
        product = Signal.like(self.product, name="held_product", reset_less=True)
        m.d.sync += [held_a.eq(self.a), held_b.eq(self.b), product.eq(held_a * held_b)]
        m.d.comb += self.product.eq(product)
        return m


def _extended(x: Any, bits: int) -> Any:
    return Cat(x, x[-1].replicate(bits - len(x)))


def _mac16(a: Any, b: Any, product: Any) -> Instance:
    """An SB_MAC16 as a signed 16 x 16 multiplier with registers at A, B and the product (H).

    Its adders and the registers within the product stay unused.
    """
    return Instance(
        "SB_MAC16",
        p_NEG_TRIGGER=0,
        p_A_REG=1, p_B_REG=1, p_C_REG=0, p_D_REG=0,
        p_TOP_8x8_MULT_REG=0, p_BOT_8x8_MULT_REG=0,
        p_PIPELINE_16x16_MULT_REG1=0, p_PIPELINE_16x16_MULT_REG2=1,
        p_TOPOUTPUT_SELECT=3, p_BOTOUTPUT_SELECT=3,
        p_TOPADDSUB_LOWERINPUT=0, p_TOPADDSUB_UPPERINPUT=0, p_TOPADDSUB_CARRYSELECT=0,
        p_BOTADDSUB_LOWERINPUT=0, p_BOTADDSUB_UPPERINPUT=0, p_BOTADDSUB_CARRYSELECT=0,
        p_MODE_8x8=0, p_A_SIGNED=1, p_B_SIGNED=1,
        i_CLK=ClockSignal(), i_CE=Const(1),
        i_A=a, i_B=b, i_C=Const(0, 16), i_D=Const(0, 16),
        i_AHOLD=Const(0), i_BHOLD=Const(0), i_CHOLD=Const(0), i_DHOLD=Const(0),
        i_IRSTTOP=Const(0), i_IRSTBOT=Const(0), i_ORSTTOP=Const(0), i_ORSTBOT=Const(0),
        i_OLOADTOP=Const(0), i_OLOADBOT=Const(0), i_ADDSUBTOP=Const(0), i_ADDSUBBOT=Const(0),
        i_OHOLDTOP=Const(0), i_OHOLDBOT=Const(0),
        i_CI=Const(0), i_ACCUMCI=Const(0), i_SIGNEXTIN=Const(0),
        o_O=product,
    )  # fmt: skip


class DelayLine(wiring.Component):  # type: ignore[misc]
    """`taken` is what was `given` some clocks before: a block RAM in place of that many registers.

    clocks: 2 or more. What is taken in the first clocks is undefined.
    """

    @staticmethod
    def is_worth(width: int, clocks: int, line_registers: int) -> bool:
        """Whether it can be, and takes the place of so many registers or more; never where 0."""
        return 0 < line_registers <= width * clocks and clocks > 1

    def __init__(self, width: int, clocks: int) -> None:
        self.clocks = clocks
        super().__init__({"given": In(width), "taken": Out(width)})

    def elaborate(self, platform: Any) -> Module:
        """A ring that is written in one place, and read in the next, which is the oldest."""
        m = Module()
        m.submodules.memory = memory = Memory(
            shape=len(self.given), depth=self.clocks, init=(), attrs={"ram_style": "block"}
        )
        read, write = memory.read_port(), memory.write_port()
        at, following = Signal(range(self.clocks)), Signal(range(self.clocks))
        last = self.clocks - 1
        m.d.comb += following.eq(Mux(at == last, 0, at + 1))
        m.d.sync += at.eq(following)
        m.d.comb += [
            write.addr.eq(at), write.data.eq(self.given), write.en.eq(1),
            read.addr.eq(following), self.taken.eq(read.data),
        ]  # fmt: skip
        return m


class SinglePortMemory(wiring.Component):  # type: ignore[misc]
    """A memory that in every clock either reads or writes one word.

    Parameters
    ----------
    depth: words.
    width: bits of a word; it has `ceil(width / 16)` units of 16 bits (the last may be narrower).
    bytewise: parts of a word that can be written by themselves are bytes, not units.
    target: on `ice40`, where `width` is a multiple of 16 and `depth` at most 65,536, each unit is
        one SB_SPRAM256KA per 16,384 words, whose contents at power-up are undefined.

    Members
    -------
    address: In(ceil_log2(depth))
    write: In(1), write in this clock instead of reading.
    write_data: In(width)
    write_mask: In(parts), which parts to write.
    read_data: Out(width), the word at the address of the last clock; undefined if that one wrote.
    """

    def __init__(
        self, depth: int, width: int, target: Target = "generic", *, bytewise: bool = False
    ) -> None:
        self.depth, self.width = depth, width
        self.part = UNIT // 2 if bytewise else UNIT
        fits = width % UNIT == 0 and depth <= SPRAM_WORDS * SPRAM_BANKS
        self.target: Target = "ice40" if target == "ice40" and fits else "generic"
        super().__init__({
            "address": In(ceil_log2(depth)),
            "write": In(1),
            "write_data": In(width),
            "write_mask": In(-(-width // self.part)),
            "read_data": Out(width),
        })

    def elaborate(self, platform: Any) -> Module:
        """The units side by side."""
        m = Module()
        parts = UNIT // self.part
        for n in range(-(-self.width // UNIT)):
            unit = slice(n * UNIT, min((n + 1) * UNIT, self.width))
            mask = self.write_mask[n * parts : (n + 1) * parts]
            ports = (mask, self.write_data[unit], self.read_data[unit])
            (self._spram if self.target == "ice40" else self._inferred)(m, n, *ports)
        return m

    def _inferred(self, m: Module, n: int, mask: Any, write_data: Any, read_data: Any) -> None:
        width = len(write_data) if len(mask) == 1 else len(mask) * self.part
        memory = Memory(shape=width, depth=self.depth, init=())
        m.submodules[f"unit{n}"] = memory
        read_port = memory.read_port()
        write_port = memory.write_port(granularity=None if len(mask) == 1 else self.part)
        m.d.comb += [
            read_port.addr.eq(self.address),
            read_port.en.eq(~self.write),  # no read meets a write: it fits a memory of one port
            read_data.eq(read_port.data),
            write_port.addr.eq(self.address),
            write_port.data.eq(write_data),
            write_port.en.eq(mask & self.write.replicate(len(mask))),
        ]

    def _spram(self, m: Module, n: int, mask: Any, write_data: Any, read_data: Any) -> None:
        within = self.address[:14]
        bank = self.address[14:]
        words = []
        for k in range(-(-self.depth // SPRAM_WORDS)):
            word = Signal(UNIT, name=f"word{n}_{k}")
            m.submodules[f"unit{n}_bank{k}"] = Instance(
                "SB_SPRAM256KA",
                i_CLOCK=ClockSignal(), i_CHIPSELECT=bank == k, i_WREN=self.write & mask.any(),
                i_ADDRESS=Cat(within, Const(0, 14 - len(within))),
                i_DATAIN=write_data, i_MASKWREN=Cat(bit.replicate(4 // len(mask)) for bit in mask),
                o_DATAOUT=word,
                i_STANDBY=Const(0), i_SLEEP=Const(0), i_POWEROFF=Const(1),  # active low
            )  # fmt: skip
            words.append(word)
        if len(words) == 1:
            m.d.comb += read_data.eq(words[0])
            return
        last = Signal.like(bank, name=f"last_bank{n}", reset_less=True)
        m.d.sync += last.eq(bank)
        m.d.comb += read_data.eq(Array(words)[last])
