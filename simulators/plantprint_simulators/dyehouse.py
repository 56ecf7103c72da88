"""The running dye house: meters behind Modbus gateways and MQTT, an MES, and a state file, until it is told to stop."""

import asyncio
import dataclasses
import signal
import time
from contextlib import AsyncExitStack

import structlog

from plantprint_simulators.broker import client, keep_connected
from plantprint_simulators.config import DyehouseSettings
from plantprint_simulators.errors import SimulatorError
from plantprint_simulators.mes import Outlet, publish_events
from plantprint_simulators.meters import mqtt_devices
from plantprint_simulators.modbus import serve_gateways
from plantprint_simulators.mqtt_devices import publish_devices
from plantprint_simulators.physics import Total, Totals
from plantprint_simulators.schedule import Schedule
from plantprint_simulators.state import PlantState, load_state, save_state

log = structlog.get_logger(__name__)

EXIT_OK, EXIT_FAILED = 0, 1


class Dyehouse:
    """A plant as of its state file: physics, schedule and the MES's outlet on the site's clock."""

    def __init__(self, settings: DyehouseSettings) -> None:
        self.settings = settings
        speed = settings.clock.speed if settings.clock.kind == "run" else 1
        now_s = self.now_ms() // 1000
        self.state: PlantState = load_state(
            settings.plant_state, settings.seed, now_s, max(round(settings.lead_in_s * speed), 1)
        )
        self.schedule = Schedule(settings.seed, self.state.opening_s)
        self._totals = Totals(self.schedule, self.state.checkpoint_s, self.state.totals)
        self.outlet = Outlet(
            self.schedule,
            self.state.confirmed_ms,
            window=settings.mes_window,
            confirm_s=settings.mes_confirm_s,
            confirm_max_s=settings.mes_confirm_max_s,
            ordered_from_s=self.state.ordered_from_s,
        )
        self.outlet.skip_before(now_s - round(settings.mes_backlog_h * 3600))

    def now_ms(self) -> int:
        """The site's time; a clock of recorded data cannot drive a simulated plant."""
        if self.settings.clock.kind == "data":
            raise SimulatorError("clock: a site on the time of recorded data has no simulated plant; use wall or run")
        return self.settings.clock.now_ms(time.time_ns() // 1_000_000)

    def look(self) -> Total:
        """What the meters would show now."""
        return self._totals.at(self.now_ms())

    def save(self) -> None:
        checkpoint_s, totals = self._totals.checkpoint()
        self.state = dataclasses.replace(
            self.state, checkpoint_s=checkpoint_s, totals=totals,
            confirmed_ms=self.outlet.confirmed_ms, ordered_from_s=self.outlet.ordered_from_s,
        )  # fmt: skip
        save_state(self.settings.plant_state, self.state)


def run(settings: DyehouseSettings) -> int:
    """Runs the plant until SIGTERM or SIGINT; returns the exit code, 1 when it cannot start (the log says why)."""
    try:
        plant = Dyehouse(settings)
        asyncio.run(_serve(plant))
    except SimulatorError as error:
        log.error("dye house cannot run", reason=str(error))  # noqa: TRY400 - the message is for the operator
        return EXIT_FAILED
    return EXIT_OK


async def _serve(plant: Dyehouse) -> None:
    stop_requested = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop_requested.set)
    await serve_until(plant, stop_requested)


async def serve_until(plant: Dyehouse, stop_requested: asyncio.Event) -> None:
    """Serves and publishes until `stop_requested`; the state is saved at the end, whatever ended it."""
    settings = plant.settings
    client(settings.mqtt_url, "check")  # a bad URL stops the start, not a task behind it
    plant.look()
    plant.save()
    async with AsyncExitStack() as stack:
        await serve_gateways(stack, settings.modbus_host, settings.modbus_ports, settings.seed, plant.look)
        log.info(
            "dye house open", site=settings.site, seed=settings.seed, modbus_ports=settings.modbus_ports,
            opening_s=plant.state.opening_s, events_skipped=plant.outlet.counts.skipped,
        )  # fmt: skip
        work = asyncio.create_task(_work(plant), name="dye house")
        stopping = asyncio.create_task(stop_requested.wait(), name="stop")
        await asyncio.wait({work, stopping}, return_when=asyncio.FIRST_COMPLETED)
        for task in (work, stopping):
            task.cancel()
        results = await asyncio.gather(work, stopping, return_exceptions=True)
    plant.save()
    log.info("dye house closed", **dataclasses.asdict(plant.outlet.counts))
    for result in results:
        if isinstance(result, Exception):
            raise result


async def _work(plant: Dyehouse) -> None:
    settings = plant.settings
    devices = mqtt_devices(settings.site)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(
            keep_connected(
                settings.mqtt_url, f"{settings.site}-devices", settings.mqtt_retry_s,
                lambda c: publish_devices(c, devices, settings.seed, plant.look, settings.device_publish_s),
            ),
            name="mqtt devices",
        )  # fmt: skip
        tasks.create_task(
            keep_connected(
                settings.mqtt_url, f"{settings.site}-mes", settings.mqtt_retry_s,
                lambda c: publish_events(c, settings.site, plant.outlet, plant.now_ms),
            ),
            name="mes",
        )  # fmt: skip
        while True:
            await asyncio.sleep(settings.plant_state_every_s)
            plant.look()
            plant.save()
