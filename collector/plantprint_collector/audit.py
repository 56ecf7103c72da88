"""The auditor: proves on a running database that nothing was lost, doubled or made up.

Five independent questions per site: is the net ledger what a recompute from stored readings gives; does each source's
ledger hold exactly what its meters counted; do the intervals of amounts add up to the readings themselves; are batches
incomplete for the reasons that all events together give; and has every chunk of every agent come, except those that it still has.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from fractions import Fraction
from typing import Any

from psycopg import Connection, IsolationLevel

from plantprint.ledger import Net
from plantprint.plant.graph import PlantGraph
from plantprint.times import HOUR_MS, format_instant, from_ms, to_ms
from plantprint_collector import audit_reasons, horizon, watermarks
from plantprint_collector.books import SiteFacts, account_hours, load_facts
from plantprint_collector.connection import connect
from plantprint_collector.facts_store import MeterSource, load_clock, newest_by_channel
from plantprint_collector.ledger_store import load_hours, load_net, settled_bounds
from plantprint_collector.settling import carry_before

Conn = Connection[tuple[Any, ...]]

_HOURS_AT_ONCE = 24
_SHOWN_MAX = 20
_TIMEOUT_S = 3600.0
_UNBELIEVABLE = 10**12


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that does not hold: which question, where, and the two figures that should be equal."""

    check: str
    place: str
    expected: str
    found: str


@dataclass(slots=True)
class SiteAudit:
    """One site's result; `pending_marks` are changes not worked in yet, so a difference may be only a matter of time.

    `kept_hours` are settled hours whose readings were dropped: nothing can be said of them from readings any more.
    """

    site: str
    hours: int = 0
    kept_hours: int = 0
    postings: int = 0
    source_hours: int = 0
    pending_marks: int = 0
    findings: list[Finding] = field(default_factory=list)
    outstanding: dict[str, list[list[int]]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class AuditReport:
    sites: list[SiteAudit]

    @property
    def clean(self) -> bool:
        """Nothing contradicts; outstanding chunks may be with their agents still, which is no contradiction."""
        return not any(site.findings for site in self.sites)

    def to_json(self) -> dict[str, Any]:
        return {"clean": self.clean, "sites": [asdict(site) for site in self.sites]}

    def lines(self) -> Iterator[str]:
        for site in self.sites:
            yield (
                f"{site.site}: {site.hours} settled hours recomputed, {site.postings} net postings compared, "
                f"{site.source_hours} source hours balanced, {site.pending_marks} marks pending"
            )
            if site.kept_hours:
                yield f"  {site.kept_hours} hours before those stay as they were posted: their readings were dropped"
            for finding in site.findings[:_SHOWN_MAX]:
                yield f"  {finding.check} {finding.place}: expected {finding.expected}, found {finding.found}"
            for agent, gaps in site.outstanding.items():
                yield f"  outstanding from {agent}: {gaps}"
        yield "clean" if self.clean else "NOT clean"


def audit_database(dsn: str, site: str | None = None) -> AuditReport:
    """Audits one site or all, in one snapshot."""
    with connect(dsn, application="plantprint-audit", timeout_s=_TIMEOUT_S) as conn:
        conn.isolation_level = IsolationLevel.REPEATABLE_READ
        with conn.transaction():
            horizon.hold(conn)
            rows = conn.execute("select site from site order by site").fetchall()
            return AuditReport([audit_site(conn, name) for (name,) in rows if site in (None, name)])


def audit_site(conn: Conn, site: str) -> SiteAudit:
    """Every check of one site in the caller's transaction."""
    result = SiteAudit(site)
    _check_continuity(conn, result)
    row = conn.execute("select count(*) from dirty where site = %s", (site,)).fetchone()
    result.pending_marks = int(row[0]) if row else 0
    facts, bounds = load_facts(conn, site), settled_bounds(conn, site)
    if facts is None or bounds is None:
        return result
    _check_sources(conn, facts, bounds, result)
    recomputable = max(bounds[0], min(horizon.readings_from_ms(conn), bounds[1] + HOUR_MS)), bounds[1]
    result.kept_hours = (recomputable[0] - bounds[0]) // HOUR_MS
    now_ms = load_clock(conn, site).now_ms(_wall_ms(conn), max(newest_by_channel(conn, site).values(), default=None))
    _check_recompute(conn, facts, recomputable, now_ms, result)
    _check_amounts(conn, facts, recomputable, result)
    result.findings += [Finding(*one) for one in audit_reasons.of_events(conn, facts)]
    return result


def _check_recompute(conn: Conn, facts: SiteFacts, bounds: tuple[int, int], now_ms: int, result: SiteAudit) -> None:
    """Every settled hour from its readings, from nothing, against the ledger and its contradictions (invariants 1 and 3).

    Behind dropped readings it goes on from the state that is stored.
    """
    carry = carry_before(conn, facts.site, bounds[0])
    for start in range(bounds[0], bounds[1] + 1, _HOURS_AT_ONCE * HOUR_MS):
        end = min(start + (_HOURS_AT_ONCE - 1) * HOUR_MS, bounds[1])
        known, stored = load_net(conn, facts.site, start, end), load_hours(conn, facts.site, start, end)
        reasons = audit_reasons.stored_by_hour(conn, facts.site, start, end)
        for account in account_hours(conn, facts, range(start, end + 1, HOUR_MS), carry, now_ms):
            carry = account.carry
            hour = account.hour_ms
            _compare(facts.site, hour, account.net, known.get(hour, {}), result)
            result.findings += [Finding(*one) for one in audit_reasons.of_hour(account, reasons.get(hour, {}))]
            if hour not in stored:
                result.findings.append(Finding("hours", format_instant(hour), "accounted", "absent"))
            elif stored[hour].carry != carry:
                result.findings.append(Finding("carry", format_instant(hour), "as recomputed", "another"))
            result.hours += 1


def _compare(site: str, hour_ms: int, wanted: Net, known: Net, result: SiteAudit) -> None:
    result.postings += len(wanted)
    for key in wanted.keys() | known.keys():
        if wanted.get(key, 0) != known.get(key, 0):
            place = f"{site} {format_instant(hour_ms)} {key.account_kind}/{key.account_id} {key.work_unit} {key.source}"
            result.findings.append(
                Finding("ledger = recompute", place, str(wanted.get(key, 0)), str(known.get(key, 0)))
            )


def _check_sources(conn: Conn, facts: SiteFacts, bounds: tuple[int, int], result: SiteAudit) -> None:
    """Per source and hour: the ledger's net equals what the source's meters counted; asked of SQL alone (invariant 1)."""
    for source, meters in _plainly_metered(facts).items():
        rows = conn.execute(
            "with counted as (select hour_at, sum((select sum(a) from unnest(amount) as a))::bigint as amount from interval "
            "  where site = %(site)s and meter = any(%(meters)s) group by hour_at), "
            "posted as (select hour_at, sum(amount)::bigint as amount from posting where site = %(site)s and source = %(source)s "
            "  group by hour_at) "
            "select hour_at, coalesce(counted.amount, 0), coalesce(posted.amount, 0) from counted full join posted using (hour_at) "
            "where hour_at between %(low)s and %(high)s",
            {
                "site": facts.site,
                "meters": meters,
                "source": source,
                "low": from_ms(bounds[0]),
                "high": from_ms(bounds[1]),
            },
        ).fetchall()
        result.source_hours += len(rows)
        for hour, counted, posted in rows:
            if counted != posted:
                place = f"{facts.site} {format_instant(to_ms(hour))} {source}"
                result.findings.append(Finding("conservation", place, str(counted), str(posted)))


def _plainly_metered(facts: SiteFacts) -> dict[str, list[str]]:
    """Sources whose every flow is one meter in the source's own unit, under all models alike, without activities."""
    found: dict[str, list[str]] = {}
    graphs = [m.graph for m in facts.models]
    recorded = {activity.source for m in facts.models for activity in facts.production(m).activities}
    for source in graphs[-1].sources:
        meters = _meters_of(graphs[-1], source)
        if (
            meters is not None
            and source not in recorded
            and all(_meters_of(graph, source) == meters for graph in graphs)
        ):
            found[source] = meters
    return found


def _meters_of(graph: PlantGraph, source: str) -> list[str] | None:
    meters = []
    for edge in graph.outflows.get(source, ()):
        if (
            len(edge.terms) != 1
            or edge.terms[0][0] != 1
            or graph.meters[edge.terms[0][1]].unit != graph.sources[source].unit
        ):
            return None
        meters.append(edge.terms[0][1])
    return meters or None


def _check_amounts(conn: Conn, facts: SiteFacts, bounds: tuple[int, int], result: SiteAudit) -> None:
    """Amount channels: the intervals' sum over settled time is the sum of the readings, to the last digit."""
    graph = facts.models[-1].graph
    for meter, source in facts.sources(bounds[1]).items():
        channel = source.channel
        whole = len(facts.models) == 1 and source.ratio == 1 and channel.unit == graph.meters[meter].unit
        if channel.kind != "amount" or not whole or channel.decimals > 6:
            continue
        row = conn.execute(
            "select (select coalesce(sum(a), 0) from interval, unnest(amount) as a where site = %s and meter = %s "
            " and hour_at >= %s), "
            "(select coalesce(sum(value), 0) from reading where channel_id = any(%s) and quality > 0 "
            " and value between 0 and %s and measured_at <= %s "
            " and measured_at - make_interval(secs => %s) >= %s)",
            (
                facts.site,
                meter,
                from_ms(bounds[0]),
                list(source.multipliers),
                _most_believed(source),
                from_ms(bounds[1] + HOUR_MS),
                channel.period_s,
                from_ms(bounds[0]),
            ),
        ).fetchone()
        assert row is not None
        expected = int(row[1]) * 10 ** (6 - channel.decimals)
        if (
            len(source.multipliers) == 1
            and expected != int(row[0])
            and not _straddles(conn, source.multipliers, bounds)
        ):
            result.findings.append(
                Finding("intervals = readings", f"{facts.site} {meter}", str(expected), str(int(row[0])))
            )


def _most_believed(source: MeterSource) -> int:
    """The largest value of an amount that counts, by the meter's rated power (1.2 times it is believed)."""
    rated = source.meter.rated_per_hour
    per_hour = Fraction(_UNBELIEVABLE) if rated is None else Fraction(rated) * Fraction(12, 10)
    return int(per_hour * source.channel.period_s / 3600 * 10**source.channel.decimals)


def _straddles(conn: Conn, channels: dict[int, int], bounds: tuple[int, int]) -> bool:
    """Whether an amount lies across an end of the hours, so that sums cannot be equal."""
    row = conn.execute(
        "select exists (select from reading join channel using (channel_id) where channel_id = any(%(c)s) "
        "and (measured_at > %(end)s and measured_at - make_interval(secs => period_s) < %(end)s "
        " or measured_at > %(start)s and measured_at - make_interval(secs => period_s) < %(start)s))",
        {"c": list(channels), "start": from_ms(bounds[0]), "end": from_ms(bounds[1] + HOUR_MS)},
    ).fetchone()
    return bool(row and row[0])


def _check_continuity(conn: Conn, result: SiteAudit) -> None:
    """Every chunk below an agent's newest has come, is with the agent, or is on record as lost."""
    result.outstanding = watermarks.outstanding(conn, result.site)
    for agent, epochs in watermarks.missed(conn, result.site).items():
        what = f"{watermarks.count(epochs)} chunks never came, and the agent has none of them: {epochs}"
        result.findings.append(
            Finding("continuity", f"{result.site} {agent}", "every chunk, or its loss on record", what)
        )


def _wall_ms(conn: Conn) -> int:
    row = conn.execute("select (extract(epoch from clock_timestamp()) * 1000)::bigint").fetchone()
    assert row is not None
    return int(row[0])
