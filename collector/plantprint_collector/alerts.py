"""Budget alerts: the pure state machine over rows of `alert`, and each transition told once over MQTT."""

from collections.abc import Callable, Collection
from decimal import Decimal
from typing import Any, Literal

from psycopg import Connection

from plantprint.budget import BudgetState, next_state
from plantprint.plant.model import Budget
from plantprint.times import format_instant, from_ms, to_ms
from plantprint.wire import messages, topics

Conn = Connection[tuple[Any, ...]]
Publish = Callable[[str, bytes], bool]


class BudgetBook:
    """The alerts of one site; what is under way is read from the database, so a restart goes on where it was."""

    def __init__(self, conn: Conn, site: str, now_ms: int) -> None:
        self.site = site
        self._states: dict[str, BudgetState] = {}
        for center, state, pending_at, firing_at in conn.execute(
            "select work_center, state, pending_at, firing_at from alert where site = %s and state <> 'resolved'",
            (site,),
        ):
            pending_ms = to_ms(pending_at)
            firing_ms = None if firing_at is None else to_ms(firing_at)
            # Nobody looked while we were away, so that time does not count as over budget.
            self._states[center] = BudgetState(state, seen_ms=now_ms, pending_ms=pending_ms, firing_ms=firing_ms)

    def look(self, conn: Conn, center: str, budget: Budget, rate: Decimal | None, now_ms: int) -> dict[str, Any]:
        """Takes one look at a line's rate, writes a transition if there is one, and returns what the live row shows."""
        before = self._states.get(center, BudgetState(seen_ms=now_ms))
        state, transition = next_state(budget, before, rate, now_ms)
        self._states[center] = state
        limit = budget.kg_co2e_per_hour
        if transition == "pending" or (transition == "firing" and before.level == "clear"):
            conn.execute(
                "insert into alert (site, work_center, state, limit_kg_co2e_per_hour, rate_kg_co2e_per_hour, pending_at) "
                "values (%s, %s, 'pending', %s, %s, %s) on conflict do nothing",
                (self.site, center, limit, rate, from_ms(now_ms)),
            )
        if transition == "firing":
            conn.execute(
                "update alert set state = 'firing', firing_at = %s, rate_kg_co2e_per_hour = %s "
                "where site = %s and work_center = %s and state = 'pending'",
                (from_ms(now_ms), rate, self.site, center),
            )
        if transition == "resolved":
            self._resolve(conn, center, now_ms)
        shown = {"clear": "ok"}.get(state.level, state.level)
        since_ms = state.firing_ms or state.pending_ms
        return {"limit": str(limit), "state": shown, "since": None if since_ms is None else format_instant(since_ms)}

    def close_others(self, conn: Conn, centers: Collection[str], now_ms: int) -> None:
        """Ends what is under way on lines that have no budget any more."""
        for center in [c for c, state in self._states.items() if state.level != "clear" and c not in centers]:
            self._resolve(conn, center, now_ms)
            del self._states[center]

    def _resolve(self, conn: Conn, center: str, now_ms: int) -> None:
        """An alert that only pended leaves no trace: nobody was told."""
        conn.execute(
            "delete from alert where site = %s and work_center = %s and state = 'pending'", (self.site, center)
        )
        conn.execute(
            "update alert set state = 'resolved', resolved_at = %s where site = %s and work_center = %s and state = 'firing'",
            (from_ms(now_ms), self.site, center),
        )


def tell(conn: Conn, site: str, publish: Publish) -> int:
    """Publishes transitions nobody was told of yet, each in its turn; one that the broker does not take now waits."""
    told = 0
    for alert_id, center, state, notified, rate, limit, firing_at, resolved_at in conn.execute(
        "select alert_id, work_center, state, notified, rate_kg_co2e_per_hour, limit_kg_co2e_per_hour, firing_at, resolved_at "
        "from alert where site = %s and state <> 'pending' and notified <> state order by pending_at",
        (site,),
    ).fetchall():
        untold: list[Literal["firing", "resolved"]]
        untold = ["firing", "resolved"] if state == "resolved" and not notified else [state]
        for transition in untold:
            message = messages.Alert(
                alert_id=str(alert_id), site=site, work_center=center, state=transition, rate_kg_co2e_per_hour=str(rate),
                limit_kg_co2e_per_hour=str(limit),
                at=format_instant(to_ms(firing_at if transition == "firing" else resolved_at)),
            )  # fmt: skip
            if not publish(topics.alert(site, center), messages.encode(message)):
                return told
            conn.execute("update alert set notified = %s where alert_id = %s", (transition, alert_id))
            told += 1
    return told


def under_way(conn: Conn, site: str) -> list[dict[str, Any]]:
    rows = conn.execute(
        "select work_center, state, rate_kg_co2e_per_hour, limit_kg_co2e_per_hour, coalesce(firing_at, pending_at) "
        "from alert where site = %s and state = 'firing' order by work_center",
        (site,),
    ).fetchall()
    return [
        {
            "work_center": center,
            "state": state,
            "rate": str(rate),
            "limit": str(limit),
            "since": format_instant(to_ms(at)),
        }
        for center, state, rate, limit, at in rows
    ]
