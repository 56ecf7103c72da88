"""The rules by which an account got its amounts, as sentences in English and Chinese, written from the plant model.

Which meters, which pool and window, which driver, which rule of the step: what a certifier asks, and what PACT calls
`allocationRulesDescription`. Nothing is computed here; every sentence says what the model says.
"""
# ruff: noqa: RUF001 - Chinese sentences have Chinese punctuation

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction

from plantprint.compare import Comparison
from plantprint.ledger import PostingKey
from plantprint.plant.graph import Edge, PlantGraph
from plantprint.plant.model import Text
from plantprint.quantities import decimal_text, round_half_even

_DIGITS = 10**3

_RULES: Mapping[str, Text] = {
    "weight": Text(
        en="Jobs that run at once on {unit} share by their weight.", zh="{unit}上同时进行的作业按权重分摊。"
    ),
    "equal": Text(en="Jobs that run at once on {unit} share equally.", zh="{unit}上同时进行的作业平均分摊。"),
    "exclusive": Text(
        en="Only one job may run on {unit}; what two claim is on account conflict.",
        zh="{unit}只允许一个作业；两个作业同时占用的部分计入争议账户。",
    ),
}
_STATES = Text(
    en="Setup counts for the next job and clean-down for the previous one; without a job that uses it, a machine is idle.",
    zh="准备（换型、预热）计入下一作业，清机计入上一作业；没有作业使用时，设备用量计为空闲。",
)
_ACCOUNTS: Mapping[str, Text] = {
    "idle": Text(
        en="What {place} used while idle, on standby, in fault, off, or without a job.",
        zh="{place}在空闲、待机、故障、停机或没有作业时的用量。",
    ),
    "overhead": Text(
        en="Idle use of {place} that no job of its window could carry.",
        zh="{place}在分摊窗口内没有作业可承担的空闲用量。",
    ),
    "unassigned": Text(
        en="What {place} used while processing without a reported job.", zh="{place}在加工状态但未上报作业时的用量。"
    ),
    "conflict": Text(
        en="What {place} used while two jobs claimed an exclusive step.", zh="{place}被两个独占作业同时占用时的用量。"
    ),
    "export": Text(en="What left the site from {place}.", zh="从{place}外送的量。"),
    "losses": Text(
        en="Losses of {place}: what came out of it and reached no taker.", zh="{place}的损失：流出而未到达用户的量。"
    ),
    "unmetered": Text(en="What left {place} and no meter further on has seen.", zh="流出{place}而下游没有计量的量。"),
    "stock": Text(en="What came into {place} and has not gone out yet.", zh="已进入{place}而尚未流出的量。"),
}


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


def explain_comparison(graph: PlantGraph, comparison: Comparison, most: int = 10) -> tuple[Text, ...]:
    """The `most` largest effects between two footprints in words, after a sentence with the whole difference."""
    words = _Words(graph)
    before, after, change = (_number(value) for value in (comparison.before, comparison.after, comparison.difference))
    sentences = [
        Text(
            en=f"The footprint went from {before} to {after} kg CO2e ({_signed(change)}).",
            zh=f"碳足迹由{before}变为{after} kg CO2e（{_signed(change)}）。",
        )
    ]
    causes = [
        (value, cause, effect)
        for effect in comparison.effects
        for cause, value in (("activity", effect.activity), ("mix", effect.mix), ("factor", effect.factor))
        if value
    ]
    for value, cause, effect in sorted(causes, key=lambda one: (-abs(one[0]), one[1], one[2]))[:most]:
        step, source = words.step(effect.step), words.source(effect.source)
        reason = _CAUSES[cause]
        number = _signed(_number(value))
        sentences.append(
            Text(
                en=f"{number} kg CO2e: {source.en} in {step.en}, {reason.en}.",
                zh=f"{number} kg CO2e：{step.zh}的{source.zh}，{reason.zh}。",
            )
        )
    return tuple(sentences)


_CAUSES: Mapping[str, Text] = {
    "activity": Text(en="because more or less was used", zh="用量变化所致"),
    "mix": Text(en="because its part of the mix changed", zh="能源结构变化所致"),
    "factor": Text(en="because its emission factor changed", zh="排放因子变化所致"),
}


def _number(value: Fraction) -> str:
    return decimal_text(round_half_even(value.numerator * _DIGITS, value.denominator), _DIGITS)


def _signed(text: str) -> str:
    return text if text.startswith("-") else f"+{text}"


class _Words:
    """Sentences about one plant."""

    def __init__(self, graph: PlantGraph) -> None:
        self.graph = graph
        centers = graph.plant.work_centers
        names = {unit.id: unit.name for center in centers for unit in center.work_units}
        names |= {source.id: source.name for source in graph.sources.values()}
        names |= {pool.id: pool.name for pool in graph.pools.values()}
        self.names = {one: _both(name) for one, name in names.items()}

    def name(self, node: str) -> Text:
        return self.names.get(node, Text(en=node, zh=node))

    def step(self, step: str) -> Text:
        if step in self.graph.steps:
            return _both(self.graph.steps[step].name)
        return Text(en=step or "no step", zh=step or "无工序")

    def source(self, source: str) -> Text:
        return self.name(source)

    def account(self, kind: str, account_id: str, keys: Iterable[PostingKey]) -> list[Text]:
        sources = {key.source for key in keys}
        units = sorted({key.work_unit for key in keys if key.work_unit in self.graph.work_units})
        sentences = [_fill(_ACCOUNTS[kind], place=self.name(account_id))] if kind in _ACCOUNTS else []
        for unit in units:
            sentences += [self._feed(edge) for edge in self.graph.inflows[unit] if self._carries(edge, sources)]
        if kind == "batch":
            steps = sorted({(key.work_unit, key.step) for key in keys if key.work_unit in units})
            sentences += [self._rule(unit, step) for unit, step in steps]
            sentences.append(_STATES)
        nodes = [*units, account_id] if account_id in self.graph.pools else units
        pools = self._upstream(nodes) | ({account_id} & self.graph.pools.keys())
        for group in reversed(self.graph.groups):
            told = [pool for pool in group.pools if pool in pools and self._reached(pool, sources)]
            sentences += [sentence for pool in told for sentence in self._pool(pool)]
            if len(told) > 1:
                sentences.append(self._cycle(group.pools))
        return [*dict.fromkeys(sentences)]

    def _feed(self, edge: Edge) -> Text:
        taker, giver = self.name(edge.taker), self.name(edge.giver)
        if edge.terms:
            template = Text(
                en="{taker} takes from {giver} what {meters} measured.", zh="{taker}取自{giver}的量按{meters}计量。"
            )
            return _fill(template, taker=taker, giver=giver, meters=self._meters(edge))
        template = Text(
            en="{taker} takes {part} of what the meters leave of {giver}.",
            zh="{taker}取用{giver}计量后剩余量的{part}。",
        )
        return _fill(template, taker=taker, giver=giver, part=self._part(edge))

    def _part(self, edge: Edge) -> Text:
        whole = sum(other.weight for other in self.graph.outflows[edge.giver] if other.is_rest)
        if whole == edge.weight:
            return Text(en="all", zh="全部")
        return Text(en=f"{edge.weight} parts of {whole}", zh=f"{edge.weight}/{whole}")

    def _rule(self, unit: str, step: str) -> Text:
        known = self.graph.steps.get(step)
        return _fill(_RULES[known.rule if known else "weight"], unit=self.name(unit))

    def _pool(self, pool: str) -> list[Text]:
        """How a pool's content is divided: window, driver, conversion, export, rest."""
        model, name = self.graph.pools[pool], self.name(pool)
        bucket_s = self.graph.plant.bucket_s
        window = (
            Text(en="hour by hour", zh="每小时")
            if self.graph.windows[pool] == "hour"
            else Text(en=f"in every {bucket_s} s", zh=f"每{bucket_s}秒")
        )
        into = _list([self._inflow(edge) for edge in self.graph.inflows[pool]])
        template = Text(
            en="What comes into {pool} ({into}) is divided {window} over all that goes out, in proportion to the {unit} that went.",
            zh="进入{pool}的量（{into}）{window}按各流出的{unit}数比例分配。",
        )
        unit = Text(en=model.unit, zh=model.unit)
        sentences = [_fill(template, pool=name, into=into, window=window, unit=unit)]
        if model.kind == "converting":
            template = Text(
                en="{pool} converts: what it loses on the way is carried by its output.",
                zh="{pool}为转换环节，转换损失由其产出承担。",
            )
            sentences.append(_fill(template, pool=name))
        sentences += self._residuals(pool)
        return sentences

    def _residuals(self, pool: str) -> list[Text]:
        sentences = []
        for edge in self.graph.outflows[pool]:
            if edge.taker_kind == "export" and self.graph.pools[pool].kind == "conserving":
                on_site = [s.id for s in self.graph.sources.values() if s.kind == "on_site"]
                template = Text(
                    en="Export ({meters}) is taken first from on-site generation ({sources}) of the window.",
                    zh="外送（{meters}）优先由同一时段的现场发电（{sources}）抵充。",
                )
                sources = _list([self.name(source) for source in on_site]) if on_site else Text(en="none", zh="无")
                sentences.append(_fill(template, meters=self._meters(edge), sources=sources))
            elif edge.taker_kind in ("unmetered", "losses"):
                template = _AMOUNT_OF[edge.taker_kind, edge.is_rest]
                sentences.append(_fill(template, pool=self.name(pool), meters=self._meters(edge)))
        return sentences

    def _cycle(self, pools: Sequence[str]) -> Text:
        template = Text(
            en="{pools} feed each other: their inflow is divided once over what leaves them, by the exact solution.",
            zh="{pools}互相供给：其流入按精确解一次分配给离开它们的各流出。",
        )
        return _fill(template, pools=_list([self.name(pool) for pool in pools]))

    def _inflow(self, edge: Edge) -> Text:
        giver = self.name(edge.giver)
        if not edge.terms:
            return giver
        return _fill(Text(en="{giver} by {meters}", zh="{giver}按{meters}"), giver=giver, meters=self._meters(edge))

    def _meters(self, edge: Edge) -> Text:
        """`meter A (a) + meter B (b) - meter C (c)` as the model writes it."""
        words_en, words_zh = "", ""
        for number, (sign, meter) in enumerate(edge.terms):
            name = _both(self.graph.meters[meter].name)
            glue = "" if number == 0 and sign > 0 else "+ " if sign > 0 else "- "
            words_en += f" {glue}{name.en} [{meter}]"
            words_zh += f" {glue}{name.zh}[{meter}]"
        return Text(en=words_en.strip(), zh=words_zh.strip())

    def _upstream(self, nodes: Iterable[str]) -> set[str]:
        """Pools from which something can come to the nodes."""
        found: set[str] = set()
        waiting = list(nodes)
        while waiting:
            for edge in self.graph.inflows.get(waiting.pop(), ()):
                if edge.giver_kind == "pool" and edge.giver not in found:
                    found.add(edge.giver)
                    waiting.append(edge.giver)
        return found

    def _reached(self, node: str, sources: set[str]) -> bool:
        """Whether one of the sources can come to a pool."""
        pools = self._upstream([node]) | {node}
        return any(edge.giver in sources for pool in pools for edge in self.graph.inflows[pool])

    def _carries(self, edge: Edge, sources: set[str]) -> bool:
        return edge.giver in sources if edge.giver_kind == "source" else self._reached(edge.giver, sources)


_AMOUNT_OF: Mapping[tuple[str, bool], Text] = {
    ("unmetered", True): Text(
        en="What the meters leave of {pool} over the hour is on account unmetered.",
        zh="{pool}每小时计量后的剩余量计入未计量账户。",
    ),
    ("unmetered", False): Text(en="Account unmetered of {pool} is {meters}.", zh="{pool}的未计量账户为{meters}。"),
    ("losses", True): Text(
        en="What the meters leave of {pool} over the hour is on account losses.",
        zh="{pool}每小时计量后的剩余量计入损失账户。",
    ),
    ("losses", False): Text(en="Account losses of {pool} is {meters}.", zh="{pool}的损失账户为{meters}。"),
}


def _both(text: Text) -> Text:
    return Text(en=text.en, zh=text.zh or text.en)


def _list(texts: Sequence[Text]) -> Text:
    return Text(en=", ".join(text.en for text in texts), zh="、".join(text.zh for text in texts))


def _fill(template: Text, **words: Text) -> Text:
    return Text(
        en=template.en.format(**{name: text.en for name, text in words.items()}),
        zh=template.zh.format(**{name: text.zh for name, text in words.items()}),
    )
