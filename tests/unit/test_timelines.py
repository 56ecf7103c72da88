"""What was cut of a production is kept while it is of use, and no longer."""

import gc

from accounting_cases import HOUR, HOUR_MS, job, production

from plantprint.production import Production
from plantprint.timelines import slices


def test_what_was_cut_goes_with_its_production() -> None:
    """Every event makes another production: those before it, with all their jobs, must not stay."""

    def cut_in_every_hour(number: int) -> Production:
        made = production(job(f"lasting-{number}", "u1", 0, 600))
        for hour in range(10):
            (part,) = slices(made, "u1", HOUR + hour * HOUR_MS, HOUR + (hour + 1) * HOUR_MS)
            assert [each.job for each in part.jobs] == [f"lasting-{number}"]
        return made

    last = [cut_in_every_hour(number) for number in range(30)][-1]
    gc.collect()
    left = {j.job for p in gc.get_objects() if type(p) is Production for j in p.jobs if j.job.startswith("lasting-")}
    assert left == {job.job for job in last.jobs}


def test_more_spans_than_are_kept_come_out_alike() -> None:
    made = production(job("a", "u1", 0, 600))
    spans = [(HOUR + second * 1000, HOUR + second * 1000 + 500) for second in range(9_000)]
    assert [slices(made, "u1", *span) for span in spans] == [slices(made, "u1", *span) for span in spans]
    assert all(len(part.jobs) == 1 for span in spans for part in slices(made, "u1", *span))
