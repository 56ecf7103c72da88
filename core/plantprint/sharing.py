"""One pool's sharing of its content over its outflows, window by window, and the arrays that all tracing works on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from plantprint.divide_arrays import Ints, divide_arrays
from plantprint.exports import OnSite, take_first
from plantprint.facts import Quality
from plantprint.flows import Durations, Flows, Qualities, by_hour
from plantprint.plant.graph import Edge

Bools = NDArray[np.bool_]
StockLayer = tuple[str, int, int, int]
"""(source, entered_ms, quality, amount) of what a pool could not hand out yet, or of what a store holds."""
Stock = Mapping[str, tuple[StockLayer, ...]]


@dataclass(frozen=True, slots=True, eq=False)
class Parcels:
    """What every edge carried: `amount` and `quality` [edge, row, bucket], `missing_ms` [edge, bucket].

    A row is (source, hour in which it crossed the boundary). `quality` is MEASURED where nothing was carried,
    `missing_ms` the time in which some meter behind the edge was unknown. Filled in place, upstream first.
    """

    amount: Ints
    quality: Qualities
    missing_ms: Durations


@dataclass(frozen=True, slots=True, eq=False)
class Held:
    """Amounts [row], or [row, hour], that a pool keeps, with their quality (MEASURED where there is nothing)."""

    amount: Ints
    quality: Qualities


@dataclass(frozen=True, eq=False)
class PoolPlan:
    """A pool's edges, takers in canonical order; `exports` are positions within `outflows`.

    `exports` is empty where nothing comes that is made on site and not converted: there nothing has a claim to leave first.
    """

    pool: str
    hourly: bool
    has_rest: bool
    inflows: tuple[Edge, ...]
    outflows: tuple[Edge, ...]
    exports: tuple[int, ...]

    @cached_property
    def ins(self) -> list[int]:
        return [edge.index for edge in self.inflows]

    @cached_property
    def outs(self) -> list[int]:
        return [edge.index for edge in self.outflows]

    @cached_property
    def shares(self) -> list[int]:
        return [edge.share for edge in self.outflows]


def weighted(amounts: Ints, shares: Sequence[int]) -> Ints:
    """Amounts [edge, window] x what a unit of each edge weighs; Python's integers where 64 bits may not hold them."""
    if all(share == 1 for share in shares):
        return amounts
    weights: Ints = amounts.astype(object) * np.array(shares, dtype=object)[:, None]
    fits = float(weights.max(initial=0)) * len(shares) < 2.0**62
    return weights.astype(np.int64) if fits else weights


def share_pool(plan: PoolPlan, flows: Flows, parcels: Parcels, held: Held, on_site: OnSite) -> Held:
    """Divides what came in, and what was `held`, over the outflows; returns what is left without a way out [row, hour].

    That is left of each hour as if it were alone: only the first begins with what was held.
    """
    _pass_missing(plan, flows, parcels)
    content = parcels.amount[plan.ins].sum(axis=0)
    rows = np.flatnonzero(content.any(axis=1) | (held.amount > 0))
    shape = (len(held.amount), flows.hours)
    left = Held(np.zeros(shape, np.int64), np.full(shape, Quality.MEASURED, np.int8))
    if not rows.size:
        return left
    amount = content[rows]
    quality = parcels.quality[plan.ins][:, rows].min(axis=0, initial=Quality.MEASURED)
    weights, weights_quality = flows.amount[plan.outs], flows.quality[plan.outs]
    if plan.hourly:
        amount, quality = by_hour(amount, flows.hours).sum(axis=-1), by_hour(quality, flows.hours).min(axis=-1)
        weights = by_hour(weights, flows.hours).sum(axis=-1)
        weights_quality = by_hour(weights_quality, flows.hours).min(axis=-1)
    weights = weighted(weights, plan.shares)
    has_way_out: Bools = by_hour(np.count_nonzero(weights > 0, axis=0) > 0, flows.hours)
    waits: Bools = np.count_nonzero(has_way_out, axis=1) < has_way_out.shape[1]
    waits[0] |= held.amount.any()
    begin = Held(held.amount[rows], held.quality[rows])
    for hour in np.flatnonzero(waits).tolist():
        part = slice(hour * has_way_out.shape[1], (hour + 1) * has_way_out.shape[1])
        before = (
            begin if hour == 0 else Held(np.zeros_like(begin.amount), np.full_like(begin.quality, Quality.MEASURED))
        )
        amount[:, part], quality[:, part], rest = _defer(amount[:, part], quality[:, part], before, has_way_out[hour])
        left.amount[rows, hour], left.quality[rows, hour] = rest.amount, rest.quality
    shares = _shares(plan, amount, weights, rows.tolist(), on_site)
    behind = weights_quality[:, None, :] if plan.has_rest else weights_quality.min(axis=0, initial=Quality.MEASURED)
    quality = np.minimum(quality, behind)
    if plan.hourly:
        course = by_hour(flows.amount[plan.outs], flows.hours)[:, None]
        quality = np.repeat(quality, course.shape[-1], axis=-1)
        shares = divide_arrays(shares, course).reshape(*shares.shape[:2], -1)
    outs = np.array(plan.outs, np.int64)
    parcels.amount[np.ix_(outs, rows)] = shares
    guessed = np.flatnonzero((quality < Quality.MEASURED).any(axis=tuple(range(quality.ndim - 1))))
    if guessed.size:
        worst = np.where(shares[..., guessed] == 0, np.int8(Quality.MEASURED), quality[..., guessed])
        parcels.quality[np.ix_(outs, rows, guessed)] = worst
    return left


def _shares(plan: PoolPlan, amount: Ints, weights: Ints, rows: list[int], on_site: OnSite) -> Ints:
    """Amounts [row, window] over weights [edge, window] → [edge, row, window]; exports first take what is on site."""
    tiers = (
        [[rows.index(row) for row in tier if row in rows] for tier in on_site.tiers(plan.pool)] if plan.exports else []
    )
    if not any(tiers):
        return np.moveaxis(divide_arrays(amount, weights.T), -1, 0)
    exports = list(plan.exports)
    taken = take_first(amount, weights[exports], tiers)
    amount, rest = amount - taken.sum(axis=0), weights.copy()
    rest[exports] -= taken.sum(axis=1)
    # Where the export took all that was asked for but content remains, the meters disagree: the same takers share it.
    rest = np.where(rest.any(axis=0), rest, weights)
    shared: Ints = np.moveaxis(divide_arrays(amount, rest.T), -1, 0)
    shared[exports] += taken
    return shared


def _defer(amount: Ints, quality: Qualities, held: Held, has_way_out: Bools) -> tuple[Ints, Qualities, Held]:
    """Moves the content of windows without an outflow to the next window that has one; the end of it is left over."""
    ways = np.flatnonzero(has_way_out)
    moved, moved_quality = np.zeros_like(amount), np.full_like(quality, Quality.MEASURED)
    if not ways.size:
        last = Held(held.amount + amount.sum(axis=1), np.minimum(held.quality, quality.min(axis=1)))
        return moved, moved_quality, last
    end = int(ways[-1]) + 1
    starts = np.concatenate(([0], ways[:-1] + 1))
    moved[:, ways] = np.add.reduceat(amount[:, :end], starts, axis=1)
    moved_quality[:, ways] = np.minimum.reduceat(quality[:, :end], starts, axis=1)
    moved[:, ways[0]] += held.amount
    moved_quality[:, ways[0]] = np.minimum(moved_quality[:, ways[0]], held.quality)
    tail = Held(amount[:, end:].sum(axis=1), quality[:, end:].min(axis=1, initial=Quality.MEASURED))
    return moved, moved_quality, tail


def _pass_missing(plan: PoolPlan, flows: Flows, parcels: Parcels) -> None:
    """Hands missing time downstream: without a rest every taker's share depends on all of the pool's meters."""
    behind = parcels.missing_ms[plan.ins].max(axis=0, initial=0)
    own = flows.missing_ms[plan.outs]
    if not behind.any() and not own.any():
        return
    touched = np.maximum(behind, own if plan.has_rest else own.max(axis=0, initial=0))
    if plan.hourly:  # Which bucket it was makes no difference to an hour's mix: all of the hour is touched evenly.
        hours = by_hour(touched, flows.hours)
        touched = divide_arrays(hours.sum(axis=-1), np.ones(hours.shape[-1], np.int64)).reshape(touched.shape)
    parcels.missing_ms[plan.outs] = touched
