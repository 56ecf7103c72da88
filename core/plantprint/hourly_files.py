"""The files of hourly grid intensity that a plant model names: read as series, everything wrong with them at its line."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import groupby

from plantprint.factor_names import factor_warnings
from plantprint.factor_series import FactorSeries, missing_hours, parse_series
from plantprint.factors import FactorError, builtin_factors, latest, misused
from plantprint.plant.check import ModelIssue, PlantError
from plantprint.plant.load import inspect_plant
from plantprint.plant.model import Hourly, Plant, Source
from plantprint.plant.nodes import error, warning
from plantprint.quantities import UnitError, conversion
from plantprint.times import HOUR_MS, format_instant

_TOLD_MAX = 5
Read = Callable[[str], str]
"""The text of a file beside plant.yaml, by its name there; raises `OSError` or `ValueError` where there is none."""


@dataclass(frozen=True)
class SiteFiles:
    """A plant with the series of its hourly files by name, and the warnings about all of them."""

    plant: Plant
    series: Mapping[str, FactorSeries]
    warnings: tuple[ModelIssue, ...]


def load_site(text: str, place: str, read: Read) -> SiteFiles:
    """The plant that a YAML text declares and its hourly files; raises `PlantError` with all errors of both."""
    series: dict[str, FactorSeries] = {}

    def check(plant: Plant) -> Iterator[ModelIssue]:
        yield from factor_warnings(plant)
        for number, source in enumerate(plant.sources):
            if source.hourly is not None:
                yield from _check(f"sources.{number}.hourly", source, source.hourly, read, series)

    plant, issues = inspect_plant(text, check)
    if plant is None:
        raise PlantError((issue for issue in issues if issue.severity == "error"), place)
    return SiteFiles(plant, series, issues)


def _check(
    path: str, source: Source, hourly: Hourly, read: Read, series: dict[str, FactorSeries]
) -> Iterator[ModelIssue]:
    try:
        conversion(source.unit, "kWh")
    except UnitError:
        message = f"an intensity is per kWh, and {source.unit} cannot be converted to it"
        yield error(path, message, "leave `hourly` out, or count this source in kWh")
    named = latest(builtin_factors()).get(source.factor)
    misuse = None if named is None else misused(named, source.id, hourly.purpose)
    if misuse is not None:
        message = f"{misuse.message}, so hours that {hourly.file} does not have are unknown"
        yield warning(path, message, f"{misuse.remedy}, or correct `purpose`")
    try:
        found = parse_series(read(hourly.file), hourly.file, hourly.file, hourly.credit or hourly.file)
    except FactorError as wrong:
        for line in str(wrong).splitlines():
            yield error(f"{path}.file", line, "correct the file; docs/factors.md describes it")
    except (OSError, ValueError) as wrong:
        remedy = "put it there, or correct its name: it is looked for beside plant.yaml"
        yield error(f"{path}.file", f"{hourly.file} cannot be read: {wrong}", remedy)
    else:
        series[hourly.file] = replace(found, purpose=hourly.purpose)
        yield from _holes(f"{path}.file", hourly.file, missing_hours(found))


def _holes(path: str, file: str, hours: list[int]) -> Iterator[ModelIssue]:
    """Stretches of hours that a file lacks between its first and its last."""
    stretches = [
        [hour for _, hour in run] for _, run in groupby(enumerate(hours), lambda one: one[1] - one[0] * HOUR_MS)
    ]
    for stretch in stretches[:_TOLD_MAX]:
        many = "1 hour" if len(stretch) == 1 else f"{len(stretch)} hours"
        message = f"{file} lacks {many} from {format_instant(stretch[0])}, for which the source's factor stands in"
        yield warning(path, message, "add them if they are known; figures follow by themselves")
    if len(stretches) > _TOLD_MAX:
        message = f"{file} lacks hours in {len(stretches) - _TOLD_MAX} more places, {len(hours)} hours in all"
        yield warning(path, message, "add them if they are known; figures follow by themselves")
