"""A board's gateware: the core behind the link, from wire to wire."""

from __future__ import annotations

from amaranth.hdl import (
    Cat,
    ClockDomain,
    ClockSignal,
    Const,
    DomainRenamer,
    Module,
    ResetInserter,
    ResetSignal,
    Signal,
)
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out, connect

from ..compiler.ir.errors import SpikefabError
from ..compiler.ir.link import LARGEST_FIELD, NAME_WORDS, VERSION, WORD_BITS
from ..compiler.ir.memory_map import MemoryMap
from .commands import Commands
from .core import Core
from .primitives import LINE_REGISTERS, Target
from .receive import SLOT_BYTES, Receiver
from .transmit import Transmitter
from .uart import UartReceiver, UartTransmitter

HEX = NAME_WORDS * WORD_BITS // 4  # digits of a hash, as far as the link tells it


class Board(wiring.Component):
    """A core that a host programs and runs over a pair of wires.

    map: what the core is; divisor: clocks per bit, 4 or more. rx, tx: the wires; busy: it has
    something to do. Raises SpikefabError for a core that the link cannot tell the neurons of.
    """

    def __init__(self, map: MemoryMap, divisor: int, target: Target = "generic") -> None:
        self.map, self.target = map, target
        for what in ("neurons", "axons"):
            if (count := getattr(map.chip, what)) > LARGEST_FIELD + 1:
                raise SpikefabError(
                    f"{count} {what} per core", f"chip '{map.chip.name}'",
                    f"the link numbers {LARGEST_FIELD + 1}",
                )  # fmt: skip
        self._receiver, self._transmitter = UartReceiver(divisor), UartTransmitter(divisor)
        super().__init__({"rx": In(1, init=1), "tx": Out(1, init=1), "busy": Out(1)})

    def elaborate(self, platform: object) -> Module:
        """The link's parts around the core."""
        m = Module()
        m.submodules.uart_receiver = wire_in = self._receiver
        m.submodules.uart_transmitter = wire_out = self._transmitter
        m.submodules.receiver = receiver = Receiver()
        # Learning takes much of the block RAM of the iCE40.
        short = self.map.learn is not None and self.target == "ice40"
        transmitter = Transmitter(SLOT_BYTES // 2 if short else SLOT_BYTES)
        commands = Commands(self.map, int(self.map.hash[:HEX], 16))
        core = Core(self.map, self.target, line_registers=0 if short else LINE_REGISTERS)
        # A hello begins the link anew; what the core was doing is lost with it, if anything. Its
        # reset is a register, that of the board holds it.
        begun, cut, asked = Signal(), Signal(init=1), Signal()
        m.domains.core = ClockDomain(local=True)
        m.d.comb += [ClockSignal("core").eq(ClockSignal()), ResetSignal("core").eq(cut)]
        m.submodules.transmitter = ResetInserter(begun)(transmitter)
        m.submodules.commands = DomainRenamer("core")(commands)
        m.submodules.core = DomainRenamer("core")(core)
        m.d.sync += [
            transmitter.flush.eq(commands.idle & receiver.empty),
            begun.eq(receiver.hello),
            cut.eq(receiver.hello & ~(commands.idle & receiver.empty)),
            asked.eq(begun),
        ]
        m.d.comb += [
            wire_in.wire.eq(self.rx),
            self.tx.eq(wire_out.wire),
            receiver.byte.eq(wire_in.byte),
            receiver.valid.eq(wire_in.valid),
            receiver.blank.eq(wire_in.blank),
            receiver.broken.eq(wire_in.broken),
            transmitter.taken.eq(receiver.taken),
            transmitter.credited.eq(receiver.credited),
            transmitter.credit.eq(receiver.credit),
            transmitter.polled.eq(receiver.polled),
            transmitter.resend.eq(receiver.resend),
            transmitter.limit.eq(receiver.argument),
            transmitter.asked.eq(asked | receiver.polled | receiver.fault),
            transmitter.status.eq(
                Cat(
                    Const(VERSION, 8), receiver.damaged, receiver.session, receiver.expected,
                    receiver.nonce, receiver.refused, receiver.broken_bytes,
                )
            ),
            core.start.eq(commands.start),
            commands.core_idle.eq(core.idle),
            self.busy.eq(~(core.idle & commands.starved & receiver.empty & transmitter.idle)),
        ]  # fmt: skip
        if self.map.chip.digests:
            m.d.comb += commands.digest.eq(core.digest)
        connect(m, receiver.words, commands.words)
        connect(m, commands.reply, transmitter.words)
        connect(m, commands.memory, core.memory)
        connect(m, commands.events, core.events)
        connect(m, core.output, commands.output)
        connect(m, transmitter.bytes, wire_out.bytes)
        return m
