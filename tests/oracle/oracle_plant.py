"""Oracle: a plant file's JSON as plain values: edges, what products weigh, pools that feed each other, idle rules."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any

from oracle.oracle_numbers import HOUR_MS, converted, number
from oracle.oracle_time import Calendar

Body = Mapping[str, Any]
RESIDUALS = ("export", "losses", "unmetered")


@dataclass(frozen=True)
class Edge:
    """A flow; `share` is what a unit of it weighs at its pool, `kwh` the energy in one unit of it, if known."""

    index: int
    giver: str
    giver_kind: str
    taker: str
    taker_kind: str
    terms: tuple[tuple[int, str], ...] = ()
    weight: int = 1
    share: Fraction = Fraction(1)
    kwh: Fraction | None = None
    recovery: str = ""
    driver: str = "fixed"
    disposition: str = ""

    @property
    def is_rest(self) -> bool:
        return not self.terms

    @property
    def order(self) -> tuple[str, str, int]:
        """Canonical account order: kind, then id."""
        return (self.taker_kind, self.taker, self.index)


@dataclass(frozen=True)
class Group:
    """Pools that feed each other; one alone is a group too."""

    pools: tuple[str, ...]
    is_hourly: bool

    @property
    def is_cyclic(self) -> bool:
        return len(self.pools) > 1


@dataclass(frozen=True)
class Network:
    """What flows are traced through: edges, and of each pool whether it converts and mixes over the hour."""

    edges: tuple[Edge, ...]
    converts: Mapping[str, bool]
    hourly: Mapping[str, bool]

    def given(self, node: str) -> list[Edge]:
        return [edge for edge in self.edges if edge.giver == node]

    def taken(self, node: str) -> list[Edge]:
        return [edge for edge in self.edges if edge.taker == node]

    @cached_property
    def groups(self) -> list[Group]:
        """Upstream first."""
        down = {pool: self._downstream(pool) for pool in self.converts}
        rings = {tuple(sorted({pool} | {p for p in down[pool] if pool in down[p]})) for pool in down}
        groups = [Group(ring, any(self.hourly[pool] for pool in ring)) for ring in sorted(rings)]
        # A group has more groups downstream than any of those.
        return sorted(groups, key=lambda g: -len({p for pool in g.pools for p in down[pool]} | set(g.pools)))

    def _downstream(self, pool: str) -> set[str]:
        found: set[str] = set()
        while more := {e.taker for e in self.edges if e.giver in {pool, *found} and e.taker in self.converts} - found:
            found |= more
        return found


@dataclass(frozen=True)
class Unit:
    id: str
    center: str
    step: str


class Plant:
    """One version of the plant."""

    def __init__(self, body: Body) -> None:
        self.bucket_s: int = body.get("bucket_s", 60)
        self.job_ms_max: int = body.get("job_days_max", 31) * 24 * HOUR_MS
        self.zone: str = body["site"].get("timezone", "UTC")
        self.site: str = body["site"]["id"]
        self.sources: dict[str, Body] = {s["id"]: s for s in body["sources"]}
        self.pools: dict[str, Body] = {p["id"]: p for p in body.get("pools", ())}
        self.stores: dict[str, Body] = {s["id"]: s for s in body.get("stores", ())}
        self.meters: dict[str, Body] = {m["id"]: m for m in body["meters"]}
        self.rules: dict[str, str] = {s["id"]: s.get("rule", "weight") for s in body.get("steps", ())}
        self.levels: dict[str, str] = {s["level"]: s["id"] for s in body.get("stores", ()) if s.get("level")}
        self.earlier: Plant | None = None
        self.from_ms = -(2**62)
        self.came: dict[tuple[str, str], int] = {}  # by meter and channel: since when a version bound them
        self.units: dict[str, Unit] = {}
        self.idle: dict[str, tuple[Calendar, str]] = {}
        self.inferred: dict[str, Body] = {}
        for center in body["work_centers"]:
            for unit in center["work_units"]:
                self.units[unit["id"]] = Unit(unit["id"], center["id"], unit.get("step") or "")
                self._idle(unit["id"], unit.get("idle") or center.get("idle") or body.get("idle"))
                if unit.get("infer_state"):
                    self.inferred[unit["id"]] = unit["infer_state"]
        for pool in self.pools:
            self._idle(pool, body.get("idle"))
        edges = tuple(self._edge(index, flow, body["flows"]) for index, flow in enumerate(body["flows"]))
        self.network = Network(
            edges,
            {pool: node.get("kind", "conserving") != "conserving" for pool, node in self.pools.items()},
            {pool: self._is_hourly(node, edges) for pool, node in self.pools.items()},
        )

    @property
    def edges(self) -> tuple[Edge, ...]:
        return self.network.edges

    @property
    def buckets(self) -> int:
        return 3600 // self.bucket_s

    @property
    def bucket_ms(self) -> int:
        return self.bucket_s * 1000

    def units_behind(self, node: str) -> list[str]:
        """Work units to which something of `node` can come; all of them without a node."""
        if not node:
            return sorted(self.units)
        found = {node}
        while more := {edge.taker for edge in self.edges if edge.giver in found} - found:
            found |= more
        return sorted(found & self.units.keys())

    def meters_behind(self, node: str) -> set[str]:
        """Meters of every flow by which something can come to `node`."""
        found = {node}
        while more := {edge.giver for edge in self.edges if edge.taker in found} - found:
            found |= more
        return {meter for edge in self.edges if edge.taker in found for _, meter in edge.terms}

    def _idle(self, place: str, rule: Body | None) -> None:
        if rule and rule["window"] != "none":
            starts = tuple(sorted(rule.get("starts", ("00:00",))))
            self.idle[place] = Calendar(self.zone, rule["window"], starts), rule.get("driver", "processing_time")

    def _is_hourly(self, pool: Body, edges: Sequence[Edge]) -> bool:
        window = pool.get("mix_window", "auto")
        if window != "auto":
            return bool(window == "hour")
        has_rest = any(edge.is_rest for edge in edges if edge.giver == pool["id"])
        return pool.get("kind", "conserving") != "conserving" or has_rest

    def _kind(self, node: str) -> str:
        kinds: dict[str, Collection[str]] = {"source": self.sources, "pool": self.pools}
        kinds |= {"store": self.stores, "work_unit": self.units}
        return next((kind for kind, nodes in kinds.items() if node in nodes), node)

    def _edge(self, index: int, flow: Body, flows: Sequence[Body]) -> Edge:
        words = flow["amount"].split()
        terms = [] if words == ["rest"] else [(1, words[0])]
        terms += [(-1 if sign == "-" else 1, meter) for sign, meter in zip(words[1::2], words[2::2], strict=True)]
        giver, recovery = flow["from"], flow.get("recovery") or ""
        return Edge(
            index, giver, self._kind(giver), flow["to"], self._kind(flow["to"]), tuple(terms), flow.get("weight", 1),
            Fraction(0) if recovery == "cut-off" else self._share(flow, flows), self._kwh(flow), recovery,
            flow.get("driver", "fixed"), flow.get("disposition") or "",
        )  # fmt: skip

    def _product(self, flow: Body) -> Body | None:
        products = self.pools.get(flow["from"], {}).get("products", ())
        return next((product for product in products if product["id"] == flow.get("product")), None)

    def _kwh(self, flow: Body) -> Fraction | None:
        nodes = {**self.sources, **self.pools, **self.stores}
        node = self._product(flow) or nodes[flow["from"]]
        return number(node["kwh_per_unit"]) if node.get("kwh_per_unit") else converted(node["unit"], "kWh")

    def _share(self, flow: Body, flows: Sequence[Body]) -> Fraction:
        """What one unit of a product weighs: its energy, over its reference efficiency, or x its Carnot factor."""
        product, pool = self._product(flow), self.pools.get(flow["from"], {})
        by_recovery = [f["recovery"] for f in flows if f["from"] == flow["from"] and f.get("recovery") in METHODS]
        method = pool.get("method") or next(iter(by_recovery), None)
        if product is None or len(pool["products"]) < 2 or method is None:
            return Fraction(1)
        energy = self._kwh(flow)
        assert energy is not None, "the plant is a valid one"
        if method == "efficiency":
            return energy / number(product["reference_efficiency"])
        if method == "exergy" and product.get("supply_c") is not None:
            zero_k = Fraction("273.15")
            cold, hot = number(pool.get("ambient_c", 25)) + zero_k, number(product["supply_c"]) + zero_k
            return energy * max(Fraction(0), 1 - cold / hot)
        return energy


METHODS = ("energy", "exergy")
