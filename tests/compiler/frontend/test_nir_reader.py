"""Networks from NIR files, and the files that are refused."""

import json
import os
from itertools import pairwise
from pathlib import Path

import h5py
import nir
import numpy as np
import pytest
from spikefab.compiler.frontend import hdf5_probe
from spikefab.compiler.frontend.nir_reader import describe, load
from spikefab.compiler.ir.errors import SpikefabError
from spikefab.compiler.network import Rows

READ = {"dt": 1e-3, "profile": "nir"}
IN, OUT = ("input", "fc"), ("cells", "output")


def neurons(kind, n, **changed):
    fields = {
        "IF": ("r", "v_threshold", "v_reset"),
        "LIF": ("tau", "r", "v_leak", "v_threshold", "v_reset"),
        "CubaLIF": ("tau_syn", "tau_mem", "r", "v_leak", "v_threshold", "v_reset", "w_in"),
        "LI": ("tau", "r", "v_leak"),
        "CubaLI": ("tau_syn", "tau_mem", "r", "v_leak", "w_in"),
    }[kind]
    values = {"tau": 0.01, "tau_syn": 0.005, "tau_mem": 0.01, "v_leak": 0.0, "v_reset": 0.0}
    return {"type": kind} | {k: np.full(n, values.get(k, 1.0)) for k in fields} | changed


def weights(network, source, target):
    (edge,) = network.graph.get_edge_data(source, target).values()
    return edge["projection"]


# ---- what is loaded


def test_a_chain_becomes_one_population_with_its_weights(write_nir, nodes, chain):
    network = load(write_nir(nodes, chain), **READ)
    assert [i.name for i in network.inputs] == ["input"]
    (cells,) = network.populations
    assert (cells.name, cells.size, cells.model.name, cells.output) == ("cells", 3, "lif", True)
    projection = weights(network, "input", "cells")
    np.testing.assert_array_equal(projection.connections, nodes["fc"]["weight"].T)
    assert projection.delay == 0


def test_a_graph_in_memory_equals_its_file(tmp_path, nodes, chain):
    made = {
        "input": nir.Input(np.array([4])),
        "fc": nir.Affine(nodes["fc"]["weight"], np.ones(3)),
        "cells": nir.LIF(**{k: v for k, v in nodes["cells"].items() if k != "type"}),
        "output": nir.Output(np.array([3])),
    }
    graph = nir.NIRGraph(made, chain)
    nir.write(tmp_path / "net.nir", graph)
    one, two = load(graph, **READ), load(tmp_path / "net.nir", **READ)
    for a, b in zip(one.populations, two.populations, strict=True):
        assert (a.name, a.options) == (b.name, b.options)
        assert {k: v.tolist() for k, v in a.parameters.items()} == {
            k: v.tolist() for k, v in b.parameters.items()
        }
    assert [p.connections.tolist() for p in one.projections] == [
        p.connections.tolist() for p in two.projections
    ]


def test_scalars_integers_and_missing_v_reset_are_taken(write_nir, nodes, chain):
    nodes["cells"] = {"type": "LIF", "tau": 0.01, "r": 1, "v_leak": 0, "v_threshold": np.int32(1)}
    network = load(write_nir(nodes, chain), **READ)
    assert network.populations[0].size == 3
    assert any("'cells' has no v_reset" in said for said in network.assumptions)
    assert any("single values, for all 3 neurons" in said for said in network.assumptions)


def test_lif_is_lowered_by_forward_euler(write_nir, nodes, chain):
    nodes["cells"] |= {"r": np.full(3, 2.0), "v_leak": np.full(3, 0.5)}
    nodes["fc"] = {**nodes["fc"], "type": "Affine", "bias": np.array([1.0, 2.0, 3.0])}
    network = load(write_nir(nodes, chain), **READ)
    cells = network.populations[0].parameters
    np.testing.assert_allclose(cells["keep"], 0.9)
    np.testing.assert_allclose(cells["bias"], 0.5 * 0.1 + np.array([1, 2, 3]) * 0.2)
    np.testing.assert_allclose(weights(network, "input", "cells").gain, 0.2)


def test_lif_is_lowered_by_exact_decay(write_nir, nodes, chain):
    network = load(write_nir(nodes, chain), dt=1e-3, reset="zero", discretisation="exponential")
    np.testing.assert_allclose(network.populations[0].parameters["keep"], np.exp(-0.1))
    np.testing.assert_allclose(weights(network, "input", "cells").gain, 1 - np.exp(-0.1))


def test_if_takes_its_input_times_r_and_dt(write_nir, nodes, chain):
    nodes["cells"] = neurons("IF", 3, r=np.full(3, 500.0))
    network = load(write_nir(nodes, chain), dt=1e-3, reset="subtract")
    assert network.populations[0].options["reset"] == "subtract"
    assert "keep" not in network.populations[0].parameters
    np.testing.assert_allclose(weights(network, "input", "cells").gain, 0.5)
    assert network.settings["discretisation"] == "not needed"


@pytest.mark.parametrize("kind", ["CubaLIF", "CubaLI"])
def test_current_is_stored_times_its_gain_on_the_potential(write_nir, nodes, chain, kind):
    nodes["cells"] = neurons(
        kind, 3, w_in=np.full(3, 2.0), r=np.full(3, 3.0), v_leak=np.full(3, 0.5)
    )
    nodes["fc"] = {**nodes["fc"], "type": "Affine", "bias": np.ones(3)}
    network = load(write_nir(nodes, chain), **READ)
    cells = network.populations[0]
    gain = (2.0 * 0.2) * (3.0 * 0.1)
    np.testing.assert_allclose(weights(network, "input", "cells").gain, gain)
    np.testing.assert_allclose(cells.parameters["keep_i"], 0.8)
    np.testing.assert_allclose(cells.parameters["bias_i"], gain)
    np.testing.assert_allclose(cells.parameters["bias"], 0.5 * 0.1)
    assert cells.options["sees"] == "old"


def test_linear_affine_scale_and_flatten_compose(write_nir, nodes):
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=(5, 6)), rng.normal(size=(3, 5))
    bias, scale = rng.normal(size=5), rng.normal(size=6)
    nodes |= {
        "input": {"type": "Input", "shape": np.array([2, 3])},
        "flat": {"type": "Flatten", "start_dim": 0, "end_dim": -1},
        "scale": {"type": "Scale", "scale": scale},
        "fc": {"type": "Affine", "weight": first, "bias": bias},
        "fc2": {"type": "Linear", "weight": second},
    }
    path = ["input", "flat", "scale", "fc", "fc2", "cells", "output"]
    network = load(write_nir(nodes, list(pairwise(path))), **READ)
    composed = (second @ first * scale).T
    np.testing.assert_allclose(weights(network, "input", "cells").connections, composed)
    np.testing.assert_allclose(network.populations[0].parameters["bias"], second @ bias * 0.1)


def test_parallel_paths_add_up(write_nir, nodes):
    nodes |= {"other": linear_of(np.ones((3, 4)))}
    edges = [IN, ("input", "other"), ("fc", "cells"), ("other", "cells"), OUT]
    network = load(write_nir(nodes, edges), **READ)
    np.testing.assert_array_equal(
        weights(network, "input", "cells").connections, nodes["fc"]["weight"].T + 1
    )


def linear_of(weight):
    return {"type": "Linear", "weight": weight}


def test_a_direct_edge_and_a_skip_make_a_diagonal_of_synapses(write_nir, nodes, chain):
    nodes |= {"second": neurons("LIF", 3), "third": neurons("LI", 3)}
    edges = [IN, ("fc", "cells"), ("cells", "second"), ("second", "third"), ("cells", "third")]
    network = load(write_nir(nodes, [*edges, ("third", "output")]), **READ)
    for source, target in (("cells", "second"), ("second", "third"), ("cells", "third")):
        rows = weights(network, source, target).connections
        assert isinstance(rows, Rows)
        assert rows.target.tolist() == [0, 1, 2]
        assert rows.weight.tolist() == [1, 1, 1]
    assert [p.name for p in network.populations if p.output] == ["third"]


def test_nested_graphs_are_dissolved(write_nir, nodes):
    port = np.array([3])
    nodes["block"] = {
        "type": "NIRGraph",
        "nodes": {
            "input": {"type": "Input", "shape": port},
            "lif": nodes.pop("cells"),
            "w_rec": {"type": "Affine", "weight": np.eye(3) / 2, "bias": np.ones(3)},
            "output": {"type": "Output", "shape": port},
        },
        "edges": [("input", "lif"), ("lif", "w_rec"), ("w_rec", "lif"), ("lif", "output")],
    }
    edges = [IN, ("fc", "block"), ("block", "output")]
    network = load(write_nir(nodes, edges), **READ)
    (cells,) = network.populations
    assert (cells.name, cells.output) == ("block.lif", True)
    back = weights(network, "block.lif", "block.lif")
    assert back.delay == 1
    np.testing.assert_array_equal(back.connections, np.eye(3) / 2)
    np.testing.assert_allclose(cells.parameters["bias"], [0.1])
    assert any("connection of 'block.lif' acts in the next step" in a for a in network.assumptions)


def test_a_loop_over_populations_is_delayed_where_it_is_entered(write_nir, nodes):
    nodes |= {"b": neurons("LIF", 3), "c": neurons("LIF", 3)}
    edges = [IN, ("fc", "cells"), ("cells", "b"), ("b", "c"), ("c", "cells"), ("c", "b"),
             ("c", "output")]  # fmt: skip
    network = load(write_nir(nodes, edges), **READ)
    assert {(p.source, p.target): p.delay for p in network.projections} == {
        ("input", "cells"): 0,
        ("cells", "b"): 0,
        ("b", "c"): 0,
        ("c", "cells"): 1,
        ("c", "b"): 1,
    }
    assert sum("acts in the next step" in a for a in network.assumptions) == 2


def test_several_inputs_and_outputs_keep_their_names(write_nir, nodes, chain):
    nodes |= {
        "extra": {"type": "Input", "shape": np.array([3])},
        "readout": neurons("LI", 3),
        "values": {"type": "Output", "shape": np.array([3])},
    }
    edges = [*chain, ("extra", "cells"), ("cells", "readout"), ("readout", "values")]
    network = load(write_nir(nodes, edges), **READ)
    assert {i.name for i in network.inputs} == {"input", "extra"}
    assert {p.name for p in network.populations if p.output} == {"cells", "readout"}


def test_an_edge_written_twice_counts_once_and_is_said(write_nir, nodes, chain):
    network = load(write_nir(nodes, [*chain, ("fc", "cells")]), **READ)
    np.testing.assert_array_equal(
        weights(network, "input", "cells").connections, nodes["fc"]["weight"].T
    )
    assert any("written twice" in said for said in network.assumptions)


# ---- what is refused


def change(node, **fields):
    def apply(nodes, edges):
        nodes[node].update(fields)
        for key in [k for k, v in fields.items() if v is None]:
            del nodes[node][key]

    return apply


def add(name, node, *more):
    def apply(nodes, edges):
        nodes[name] = node
        edges.extend(more)

    return apply


def rewire(*edges_now, **more):
    def apply(nodes, edges):
        nodes.update(more)
        edges[:] = edges_now
        for name in set(nodes) - {end for edge in edges for end in edge}:
            del nodes[name]

    return apply


def without(name):
    def apply(nodes, edges):
        del nodes[name]
        edges[:] = [edge for edge in edges if name not in edge]

    return apply


PORT = {"type": "Output", "shape": np.array([3])}
INNER = {"type": "Input", "shape": np.array([3])}
LI3 = neurons("LI", 3)
REFUSED = {
    "unknown type": (
        change("cells", type="Wibble"), "node type Wibble in node 'cells' of",
        "not supported; Spikefab loads Input, Output, Linear"
    ),
    "no type": (change("cells", type=None), "no node type", "'cells'"),
    "odd parameter": (change("fc", stride=1), "parameter 'stride' in node 'fc'"),
    "missing parameter": (change("cells", tau=None), "no parameter 'tau' in node 'cells'"),
    "text for numbers": (change("fc", weight="heavy"), "parameter 'weight'", "node 'fc'"),
    "NaN weight": (
        change("fc", weight=np.array([[0, 1, 2, 3], [4, np.nan, 6, 7], [8, 9, 1, 2.0]])),
        "parameter 'weight'[1, 1] = nan in node 'fc'", "finite",
    ),
    "infinite weight": (change("fc", weight=np.full((3, 4), np.inf)), "inf in node 'fc'"),
    "infinite tau": (change("cells", tau=np.full(3, np.inf)), "'tau'[0] = inf in node 'cells'"),
    "zero tau": (change("cells", tau=np.zeros(3)), "'tau' = 0 in node 'cells'"),
    "negative tau": (change("cells", tau=np.full(3, -1.0)), "'tau' = -1 in node 'cells'"),
    "tau below dt": (
        change("cells", tau=np.full(3, 5e-4)), "'tau' = 0.0005 s in node 'cells'", "keep -1",
        "exponential",
    ),
    "weight of three axes": (change("fc", weight=np.ones((3, 4, 1))), "[3, 4, 1] in node 'fc'"),
    "weight too narrow": (
        change("fc", weight=np.ones((3, 5))), "shape [4] from 'input' in node 'fc'", "takes [5]"
    ),
    "bias of wrong length": (
        change("fc", type="Affine", bias=np.ones(2)), "bias of shape [2] in node 'fc'"
    ),
    "neurons of wrong number": (
        add("cells", neurons("LIF", 5)), "shape [3] from 'fc' in node 'cells'", "takes [5]"
    ),
    "ragged parameters": (change("cells", r=np.ones(2)), "different shape in node 'cells'"),
    "output of wrong shape": (
        change("output", shape=np.array([7])), "shape [3] from 'cells' in node 'output'"
    ),
    "input not flattened": (
        change("input", shape=np.array([2, 2])), "shape [2, 2]", "'fc'", "put a Flatten between"
    ),
    "negative shape": (change("input", shape=np.array([-4])), "[-4.0] in node 'input'"),
    "vast shape": (
        rewire(("input", "cells"), OUT, input={"type": "Input", "shape": np.array([2**40])},
               cells={"type": "IF", "r": 1.0, "v_threshold": 1.0}, output=PORT),
        "node 'input'", "beyond 2^25",
    ),
    "bad flatten": (
        rewire(("input", "flat"), ("flat", "cells"), OUT,
               input={"type": "Input", "shape": np.array([2, 2])},
               flat={"type": "Flatten", "start_dim": 5, "end_dim": 2}),
        "Flatten of axes 5 to 2 in node 'flat'",
    ),
    "edge to nowhere": (
        rewire(IN, ("fc", "ghost"), OUT), "edge 'fc' to 'ghost' in", "no node 'ghost'"
    ),
    "no input": (without("input"), "no Input node", "nir.Input"),
    "no output": (without("output"), "no Output node", "nir.Output"),
    "output not connected": (
        add("spare", PORT), "Output without input in node 'spare'", "no edge leads to it"
    ),
    "neurons without input": (
        add("lone", neurons("LIF", 3), ("lone", "cells")), "LIF without input in node 'lone'"
    ),
    "a closed loop without input": (
        add("lone", neurons("LIF", 3), ("lone", "lone"), ("lone", "cells")),
        "LIF without input in node 'lone'", "no Input leads to it",
    ),
    "dangling neurons": (
        add("lone", neurons("LIF", 3), ("fc", "lone")), "dangling LIF in node 'lone'"
    ),
    "dangling loop": (
        add("lone", neurons("LIF", 3), ("fc", "lone"), ("lone", "lone")),
        "dangling LIF in node 'lone'",
    ),
    "edge into an input": (
        add("more", INNER, ("cells", "more")), "edge 'cells' to 'more'", "an Input only gives"
    ),
    "two nodes into one output": (
        add("second", LI3, ("cells", "second"), ("second", "output")),
        "2 nodes ('cells', 'second') that feed one Output in node 'output'",
    ),
    "input straight to output": (
        add("copy", PORT, ("input", "copy")), "Input 'input' before the Output in node 'copy'"
    ),
    "output of a linear node": (
        add("logits", PORT, ("fc", "logits")), "Linear 'fc' before the Output in node 'logits'"
    ),
    "a loop of linear nodes": (
        add("w", linear_of(np.eye(3)), ("fc", "w"), ("w", "w"), ("w", "cells")),
        "loop of 'w'", "no neurons",
    ),
    "a loop entered twice": (
        add("b", neurons("LIF", 3), ("cells", "b"), ("b", "cells"), ("fc", "b")),
        "ambiguous loop of 'b' and 'cells'", "entered at 'b' and 'cells'",
    ),
    "a readout that feeds neurons": (
        rewire(IN, ("fc", "li"), ("li", "cells"), OUT, li=LI3),
        "LI 'li' that feeds neurons in node 'cells'",
    ),
    "nested graph without output": (
        add("sub", {"type": "NIRGraph", "nodes": {"input": INNER, "n": LI3},
                    "edges": [("input", "n")]}, ("cells", "sub"), ("sub", "output")),
        "edge 'sub' to 'output'", "graph 'sub' has 0 Output nodes",
    ),
    "dangling in a nested graph": (
        add("sub", {"type": "NIRGraph", "nodes": {"input": INNER, "n": LI3},
                    "edges": [("input", "n")]}, ("cells", "sub")),
        "dangling LI in node 'sub.n'",
    ),
    "names that collide": (
        lambda nodes, edges: nodes.update({
            "a.b": INNER,
            "a": {"type": "NIRGraph", "nodes": {"b": INNER, "c": LI3}, "edges": [("b", "c")]},
        }),
        "name 'a.b'",
    ),
    "overflow in composed weights": (
        rewire(IN, ("fc", "w"), ("w", "cells"), OUT, fc=linear_of(np.full((3, 4), 1e200)),
               w=linear_of(np.full((3, 3), 1e200))),
        "weights that overflow in node 'cells'",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_a_malformed_graph_is_refused_by_node_and_cause(write_nir, nodes, chain, case):
    apply, *fragments = REFUSED[case]
    apply(nodes, chain)
    path = write_nir(nodes, chain)
    with pytest.raises(SpikefabError) as refusal:
        load(path, **READ)
    message = str(refusal.value)
    assert "\n" not in message
    assert "net.nir" in message
    for fragment in fragments:
        assert fragment in message


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:3000])


def no_node(path: Path) -> None:
    with h5py.File(path, "w") as stored:
        stored.create_group("weights")


def no_edges(path: Path) -> None:
    with h5py.File(path, "r+") as stored:
        del stored["node/edges"]


def lone_edges(path: Path) -> None:
    with h5py.File(path, "r+") as stored:
        del stored["node/edges"]
        stored["node/edges"] = [[1.0, 2.0, 3.0]]


def itself(path: Path) -> None:
    with h5py.File(path, "r+") as stored:
        stored["node/nodes/again"] = stored["node"]


def vast(path: Path) -> None:
    with h5py.File(path, "r+") as stored:
        del stored["node/nodes/fc/weight"]
        stored.create_dataset("node/nodes/fc/weight", (1 << 20, 1 << 20), "f4", chunks=(64, 64))


def single(path: Path) -> None:
    nir.write(path, nir.LIF(*[np.ones(3)] * 4))


def directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


UNREADABLE = {
    "missing": (Path.unlink, "no such file"),
    "directory": (directory, "it is a directory"),
    "empty": (lambda p: p.write_bytes(b""), "not a NIR file"),
    "no HDF5": (lambda p: p.write_text("weights, biases\n"), "it is not HDF5"),
    "truncated": (cut, "truncated file"),
    "no group 'node'": (no_node, "no group 'node'"),
    "no edges": (no_edges, "no edges"),
    "edges of numbers": (lone_edges, "damaged edges"),
    "a graph that holds itself": (itself, "graphs within graphs"),
    "a dataset beyond memory": (vast, "'weight' of shape (1048576, 1048576) in node 'fc'"),
    "a node and no graph": (single, "node type LIF at the top"),
}


@pytest.mark.parametrize("case", UNREADABLE)
@pytest.mark.parametrize("command", [load, describe])
def test_an_unreadable_file_is_refused_in_one_line(write_nir, nodes, chain, case, command):
    path = write_nir(nodes, chain)
    damage, fragment = UNREADABLE[case]
    damage(path)
    with pytest.raises(SpikefabError) as refusal:
        command(path)
    assert fragment in str(refusal.value)
    assert "net.nir" in str(refusal.value)
    assert "\n" not in str(refusal.value)


def damaged(seed: int) -> bytes:
    rng = np.random.default_rng(seed)
    content = np.fromfile(Path(__file__).parent / "fixtures" / "leaky.nir", np.uint8)
    places = rng.integers(0, len(content), rng.integers(1, 40))
    content[places] = rng.integers(0, 256, len(places))
    return content.tobytes()


@pytest.mark.parametrize("seed", [206, 527, *range(20)])
def test_a_file_damaged_anywhere_is_read_or_refused(tmp_path, seed, monkeypatch):
    """Seeds 17 and 206 send the HDF5 library into an endless loop, 527 crashes it."""
    monkeypatch.setattr(hdf5_probe, "SECONDS", 1)
    path = tmp_path / "net.nir"
    path.write_bytes(damaged(seed))
    told = ""
    try:
        load(path, dt=1e-4, profile="nir")
    except SpikefabError as refusal:
        told = str(refusal)
    assert told == "" or "net.nir" in told
    assert "\n" not in told


def test_a_source_that_is_no_graph_is_refused():
    with pytest.raises(SpikefabError, match="source of type int in load"):
        load(3)  # type: ignore[arg-type]


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every file")
def test_an_unreadable_permission_is_refused(write_nir, nodes, chain):
    path = write_nir(nodes, chain)
    path.chmod(0)
    with pytest.raises(SpikefabError, match="Permission denied"):
        load(path)


# ---- inspection


def test_describe_says_what_the_file_holds_and_leaves_open(write_nir, nodes, chain):
    told = describe(write_nir(nodes, chain))
    json.dumps(told, allow_nan=False)
    assert [n["name"] for n in told["nodes"]] == ["cells", "fc", "input", "output"]
    fc = told["nodes"][1]
    assert (fc["type"], fc["shape"]) == ("Linear", [3])
    assert fc["parameters"]["weight"] == {"shape": [3, 4], "min": 0.0, "max": 11 / 8}
    assert sorted(told["edges"]) == sorted(map(list, chain))
    assert [u["name"] for u in told["undetermined"]] == ["dt", "reset", "fires", "discretisation"]
    assert told["unsupported"] == []
    assert told["profiles"]["nir"] == ""
    assert "not an snnTorch export" in told["profiles"]["snntorch"]
    assert told["outputs"] == {"output": "cells"}


def test_describe_lists_every_unsupported_node(write_nir, nodes, chain):
    nodes["fc"]["type"], nodes["cells"]["type"] = "Conv3d", "Wibble"
    told = describe(write_nir(nodes, chain))
    assert len(told["unsupported"]) == 2
    assert "node type Conv3d in node 'fc'" in told["unsupported"][1]
