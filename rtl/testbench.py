"""A testbench in plain Verilog that plays a script to the core and logs what the core reports.

A script is text, one 64-bit word in hex per line: operation in the upper four bits, then 44 bits of
address, then 16 of data. `script_*` write its lines. The log has a line per fact:

- `R clock lane place sum`: Deliver wrote an accumulator; place is delay slot, then word.
- `N clock neuron state value`: Update stored a neuron; value is its spike count or value.
- `O kind neuron value`: the host got an output (see `emit.output_layout`).
- `M data`: the host read a memory.

Clocks are numbered from 0 in each phase, without stalls. Lanes are decimal as clocks are, the rest
is in hex.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from amaranth.lib.data import Field

from ..compiler.ir.memory_map import MemoryMap
from ..compiler.ir.program import Program
from ..compiler.ir.region import units
from .emit import event_layout, output_layout, phase_bits
from .verilog import plain

END, WRITE, EVENT, TICK, READ = range(5)


def script_write(
    map: MemoryMap, region: str, entries: Iterable[int], first: int = 0
) -> Iterator[str]:
    """Write entries of a region from entry `first` on."""
    base = map.address(region, first)
    for n, word in enumerate(units(map.regions[region], list(entries))):
        yield _line(WRITE, base + n, word)


def script_event(axon: int, payload: int = 1) -> str:
    """Give an event for the next tick."""
    return _line(EVENT, axon, payload)


def script_tick() -> str:
    """Run a tick."""
    return _line(TICK)


def script_read(map: MemoryMap, region: str, first: int, count: int) -> Iterator[str]:
    """Read entries of a region."""
    for entry in range(first, first + count):
        for unit in range(map.regions[region].units):
            yield _line(READ, map.address(region, entry, unit))


def script_end() -> str:
    """End the script."""
    return _line(END)


def _line(operation: int, address: int = 0, word: int = 0) -> str:
    return f"{operation << 60 | address << 16 | word:016x}"


def testbench_verilog(map: MemoryMap) -> str:
    """The testbench of a core; its module is `testbench`, the core's `core`.

    With `go` it plays `script.hex` into `log.txt`, both in the working directory, and raises
    `done`. Where `pressure` is not 0 the host takes an output in that many of 16 clocks only.
    Where its parameter TRACE is 0 it writes no log.
    """
    chip = map.chip
    place = map.slot_bits + map.word_bits
    event, output = event_layout(map), output_layout(map)
    neuron, value = map.neuron_bits, map.value_bits
    state = map.regions["state"].bits
    kind = output["kind"].width
    phase = phase_bits(map)
    return f"""`timescale 1ns/1ns
module testbench #(parameter TRACE = 1) (
  input clk, input go, input [4:0] pressure, output reg done
);
  integer script, log, found, lane;
  reg [63:0] op, next;
  initial done = 0;
  reg playing = 0, started = 0, waiting = 0, rst = 0;
  reg [31:0] noise = 1;
  wire idle, memory_ready, memory_read_valid, event_ready, output_valid;
  wire [15:0] memory_read_data;
  wire [{output.size - 1}:0] out;
  wire [{phase - 1}:0] phase;
  wire counting, stored;
  wire [{chip.lanes - 1}:0] write;
  wire [{chip.lanes * place - 1}:0] place;
  wire [{chip.lanes * chip.accumulator_bits - 1}:0] sum;
  wire [{neuron - 1}:0] neuron;
  wire [{state - 1}:0] state;
  wire [{value - 1}:0] value;

  wire [3:0] code = op[63:60];
  wire ticking = playing && code == {TICK};
  wire taken = pressure == 0 || noise[3:0] < pressure;
  wire [{event.size - 1}:0] event_word =
    {{op[{map.chip.payload_bits - 1}:0], op[{16 + map.axon_bits - 1}:16]}};

  core dut (
    .clk(clk), .rst(rst), .idle(idle), .start(ticking && !started && idle),
    .memory__address(op[{16 + map.address_bits - 1}:16]), .memory__write_data(op[15:0]),
    .memory__write(playing && code == {WRITE}),
    .memory__read(playing && code == {READ} && !waiting),
    .memory__ready(memory_ready), .memory__read_data(memory_read_data),
    .memory__read_valid(memory_read_valid),
    .events__payload(event_word), .events__valid(playing && code == {EVENT}),
    .events__ready(event_ready),
    .output__payload(out), .output__valid(output_valid), .output__ready(taken),
    .phase(phase), .counting(counting),
    .retired__write(write), .retired__place(place), .retired__sum(sum),
    .stored(stored), .stored_neuron(neuron), .stored_state(state), .stored_value(value)
  );

  wire advance = playing && (
    (code == {WRITE} && memory_ready) || (code == {EVENT} && event_ready) ||
    (ticking && started && idle) || (code == {READ} && memory_read_valid));

  reg [{phase - 1}:0] last_phase = 0;
  reg [31:0] count = 0;
  wire [31:0] clock = phase != last_phase ? 0 : count;

  always @(posedge clk) begin
    noise <= {{noise[30:0], noise[31] ^ noise[21] ^ noise[1] ^ noise[0]}};
    last_phase <= phase;
    count <= clock + counting;
    rst <= 0;
    if (go && !playing && !done) begin
      script = $fopen("script.hex", "r");
      if (script == 0) begin
        $display("cannot read script.hex: run this in the folder that holds it");
        $finish;
      end
      if (TRACE) log = $fopen("log.txt", "w");
      found = $fscanf(script, "%h", next);
      op <= found == 1 ? next : 0;
      playing <= 1;
    end
    if (!go) done <= 0;
    if (ticking && !started && idle) started <= 1;
    if (playing && code == {READ} && memory_ready) waiting <= 1;
    if (playing && code == {END}) begin
      playing <= 0; done <= 1; rst <= 1;
      $fclose(script);
      if (TRACE) $fclose(log);
    end
    if (advance) begin
      started <= 0; waiting <= 0;
      found = $fscanf(script, "%h", next);
      op <= found == 1 ? next : 0;
    end
    if (playing && TRACE) begin
      for (lane = 0; lane < {chip.lanes}; lane = lane + 1)
        if (write[lane])
          $fwrite(log, "R %0d %0d %h %h\\n", clock, lane, place[lane*{place} +: {place}],
                  sum[lane*{chip.accumulator_bits} +: {chip.accumulator_bits}]);
      if (stored) $fwrite(log, "N %0d %h %h %h\\n", clock, neuron, state, value);
      if (output_valid && taken)
        $fwrite(log, "O %0d %h %h\\n", out[{kind - 1}:0],
                out[{kind - 1}:0] == 0 ? out[{kind + neuron - 1}:{kind}] : {neuron}'d0,
                out[{output.size - 1}:{kind + neuron}]);
      if (memory_read_valid) $fwrite(log, "M %h\\n", memory_read_data);
    end
  end
endmodule
"""


def simulate_verilog(program: Program, map: MemoryMap, ticks: int) -> str:
    """The top of a simulation without cocotb; its module is `simulate`.

    It plays `script.hex`, a run of a program in samples of so many ticks, and writes to
    `simulated.txt` a line for all that the core gives out: sample, tick, then the name of a phase
    and its clock cycles, or an output neuron and its spike count or value.
    """
    output = output_layout(map)
    kind, neuron, value = (output[name] for name in ("kind", "neuron", "value"))
    shown = []
    for p in program.populations:
        if p.output:
            signed = "word" if program.models[p.model].spikes else "value"
            name = plain(p.name).replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
            shown.append(
                f"if (neuron >= {p.first} && neuron < {p.first + p.size})\n"
                f'        $fwrite(log, "%0d %0d {name}[%0d] %0d\\n", sample, tick, '
                f"neuron - {p.first}, {signed});"
            )
    outputs = "\n      else ".join(shown) or ";"
    update = '2: $fwrite(log, "%0d %0d update %0d\\n", sample, tick, word);'
    if map.learn:  # the second report of kind 2 is Learn's
        update = """2: begin
      if (updated) $fwrite(log, "%0d %0d learn %0d\\n", sample, tick, word);
      else $fwrite(log, "%0d %0d update %0d\\n", sample, tick, word);
      updated <= !updated;
    end"""
    return f"""`timescale 1ns/1ns
// Plays script.hex to the core, and writes to simulated.txt what the core gives out.
// With +vcd every signal goes to core.vcd. With TRACE(1) the testbench writes log.txt as well:
//   R clock lane place sum       Deliver wrote an accumulator; place is delay slot, then word
//   N clock neuron state value   Update stored a neuron; value is its spike count or value
//   O kind neuron value          the host got an output
module simulate;
  reg clk = 0;
  wire done;
  integer log, sample = 0, tick = 0;{" reg updated = 0;" if map.learn else ""}
  testbench #(.TRACE(0)) bench (.clk(clk), .go(1'b1), .pressure(5'd0), .done(done));

  wire [{kind.width - 1}:0] kind = bench.out[{_bits(kind)}];
  wire [{neuron.width - 1}:0] neuron = bench.out[{_bits(neuron)}];
  wire [{value.width - 1}:0] word = bench.out[{_bits(value)}];
  wire signed [{map.value_bits - 1}:0] value = word[{map.value_bits - 1}:0];

  always #5 clk = !clk;

  initial begin
    log = $fopen("simulated.txt", "w");
    if ($test$plusargs("vcd")) begin
      $dumpfile("core.vcd");
      $dumpvars(0, simulate);
    end
  end

  always @(posedge clk) if (bench.output_valid && bench.taken) case (kind)
    0:
      {outputs}
    1: $fwrite(log, "%0d %0d deliver %0d\\n", sample, tick, word);
    {update}
    3: begin
      $fwrite(log, "%0d %0d emit %0d\\n", sample, tick, word);
      tick <= tick == {ticks - 1} ? 0 : tick + 1;
      sample <= tick == {ticks - 1} ? sample + 1 : sample;
    end
  endcase

  always @(posedge clk) if (done) begin
    $fclose(log);
    $finish;
  end
endmodule
"""


def _bits(field: Field) -> str:
    return f"{field.offset + field.width - 1}:{field.offset}"
