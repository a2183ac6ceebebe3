"""Verilog as Yosys writes it, with names that say what they are, and nothing that nobody reads."""

from __future__ import annotations

import re
import textwrap
from collections import Counter
from collections.abc import Iterator, Mapping

_NAME = r"(?:\\\S+ ?|[A-Za-z_][\w$]*)"
_TOKEN = re.compile(rf"""("[^"]*"|\d*'s?[bodh][\da-fxz?]+)|(\.?)({_NAME})""")
_MODULE = re.compile(rf"^module ({_NAME}) ?\(([^;]*)\);\n(.*?)^endmodule\n", re.M | re.S)
_STATEMENT = re.compile(r"^  (?! |end\b|\)).*\n(?:    .*\n|  end\n|  \)[ ;].*\n)*", re.M)
_DECLARED = re.compile(rf"  (wire|reg|input|output) (?:signed )?(?:\[-?\d+:\d+\] )?({_NAME})")
_ASSIGNED = re.compile(rf"  assign ({_NAME}) = ")
_MEMORY = re.compile(rf"  reg (?:\[\d+:0\] )?({_NAME}) ?\[(\d+):0\];\n")
_REGISTER = re.compile(rf"  always @\(posedge clk\)\n    ({_NAME}) <= (\\\$\d+ );\n")
_INSTANCE = re.compile(rf"  ({_NAME}) +(?:#\(\n(?:    .*\n)*  \) )?({_NAME}) \(\n")
_CONNECTED = re.compile(rf"    \.({_NAME})\(({_NAME})\)")


def readable(text: str) -> str:
    """The modules of a text of `write_verilog -norename -noattr`.

    A wire that a submodule drives is named `SUBMODULE__PORT`, and so is one that feeds a single
    port of that name; what has no name is `_NUMBER`. Modules are named by their path; those that
    are equal are written once. Memories begin with zeros, and synthesis need not keep what a read
    gives that meets a write of the same word (see `memories`).
    """
    modules = {_bare(m[1]): _Module(m[2], m[3]) for m in _MODULE.finditer(text)}
    safe = {name for module in modules.values() for name in module.unescaped}
    for module in modules.values():
        module.name_ports(safe)
    for module in modules.values():
        module.name_rest(modules, safe)
    names: dict[str, str] = {}  # of modules by path
    written: dict[str, str] = {}  # the same by text

    def write(path: str) -> None:
        for within in modules[path].instances:
            if within in modules and within not in names:
                write(within)
        body = modules[path].renamed(modules, names)
        names[path] = written.setdefault(body, re.sub(r"\$\d+", "", path).replace(".", "_"))

    write(next(iter(modules)))
    return "\n".join(f"module {name} {body}" for body, name in reversed(written.items()))


def _bare(name: str) -> str:
    """An identifier without what escapes it."""
    return name.rstrip(" ").removeprefix("\\")


def _clocked(combinational: str, target: re.Pattern[str], register: str) -> str:
    """An `always @*` that writes `target` as one that clocks a register."""
    text = target.sub(lambda m: f"{m[1]}{register} {m[2] or ''}<= ", combinational)
    text = text.replace("always @*", "always @(posedge clk)")
    text = re.sub(r"^    if \(.*\) begin end\n", "", text, flags=re.M)
    return text.replace(f"    {register} <= {register};\n", "", 1)


class _Module:
    """What a module declares and does, and the names that things are to have."""

    def __init__(self, ports: str, body: str) -> None:
        self.ports = [_bare(port) for port in ports.replace("\n", " ").split(", ")]
        self.statements = _STATEMENT.findall(body)
        assert "".join(self.statements) == body, "a form of Yosys' Verilog that is not known here"
        self.names: dict[str, str] = {}
        self._merge()
        self._prune()
        declared = [_DECLARED.match(s) for s in self.statements]
        self.unescaped = {m[2] for m in declared if m}
        self.kinds = {_bare(m[2]): m[1] for m in declared if m and m[1] in ("wire", "reg")}
        self.instances = [_bare(m[1]) for m in map(_INSTANCE.match, self.statements) if m]
        self.outputs = {_bare(m[2]) for m in declared if m and m[1] == "output"}

    def _uses(self) -> Counter[str]:
        found = (m for s in self.statements for m in _TOKEN.finditer(s))
        return Counter(_bare(m[3]) for m in found if m[3] and not m[2])

    def _merge(self) -> None:
        """Let what computes the next value of a register alone write the register itself."""
        uses = self._uses()
        registers = {m[2]: m for m in map(_REGISTER.fullmatch, self.statements) if m}
        merged: dict[str, str] = {}  # what stands for a statement now
        for statement in self.statements:
            for following, m in registers.items() if "always @*" in statement else ():
                target = re.compile(rf"^( +){re.escape(following)} ?(\[[\d:]+\] )?= ", re.M)
                writes = len(target.findall(statement))
                if writes and writes == uses[_bare(following)] - 2:
                    merged[m[0]] = ""
                    merged[statement] = _clocked(statement, target, m[1])
        self.statements = [merged.get(s, s) for s in self.statements if merged.get(s, s)]

    def _prune(self) -> None:
        """Leave out wires that nothing reads."""
        while True:
            uses = self._uses()

            def dead(statement: str, uses: Counter[str] = uses) -> bool:
                if m := _ASSIGNED.match(statement):
                    return uses[_bare(m[1])] == 2 and _bare(m[1]) not in self.ports
                m = _DECLARED.match(statement)
                return m is not None and m[1] in ("wire", "reg") and uses[_bare(m[2])] == 1

            kept = [s for s in self.statements if not dead(s)]
            if len(kept) == len(self.statements):
                return
            self.statements = kept

    def _give(self, name: str, wanted: str, safe: set[str]) -> None:
        """Name something as wanted, with a number where that is taken or may be a keyword."""
        wanted = re.sub(r"\W+", "__", re.sub(r"\$\d+", "", wanted))
        taken = set(self.names.values())
        sure = wanted in safe | {name} or "__" in wanted or wanted.startswith("_")
        given, n = wanted, 1
        while given in taken or (given == wanted and not sure):
            n += sure or given != wanted
            given = f"{wanted}_{n}"
        self.names[name] = given

    def name_ports(self, safe: set[str]) -> None:
        """Name the ports, which others connect to."""
        for port in self.ports:
            self._give(port, port, safe)

    def name_rest(self, modules: Mapping[str, _Module], safe: set[str]) -> None:
        """Name wires and registers, then instances."""
        drivers: dict[str, str] = {}
        readers: dict[str, list[tuple[str, str]]] = {}
        instances = [m for m in map(_INSTANCE.match, self.statements) if m]
        for m in instances:
            part = re.sub(r"\$\d+", "", _bare(m[2]))
            for port, wire in _CONNECTED.findall(m.string):
                within = modules.get(_bare(m[1]))
                port = within.names[_bare(port)] if within else port
                if within and port in within.outputs:
                    drivers[_bare(wire)] = f"{part}__{port}"
                else:
                    readers.setdefault(_bare(wire), []).append((part, port))
        for name, kind in self.kinds.items():
            if name in self.names:
                continue
            wanted = f"_{name[1:]}" if re.fullmatch(r"\$\d+", name) else name.lstrip("$")
            fed = readers.get(name, [])
            if name in drivers:
                wanted = drivers[name]
            elif kind == "wire" and len(fed) == 1 and fed[0][1] == re.sub(r"\$\d+", "", name):
                wanted = "__".join(fed[0])
            self._give(name, wanted, safe)
        for m in instances:
            self._give(_bare(m[2]), _bare(m[2]), safe)

    def renamed(self, modules: Mapping[str, _Module], names: Mapping[str, str]) -> str:
        """The module from its list of ports on; `names` are those of the modules within."""
        ports = textwrap.fill(", ".join(self.names[port] for port in self.ports), 96)
        head = f"(\n{textwrap.indent(ports, '  ')}\n);\n"
        return head + "".join(self._statements(modules, names)) + "endmodule\n"

    def _statements(
        self, modules: Mapping[str, _Module], names: Mapping[str, str]
    ) -> Iterator[str]:
        for statement in self.statements:
            m = _INSTANCE.match(statement)
            within = modules.get(_bare(m[1])) if m else None
            ports = within.names if within else {}
            local = {**self.names, **names} if m else self.names

            def token(m: re.Match[str], local: Mapping[str, str] = local,
                      ports: Mapping[str, str] = ports) -> str:  # fmt: skip
                if not m[3]:
                    return m[0]
                name = _bare(m[3])
                given = (ports if m[2] else local).get(name, name)
                return m[0] if given == name else m[2] + given

            text = _TOKEN.sub(token, statement)
            if m := _MEMORY.fullmatch(text):
                text = f"  (* no_rw_check *)\n{text}" + textwrap.indent(
                    f"initial begin : zero_{m[1]}\n  integer n;\n"
                    f"  for (n = 0; n <= {m[2]}; n = n + 1) {m[1]}[n] = 0;\nend\n", "  "
                )
            yield text
