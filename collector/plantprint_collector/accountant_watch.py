"""Which sites an accountant leads, and when it last went over them, as metrics."""

from collections.abc import Iterator
from typing import Protocol

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector


class Leader(Protocol):
    """What is asked of an accountant."""

    @property
    def leads(self) -> dict[str, bool]: ...

    def pass_ages_s(self) -> dict[str, float]: ...


class AccountantWatch(Collector):
    """At most `series_max` sites are told."""

    def __init__(self, accountant: Leader, series_max: int) -> None:
        self._accountant = accountant
        self._series_max = series_max

    def collect(self) -> Iterator[Metric]:
        leads = GaugeMetricFamily(
            "plantprint_accountant_leads", "1 while this process accounts the site", labels=["site"]
        )
        for site, is_leader in sorted(self._accountant.leads.items())[: self._series_max]:
            leads.add_metric([site], is_leader)
        yield leads
        ages = GaugeMetricFamily(
            "plantprint_accountant_pass_age_seconds", "age of the last pass over a site it leads", labels=["site"]
        )
        stalest_first = sorted(self._accountant.pass_ages_s().items(), key=lambda item: -item[1])
        for site, age_s in stalest_first[: self._series_max]:
            ages.add_metric([site], age_s)
        yield ages
