"""Chunks in the making: when one is stored."""

import asyncio
from pathlib import Path

from edge_support import config

from plantprint.times import SiteClock
from plantprint_edge.channels import all_channels, tables
from plantprint_edge.chunker import Chunker
from plantprint_edge.clock import Clock
from plantprint_edge.committer import Committer
from plantprint_edge.config import ChunkLimits
from plantprint_edge.outbox import Outbox


async def test_a_chunk_that_somebody_waits_for_is_stored_before_its_time_and_no_other(tmp_path: Path) -> None:
    of = config(tmp_path)
    committer = Committer(of.outbox, lambda: Outbox(of.outbox, of.site, of.agent, lambda: 0))
    await committer.start()
    chunker = Chunker(committer, tables(all_channels(of)), ChunkLimits(age_ms_max=60_000), Clock(SiteClock()))
    port = chunker.port(0)
    hurried = await port.put([(0, 1_764_072_000_000, 1, 3)])
    # Rows of another revision make a chunk of their own.
    other = await port.put([(0, 1_764_072_000_000, 2, 3)], revision=1)
    port.close(set(hurried))
    assert await asyncio.wait_for(hurried[0], 10)
    port.close(set(hurried))
    assert (await port.put([(0, 1_764_072_001_000, 3, 3)]))[0] is not hurried[0]
    assert committer.stats.newest_id == 1
    assert not other[0].done()
    await chunker.flush()
    assert await other[0]
    await committer.close()
