"""SunSpec: finding the register where a model stands, by the marker and the chain of models after it."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

MARKER = (0x5375, 0x6E53)
MARKER_PLACES = (40_000, 0, 50_000)
END = 0xFFFF
MODELS_MAX = 64

# Registers from an address on, None when the device refuses them.
Read = Callable[[int, int], Awaitable[Sequence[int] | None]]


@dataclass(frozen=True, slots=True)
class Model:
    """A model in a device: its number, and the address of the register that holds this number."""

    number: int
    addr: int
    length: int


async def walk(read: Read) -> list[Model]:
    """The models of a device in their order; empty where it has no SunSpec marker.

    A chain that does not end ends here: after 64 models or at the last register.
    """
    for place in MARKER_PLACES:
        marker = await read(place, 2)
        if marker is not None and tuple(marker) == MARKER:
            return await _chain(read, place + 2)
    return []


async def _chain(read: Read, addr: int) -> list[Model]:
    models: list[Model] = []
    while len(models) < MODELS_MAX and addr <= 0xFFFE:
        head = await read(addr, 2)
        if head is None or head[0] == END:
            break
        models.append(Model(head[0], addr, head[1]))
        addr += 2 + head[1]
    return models


def find(models: Sequence[Model], numbers: Sequence[int]) -> Model | None:
    """The first model with one of these numbers."""
    return next((model for model in models if model.number in numbers), None)
