"""Recorded files in `agent.yaml`."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from plantprint.facts import PERIOD_S_MAX
from plantprint_edge.config.base import ChannelName, ConfigPath, Model, Name, Timezone
from plantprint_edge.meters import Decimals


class ReplayColumn(Model):
    """A column of amounts per period; with `mean_rate` it holds the period's mean in `unit` per hour (kW for kWh)."""

    name: ChannelName
    column: str
    unit: str
    decimals: Decimals
    mean_rate: bool = False


class ReplaySource(Model):
    """A recorded file (.csv or .csv.gz). Its stamps are local time in `timezone` at the start or end of each period.

    `midnight: day_end` is for files that write the last period of a day as 00:00 of the same date. `speed`: `max`, or
    the recorded seconds per real second. `backlog_chunks_max`: reading waits while more are undelivered.
    """

    source: Literal["replay"]
    name: Name
    file: ConfigPath
    time_column: str
    time_format: str
    timezone: Timezone
    stamp: Literal["start", "end"]
    period_s: int = Field(gt=0, le=PERIOD_S_MAX)
    midnight: Literal["day_start", "day_end"] = "day_start"
    speed: Literal["max"] | Annotated[float, Field(gt=0)] = "max"
    backlog_chunks_max: int = Field(default=1000, ge=1)
    columns: tuple[ReplayColumn, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _midnight_is_an_end(self) -> Self:
        if self.midnight == "day_end" and self.stamp == "start":
            raise ValueError("midnight: day_end is about stamps at the end of a period; set stamp: end or remove it")
        return self
