"""A mapping that is never changed: another one is made of it, which shares what stayed."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Protocol, TypeVar


class _Key(Protocol):
    def __hash__(self) -> int: ...
    def __lt__(self, other: Any, /) -> bool: ...


K = TypeVar("K", bound=_Key)
V = TypeVar("V")

# A change copies one part and the list of parts; a power of two.
_PARTS = 1024


class PersistentMap(Mapping[K, V]):
    """Iterates in order of keys. A change costs about as much at a million items as at ten."""

    __slots__ = ("_parts",)

    def __init__(self, parts: tuple[dict[K, V], ...] = ({},) * _PARTS) -> None:
        """Without arguments it is empty; parts are for `changed` alone."""
        self._parts = parts

    def __getitem__(self, key: K) -> V:
        return self._parts[hash(key) % _PARTS][key]

    def __contains__(self, key: object) -> bool:
        return key in self._parts[hash(key) % _PARTS]

    def __iter__(self) -> Iterator[K]:
        return iter(sorted(key for part in self._parts for key in part))

    def __len__(self) -> int:
        return sum(map(len, self._parts))

    def changed(self, came: Mapping[K, V], gone: Iterable[K] = ()) -> "PersistentMap[K, V]":
        """With `came` in place of what was under their keys, and without those `gone`, which need not be there."""
        parts = list(self._parts)
        fresh: dict[int, dict[K, V]] = {}

        def part_of(key: K) -> dict[K, V]:
            number = hash(key) % _PARTS
            if number not in fresh:
                parts[number] = fresh[number] = dict(parts[number])
            return fresh[number]

        for key in gone:
            part_of(key).pop(key, None)
        for key, value in came.items():
            part_of(key)[key] = value
        return PersistentMap(tuple(parts)) if fresh else self

    def differing(self, other: "PersistentMap[K, V]") -> set[K]:
        """The keys whose values are not the very same objects in both; what they share is not looked at."""
        if self is other:
            return set()
        return {
            key
            for mine, others in zip(self._parts, other._parts, strict=True)  # noqa: SLF001 - another of this class
            if mine is not others
            for key in mine.keys() | others.keys()
            if mine.get(key) is not others.get(key)
        }
