"""What every part of `agent.yaml` is made of: names, paths, the frozen model, an MQTT broker.

Limits carry their unit in the name. Secrets stand in a file or an environment variable, never in `agent.yaml` itself.
"""

from pathlib import Path
from typing import Annotated
from zoneinfo import available_timezones

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, ValidationInfo

from plantprint.wire.topics import check_name


def _beside(path: Path, info: ValidationInfo) -> Path:
    """A relative path counts from the folder of `agent.yaml`, wherever the agent is started."""
    folder = (info.context or {}).get("folder", Path())
    return Path(folder / path.expanduser()).absolute()


def _known_timezone(name: str) -> str:
    if name not in available_timezones():
        raise ValueError(f"{name!r} is no IANA time zone; write one such as Asia/Shanghai")
    return name


Name = Annotated[str, AfterValidator(check_name)]
ChannelName = Annotated[str, StringConstraints(pattern=r"^[^\s]{1,200}$")]
ConfigPath = Annotated[Path, AfterValidator(_beside)]
BrokerUrl = Annotated[str, StringConstraints(pattern=r"^mqtts?://[^\s/@]+$")]
Timezone = Annotated[str, AfterValidator(_known_timezone)]


class Model(BaseModel):
    """Frozen, and strict about keys it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Broker(Model):
    """An MQTT broker. Without `url` the one in PLANTPRINT_MQTT_URL is used, with the user and password in it."""

    url: BrokerUrl | None = None
    username: str | None = None
    password_file: ConfigPath | None = None
    password_env: str | None = None
    ca_file: ConfigPath | None = None
    cert_file: ConfigPath | None = None
    key_file: ConfigPath | None = None
    keepalive_s: int = Field(default=30, ge=5, le=3600)
    connect_timeout_s: float = Field(default=5, gt=0)
