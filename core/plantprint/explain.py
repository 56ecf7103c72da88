"""The rules by which an account got its amounts, as sentences in English and Chinese, written from the plant model.

Which meters, which pool and window, which driver, which rule of the step: what a certifier asks, and what PACT calls
`allocationRulesDescription`. Nothing is computed here; every sentence says what the model says.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from fractions import Fraction

from plantprint import explain_texts as texts
from plantprint.compare import Comparison
from plantprint.explain_texts import both, fill, joined, same
from plantprint.ledger import PostingKey
from plantprint.plant.graph import Edge, PlantGraph
from plantprint.plant.model import Text
from plantprint.product import OPEN_STEP
from plantprint.quantities import decimal_text, round_half_even

_DIGITS = 10**3
_NOTHING = same(0)


def explain_accounts(graph: PlantGraph, net: Mapping[PostingKey, int]) -> dict[tuple[str, str], tuple[Text, ...]]:
    """By (account kind, account id) of the postings: the rules behind them, from the account back to the sources.

    Only work units, pools and sources that the account's postings name or that lead to them are told. Work units that
    the model no longer has are left out: the model of their time explains them.
    """
    postings: dict[tuple[str, str], list[PostingKey]] = defaultdict(list)
    for key, amount in net.items():
        if amount:
            postings[key.account_kind, key.account_id].append(key)
    words = _Words(graph)
    return {account: tuple(words.account(*account, keys)) for account, keys in sorted(postings.items())}


def meters_of(graph: PlantGraph, work_units: Iterable[str], sources: Iterable[str]) -> tuple[str, ...]:
    """The meters whose amounts the postings of `sources` on `work_units` come from, nearest first.

    Those of the flows into the work units, then into what feeds them, as far as one of the sources comes through.
    """
    words, wanted = _Words(graph), set(sources)
    found: dict[str, None] = {}
    waiting = [*dict.fromkeys(unit for unit in work_units if unit in graph.inflows)]
    seen = set(waiting)
    for node in waiting:
        for edge in graph.inflows[node]:
            if words.carries(edge, wanted):
                found |= dict.fromkeys(meter for _, meter in edge.terms)
                if edge.giver_kind != "source" and edge.giver not in seen:
                    seen.add(edge.giver)
                    waiting.append(edge.giver)
    return tuple(found)


def explain_comparison(graph: PlantGraph, comparison: Comparison, most: int = 10) -> tuple[Text, ...]:
    """The `most` largest effects between two footprints in words, after a sentence with the whole difference."""
    words = _Words(graph)
    causes = [
        (value, cause, effect)
        for effect in comparison.effects
        for cause, value in (("activity", effect.activity), ("mix", effect.mix), ("factor", effect.factor))
        if _number(value) != _NOTHING
    ]
    largest = sorted(causes, key=lambda one: (-abs(one[0]), one[1], one[2]))[:most]
    whole = {"before": _number(comparison.before), "after": _number(comparison.after)}
    return (
        fill(texts.CHANGE, **whole, change=_signed(comparison.difference)),
        *(
            fill(
                texts.EFFECT,
                change=_signed(value),
                source=words.name(effect.source),
                step=words.step(effect.step),
                cause=texts.CAUSES[cause],
            )
            for value, cause, effect in largest
        ),
    )


def _number(value: Fraction) -> Text:
    return same(decimal_text(round_half_even(value.numerator * _DIGITS, value.denominator), _DIGITS))


def _signed(value: Fraction) -> Text:
    number = _number(value).en
    return same(number if number.startswith("-") else f"+{number}")


class _Words:
    """Sentences about one plant."""

    def __init__(self, graph: PlantGraph) -> None:
        self.graph = graph
        names = {unit.id: unit.name for center in graph.plant.work_centers for unit in center.work_units}
        names |= {source.id: source.name for source in graph.sources.values()}
        names |= {pool.id: pool.name for pool in graph.pools.values()}
        names |= {store.id: store.name for store in graph.stores.values()}
        names |= {material.id: material.name for material in graph.plant.materials}
        self.names = {one: both(name) for one, name in names.items()}

    def name(self, node: str) -> Text:
        return self.names.get(node, same(node))

    def step(self, step: str) -> Text:
        if step in self.graph.steps:
            return both(self.graph.steps[step].name)
        if step == OPEN_STEP:
            return texts.OPEN_STEP
        return same(step) if step else Text(en="no step", zh="无工序")

    def account(self, kind: str, account_id: str, keys: Iterable[PostingKey]) -> list[Text]:
        known = list(keys)
        sources = {key.source for key in known}
        steps = sorted({(key.work_unit, key.step) for key in known if key.work_unit in self.graph.work_units})
        units = sorted({unit for unit, _ in steps})
        sentences = [fill(texts.ACCOUNTS[kind], place=self.name(account_id))] if kind in texts.ACCOUNTS else []
        for unit in units:
            sentences += [self._feed(edge) for edge in self.graph.inflows[unit] if self.carries(edge, sources)]
        if kind == "batch":
            sentences += [self._rule(unit, step) for unit, step in steps]
            sentences += [self._setup(unit) for unit in units]
        if kind in ("batch", "idle", "overhead"):
            sentences += [sentence for unit in units for sentence in self._idle(unit)]
        ends = [*units, account_id] if account_id in self.graph.inflows else units
        behind = self._upstream(ends) | (({account_id} - set(units)) & self.graph.inflows.keys())
        sentences += self._nodes({node for node in behind if self._reached(node, sources)})
        return [*dict.fromkeys(sentences)]

    def _nodes(self, nodes: set[str]) -> list[Text]:
        """Pools and stores, downstream first."""
        sentences: list[Text] = []
        for store in sorted(nodes & self.graph.stores.keys()):
            sentences += self._store(store)
        for group in reversed(self.graph.groups):
            told = [pool for pool in group.pools if pool in nodes]
            sentences += [sentence for pool in told for sentence in self._pool(pool)]
            if len(told) > 1:
                sentences.append(fill(texts.CYCLE, pools=joined([self.name(pool) for pool in group.pools])))
        return sentences

    def _feed(self, edge: Edge) -> Text:
        taker, giver = self.name(edge.taker), self.name(edge.giver)
        if edge.terms:
            return fill(texts.FEED_METERED, taker=taker, giver=giver, meters=self._meters(edge))
        return fill(texts.FEED_REST, taker=taker, giver=giver, part=self._part(edge))

    def _part(self, edge: Edge) -> Text:
        rests = [other for other in self.graph.outflows[edge.giver] if other.is_rest]
        if len(rests) == 1:
            return texts.ALL
        share = f"{edge.weight}/{sum(other.weight for other in rests)}"
        if edge.driver == "fixed":
            return same(share)
        driver = texts.DRIVERS[edge.driver]
        return Text(en=f"a part {driver.en} (weight {share})", zh=f"一部分（{driver.zh}，权重{share}）")

    def _rule(self, unit: str, step: str) -> Text:
        known = self.graph.steps.get(step)
        return fill(texts.RULES[known.rule if known else "weight"], unit=self.name(unit))

    def _setup(self, unit: str) -> Text:
        rule = self.graph.idle.get(unit)
        return fill(texts.STATES, unit=self.name(unit), window=texts.PERIODS[rule.calendar.period if rule else "hour"])

    def _idle(self, unit: str) -> list[Text]:
        name, rule, state = self.name(unit), self.graph.idle.get(unit), self.graph.state_rules.get(unit)
        if rule is None:
            sentences = [fill(texts.IDLE_APART, unit=name)]
        else:
            window, driver = texts.PERIODS[rule.calendar.period], texts.DRIVERS[rule.driver]
            sentences = [fill(texts.IDLE_SPREAD, unit=name, window=window, driver=driver)]
        if state is not None:
            limits = {"processing": same(state.processing_kw), "idle": same(state.idle_kw)}
            sentences.append(fill(texts.INFERRED, unit=name, meter=self._meter(state.meter), **limits))
        return sentences

    def _pool(self, pool: str) -> list[Text]:
        """How a pool's content is divided: window, driver, conversion, products, export, rest."""
        model, name, bucket_s = self.graph.pools[pool], self.name(pool), self.graph.plant.bucket_s
        by_hour = self.graph.windows[pool] == "hour"
        window = texts.HOURLY if by_hour else Text(en=f"in every {bucket_s} s", zh=f"每{bucket_s}秒")
        into = joined([self._inflow(edge) for edge in self.graph.inflows[pool]])
        sentences = [fill(texts.POOL, pool=name, into=into, window=window, unit=same(model.unit))]
        if model.converts:
            sentences.append(fill(texts.CONVERTS, pool=name))
        for choice in self.graph.choices:
            if choice.pool != pool:
                continue
            weights = same(", ".join(f"{product} {weight}" for product, weight in choice.weights))
            if choice.method == "cut-off":
                products = same(", ".join(product for product, _ in choice.weights))
                sentences.append(fill(texts.CUT_OFF, pool=name, products=products))
            else:
                sentences.append(fill(texts.PRODUCTS, pool=name, method=texts.METHODS[choice.method], weights=weights))
        return [*sentences, *self._residuals(pool)]

    def _residuals(self, pool: str) -> list[Text]:
        sentences = []
        for edge in self.graph.outflows[pool]:
            if edge.taker_kind == "export" and not self.graph.pools[pool].converts:
                on_site = [self.name(one.id) for one in self.graph.sources.values() if one.kind == "on_site"]
                sources = joined(on_site) if on_site else texts.NONE
                sentences.append(fill(texts.EXPORT, meters=self._meters(edge), sources=sources))
            elif edge.taker_kind in ("unmetered", "losses"):
                reason = same(self.graph.plant.flows[edge.index].reason)
                end = fill(texts.DISPOSITIONS[edge.disposition], reason=reason)
                words = {"pool": self.name(pool), "meters": self._meters(edge), "end": end}
                sentences.append(fill(texts.RESIDUALS[edge.taker_kind, edge.is_rest], **words))
        return sentences

    def _store(self, store: str) -> list[Text]:
        model = self.graph.stores[store]
        sentences = [fill(texts.STORES[model.kind], store=self.name(store))]
        if model.level is not None:
            sentences.append(fill(texts.LEVEL, meter=self._meter(model.level)))
        return sentences

    def _inflow(self, edge: Edge) -> Text:
        giver = self.name(edge.giver)
        return fill(texts.INFLOW, giver=giver, meters=self._meters(edge)) if edge.terms else giver

    def _meter(self, meter: str) -> Text:
        name, heat = both(self.graph.meters[meter].name), self.graph.meters[meter].heat
        counted = same("") if heat is None else fill(texts.HEAT, base=same(heat.base_kj_per_kg))
        return Text(en=f"{name.en} [{meter}{counted.en}]", zh=f"{name.zh}[{meter}{counted.zh}]")

    def _meters(self, edge: Edge) -> Text:
        """`Meter A [a] + Meter B [b] - Meter C [c]`, as the model writes it."""
        words_en, words_zh = [], []
        for number, (sign, meter) in enumerate(edge.terms):
            name = self._meter(meter)
            glue = "" if number == 0 and sign > 0 else "+ " if sign > 0 else "- "
            words_en.append(f"{glue}{name.en}")
            words_zh.append(f"{glue}{name.zh}")
        return Text(en=" ".join(words_en), zh=" ".join(words_zh))

    def _upstream(self, nodes: Iterable[str]) -> set[str]:
        """Pools and stores from which something can come to the nodes."""
        found: set[str] = set()
        waiting = list(nodes)
        while waiting:
            for edge in self.graph.inflows.get(waiting.pop(), ()):
                if edge.giver_kind != "source" and edge.giver not in found:
                    found.add(edge.giver)
                    waiting.append(edge.giver)
        return found

    def _reached(self, node: str, sources: set[str]) -> bool:
        """Whether one of the sources can come to a pool or a store."""
        return any(edge.giver in sources for one in self._upstream([node]) | {node} for edge in self.graph.inflows[one])

    def carries(self, edge: Edge, sources: set[str]) -> bool:
        return edge.giver in sources if edge.giver_kind == "source" else self._reached(edge.giver, sources)
