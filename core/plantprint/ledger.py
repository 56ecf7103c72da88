"""Immutable postings: amounts of a source on an account in an hour, netting, and corrections by reversal."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, NamedTuple

AccountKind = Literal["batch", "idle", "overhead", "export", "losses", "unmetered", "stock", "unassigned", "conflict"]
Portion = Literal["direct", "idle"]


class PostingKey(NamedTuple):
    """Everything that tells two postings apart, besides when and why they were written.

    `hour_ms` is the hour of use, `entered_ms` the hour in which the amount crossed the boundary (factors use it);
    `quality` is the worst behind the amount. `work_unit` and `step` are empty where an account has none. `portion` keeps
    a batch's share of idle windows apart from what it used itself (ISO 20140).
    """

    hour_ms: int
    account_kind: str
    account_id: str
    work_unit: str
    step: str
    source: str
    entered_ms: int
    quality: int
    portion: Portion = "direct"


posting_key: Callable[[Iterable[Any]], PostingKey] = partial(tuple.__new__, PostingKey)
"""A key of all its fields in order. Millions are made in a year, and Python's own constructor takes three times as long."""


@dataclass(frozen=True, slots=True)
class Posting:
    """`amount` in millionths of the source's unit; corrections are negative amounts with a cause of their own."""

    key: PostingKey
    amount: int
    cause: str


Net = dict[PostingKey, int]


def net(postings: Iterable[Posting]) -> Net:
    """Sum of postings per key, zero sums left out."""
    sums: Net = {}
    for posting in postings:
        sums[posting.key] = sums.get(posting.key, 0) + posting.amount
    return {key: amount for key, amount in sums.items() if amount}


def corrections(known: Mapping[PostingKey, int], wanted: Mapping[PostingKey, int], cause: str) -> list[Posting]:
    """The reversals and new postings that lead from the known net to the wanted one; nothing where they agree."""
    postings: list[Posting] = []
    for key in sorted(known.keys() | wanted.keys()):
        old, new = known.get(key, 0), wanted.get(key, 0)
        if old == new:
            continue
        if old:
            postings.append(Posting(key, -old, f"reversal: {cause}"))
        if new:
            postings.append(Posting(key, new, cause))
    return postings
