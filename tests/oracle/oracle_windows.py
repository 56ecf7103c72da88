"""Oracle: what waits for the end of an idle window, and what that end does with it (section 4, decision 6)."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

from oracle.oracle_events import Activity, Production
from oracle.oracle_flows import DRIVER_UNITS
from oracle.oracle_jobs import Account, Slice, account_of, slices
from oracle.oracle_numbers import HOUR_MS, MEASURED, r1
from oracle.oracle_plant import Plant
from oracle.oracle_stores import Parts
from oracle.oracle_time import Calendar, Window

Ran = Mapping[str, Sequence[Slice]]


@dataclass
class Waiting:
    """Something that waits on an account since an instant, and the time in which something behind it was unknown."""

    account: Account
    at_ms: int
    parts: Parts
    missing_ms: int = 0


@dataclass(frozen=True)
class Move:
    giver: Account
    taker: Account
    part: tuple[str, int, int]
    amount: int
    portion: str


@dataclass
class Windows:
    """Everything that waits, and by calendar what each work unit did since it stands behind a place with that calendar."""

    plant: Plant
    made: Production
    waiting: list[Waiting] = field(default_factory=list)
    ran: dict[tuple[Calendar, str], list[Slice]] = field(default_factory=dict)

    def end_hour(
        self, hour_ms: int, until_ms: int, ran: Ran, wrong: set[tuple[str, str]]
    ) -> tuple[list[Move], dict[str, int]]:
        """Ends the windows that end in an hour: what is moved, and the unknown time that goes with it by batch."""
        self._begin_hour(ran)
        moves: list[Move] = []
        missing_ms: dict[str, int] = {}
        for place, (calendar, driver) in self.plant.idle.items():
            for _, to_ms, window in calendar.parts(hour_ms, hour_ms + HOUR_MS):
                if window.end_ms > min(to_ms, until_ms):
                    continue
                mine = [w for w in self.waiting if w.account.id == place and w.at_ms < window.end_ms]
                mine = [w for w in mine if w.parts or w.missing_ms]
                worked = self._worked(place, calendar, window)
                if not mine or not (worked or window.ends_month):
                    continue  # carried on
                self.waiting = [w for w in self.waiting if w not in mine]
                weights = _weights(self.made, driver, worked, wrong)
                wrong |= set() if worked else {("overhead", place)}
                for account in sorted({w.account for w in mine}):
                    takers = weights or {Account("overhead", place, account.unit, account.step): Fraction(1)}
                    moves += _divided(account, [w.parts for w in mine if w.account == account], takers)
                    unknown = sum(w.missing_ms for w in mine if w.account == account)
                    for batch in {taker.id for taker in takers if taker.kind == "batch"} if unknown else ():
                        missing_ms[batch] = missing_ms.get(batch, 0) + unknown
        return moves, missing_ms

    def _begin_hour(self, ran: Ran) -> None:
        """What a plant without a rule for it knows nothing of: what waited stays where it is, a window begins anew."""
        self.waiting = [one for one in self.waiting if one.account.id in self.plant.idle]
        calendars = {calendar for calendar, _ in self.plant.idle.values()}
        self.ran = {of: several for of, several in self.ran.items() if of[0] in calendars}
        for calendar in calendars:
            places = [place for place, (own, _) in self.plant.idle.items() if own == calendar]
            for unit in {unit for place in places for unit in self.plant.units_behind(place)}:
                self.ran.setdefault((calendar, unit), []).extend(ran[unit])

    def _worked(self, place: str, calendar: Calendar, window: Window) -> dict[Account, int]:
        several = [part for unit in self.plant.units_behind(place) for part in self.ran.get((calendar, unit), ())]
        return processing_ms(several, window.start_ms, window.end_ms)


def processing_ms(several: Iterable[Slice], from_ms: int, to_ms: int) -> dict[Account, int]:
    """By account how long its jobs were processing; zero for those that ran but did not."""
    found: dict[Account, int] = {}
    for part in several:
        shared = min(part.to_ms, to_ms) - max(part.from_ms, from_ms)
        for job in part.jobs if shared > 0 else ():
            account = account_of(job)
            found[account] = found.get(account, 0) + (shared if part.is_processing else 0)
    return found


def _weights(
    made: Production, driver: str, worked: Mapping[Account, int], wrong: set[tuple[str, str]]
) -> dict[Account, Fraction]:
    if driver == "equal":
        return {account: Fraction(1) for account in worked}
    if driver == "processing_time":
        return {account: Fraction(time_ms) for account, time_ms in worked.items()}
    known = {account: made.quantity(account.id, DRIVER_UNITS[driver]) for account in worked}
    wrong |= {("driver-missing", account.id) for account, quantity in known.items() if quantity is None}
    return {account: Fraction(quantity or 0) for account, quantity in known.items()}


def _divided(giver: Account, several: Sequence[Parts], takers: Mapping[Account, Fraction]) -> list[Move]:
    """Each source, hour of entry and quality is divided alone."""
    whole: Parts = {}
    for parts in several:
        for part, amount in parts.items():
            whole[part] = whole.get(part, 0) + amount
    names = sorted(takers)
    portion = "idle" if names[0].kind == "batch" else "direct"
    return [
        Move(giver, taker, part, share, portion)
        for part, amount in sorted(whole.items())
        for taker, share in zip(names, r1(amount, [takers[name] for name in names]), strict=True)
    ]


@dataclass
class Entered:
    """An activity's amount by taker, and what waits where none ran."""

    part: tuple[str, int, int]
    shares: dict[Account, int]
    waiting: list[Waiting]


def enter_activity(plant: Plant, made: Production, activity: Activity, wrong: set[tuple[str, str]]) -> Entered:
    """Over the jobs that processed in its span, by the events alone; else it waits at its place, or is overhead."""
    several = [
        part
        for unit in plant.units_behind(activity.place)
        for part in slices(made, unit, activity.from_ms, activity.to_ms, ())
    ]
    driver = plant.idle[activity.place][1] if activity.place in plant.idle else "processing_time"
    weights = _weights(made, driver, processing_ms(several, activity.from_ms, activity.to_ms), wrong)
    part, waiting = (activity.source, activity.hour_ms, MEASURED), list[Waiting]()
    if not weights:
        unit = plant.units.get(activity.place)
        kind = "idle" if activity.place in plant.idle else "overhead"
        place = activity.place or plant.site
        account = Account(kind, place, unit.id, unit.step) if unit else Account(kind, place)
        weights = {account: Fraction(1)}
        if kind == "overhead":
            wrong.add(("overhead", activity.place or "site"))
        if kind == "idle":
            waiting.append(Waiting(account, activity.to_ms - 1, {part: activity.amount}))
    names = sorted(weights)
    shares = r1(activity.amount, [weights[name] for name in names])
    return Entered(part, dict(zip(names, shares, strict=True)), waiting)
