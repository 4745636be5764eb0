"""Tree ensembles (ai.onnx.ml TreeEnsembleClassifier and TreeEnsembleRegressor): that they are trees, and how deep.

The operator holds its trees as parallel lists of nodes that name their children by number. A hostile list could loop
for ever or point outside, so that before anything runs every node is shown to lie on exactly one path from its root.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from goldengrain.enclave.errors import ModelStructureWrong

_MODES = {b"LEAF", b"BRANCH_LEQ", b"BRANCH_LT", b"BRANCH_GTE", b"BRANCH_GT", b"BRANCH_EQ", b"BRANCH_NEQ"}
_REQUIRED = ("nodes_treeids", "nodes_featureids", "nodes_modes", "nodes_truenodeids", "nodes_falsenodeids")
_WEIGHTS = ("treeids", "nodeids", "ids", "weights")

Key = tuple[int, int]


def count_tree_steps(attributes: Mapping[str, Any], features: int) -> int:
    """Return the greatest number of steps for one row; raises `ModelStructureWrong` for what is no tree."""
    keys, parallel = _parallel(attributes)
    children = _children(keys, parallel, features)
    weights = _check_weights(attributes, children)
    roots = _roots(keys, children)
    depths = _depths(children, roots)
    if len(depths) != len(children):
        raise ModelStructureWrong("a tree ensemble's node lies on no path from a root: its links run in a circle")
    deepest: dict[int, int] = {}
    for (tree, _), depth in depths.items():
        deepest[tree] = max(deepest.get(tree, 0), depth)
    return sum(deepest.values()) + weights


def _parallel(attributes: Mapping[str, Any]) -> tuple[list[Key], dict[str, Sequence[Any]]]:
    nodes = attributes.get("nodes_nodeids", ())
    values = attributes.get("nodes_values", ()) or attributes.get("nodes_values_as_tensor", ())
    parallel = {name: attributes.get(name, ()) for name in _REQUIRED} | {"nodes_values": values}
    if not len(nodes) or any(len(column) != len(nodes) for column in parallel.values()):
        raise ModelStructureWrong("a tree ensemble's lists of nodes differ in length")
    keys = list(zip(parallel["nodes_treeids"], nodes, strict=True))
    if len(set(keys)) != len(keys):
        raise ModelStructureWrong("a tree ensemble names a node twice")
    return keys, parallel


def _children(keys: Sequence[Key], parallel: Mapping[str, Sequence[Any]], features: int) -> dict[Key, tuple[Key, ...]]:
    children: dict[Key, tuple[Key, ...]] = {}
    for index, key in enumerate(keys):
        mode = parallel["nodes_modes"][index]
        if mode not in _MODES:
            raise ModelStructureWrong(f"a tree ensemble's node has the unknown mode {mode!r}")
        if mode == b"LEAF":
            children[key] = ()
            continue
        if not 0 <= parallel["nodes_featureids"][index] < features:
            raise ModelStructureWrong(f"a tree ensemble asks for a feature outside the {features} there are")
        tree = key[0]
        children[key] = (
            (tree, parallel["nodes_truenodeids"][index]),
            (tree, parallel["nodes_falsenodeids"][index]),
        )
    return children


def _check_weights(attributes: Mapping[str, Any], children: Mapping[Key, tuple[Key, ...]]) -> int:
    """Check that weights belong to leaves and to outputs that exist; return how many are summed for one row."""
    prefix = "target" if "target_ids" in attributes else "class"
    columns = [attributes.get(f"{prefix}_{name}", ()) for name in _WEIGHTS]
    if not columns[3] and f"{prefix}_weights_as_tensor" in attributes:
        columns[3] = attributes[f"{prefix}_weights_as_tensor"]
    if len({len(column) for column in columns}) != 1:
        raise ModelStructureWrong("a tree ensemble's lists of weights differ in length")
    outputs = (
        int(attributes.get("n_targets", 0)) if prefix == "target" else len(attributes.get("classlabels_int64s", ()))
    )
    per_leaf: dict[Key, int] = {}
    for tree, node, output, _ in zip(*columns, strict=True):
        if not 0 <= output < outputs or children.get((tree, node)) != ():
            raise ModelStructureWrong("a tree ensemble's weight belongs to no leaf or to no output")
        per_leaf[tree, node] = per_leaf.get((tree, node), 0) + 1
    return max(per_leaf.values(), default=0) * len({tree for tree, _ in children})


def _roots(keys: Sequence[Key], children: Mapping[Key, tuple[Key, ...]]) -> list[Key]:
    """Return the nodes that no node points to, one per tree; the runtime takes a tree's first node as its root."""
    pointed: set[Key] = set()
    for pair in children.values():
        for child in pair:
            if child not in children or child in pointed:
                raise ModelStructureWrong("a tree ensemble's node is missing or has two parents")
            pointed.add(child)
    roots = [key for key in keys if key not in pointed]
    first: dict[int, Key] = {}
    for key in keys:
        first.setdefault(key[0], key)
    if sorted(roots) != sorted(first.values()):
        raise ModelStructureWrong("a tree ensemble's tree doesn't begin with its one root")
    return roots


def _depths(children: Mapping[Key, tuple[Key, ...]], roots: Sequence[Key]) -> dict[Key, int]:
    depths = dict.fromkeys(roots, 1)
    pending = list(roots)
    while pending:
        key = pending.pop()
        for child in children[key]:
            depths[child] = depths[key] + 1
            pending.append(child)
    return depths
