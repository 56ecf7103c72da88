"""The event loop of an agent, and what keeps it from standing still."""

import asyncio
import gc

# uvloop takes less processor time for many meters; without it everything works the same.
try:
    import uvloop
except ImportError:
    new_loop = asyncio.new_event_loop
else:
    new_loop = uvloop.new_event_loop


def settle() -> None:
    """Keep what is there now out of Python's search for garbage: with 1 000 meters a search stops polling for 80 ms."""
    gc.unfreeze()
    gc.collect()
    gc.freeze()
