"""Jobs whose times are not believed because of what time it is: started in the future, or never ended."""

from plantprint.facts import Issue
from plantprint.plant_history import PlantHistory
from plantprint.production import Job, Production
from plantprint.production_rules import DAY_MS, TIME_UNBELIEVABLE
from plantprint.times import format_instant

# Clocks of one plant differ by less than this.
AHEAD_MS_MAX = DAY_MS


def unbelieved_jobs(plants: PlantHistory, production: Production, now_ms: int) -> list[Issue]:
    """Jobs that count as they are told, until an end comes or time does: looks at each work unit, not at each job."""
    found: list[Issue] = []
    for unit in production.units:
        ahead = unit.jobs.starting_after(now_ms + AHEAD_MS_MAX)
        found += (_ahead(job) for job in ahead)
        for job in unit.jobs.lasting:
            days = plants.at(job.start_ms).plant.job_days_max
            if job.start_ms + days * DAY_MS < now_ms:
                found.append(_never_ended(job, days))
    return sorted(found)


def _ahead(job: Job) -> Issue:
    message = f"job {job.job!r} starts at {format_instant(job.start_ms)}, more than a day ahead of now"
    remedy = "send its start again with the right time and a higher revision, or look at the clock of what sends it"
    return Issue(TIME_UNBELIEVABLE, job.job, message, remedy, job.start_ms)


def _never_ended(job: Job, days: int) -> Issue:
    message = f"job {job.job!r} runs since {format_instant(job.start_ms)}, for more than {days} days; nothing ended it"
    remedy = "send its end, correct its start with a higher revision, or raise job_days_max in plant.yaml"
    return Issue(TIME_UNBELIEVABLE, job.job, message, remedy, job.start_ms + days * DAY_MS)
