"""Random documents of facts for the oracle: a plant, readings of its meters in any order, events at any millisecond."""

from collections.abc import Mapping, Sequence
from typing import Any

from hypothesis import strategies as st
from oracle.oracle_feeds import Feeds, seeded, told_at, with_heat
from oracle.oracle_happenings import happenings
from oracle.oracle_numbers import HOUR_MS
from oracle.oracle_pen import Document, Pen
from oracle.oracle_time import instant
from oracle.oracle_versions import another_version

from plantprint.times import format_instant

Body = dict[str, Any]
UNITS = ("u1", "u2", "u3")
RULES = {"dye": "weight", "wash": "equal", "spin": "exclusive"}
SOURCES = {
    "gas": {"unit": "Nm3", "kind": "fuel", "kwh_per_unit": "10.55"},
    "grid": {"unit": "kWh", "kind": "grid"},
    "pv": {"unit": "kWh", "kind": "on_site"},
    "steam": {"unit": "kg", "kind": "purchased", "kwh_per_unit": "0.75"},
    "wind": {"unit": "kWh", "kind": "on_site"},
}
# Nights on which clocks change or a month ends, and an ordinary day.
STARTS = {
    "Europe/Zurich": ("2026-03-28T23:00:00Z", "2026-10-24T22:00:00Z", "2026-10-31T20:00:00Z"),
    "Australia/Lord_Howe": ("2026-04-04T12:00:00Z", "2026-10-03T13:00:00Z"),
    "America/St_Johns": ("2026-03-08T03:00:00Z",),
    "Asia/Shanghai": ("2026-01-31T13:00:00Z", "2026-06-10T00:00:00Z"),
    "UTC": ("2025-12-01T00:00:00Z",),
}


@st.composite
def documents(
    draw: st.DrawFn, *, hours: int = 3, large: bool = False, small: bool = False, known: bool = False
) -> Body:
    """Facts of `hours` hours and some readings beyond. `small` plants have few pools, for long spans of time.

    `known`: each fact says when it became known.
    """
    pen = Pen(draw)
    zone = pen.pick(*STARTS)
    start_ms = instant(pen.pick(*STARTS[zone])) + HOUR_MS * pen.number(0, 2)
    model = _Maker(pen, zone, small=small).model()
    chance = seeded(pen.number(0, 2**32))
    model["job_days_max"] = chance.choice((1, 31))
    chance.shuffle(model["flows"])  # The order of a plant file says nothing.
    # A fault of which only a part is known would be another story.
    feeds = Feeds(chance, start_ms, hours, large=large, faults=not known)
    channels, readings = feeds.of(model)
    plants: list[Body] = [{"model": model}]
    if pen.chance(3):
        for hour in pen.pick((1,), (2,), (1, 2)):
            body, added = another_version(chance, plants[-1]["model"], model, feeds)
            plants.append({"model": body, "effective_at": format_instant(start_ms + hour * HOUR_MS)})
            channels += added[0]
            readings += added[1]
        chance.shuffle(plants)
    events = happenings(chance, [plant["model"] for plant in plants], start_ms, hours)
    with_heat(feeds, plants, channels, readings)
    if known:
        told_at(chance, [*readings, *events, *(plant for plant in plants if "effective_at" in plant)], start_ms)
    return Document(
        plantprint_facts=1,
        plants=plants,
        channels=channels,
        readings=readings,
        events=events,
        until=format_instant(start_ms + hours * HOUR_MS + pen.pick(0, 0, 0, -1_234_567, 600_000)),
    )


class _Maker:
    """Puts a plant together: nodes first, then flows between those whose units fit."""

    def __init__(self, pen: Pen, zone: str, *, small: bool) -> None:
        self.pen, self.zone, self.small = pen, zone, small
        self.pools: dict[str, Body] = {}
        self.stores: dict[str, Body] = {}
        self.flows: list[Body] = []
        self.meters: dict[str, Body] = {}

    def model(self) -> Body:
        pen = self.pen
        self._pools()
        self._stores()
        self._feed()
        self._ends()
        self._machine()
        self._battery()
        self._rests()
        site_idle = self._idle(none=False) if pen.chance(2) else None
        self._dispositions(has_windows=site_idle is not None)
        bucket_s = pen.pick(900, 900, 1800, 3600, 300) if not self.small else pen.pick(1800, 3600)
        centers = [self._center("line-1", ["u1", "u2"], bucket_s), self._center("line-2", ["u3"], bucket_s)]
        used = {flow["from"] for flow in self.flows}
        return {
            "plantprint": 1,
            "site": {**_named("site"), "timezone": self.zone},
            "bucket_s": bucket_s,
            **({"idle": site_idle} if site_idle else {}),
            "steps": [{**_named(step), "rule": rule} for step, rule in RULES.items()],
            "work_centers": centers,
            "sources": [
                {**_named(s), **body, "factor": f"factor.{s}", "scope": 2} for s, body in SOURCES.items() if s in used
            ],
            "pools": [{**_named(pool), **body} for pool, body in self.pools.items()],
            "stores": [{**_named(store), **body} for store, body in self.stores.items()],
            "meters": [{**_named(meter), **body} for meter, body in self.meters.items()],
            "flows": self.flows,
        }

    def _pools(self) -> None:
        for n in range(self.pen.number(1, 2 if self.small else 4)):
            kind = self.pen.pick("conserving", "conserving", "converting", "boiler", "chp", "heat_pump")
            unit = {"boiler": "kg"}.get(kind, self.pen.pick("kWh", "kWh", "kWh", "kg"))
            self.pools[f"p{n + 1}"] = {
                "unit": "kWh" if kind == "heat_pump" else unit,
                "kind": kind,
                "mix_window": self.pen.pick("auto", "auto", "bucket", "hour"),
                **(self._products() if kind == "chp" else {}),
            }

    def _products(self) -> Body:
        method = self.pen.pick("energy", "efficiency", "exergy")
        heat = self.pen.pick({"unit": "kWh"}, {"unit": "kg", "kwh_per_unit": self.pen.pick("0.75", "2.123456")})
        power: Body = {**_named("a"), "unit": "kWh", "reference_efficiency": self.pen.pick("0.5", "0.123")}
        warm = {**_named("b"), **heat, "reference_efficiency": "0.9", "supply_c": self.pen.pick("90", "152.5", "25")}
        return {"method": method, "ambient_c": self.pen.pick("25", "-7.25"), "products": [power, warm]}

    def _unit_of(self, giver: str, product: str = "") -> str:
        products = self.pools.get(giver, {}).get("products", ())
        named = [body["unit"] for body in products if body["id"] == product]
        return str(named[0] if named else {**SOURCES, **self.pools, **self.stores}[giver]["unit"])

    def _link(self, giver: str, taker: str, **more: Any) -> bool:
        """A metered flow, if its unit fits and there is none yet."""
        names = [body["id"] for body in self.pools.get(giver, {}).get("products", ())]
        product = {"product": more.pop("product", None) or self.pen.pick(*names)} if names else {}
        unit = self._unit_of(giver, product.get("product", ""))
        node = {**self.pools, **self.stores}.get(taker)
        fits = node is None or node.get("kind") not in ("conserving", "fifo", "mixed") or node["unit"] == unit
        if not fits or giver == taker or any(f["from"] == giver and f["to"] == taker for f in self.flows):
            return False
        self.flows.append({"from": giver, "to": taker, "amount": self._metered(giver, taker, unit), **product, **more})
        return True

    def _metered(self, giver: str, taker: str, unit: str) -> str:
        """One meter, or a difference of two, or a sum."""
        names = [f"m-{giver}-{taker}"]
        if self.pen.chance(6):
            names.append(f"m-{giver}-{taker}-x")
        for name in names:
            self.meters[name] = {"unit": unit, "bindings": [{"channel": f"gw/{name}"}]}
        return str(self.pen.pick(" - ", " + ").join(names))

    def _feed(self) -> None:
        """Sources and pools into pools; a few of the links go back, so that some pools feed each other."""
        names = list(self.pools)
        for n, pool in enumerate(names):
            fits = [
                s
                for s in SOURCES
                if self.pools[pool]["kind"] != "conserving" or SOURCES[s]["unit"] == self.pools[pool]["unit"]
            ]
            for source in self.pen.some(fits, 1, self.pen.pick(1, 1, 2)):
                self._link(source, pool)
            for feeder in self.pen.some(names[:n], 0, 2) if n else ():
                self._link(feeder, pool)
            if n and self.pen.chance(2):
                self._link(pool, names[self.pen.number(0, n - 1)])
        for source in self.pen.some(list(SOURCES), 0, 1):
            self._link(source, self.pen.pick(*UNITS))

    def _stores(self) -> None:
        for n in range(0 if self.small and self.pen.chance(2) else self.pen.pick(0, 0, 1, 1, 2)):
            store, pool = f"s{n + 1}", self.pen.pick(*self.pools)
            names = [body["id"] for body in self.pools[pool].get("products", ())]
            product = self.pen.pick(*names) if names else ""
            body: Body = {"unit": self._unit_of(pool, product), "kind": self.pen.pick("fifo", "mixed")}
            bound = self.pen.pick("level", "capacity", "empty", "", "%")
            if bound in ("level", "%"):
                body["level"] = f"m-level-{store}"
                self.meters[body["level"]] = {"unit": body["unit"], "bindings": [{"channel": f"gw/m-level-{store}"}]}
            if bound in ("capacity", "%"):
                body["capacity"] = self.pen.pick("0.5", "12.345")
            if bound == "empty":
                body["empty_point"] = self.pen.pick("00:00+00:00", "01:30+01:00", "23:59+08:00")
            self.stores[store] = body
            self._link(pool, store, **({"product": product} if product else {}))
            takers = [
                p for p in self.pools if self.pools[p]["kind"] != "conserving" or self.pools[p]["unit"] == body["unit"]
            ]
            for taker in (self.pen.pick(*takers, *UNITS), pool, *self.pen.some(UNITS, 1, 2)):
                self._link(store, taker)

    def _ends(self) -> None:
        for pool in self.pools:
            for taker in self.pen.some([*UNITS, "losses", "export"], 1, self.pen.pick(1, 2, 3)):
                self._link(pool, taker)

    def _battery(self) -> None:
        """A roof and a battery on one bus, of which some is sold: this hour's roof, then what it made before."""
        buses = [pool for pool, body in self.pools.items() if body["unit"] == "kWh" and body["kind"] == "conserving"]
        if self.small or not buses or not self.pen.chance(5):
            return
        bus = self.pen.pick(*buses)
        self.stores["battery"] = {"unit": "kWh", "kind": self.pen.pick("fifo", "mixed")}
        for giver, taker in (("pv", bus), (bus, "battery"), ("battery", bus), (bus, "export"), (bus, "u1")):
            self._link(giver, taker)

    def _machine(self) -> None:
        """A work unit that hands heat back stands behind a converting pool with two products."""
        buses = [pool for pool, body in self.pools.items() if body["unit"] == "kWh" and not body.get("products")]
        if self.small or not buses or not self.pen.chance(3):
            return
        recovery = self.pen.pick("cut-off", "energy", "exergy")
        other: Body = {"unit": "kg", "kwh_per_unit": "0.4"}
        main: Body = {**_named("own"), **self.pen.pick({"unit": "kWh"}, other)}
        heat: Body = {**_named("heat"), "unit": "kWh", "supply_c": self.pen.pick("60", "85.5")}
        self.pools["machine"] = {"unit": "kWh", "kind": "converting", "products": [main, heat]}
        self.pools["warm"] = {"unit": "kWh", "kind": "conserving"}
        self._link(self.pen.pick(*buses), "machine")
        self._link("grid", "warm")
        self._link("machine", "warm", product="heat", recovery=recovery)
        own: Body = {"from": "machine", "to": "u1", "amount": "rest", "product": "own"}
        if self.pen.chance(2):
            self.flows.append(own)
        else:
            self._link("machine", "u1", product="own")
        self._link("warm", "u2")

    def _rests(self) -> None:
        for pool, body in self.pools.items():
            if body["kind"] != "conserving" or not self.pen.chance(2) or self._comes_back(pool):
                continue
            free = [u for u in UNITS if not any(f["from"] == pool and f["to"] == u for f in self.flows)]
            driver = self.pen.pick("", "", "running_time", "mass", "pieces", "area") if free else ""
            several = [] if driver == "" and self.pen.chance(2) else self.pen.some(free, 1, 3) if free else []
            for taker in several if driver else [*several, "unmetered"]:
                more = {"driver": driver} if driver else {}
                weight = self.pen.pick(1, 1, 2, 7)
                self.flows.append({"from": pool, "to": taker, "amount": "rest", "weight": weight, **more})

    def _comes_back(self, pool: str) -> bool:
        """A rest to work units and unmetered never does."""
        return pool not in self.pools

    def _dispositions(self, *, has_windows: bool) -> None:
        for flow in self.flows:
            if flow["to"] not in ("losses", "unmetered") or flow["from"] in self.stores:
                continue
            others = [f for f in self.flows if f["from"] == flow["from"] and f["to"] not in ("losses", "unmetered")]
            chosen = self.pen.pick("", "", "consumers" if others else "", "window" if has_windows else "", "outside")
            if chosen:
                flow |= {"disposition": chosen, **({"reason": "tenants"} if chosen == "outside" else {})}

    def _center(self, name: str, units: Sequence[str], bucket_s: int) -> Body:
        idle = {"idle": self._idle()} if self.pen.chance(4) else {}
        return {**_named(name), **idle, "work_units": [self._work_unit(unit, bucket_s) for unit in units]}

    def _work_unit(self, unit: str, bucket_s: int) -> Body:
        body = _named(unit)
        if self.pen.chance(3):
            body["step"] = self.pen.pick(*RULES)
        if self.pen.chance(4):
            body["idle"] = self._idle()
        energy = [meter for meter, node in self.meters.items() if node["unit"] == "kWh" and "level" not in meter]
        if energy and self.pen.chance(4):
            spans = [s for s in (300, 900, 1800, 3600) if s % bucket_s == 0]
            limits = self.pen.pick(("0.002", "0.001"), ("5", "0.5"), ("40.25", "0.000001"))
            rule = {"meter": self.pen.pick(*energy), "processing_kw": limits[0], "idle_kw": limits[1]}
            body["infer_state"] = {**rule, "mean_over_s": self.pen.pick(*spans)}
        return body

    def _idle(self, *, none: bool = True) -> Body:
        window, starts = self.pen.pick(
            ("shift", ("00:30", "01:15", "02:30", "04:00")),
            ("shift", ("02:00", "14:00")),
            ("day", ("01:30",)),
            ("week", ("02:45",)),
            ("none" if none else "shift", ("00:00",)),
        )
        driver = self.pen.pick("processing_time", "processing_time", "mass", "pieces", "area", "equal")
        return {"window": window, "starts": list(starts), "driver": driver}


def _named(name: str) -> Body:
    return {"id": name, "name": {"en": name}}


def model_of(document: Mapping[str, Any]) -> Mapping[str, Any]:
    return dict(document["plants"][0]["model"])
