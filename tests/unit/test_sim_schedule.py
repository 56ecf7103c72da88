"""The dye house's production: reproducible, well formed, and lively enough for a demo."""

from fractions import Fraction
from itertools import pairwise

import pytest
import yaml

from plantprint.factors import builtin_factors, latest
from plantprint.genealogy import trace_lots
from plantprint.lots import Lot
from plantprint.material_events import reduce_materials
from plantprint.plant.model import Plant
from plantprint.product_lines import Valuing, background
from plantprint.quantities import micro
from plantprint_simulators.plants import plant_file
from plantprint_simulators.process import LINES, UNITS
from plantprint_simulators.schedule import TWIN_LINE, Schedule

OPENING_S = 1_795_000_000
SEEDS = (1, 7, 42)


def test_same_seed_same_events_other_seed_others() -> None:
    one, again, other = (Schedule(seed, OPENING_S).events(OPENING_S, OPENING_S + 3600) for seed in (7, 7, 8))
    assert one == again
    assert one != other


def test_events_do_not_depend_on_how_they_are_asked_for() -> None:
    schedule = Schedule(7, OPENING_S)
    whole = schedule.events(OPENING_S, OPENING_S + 1800)
    pieces = [
        e for s in range(OPENING_S, OPENING_S + 1800, 7) for e in schedule.events(s, min(s + 7, OPENING_S + 1800))
    ]
    assert pieces == whole
    assert len({event.event_id for event in whole}) == len(whole)


@pytest.mark.parametrize("seed", SEEDS)
def test_jobs_nest_in_their_batch(seed: int) -> None:
    for batch in Schedule(seed, OPENING_S).batches(OPENING_S, OPENING_S + 20_000):
        assert batch.ordered_s <= batch.jobs[0].start_s
        assert batch.jobs[-1].end_s < batch.shipped_s
        assert all(job.start_s < job.end_s for job in batch.jobs)
        assert all(before.end_s <= after.start_s for before, after in pairwise(batch.jobs)), batch


@pytest.mark.parametrize("seed", SEEDS)
def test_event_stream_is_well_formed(seed: int) -> None:
    """Every job starts once before it ends and after its order, every batch ships after its jobs, all in time order."""
    events = Schedule(seed, OPENING_S).events(OPENING_S, OPENING_S + 7200)
    assert [e.at_ms for e in events] == sorted(e.at_ms for e in events)
    ordered: set[object] = set()
    running: dict[object, object] = {}
    for event in events:
        body = event.body
        match event.kind:
            case "order":
                assert body["batch"] not in ordered
                ordered.add(body["batch"])
            case "job_start":
                assert body["batch"] in ordered
                assert body["work_unit"] in UNITS
                assert body["job"] not in running
                running[body["job"]] = body["batch"]
            case "job_end":
                del running[body["job"]]
            case "shipment":
                assert body["batch"] in ordered
                assert body["batch"] not in running.values()
            case "lot" | "material_use" | "return" | "output" | "scrap":
                assert body.get("batch", "") == "" or body["batch"] in ordered
            case _:
                raise AssertionError(event.kind)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_demo_is_lively(seed: int) -> None:
    schedule = Schedule(seed, OPENING_S)
    shipped = sorted(b.shipped_s - OPENING_S for b in schedule.batches(OPENING_S, OPENING_S + 3600))
    assert shipped[0] <= 60
    assert len([s for s in shipped if s <= 90]) >= 2
    assert max(after - before for before, after in pairwise(shipped)) <= 180
    for unit in UNITS:
        jobs = [job for job in schedule.jobs(OPENING_S, OPENING_S + 3600) if job.unit == unit]
        assert len(jobs) >= 15


@pytest.mark.parametrize("seed", SEEDS)
def test_batches_overlap_in_a_machine_on_each_line(seed: int) -> None:
    jobs = Schedule(seed, OPENING_S).jobs(OPENING_S, OPENING_S + 3600)
    for line in LINES:
        dyeing = sorted((j.start_s, j.end_s) for j in jobs if j.unit == f"l{line}-dye")
        assert any(after[0] < before[1] for before, after in pairwise(dyeing)), line


def test_two_plants_share_no_batch() -> None:
    ids = [{b.id for b in Schedule(7, OPENING_S + s).batches(0, OPENING_S + 9000)} for s in (0, 60)]
    assert not ids[0] & ids[1]


def test_deep_shades_are_dyed_in_pairs_on_one_line_only() -> None:
    jobs = [j for j in Schedule(7, OPENING_S).jobs(OPENING_S, OPENING_S + 3600) if j.recipe == "dyeing-deep-shade"]
    assert {job.unit for job in jobs} == {f"l{TWIN_LINE}-dye"}
    assert len(jobs) == 2 * len({job.start_s for job in jobs}) == 6


@pytest.mark.parametrize("seed", SEEDS)
def test_what_goes_in_and_comes_out_makes_whole_footprints(seed: int) -> None:
    events = Schedule(seed, OPENING_S).events(OPENING_S, OPENING_S + 5 * 3600)
    plant = Plant.model_validate(yaml.safe_load(plant_file("dyehouse").read_text(encoding="utf-8")))
    how = Valuing(plant, latest(builtin_factors()))
    orders = {str(e.body["batch"]): str(e.body["unit"]) for e in events if e.kind == "order"}
    ordered = [
        Lot(str(e.body["batch"]), "kg", "made", micro(str(e.body["quantity"]))) for e in events if e.kind == "order"
    ]
    facts = reduce_materials(events, background(how, OPENING_S * 1000).materials, ordered, orders)
    found = trace_lots(facts, {})
    assert [issue for issue in found.issues if issue.code != "output-assumed"] == []
    assert {e.kind for e in events} >= {"lot", "material_use", "return", "output", "scrap"}
    reworked = [move for move in found.handed if move.giver in orders and move.taker in orders]
    assert len(reworked) >= 10
    for move in reworked:
        assert move.share < Fraction(1, 10)
        assert sum(move.lines.values()) > 0


def test_after_a_pause_the_lots_of_later_batches_are_told_of() -> None:
    schedule, floor_s = Schedule(7, OPENING_S), OPENING_S + 2 * 3600 + 1000
    events = schedule.events(floor_s, floor_s + 2 * 3600, floor_s)
    told = {e.body["lot"] for e in events if e.kind == "lot"}
    bought = {e.body["lot"] for e in events if e.kind == "material_use" and "lot" in e.body}
    assert {lot for lot in bought if str(lot).startswith(("CLOTH", "DYE", "SALT"))} <= told
    before = {e.event_id: e for e in schedule.events(OPENING_S, floor_s + 2 * 3600)}
    assert all(before[e.event_id] == e for e in events)


def test_batches_of_before_a_pause_can_be_left_out() -> None:
    schedule = Schedule(7, OPENING_S)
    floor_s = OPENING_S + 1000
    events = schedule.events(floor_s, floor_s + 2000, floor_s)
    orders = {e.body["batch"] for e in events if e.kind == "order"}
    assert {e.body["batch"] for e in events if e.kind in {"job_start", "shipment"}} <= orders
