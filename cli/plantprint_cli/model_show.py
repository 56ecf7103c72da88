"""The plant graph drawn: as a tree for people, as Mermaid or Graphviz text for documents, as JSON for programs."""

from collections.abc import Callable
from typing import Any, Literal

from rich.markup import escape
from rich.tree import Tree

from plantprint.plant.graph import Edge, PlantGraph

Language = Literal["en", "zh"]

_SHAPES = {"source": "([{}])", "pool": "[[{}]]", "store": "[({})]", "work_unit": "[{}]"}
_DOT_SHAPES = {"source": "oval", "pool": "box3d", "store": "cylinder", "work_unit": "box"}
_ENDS: dict[str, dict[Language, str]] = {
    "export": {"en": "export", "zh": "外送"},
    "unmetered": {"en": "unmetered", "zh": "未计量"},
    "losses": {"en": "losses", "zh": "损失"},
}
_HEAT: dict[str, dict[Language, str]] = {
    "steam": {"en": "{}: heat of steam", "zh": "{}：蒸汽热量"},
    "condensate": {"en": "{}: heat of condensate", "zh": "{}：凝结水热量"},
}


def drawing(graph: PlantGraph, form: Literal["mermaid", "dot"], language: Language = "en") -> str:
    """The graph as Mermaid (for Markdown) or Graphviz dot; lines become groups."""
    return _mermaid(graph, language) if form == "mermaid" else _dot(graph, language)


def tree(graph: PlantGraph, language: Language = "en") -> Tree:
    """What flows where, from each source on; a pool's takers stand once, where it comes first."""
    site = graph.plant.site
    root = Tree(
        f"[bold]{escape(_text(site.name, language))}[/bold] ({site.id}), {site.timezone}, {site.geography}, "
        f"buckets of {graph.plant.bucket_s} s"
    )
    drawn: set[str] = set()
    for source in graph.sources.values():
        branch = root.add(
            f"[bold]{escape(_text(source.name, language))}[/bold] ({source.id}) {source.unit}, {source.kind}, "
            f"scope {source.scope}, {source.factor}"
        )
        _grow(graph, branch, source.id, drawn, language)
    for store in graph.stores:
        if store not in drawn:
            _grow(graph, root.add(_label(graph, store, language)), store, drawn, language)
    return root


def as_json(graph: PlantGraph) -> dict[str, Any]:
    """Nodes and flows: ids, kinds, names, units, meters with their sign, mix windows, groups of pools that feed each other."""
    return {
        "site": graph.plant.site.id,
        "bucket_s": graph.plant.bucket_s,
        "nodes": [
            {"id": node, "kind": kind, "name": _name(graph, node).model_dump()}
            | ({"mix_window": graph.windows[node]} if node in graph.windows else {})
            | ({"work_center": graph.work_units[node].work_center} if node in graph.work_units else {})
            for node, kind in _kinds(graph).items()
        ],
        "flows": [
            {"from": e.giver, "to": e.taker, "amount": _amount(e), "meters": [m for _, m in e.terms]}
            | ({"product": e.product} if e.product else {})
            | ({"heat": heat} if (heat := _heat(graph, e)) else {})
            for e in graph.edges
        ],
        "cycles": [list(group.pools) for group in graph.groups if group.is_cyclic],
    }


def _grow(graph: PlantGraph, branch: Tree, node: str, drawn: set[str], language: Language) -> None:
    drawn.add(node)
    for edge in graph.outflows.get(node, ()):
        again = " [dim](see above)[/dim]" if edge.taker in drawn and graph.outflows.get(edge.taker) else ""
        product = f" ({edge.product})" if edge.product else ""
        heat = ", ".join(_HEAT[kind][language].format(meter) for meter, kind in _heat(graph, edge).items())
        amount = escape(_amount(edge) + (f" ({heat})" if heat else ""))
        twig = branch.add(f"[dim]{amount}{product} →[/dim] {_label(graph, edge.taker, language)}{again}")
        if not again:
            _grow(graph, twig, edge.taker, drawn, language)


def _label(graph: PlantGraph, node: str, language: Language) -> str:
    if node in _ENDS:
        return f"[italic]{_ENDS[node][language]}[/italic]"
    name = f"[bold]{escape(_text(_name(graph, node), language))}[/bold] ({node})"
    if node in graph.pools:
        pool = graph.pools[node]
        return f"{name} {pool.kind}, {pool.unit}, mixed by {graph.windows[node]}"
    if node in graph.stores:
        return f"{name} store, {graph.stores[node].unit}, {graph.stores[node].kind}"
    place = graph.work_units.get(node)
    return f"{name} {place.work_center}{f', {place.step}' if place.step else ''}" if place else name


def _mermaid(graph: PlantGraph, language: Language) -> str:
    lines = ["flowchart LR"]
    number = {node: f"n{i}" for i, node in enumerate(_kinds(graph))}

    def node_line(node: str, kind: str) -> str:
        quoted = '"' + _text(_name(graph, node), language).replace('"', "#quot;") + '"'
        return f"  {number[node]}{_SHAPES[kind].format(quoted)}"

    lines += _grouped(graph, node_line, lambda center: f'  subgraph {center}["{center}"]', "  end")
    for index, edge in enumerate(graph.edges):
        taker = number.get(edge.taker, f"e{index}")
        end = f'(("{_ENDS[edge.taker][language]}"))' if edge.taker in _ENDS else ""
        lines.append(f'  {number[edge.giver]} -->|"{_amount(edge)}"| {taker}{end}')
    return "\n".join(lines)


def _dot(graph: PlantGraph, language: Language) -> str:
    def quoted(text: str) -> str:
        return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'

    def node_line(node: str, kind: str) -> str:
        return f"  {quoted(node)} [label={quoted(_text(_name(graph, node), language))}, shape={_DOT_SHAPES[kind]}];"

    lines = [f"digraph {quoted(graph.plant.site.id)} {{", "  rankdir=LR;"]
    lines += _grouped(graph, node_line, lambda c: f"  subgraph {quoted('cluster_' + c)} {{ label={quoted(c)};", "  }")
    for index, edge in enumerate(graph.edges):
        taker = edge.taker
        if taker in _ENDS:
            taker = f"{edge.taker} {index}"
            lines.append(f"  {quoted(taker)} [label={quoted(_ENDS[edge.taker][language])}, shape=plaintext];")
        lines.append(f"  {quoted(edge.giver)} -> {quoted(taker)} [label={quoted(_amount(edge))}];")
    return "\n".join([*lines, "}"])


def _grouped(
    graph: PlantGraph, node_line: Callable[[str, str], str], begin: Callable[[str], str], end: str
) -> list[str]:
    """Nodes line by line, the work units of a line inside their group."""
    kinds = _kinds(graph)
    lines = [node_line(node, kind) for node, kind in kinds.items() if kind != "work_unit"]
    for center in graph.plant.work_centers:
        lines += [begin(center.id), *(node_line(unit.id, "work_unit") for unit in center.work_units), end]
    return lines


def _kinds(graph: PlantGraph) -> dict[str, str]:
    groups = {"source": graph.sources, "pool": graph.pools, "store": graph.stores, "work_unit": graph.work_units}
    return {node: kind for kind, nodes in groups.items() for node in nodes}


def _name(graph: PlantGraph, node: str) -> Any:
    for nodes in (graph.sources, graph.pools, graph.stores):
        if node in nodes:
            return nodes[node].name
    units = (unit for center in graph.plant.work_centers for unit in center.work_units)
    return next(unit.name for unit in units if unit.id == node)


def _text(name: Any, language: Language) -> str:
    return str(name.zh if language == "zh" and name.zh else name.en)


def _heat(graph: PlantGraph, edge: Edge) -> dict[str, str]:
    """The meters of a flow that count mass, and of what they tell the heat."""
    heats = {meter: graph.meters[meter].heat for _, meter in edge.terms}
    return {meter: type(heat).__name__.lower() for meter, heat in heats.items() if heat is not None}


def _amount(edge: Edge) -> str:
    text = " ".join(f"{'+' if sign > 0 else '-'} {meter}" for sign, meter in edge.terms)
    return text.removeprefix("+ ") or "rest"
