"""The sources of every version of a plant: an amount is valued by its source as that was when the amount entered."""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping

from plantprint.plant.model import Source
from plantprint.times import format_instant

NEWEST_MS = 2**62
_BEGINNING_MS = -(2**62)


class SourceHistory:
    """Sources by id and instant; iterating gives each as it is now.

    `versions` are (effective from in ms, None for the beginning; sources), in the order in which they take over. The first
    version holds before it, and a source that a later one has no more stays what it was: amounts that entered before, and
    wait in a store, are still valued.
    """

    def __init__(self, versions: Iterable[tuple[int | None, Iterable[Source]]]) -> None:
        self._since: dict[str, list[int]] = {}
        self._known: dict[str, list[Source]] = {}
        for effective_ms, sources in versions:
            for source in sources:
                known = self._known.setdefault(source.id, [])
                if not known or _valued_by(known[-1]) != _valued_by(source):
                    self._since.setdefault(source.id, []).append(
                        _BEGINNING_MS if effective_ms is None else effective_ms
                    )
                    known.append(source)
                else:
                    known[-1] = source

    @classmethod
    def of(cls, sources: Iterable[Source]) -> "SourceHistory":
        """Sources that have always been what they are."""
        return sources if isinstance(sources, SourceHistory) else cls([(None, sources)])

    def __iter__(self) -> Iterator[Source]:
        return (known[-1] for known in self._known.values())

    def at(self, source_id: str, entered_ms: int) -> Source | None:
        """The source of an amount that entered then; None where no version has it."""
        known = self._known.get(source_id)
        if known is None:
            return None
        return known[max(bisect_right(self._since[source_id], entered_ms) - 1, 0)]

    def ever(self) -> Iterator[Source]:
        """Every source as it is and as it was."""
        return (source for known in self._known.values() for source in known)

    def by_hour(self) -> frozenset[str]:
        """Ids whose amounts cannot be valued without the hour of entry: hourly factors, or other ones than before."""
        return frozenset(
            source_id
            for source_id, known in self._known.items()
            if len(known) > 1 or any(source.hourly is not None for source in known)
        )


def unit_changes(versions: Iterable[tuple[int | None, Mapping[str, str]]]) -> list[str]:
    """What is wrong where a source has another unit than in an earlier version: amounts of both would be added up.

    `versions` are (effective from in ms, None for the beginning; unit by source) in the order in which they take over; of
    several from one instant the last counts.
    """
    first: dict[str, tuple[str, int | None]] = {}
    wrong = []
    for effective_ms, units in dict(versions).items():
        for source_id, unit in units.items():
            known, since_ms = first.setdefault(source_id, (unit, effective_ms))
            if unit != known:
                since = "the beginning" if since_ms is None or since_ms <= 0 else format_instant(since_ms)
                wrong.append(
                    f"source {source_id!r} is in {unit}, but in {known} in the version from {since}; "
                    "keep its unit, or give the new source an id of its own"
                )
    return wrong


def _valued_by(source: Source) -> tuple[object, ...]:
    return source.unit, source.kind, source.factor, source.scope, source.hourly
