"""The collector as one process: intake, accountant and announcer, started and stopped in an order that loses nothing."""

import signal
import threading
import time

import structlog

from plantprint_collector.accountant import Accountant
from plantprint_collector.accountant_config import AccountantSettings
from plantprint_collector.accountant_watch import AccountantWatch
from plantprint_collector.announcer import Announcer
from plantprint_collector.config import Settings
from plantprint_collector.housekeeping import Housekeeping
from plantprint_collector.intake import Intake
from plantprint_collector.metrics_page import serve_metrics
from plantprint_collector.store_watch import StoreWatch

log = structlog.get_logger("plantprint.collector")

_POLL_S = 0.2
EXIT_OK, EXIT_FAILED = 0, 1


def run(settings: Settings, accounting: AccountantSettings, *, intake_only: bool = False) -> int:
    """Works until SIGTERM or SIGINT; returns 1 when a thread failed, so that a supervisor starts it anew."""
    stop_requested = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop_requested.set())
    intake = Intake(settings)
    announcer = Announcer(settings)
    accountant = Accountant(settings.database_url.get_secret_value(), accounting, announcer.publish)
    watch = StoreWatch(settings)
    housekeeping = Housekeeping(settings)
    registry = intake.metrics.registry
    registry.register(watch)
    registry.register(AccountantWatch(accountant, settings.metrics_series_max))
    intake.metrics.accountant_failures.set_function(lambda: accountant.failures)
    try:
        page = serve_metrics(
            registry,
            settings.metrics_host,
            settings.metrics_port,
            alive=lambda: {"intake": intake.failure is None, "accountant": intake_only or accountant.alive},
            ready=lambda: {"broker": intake.metrics.is_connected("broker"), "database": watch.up},
        )
    except OSError as error:
        where = f"{settings.metrics_host}:{settings.metrics_port}"
        remedy = "choose another PLANTPRINT_METRICS_PORT, or an address of this machine for PLANTPRINT_METRICS_HOST"
        log.error("the collector's pages cannot listen", where=where, error=str(error), remedy=remedy)  # noqa: TRY400 - the remedy says it all
        return EXIT_FAILED
    intake.start()
    if not intake_only:
        announcer.start()
        accountant.start()
    housekeeping.start()
    if page is not None:
        watch.start()
    log.info("collector runs", slots=settings.collector_slots, accounting=not intake_only)
    while not stop_requested.wait(_POLL_S) and intake.failure is None and (intake_only or accountant.alive):
        pass
    failed = not stop_requested.is_set()
    until_s = time.monotonic() + settings.drain_s_max
    accountant.request_stop()
    intake.stop()
    housekeeping.stop(until_s - time.monotonic())
    if not intake_only:
        accountant.stop(until_s - time.monotonic())
        announcer.stop()
    if page is not None:
        page.shutdown()
        page.server_close()
        watch.stop()
    log.info("collector stopped", failed=failed)
    return EXIT_FAILED if failed else EXIT_OK
