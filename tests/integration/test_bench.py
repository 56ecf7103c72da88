"""The benchmarks themselves, on tiny loads: they measure what they say, and notice when the result is wrong; no time is judged."""

from collections.abc import Iterator
from decimal import Decimal

import numpy as np
import pytest

from plantprint_cli.bench import as_text, ingest, ingest_tables, late, latency, peer
from plantprint_cli.bench.backlog import make_backlog
from plantprint_cli.bench.common import BenchError, Servers, connect, fresh_database, machine, medians, wait_until
from plantprint_cli.bench.late_plant import Size
from plantprint_cli.bench.latency_figures import shown_ms

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def servers() -> Iterator[Servers]:
    with Servers.started() as started:
        yield started


@pytest.mark.parametrize(
    ("shape", "collectors", "keyed"), [("plain", 1, True), ("partitioned", 2, True), ("plain", 1, False)]
)
def test_ingest_counts_what_it_stored_against_copy(
    servers: Servers, shape: ingest_tables.Shape, collectors: int, keyed: bool
) -> None:
    backlog = make_backlog(80, 30, 10)
    assert len(backlog.messages) > sum(backlog.chunks.values()), "some chunks come twice"
    variant = ingest.Variant(servers.postgres.dsn, shape, collectors, keyed, chunk_rows=10)
    sample = ingest.measure(servers, variant, backlog)
    best = max(sample["copy_text_per_s"], sample["copy_binary_per_s"])
    assert sample["ratio_to_copy"] == pytest.approx(sample["readings_per_s"] / best)
    assert sample["database_cpu_us_per_reading"] > 0
    assert 40 < sample["bytes_per_reading"] < 1000  # two timestamps' worth of columns cannot be less


def test_ingest_names_the_best_variant_and_says_what_it_could_not_measure(
    servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PLANTPRINT_TEST_TIMESCALE_URL", raising=False)
    ratios = iter(range(1, 100))
    monkeypatch.setattr(
        ingest,
        "measure",
        lambda *_: {"ratio_to_copy": next(ratios) / 10, "readings_per_s": 7.0, "bytes_per_reading": 9.0},
    )
    result = ingest.run(servers, full=False, seconds=1, meters=8)
    assert result["best_variant"] == "partitioned, 1 collector, chunks of 50"
    assert result["without_key"]["best_variant"] == "plain without key, 2 collectors"
    assert result["ratio_to_copy"] == result["variants"][result["best_variant"]]["ratio_to_copy"]
    assert "PLANTPRINT_TEST_TIMESCALE_URL" in result["not_measured"]["hypertable"]
    assert {v["bytes_per_reading_compressed"] for v in result["variants"].values()} == {None}


def test_ingest_refuses_a_server_of_another_kind_and_notices_a_missing_reading(servers: Servers) -> None:
    with fresh_database(servers.postgres.dsn) as dsn, connect(dsn) as conn:
        with pytest.raises(BenchError, match="hypertable: that server's tier is 'native'"):
            ingest_tables.reshape(dsn, "hypertable", keyed=True)
        with pytest.raises(BenchError, match="stored are"):
            ingest_tables.check(conn, make_backlog(8, 3, 3))


@pytest.mark.timescale
def test_a_compressed_hypertable_takes_a_few_bytes_a_reading(timescale_url: str) -> None:
    """The sizes alone: a collector of its own process needs a server with more than one session."""
    with connect(timescale_url) as conn:
        conn.execute(
            "insert into reading select timestamptz '2026-03-02 06:00Z' + n * interval '1 s', 1000 + n, 1, 3, 0"
            " from generate_series(1, 5000) as n"
        )
        found = ingest_tables.sizes(conn, make_backlog(8, 625, 500))
    assert 0 < found["bytes_per_reading_compressed"] < found["bytes_per_reading"] / 2


def test_latency_finds_every_reading_in_a_figure_of_the_stream(servers: Servers) -> None:
    """Half of the meters are read over Modbus, and an hour ends in between."""
    result = latency.measure(servers, 200, 4)
    modbus = result["modbus"]
    assert modbus["meters"] == 100
    assert 0 < modbus["judged"] < result["judged"]
    assert result["lost"] == result["duplicates"] == 0
    assert result["p50_ms"] is not None
    assert 0 <= result["p50_ms"] <= result["max_ms"] or result["never_shown"]
    assert result["hour_settled_after_ms"] > 0
    parts = {"meters", "edge", "load", "broker", "collector", "database", "api"}
    assert set(result["cpu_by_process"]) == parts


def test_a_reading_is_shown_by_the_first_figure_that_contains_it() -> None:
    told = [(10.0, Decimal("0.10")), (20.0, Decimal("0.10")), (30.0, Decimal("0.32")), (40.0, Decimal("0.31"))]
    shown = shown_ms(told, np.array([0.0, 0.1, 0.2, 0.32, 0.4]))
    assert shown.tolist() == [10.0, 10.0, 30.0, 30.0, np.inf]
    assert shown_ms([], np.array([0.1])).tolist() == [np.inf]


def test_late_data_ends_in_exact_numbers(servers: Servers) -> None:
    result = late.measure(servers, Size(2, 2, 25, 100))
    assert result["factor_change"]["postings_added"] == 0
    for case in ("one_late_reading", "an_hours_outage", "meter_exchange", "late_store_charge", "production_event"):
        assert result[case]["postings_added"] > 0, case
        assert result[case]["hours_accounted_again"] > 0, case


def test_plantprint_loses_nothing_in_the_storm_that_the_peer_goes_through(
    servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Eight agents: kill -9 also between the shares of a batch.
    monkeypatch.setenv("PLANTPRINT_COMMIT_SHARED_ROWS_MIN", "100")
    backlog = make_backlog(80, 60, 20)
    assert peer.storm(servers, backlog, peer.CANDIDATES["plantprint"], paced=False)["lost_readings"] == 0
    assert peer.storm(servers, backlog, peer.CANDIDATES["peer"], paced=False)["lost_readings"] >= 0


def test_the_peer_counts_less_than_there_was(servers: Servers) -> None:
    missing = peer.late_data(servers)["peer_missing_percent"]
    # An hour's highest minus lowest value leaves out what is between hours; a late hour leaves out the hour.
    assert 0 < missing["on_time"] < 5
    assert missing["an_hour_late"] > 40


def test_machine_and_medians(servers: Servers) -> None:
    assert {"cores", "python", "postgresql", "load_average_before"} <= set(machine(servers.postgres.dsn))
    assert medians([{"a": 1.0}, {"a": 9.0}, {"a": 2.0}]) == {"a": 2.0}
    assert as_text({"a": {"b": 1}, "c": [{"d": 2, "e": None}]}) == "a\n  b: 1\nc\n  d 2, e None"
    with pytest.raises(BenchError, match="rain: not within 0 s"):
        wait_until("rain", lambda: False, 0)
