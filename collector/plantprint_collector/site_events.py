"""A site's production events in memory: what they say under each plant model, kept up as they come, and those about lots."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from plantprint.ancestry import EventIndex
from plantprint.facts import ProductionEvent
from plantprint.plant.graph import PlantGraph
from plantprint.plant_history import PlantHistory
from plantprint.production import Production
from plantprint.production_book import ProductionBook
from plantprint.production_events import EventBook
from plantprint.settlement import Span, touched_spans
from plantprint_collector.facts_store import Conn, ModelVersion, all_events

_FAR_MS = 2**50


class News(NamedTuple):
    """Events that were not known, the lots that they are about, and the spans in which accounts can differ through them."""

    events: Sequence[ProductionEvent] = ()
    lots: frozenset[str] = frozenset()
    spans: Sequence[Span] = ()


class SiteEvents:
    """`lots` finds the events of genealogy; of all events no more is kept than reduction needs."""

    def __init__(self) -> None:
        self.lots = EventIndex()
        self._events = EventBook()
        self._models: Sequence[ModelVersion] = ()
        self._books: dict[int, ProductionBook] = {}
        self._whole: ProductionBook | None = None

    def __len__(self) -> int:
        return len(self._events)

    def load(self, conn: Conn, site: str) -> None:
        """Takes all events of a site."""
        for events in all_events(conn, site):
            self.lots.add(self._events.add(events).news)

    def follow(self, models: Sequence[ModelVersion]) -> Mapping[int, Production]:
        """What the events say under each of these models, by version; models with the same places share it."""
        known = [*self._books.values()]
        books: dict[int, ProductionBook] = {}
        for model in models:
            book = next((b for b in known if _same_places(b.plants.graphs[0], model.graph)), None)
            if book is None:
                book = self._read(model.graph)
                known.append(book)
            books[model.version] = book
        history = PlantHistory((model.effective_ms, books[model.version].plants.graphs[0]) for model in models)
        if len({*books.values()}) == 1:
            self._whole = books[models[0].version]
        elif self._whole is None or self._whole.plants != history:
            self._whole = self._read(history)
        self._models, self._books = models, books
        return self.productions

    def _read(self, plant: PlantGraph | PlantHistory) -> ProductionBook:
        book = ProductionBook(plant)
        book.follow(self._events, self._events.everything())
        return book

    @property
    def productions(self) -> Mapping[int, Production]:
        """By version of the model: what is accounted in hours in which that is in force."""
        return {version: book.accounted for version, book in self._books.items()}

    @property
    def happened(self) -> Production:
        """What each event says under the model in force at the instant that it is about."""
        return Production() if self._whole is None else self._whole.production

    def add(self, events: Iterable[ProductionEvent]) -> News:
        """Takes events, known ones too."""
        touched = self._events.add(events)
        spans: list[Span] = []
        whole = [] if self._whole is None else [self._whole]
        books = {id(book): book for book in (*self._books.values(), *whole)}
        before = {name: book.production for name, book in books.items()}
        differences = {name: book.follow(self._events, touched) for name, book in books.items()}
        for model in self._models:
            book = self._books[model.version]
            old, difference = before[id(book)], differences[id(book)]
            spans += touched_spans(model.graph, old, book.production, difference, _FAR_MS)
        return News(touched.news, frozenset(self.lots.add(touched.news)), spans)


def _same_places(one: PlantGraph, other: PlantGraph) -> bool:
    """Whether events mean the same under both models."""
    alike = one.work_units == other.work_units and one.steps == other.steps
    alike = alike and one.plant.job_days_max == other.plant.job_days_max
    return alike and one.sources == other.sources and one.pools.keys() == other.pools.keys()
