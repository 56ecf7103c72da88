"""What the dye house makes when: batches, jobs and shipments, each a pure function of (seed, opening second).

Every line takes in a lot (for deep shades on line 2 two lots dyed together) per slot of `SLOT_S`. The plant opens with
lots waiting before its machines, so that there is something to see at once. Instants are whole seconds since 1970 UTC.
"""

import hashlib
from dataclasses import dataclass
from functools import lru_cache

from plantprint.facts import ProductionEvent
from plantprint_simulators import materials
from plantprint_simulators.materials import Yield, event
from plantprint_simulators.process import GAS_STENTER, LINES, MACHINE, MACHINES, unit_id

SOURCE = materials.SOURCE
SLOT_S = 180
SLOT_OFFSET_S = {1: 0, 2: 60, 3: 120}
STEP_OFFSET_S = {"desizing": 0, "scouring-bleaching": 140, "dyeing": 317, "stentering": 552}
MASS_KG = {1: (32, 46), 2: (30, 38), 3: (34, 46)}
TWIN_MASS_KG = 24
TWIN_LINE, TWIN_EVERY, TWIN_SLOT = 2, 10, 7
SHIPPING_DELAY_S = 9
ORDER_LEAD_S = 15
LONGEST_BATCH_S = 900
# On line 1 every ninth batch has fabric that the next one dyes again, on line 3 every seventh has scrap.
REWORK_LINE, REWORK_EVERY, REWORK_SLOT, REWORK_KG = 1, 9, 1, 2
SCRAP_LINE, SCRAP_EVERY, SCRAP_SLOT, SCRAP_KG = 3, 7, 2, 1
OUTPUT_DELAY_S = 2
_CODE_EPOCH_S = 1_767_225_600

PRODUCTS = (
    "Cotton twill navy",
    "Cotton poplin white",
    "Cotton sateen grey",
    "Tencel twill olive",
    "Cotton jersey indigo",
)
DEEP_SHADE = "Cotton canvas black"
CUSTOMERS = ("Nordhaven Apparel", "Casa Lino", "Mei Hua Garments", "Workwear United")

# Lots in the house when it opens: line, letter, kg, then (step, seconds after opening). Deep shades stand in line 2.
_OPENING: tuple[tuple[int, str, int, tuple[tuple[str, int], ...]], ...] = (
    (1, "a", 8, (("dyeing", 0), ("stentering", 45))),
    (1, "b", 32, (("scouring-bleaching", 0), ("dyeing", 130), ("stentering", 300))),
    (1, "c", 16, (("dyeing", 55), ("stentering", 148))),
    (2, "d", 14, (("desizing", 0), ("scouring-bleaching", 125), ("dyeing", 296), ("stentering", 430))),
    (2, "e", 34, (("scouring-bleaching", 0), ("dyeing", 138), ("stentering", 318))),
    (2, "f", 44, (("stentering", 0),)),
    (2, "g", TWIN_MASS_KG, (("dyeing", 3), ("stentering", 138))),
    (2, "h", TWIN_MASS_KG, (("dyeing", 3), ("stentering", 208))),
    (3, "i", 12, (("stentering", 0),)),
    (3, "j", 30, (("stentering", 34),)),
    (3, "k", 40, (("dyeing", 0), ("stentering", 206))),
    (3, "l", 38, (("scouring-bleaching", 0), ("dyeing", 186), ("stentering", 383))),
    (3, "m", 40, (("desizing", 0), ("scouring-bleaching", 140), ("dyeing", 372), ("stentering", 578))),
)


@dataclass(frozen=True, slots=True)
class Job:
    """One execution of a step for a batch, running in [start_s, end_s); filling the range takes `ramp_s`."""

    batch: str
    unit: str
    step: str
    recipe: str
    mass_kg: int
    start_s: int
    end_s: int
    ramp_s: int

    @property
    def id(self) -> str:
        return f"{self.batch}.{self.step}"


@dataclass(frozen=True, slots=True)
class Batch:
    id: str
    line: int
    product: str
    mass_kg: int
    customer: str
    ordered_s: int
    shipped_s: int
    jobs: tuple[Job, ...]
    made: Yield


@dataclass(frozen=True, slots=True)
class Schedule:
    """The production of a plant that opens at `opening_s`."""

    seed: int
    opening_s: int

    def batches(self, from_s: int, to_s: int) -> list[Batch]:
        """Batches that are in the house at some time of [from_s, to_s), by order time and id."""
        found = [b for b in _opening_batches(self) if b.ordered_s < to_s and b.shipped_s >= from_s]
        for line in LINES:
            first = (from_s - LONGEST_BATCH_S - self.opening_s - SLOT_OFFSET_S[line]) // SLOT_S
            last = (to_s + ORDER_LEAD_S - self.opening_s - SLOT_OFFSET_S[line]) // SLOT_S
            for slot in range(max(first, 0), last + 1):
                found += [b for b in _slot_batches(self, line, slot) if b.ordered_s < to_s and b.shipped_s >= from_s]
        return sorted(found, key=lambda b: (b.ordered_s, b.id))

    def jobs(self, from_s: int, to_s: int) -> list[Job]:
        """Jobs that run at some time of [from_s, to_s)."""
        jobs = [job for batch in self.batches(from_s, to_s) for job in batch.jobs]
        return [job for job in jobs if job.start_s < to_s and job.end_s > from_s]

    def events(self, from_s: int, to_s: int, ordered_from_s: int = 0) -> list[ProductionEvent]:
        """Production events of [from_s, to_s) in order of time, of batches ordered at `ordered_from_s` or later.

        Their ids are stable, whoever asks and how often.
        """
        batches = [batch for batch in self.batches(from_s, to_s) if batch.ordered_s >= ordered_from_s]
        events = [each for batch in batches for each in _events(self, batch)]
        events += materials.lots(_code(self.opening_s), self.opening_s, from_s, to_s, ordered_from_s)
        due = [e for e in events if from_s * 1000 <= e.at_ms < to_s * 1000 or (e.kind == "lot" and ordered_from_s)]
        return sorted(due, key=lambda e: (e.at_ms, _EVENT_ORDER[e.kind], e.event_id))


_EVENT_ORDER = {
    name: place
    for place, name in enumerate(
        ("order", "lot", "job_end", "job_start", "material_use", "return", "output", "scrap", "shipment")
    )
}


def draw(seed: int, low: int, high: int, *keys: str | int) -> int:
    """A number in [low, high] that depends on the seed and the keys only."""
    digest = hashlib.blake2b(repr((seed, keys)).encode(), digest_size=8).digest()
    return low + int.from_bytes(digest, "big") % (high - low + 1)


def _code(opening_s: int) -> str:
    """Minutes since 2026 in base 36: four characters for the next three years."""
    minutes, digits = max(opening_s - _CODE_EPOCH_S, 0) // 60, ""
    while minutes or not digits:
        minutes, digit = divmod(minutes, 36)
        digits = "0123456789abcdefghijklmnopqrstuvwxyz"[digit] + digits
    return digits


def _job(batch: str, line: int, step: str, mass_kg: int, start_s: int, *, deep_shade: bool) -> Job:
    machine = MACHINE[step]
    unit = unit_id(line, step)
    full_s = mass_kg * 1000 // machine.throughput_g_s
    ramp_s = max(5, min(20, full_s // 5))
    recipe = "dyeing-deep-shade" if deep_shade and step == "dyeing" else step
    if unit == GAS_STENTER:
        recipe = "stentering-gas"
    return Job(batch, unit, step, recipe, mass_kg, start_s, start_s + full_s + ramp_s - 1, ramp_s)


def _batch(
    schedule: Schedule, line: int, name: str, mass_kg: int, plan: tuple[tuple[str, int], ...], *, deep_shade: bool
) -> Batch:
    """The batch whose jobs start at the plan's seconds; its id carries the opening, so two plants never share one."""
    batch_id = f"L{line}-{_code(schedule.opening_s)}-{name}"
    jobs = tuple(_job(batch_id, line, step, mass_kg, start_s, deep_shade=deep_shade) for step, start_s in plan)
    product = DEEP_SHADE if deep_shade else PRODUCTS[draw(schedule.seed, 0, len(PRODUCTS) - 1, "product", line, name)]
    customer = CUSTOMERS[draw(schedule.seed, 0, len(CUSTOMERS) - 1, "customer", line, name)]
    ordered_s = max(jobs[0].start_s - ORDER_LEAD_S, schedule.opening_s)
    shipped_s = jobs[-1].end_s + SHIPPING_DELAY_S
    made = _yield(schedule, line, name, mass_kg)
    return Batch(batch_id, line, product, mass_kg, customer, ordered_s, shipped_s, jobs, made)


def _yield(schedule: Schedule, line: int, name: str, mass_kg: int) -> Yield:
    """What comes of a batch; those that the plant opened with and the pairs of deep shades come out whole."""
    slot = int(name) - 1 if name.isdigit() else -1
    if line == REWORK_LINE and slot % REWORK_EVERY == REWORK_SLOT:
        return Yield(mass_kg, 0, REWORK_KG, f"L{line}-{_code(schedule.opening_s)}-{slot + 2:04d}")
    if line == SCRAP_LINE and slot % SCRAP_EVERY == SCRAP_SLOT:
        return Yield(mass_kg, SCRAP_KG)
    return Yield(mass_kg)


@lru_cache(maxsize=8)
def _opening_batches(schedule: Schedule) -> tuple[Batch, ...]:
    return tuple(
        _batch(
            schedule, line, letter, mass_kg, tuple((step, schedule.opening_s + s) for step, s in plan),
            deep_shade=line == TWIN_LINE and letter in {"g", "h"},
        )
        for line, letter, mass_kg, plan in _OPENING
    )  # fmt: skip


@lru_cache(maxsize=4096)
def _slot_batches(schedule: Schedule, line: int, slot: int) -> tuple[Batch, ...]:
    arrival_s = schedule.opening_s + SLOT_OFFSET_S[line] + slot * SLOT_S
    if line == TWIN_LINE and slot % TWIN_EVERY == TWIN_SLOT:
        return _twins(schedule, line, slot, arrival_s)
    name = f"{slot + 1:04d}"
    mass_kg = draw(schedule.seed, *MASS_KG[line], "mass", line, slot)
    plan = tuple(
        (m.step, arrival_s + STEP_OFFSET_S[m.step] + draw(schedule.seed, 0, 4, "late", line, slot, m.step))
        for m in MACHINES
    )
    return (_batch(schedule, line, name, mass_kg, plan, deep_shade=False),)


def _twins(schedule: Schedule, line: int, slot: int, arrival_s: int) -> tuple[Batch, ...]:
    """Two lots that pass each range one behind the other and are dyed together: the heavy load of line 2."""
    batches = []
    for index, letter in enumerate("ab"):
        plan = tuple(
            (
                m.step,
                arrival_s
                + STEP_OFFSET_S[m.step]
                + (12 if m.step == "dyeing" else index * TWIN_MASS_KG * 1000 // m.throughput_g_s),
            )
            for m in MACHINES
        )
        batches.append(_batch(schedule, line, f"{slot + 1:04d}{letter}", TWIN_MASS_KG, plan, deep_shade=True))
    return tuple(batches)


def _events(schedule: Schedule, batch: Batch) -> list[ProductionEvent]:
    kg = batch.mass_kg
    events = [
        event("order", batch.id, batch.ordered_s, batch=batch.id, product=batch.product, quantity=kg, unit="kg"),
        event(
            "shipment", batch.id, batch.shipped_s,
            shipment=f"S-{batch.id}", batch=batch.id, quantity=batch.made.good_kg, customer=batch.customer,
        ),
    ]  # fmt: skip
    for job in batch.jobs:
        place = {"batch": batch.id, "work_unit": job.unit, "step": job.step}
        events.append(event("job_start", job.id, job.start_s, job=job.id, weight=kg, **place))
        events.append(event("job_end", job.id, job.end_s, job=job.id))
    lot_hour = (_code(schedule.opening_s), (batch.ordered_s - schedule.opening_s) // materials.PERIOD_S)
    starts_s = {job.step: job.start_s for job in batch.jobs}
    dyed_s = max((job.end_s for job in batch.jobs if job.step == "dyeing"), default=batch.jobs[-1].end_s)
    deep_shade = batch.product == DEEP_SHADE
    events += materials.uses(batch.id, lot_hour, batch.made, starts_s, deep_shade=deep_shade)
    events += materials.outputs(batch.id, batch.made, dyed_s, batch.jobs[-1].end_s + OUTPUT_DELAY_S)
    return events
