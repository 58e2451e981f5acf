"""Child-sum Tree-LSTM: an LSTM whose past is the sum of a node's children. Gate order i, f, g, o."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from lstmkit.reference.arrays import Array, Namespace, sigmoid, zeros
from lstmkit.spec import DataError


class TreeWeights(NamedTuple):
    """The parameters."""

    input: Array  # (4H, I)
    recurrent: Array  # (4H, H)
    bias: Array | None  # (4H,)


def collect_tree(p: Mapping[str, Array]) -> TreeWeights:
    """The parameters by name."""
    return TreeWeights(p["weight_ih"], p["weight_hh"], p.get("bias_ih"))


def tree_node(xp: Namespace, x: Array, children: Sequence[tuple[Array, Array]], w: TreeWeights) -> tuple[Array, Array]:
    """One node: Tai, Socher & Manning (2015), eq. 2-8; each child has a forget gate of its own.

    Shape:
        - x: ``(I,)``; h and c of each child, and of the node: ``(H,)``
    """
    H = w.recurrent.shape[1]
    z = w.input @ x if w.bias is None else w.input @ x + w.bias
    U = w.recurrent
    h_sum = sum((h for h, _ in children), zeros(xp, (H,), x))
    i = sigmoid(xp, z[:H] + U[:H] @ h_sum)
    g = xp.tanh(z[2 * H : 3 * H] + U[2 * H : 3 * H] @ h_sum)
    o = sigmoid(xp, z[3 * H :] + U[3 * H :] @ h_sum)
    forgets = [sigmoid(xp, z[H : 2 * H] + U[H : 2 * H] @ h) for h, _ in children]
    c = i * g + sum((f * child for f, (_, child) in zip(forgets, children, strict=True)), zeros(xp, (H,), x))
    return o * xp.tanh(c), c


def run_tree(xp: Namespace, w: TreeWeights, x: Array, parents: Sequence[int]) -> tuple[Array, Array]:
    """Every node of a forest, children before parents.

    Args:
        xp: The array module.
        w: The parameters.
        x: The nodes' inputs ``(N, I)``, in any order.
        parents: The number of each node's parent; -1 for a root.

    Shape:
        - h and c: ``(N, H)``

    Raises:
        DataError: a parent is no node, or nodes are their own ancestors.
    """
    states: dict[int, tuple[Array, Array]] = {}
    for level in tree_levels(parents):
        for node in level:
            children = [states[k] for k, parent in enumerate(parents) if parent == node]
            states[node] = tree_node(xp, x[node], children, w)
    h, c = zip(*(states[node] for node in range(len(parents))), strict=True)
    return xp.stack(h), xp.stack(c)


def tree_levels(parents: Sequence[int]) -> list[list[int]]:
    """Nodes by their height, leaves first: those of a level have all their children in the levels before.

    Raises:
        DataError: a parent is no node, or nodes are their own ancestors.
    """
    waiting = [0] * len(parents)
    for node, parent in enumerate(parents):
        if not -1 <= parent < len(parents):
            raise DataError(f"the parent of node {node} must be -1 or in 0..{len(parents) - 1}, not {parent}")
        if parent >= 0:
            waiting[parent] += 1
    levels = [[node for node, count in enumerate(waiting) if count == 0]]
    while levels[-1]:
        above: list[int] = []
        for node in levels[-1]:
            parent = parents[node]
            if parent >= 0:
                waiting[parent] -= 1
                if waiting[parent] == 0:
                    above.append(parent)
        levels.append(above)
    if lost := [node for node, count in enumerate(waiting) if count]:
        raise DataError(f"the nodes {lost[:5]} are their own ancestors; a tree has no cycles")
    return levels[:-1]
