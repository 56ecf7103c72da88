"""A gateway with many meters of mixed models, some faulty in every way: the healthy miss no poll, and memory stays flat.

The size of CI; `plantprint bench soak --for 1h` is the same with 1 000 meters for as long as wished.
"""

import math

import pytest

from plantprint_cli.bench import edge_soak
from plantprint_cli.bench.edge_meters import FAULTS, plant

pytestmark = pytest.mark.simulation

METERS, FAULTY, SECONDS = 200, 20, 6.0


def test_faulty_meters_cost_the_healthy_no_poll_and_memory_stays_flat(broker_url: str) -> None:
    assert {meter.fault for meter in plant(METERS, FAULTY)} == {"", *FAULTS}
    report = edge_soak.run(broker_url, meters=METERS, faulty=FAULTY, seconds=SECONDS)
    print(report)
    assert report["healthy_meters_never_read"] == 0
    # Where this machine had no processor for agent and meters, that long is forgiven.
    waited_s = report["waited_for_cpu_s"]
    assert report["most_missed_by_one"] <= (math.ceil(waited_s) if waited_s > SECONDS / 3 else 0)
    assert report["readings"] >= (METERS - FAULTY) * (SECONDS - 2)
    assert report["rss_mb_last_quarter"] <= report["rss_mb_second_quarter"] * 1.05 + 1
    assert report["rss_mb_max"] < 100
    assert report["exit_code"] == 0
