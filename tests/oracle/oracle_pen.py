"""Draws from hypothesis in few words, and documents that show themselves in few words."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st


class Document(dict[str, Any]):
    """Shown in few words: a failing test names the file in which all of it is."""

    def __repr__(self) -> str:
        return f"<{sum(len(block['rows']) for block in self['readings'])} readings, {len(self['events'])} events>"


@dataclass
class Pen:
    """Draws from hypothesis in few words."""

    draw: st.DrawFn

    def pick(self, *options: Any) -> Any:
        return self.draw(st.sampled_from(options))

    def chance(self, one_in: int) -> bool:
        return not self.draw(st.integers(0, one_in - 1))

    def number(self, least: int, most: int) -> int:
        return self.draw(st.integers(least, most))

    def some(self, options: Sequence[str], least: int, most: int) -> list[str]:
        return sorted(self.draw(st.sets(st.sampled_from(options), min_size=least, max_size=min(most, len(options)))))
