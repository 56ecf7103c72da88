"""Settings of the accountant; units are in the names."""

from typing import Self

from pydantic import Field, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict


class AccountantSettings(BaseSettings):
    """How often it looks, and when data counts as late or missing on the live page."""

    model_config = SettingsConfigDict(env_prefix="PLANTPRINT_", frozen=True, extra="ignore")

    live_ms: int = Field(default=250, gt=0, description="how often the live picture is written, in milliseconds")
    late_s: float = Field(
        default=4.0, gt=0, description="data older than this is shown as late, in seconds of wall time"
    )
    missing_s: float = Field(
        default=8.0, gt=0, description="data older than this is shown as missing, in seconds of wall time"
    )
    late_paces: float = Field(
        default=1.5,
        gt=1,
        description="data of a meter is not late before this many times its usual distance of readings has passed",
    )
    missing_paces: float = Field(
        default=2.5,
        gt=1,
        description="data of a meter is not missing before this many times its usual distance of readings has passed",
    )
    marks_per_pass_max: int = Field(default=20_000, gt=0, description="most dirty marks taken in one pass")
    settle_slice_s: float = Field(
        default=2.0,
        gt=0,
        description="longest one pass spends on settling hours before others get their turn, in seconds",
    )
    accountant_retry_s: float = Field(
        default=1.0, gt=0, description="pause after an error or before asking for a site again, in seconds"
    )
    accountant_idle_s: float = Field(
        default=30.0,
        gt=0,
        description="after this silence between passes the server ends the accountant's session, and another takes its sites;"
        " in seconds",
    )
    accountant_silent_s: float = Field(
        default=60.0,
        gt=0,
        description="the same inside a pass, which computes between its statements; in seconds",
    )

    @model_validator(mode="after")
    def _heard_often_enough(self) -> Self:
        pause_s = max(self.live_ms / 1000, self.accountant_retry_s)
        if self.accountant_idle_s < 3 * pause_s:
            raise ValueError(
                f"accountant_idle_s must be at least {3 * pause_s:g}: three times live_ms, accountant_retry_s"
            )
        return self
