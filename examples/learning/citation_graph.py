"""STDP classifies the nodes of a graph: Zachary's karate club, which networkx ships.

    .venv/bin/python examples/learning/citation_graph.py --picture citation_graph.png

After NeuroCoreX's citation graph (Gautam et al. 2025), where papers find their topics. Here every
member of a karate club is a neuron, joined to those it met by synapses as strong as the tie, and
each of the two clubs that it split into is a neuron, driven by its leader alone. From an untaught
network, one member is made to spike; activity spreads over the ties until a leader spikes and then
its club. Plastic synapses from all members to both clubs learn by STDP: the stronger of the
member's two tells its club. Only the two leaders are labelled.
"""

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path

import networkx as nx
import numpy as np
import spikefab as sf
from numpy.typing import NDArray

LEADERS = {"Mr. Hi": 0, "Officer": 33}
STEPS = 12
PROJECTION = "members->clubs"


def network(graph: nx.Graph, leaders: Mapping[str, int]) -> sf.Network:
    """Members and a neuron for each club; the nodes of `graph` are 0, 1, 2, ..."""
    size, clubs = len(graph), len(leaders)
    made = sf.Network()
    stimulus = made.input("stimulus", size)
    members = made.population("members", size, "lif", keep=0.9, threshold=4.0, output=True)
    club = made.population("clubs", clubs, "lif", keep=0.5, threshold=1.0, output=True)
    made.connect(stimulus, members, 4.0 * np.eye(size))
    made.connect(members, members, nx.to_numpy_array(graph), delay=1)
    led = np.zeros((size, clubs))
    led[list(leaders.values()), np.arange(clubs)] = 1.0
    made.connect(members, club, led)
    rule = sf.Plasticity(
        "stdp", w_min=0, w_max=1, keep_pre=0.8, keep_post=0.8, up=0.02, down=0.0
    )
    made.connect(members, club, np.zeros((size, clubs)), delay=1, plasticity=rule)
    return made


def classify(
    graph: nx.Graph,
    leaders: Mapping[str, int],
    device: Callable[[sf.Program], sf.Device] = sf.Emulator,
) -> NDArray[np.int32]:
    """The weights [member, club] that each member learns when it is asked."""
    program, _ = sf.compile(network(graph, leaders))
    runs_on = device(program)
    learnt = []
    for member in range(len(graph)):
        runs_on.restart(weights=True)
        spikes = sf.SpikeTrain.of(np.arange(STEPS), np.full(STEPS, member))
        runs_on.run(spikes, STEPS)
        weights = runs_on.read(f"{PROJECTION}.weights").reshape(len(graph), len(leaders))
        learnt.append(weights[member])
    return np.array(learnt)


def right(learnt: NDArray[np.int32], clubs: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether each member's strongest synapse is onto its club; a tie is wrong."""
    own = learnt[np.arange(len(learnt)), clubs]
    others = np.where(np.arange(learnt.shape[1]) == clubs[:, np.newaxis], -1, learnt)
    return own > others.max(axis=1)


def draw(graph: nx.Graph, learnt: NDArray[np.int32], found: NDArray[np.bool_], file: Path) -> None:
    """Picture of the graph, coloured by what was learnt."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 5), layout="constrained")
    place = nx.kamada_kawai_layout(graph, weight=None)
    leaders = list(LEADERS.values())
    lean = (learnt[:, 1] - learnt[:, 0]) / np.maximum(learnt.sum(axis=1), 1)
    lean[leaders] = 0
    most = np.abs(lean).max()
    lean[leaders] = [-most, most]
    nx.draw_networkx_edges(graph, place, ax=axes, edge_color="#cccccc")
    edge = ["black" if n in leaders else "#888888" if found[n] else "#d62728" for n in graph]
    nodes = nx.draw_networkx_nodes(
        graph, place, ax=axes, node_color=lean, cmap="PuOr", vmin=-most, vmax=most, edgecolors=edge,
        linewidths=[2.5 if n in leaders or not found[n] else 0.8 for n in graph],
        node_size=[520 if n in leaders else 260 for n in graph],
    )  # fmt: skip
    colors = {n: "white" if n in leaders else "black" for n in graph}
    nx.draw_networkx_labels(graph, place, ax=axes, font_size=8, font_color=colors)
    figure.colorbar(nodes, shrink=0.7, label="learnt: Mr. Hi  <  weights  >  Officer")
    axes.set_title("The two clubs as STDP learns them; black: leaders, red: wrong", fontsize=11)
    axes.set_axis_off()
    figure.savefig(file, dpi=150)


def main() -> None:
    """Ask every member and count."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--picture", type=Path)
    chosen = parser.parse_args()
    graph = nx.karate_club_graph()
    clubs = np.array([list(LEADERS).index(graph.nodes[n]["club"]) for n in graph])
    learnt = classify(graph, LEADERS)
    found = right(learnt, clubs)
    asked = [n for n in graph if n not in LEADERS.values()]
    print(f"{int(found[asked].sum())} of {len(asked)} members in the right club")
    if chosen.picture:
        draw(graph, learnt, found, chosen.picture)


if __name__ == "__main__":
    main()
