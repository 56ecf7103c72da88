"""Amounts of work units divided among their jobs: the product's arithmetic, and the same in DuckDB's SQL and in polars.

All three begin with the same amounts per work unit, source and minute in memory (an array, a table, a frame) and the same
segments of time in which the same jobs run, and end with the same integer for every job, segment and source: buckets cut
at a segment's edges, sums, and rule R1 among jobs at once. What is written for the peers is the fastest of several forms
that were tried: in SQL a range join, ASOF and minutes unnested from segments, in polars joins and sums from the start.
"""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from plantprint.allocation import segments
from plantprint.divide_arrays import Ints
from plantprint.segment_sums import Parts, allocate_totals
from plantprint_cli.bench.account_plant import START_MS, make
from plantprint_cli.bench.common import BenchError, Json, median
from plantprint_cli.errors import need

_MINUTE_MS = 60_000
_SOURCES = 8
_COLUMNS = [f"s{number}" for number in range(_SOURCES)]

Engine = Callable[[], Ints]
"""One run: shares [share, source], by segment and place in it."""


class Case(NamedTuple):
    """Amounts [unit, source, minute] and segments; by column the segments and the shares in them as flat arrays."""

    amount: Ints
    parts: Parts
    segments: dict[str, Ints]
    shares: dict[str, Ints]


def allocation(days: int, jobs: int, units: int, rounds: int) -> Json:
    """How many times as long as the product the peers take, medians of alternating rounds on the same cores."""
    case = make_case(days, jobs, units)
    engines: dict[str, Engine] = {
        "product": lambda: allocate_totals(case.amount, _MINUTE_MS, case.parts),
        "duckdb": duckdb_engine(case),
        "polars": polars_engine(case),
    }
    wanted = engines["product"]()
    times: dict[str, list[float]] = {name: [] for name in engines}
    for _ in range(rounds):
        for name, engine in engines.items():
            began_s = time.perf_counter()
            found = engine()
            times[name].append((time.perf_counter() - began_s) * 1000)
            if not np.array_equal(found, wanted):
                raise BenchError(f"{name} divides otherwise than the product")
    ms = {name: median(several) for name, several in times.items()}
    return {
        "ratio_vs_duckdb": round(ms["duckdb"] / ms["product"], 2),
        "ratio_vs_polars": round(ms["polars"] / ms["product"], 2),
        "allocation_ms": ms,
        "allocation_amounts": case.amount.size,
        "allocation_shares": wanted.size,
    }


def make_case(days: int, jobs: int, units: int) -> Case:
    """Days of the bench's plant, every work unit with some of every source at any minute."""
    plant = make(days * 24, jobs, units)
    graph = plant.graph
    parts = Parts.of(
        [
            (unit, hour, part)
            for unit, place in enumerate(graph.work_units.values())
            for hour, several in enumerate(segments(plant.production, graph.steps, place, START_MS, days * 24))
            for part in several
        ]
    )
    part = np.repeat(np.arange(len(parts.unit)), parts.counts)
    place = np.arange(len(part)) - np.repeat(np.cumsum(parts.counts) - parts.counts, parts.counts)
    cut = {"first": parts.from_ms // _MINUTE_MS, "last": parts.to_ms // _MINUTE_MS}
    cut |= {"head_ms": parts.from_ms % _MINUTE_MS, "tail_ms": parts.to_ms % _MINUTE_MS}
    return Case(
        np.random.default_rng(3).integers(0, 600_000, (units, _SOURCES, days * 1440)),
        parts,
        {"part": np.arange(len(parts.unit)), "unit": parts.unit, **cut},
        {"part": part, "place": place, "weight": parts.weights},
    )


def _amounts(case: Case) -> dict[str, Ints]:
    """A row per work unit and minute, a column per source."""
    units, _, minutes = case.amount.shape
    columns = {name: np.ascontiguousarray(case.amount[:, n]).ravel() for n, name in enumerate(_COLUMNS)}
    return {"unit": np.repeat(np.arange(units), minutes), "minute": np.tile(np.arange(minutes), units), **columns}


def duckdb_engine(case: Case) -> Engine:
    """Tables of DuckDB in memory, and one query."""
    need("duckdb", "dev")
    import duckdb

    connection = duckdb.connect()
    connection.execute("set enable_progress_bar = false")
    tables = {"amounts": _amounts(case), "segments": case.segments, "shares": case.shares}
    for name, columns in tables.items():
        connection.register("columns", columns)
        connection.execute(f"create table {name} as select * from columns")
        connection.unregister("columns")
    query = _query()

    def run() -> Ints:
        found = connection.execute(query).fetchnumpy()
        order = np.lexsort((found["place"], found["part"]))
        return np.stack([found[name][order] for name in _COLUMNS], axis=1)

    return run


def _half_even(numerator: str, denominator: str) -> str:
    """A quotient in SQL, to the nearest integer, ties to even; neither is negative."""
    quotient, rest = f"(({numerator}) // ({denominator}))", f"(({numerator}) % ({denominator}))"
    return (
        f"({quotient} + case when 2 * {rest} > {denominator}"
        f" or (2 * {rest} = {denominator} and {quotient} % 2 = 1) then 1 else 0 end)"
    )


def _query() -> str:
    def listed(of: Callable[[str], str]) -> str:
        return ", ".join(f"{of(name)} as {name}" for name in _COLUMNS)

    def cut(table: str, part_ms: str) -> str:
        return f"case when {part_ms} > 0 then {_half_even(f'{table} * {part_ms}', str(_MINUTE_MS))} else 0 end"

    whole = listed(lambda name: f"sum({name})::bigint")
    total = listed(lambda n: f"coalesce(w.{n}, 0) + {cut(f't.{n}', 's.tail_ms')} - {cut(f'h.{n}', 's.head_ms')}")
    upto = listed(lambda name: _half_even(f"t.{name} * c.upto", "c.total"))
    share = listed(lambda name: f"{name} - lag({name}, 1, 0) over (partition by part order by place)")
    return f"""
        with whole as (
            select m.part, {whole}
            from (select part, unit, unnest(range(first, last)) as minute from segments) m
            join amounts a using (unit, minute) group by m.part
        ), total as (
            select s.part, {total} from segments s left join whole w using (part)
            left join amounts h on h.unit = s.unit and h.minute = s.first and s.head_ms > 0
            left join amounts t on t.unit = s.unit and t.minute = s.last and s.tail_ms > 0
        ), cumulated as (
            select part, place, sum(weight) over (partition by part order by place)::bigint as upto,
                sum(weight) over (partition by part)::bigint as total from shares
        ), rounded as (
            select c.part, c.place, {upto} from cumulated c join total t using (part)
        )
        select part, place, {share} from rounded"""


def polars_engine(case: Case) -> Engine:
    """Frames of polars: sums from the start at a segment's edges, by position, since every minute has its row."""
    need("polars", "dev")
    import polars as pl

    amounts = pl.DataFrame(_amounts(case)).select(_COLUMNS)
    parts, shares = pl.DataFrame(case.segments), pl.DataFrame(case.shares)
    minutes = case.amount.shape[2]

    def half_even(numerator: Any, denominator: Any) -> Any:
        quotient = numerator // denominator
        rest = numerator - quotient * denominator
        return quotient + ((2 * rest > denominator) | ((2 * rest == denominator) & (quotient % 2 == 1))).cast(pl.Int64)

    def until(sums: Any, minute: str, part_ms: str) -> Any:
        at = parts["unit"] * minutes + parts[minute]
        cut = amounts[at.clip(0, len(amounts) - 1)].select(
            half_even(pl.col(name) * parts[part_ms], pl.lit(_MINUTE_MS)) for name in _COLUMNS
        )
        before = sums[(at - 1).clip(0)]
        return [before[name].set(at == 0, 0) + cut[name] for name in _COLUMNS]

    def run() -> Ints:
        sums = amounts.select(pl.all().cum_sum())
        ends, begins = until(sums, "last", "tail_ms"), until(sums, "first", "head_ms")
        totals = pl.DataFrame([end - begin for end, begin in zip(ends, begins, strict=True)]).with_columns(
            parts["part"]
        )
        rounded = (
            shares.lazy()
            .with_columns(upto=pl.col("weight").cum_sum().over("part"), total=pl.col("weight").sum().over("part"))
            .join(totals.lazy(), on="part", maintain_order="left")
            .select("part", *(half_even(pl.col(name) * pl.col("upto"), pl.col("total")) for name in _COLUMNS))
            .select(pl.col(name) - pl.col(name).shift(1).over("part").fill_null(0) for name in _COLUMNS)
        )
        found: Ints = rounded.collect().to_numpy()
        return found

    return run
