"""Ending tasks that a library keeps from being cancelled."""

import asyncio

from plantprint_edge.running import end_tasks


async def test_a_task_that_swallows_a_cancellation_is_ended_all_the_same() -> None:
    swallowed = 0

    async def stubborn() -> None:
        nonlocal swallowed
        while True:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                swallowed += 1
                if swallowed > 2:
                    raise

    async def done() -> None:
        return

    tasks = [asyncio.create_task(stubborn()), asyncio.create_task(done())]
    await asyncio.sleep(0)
    async with asyncio.timeout(5):
        await end_tasks(tasks)
    assert all(task.done() for task in tasks)
    assert swallowed == 3
