"""Every PLANTPRINT_ setting of every part, read from the models themselves, as a page."""

from collections.abc import Iterator
from typing import NamedTuple

from pydantic import SecretStr
from pydantic_core import PydanticUndefined
from pydantic_settings import BaseSettings  # noqa: TC002 - a field's type is looked up at run time


class Setting(NamedTuple):
    """A setting as users see it; `parts` are the programs that read it."""

    name: str
    part: str
    default: str
    description: str


def all_settings() -> Iterator[Setting]:
    """Settings part by part, in the order of their models."""
    from plantprint_api.config import ApiSettings
    from plantprint_collector.accountant_config import AccountantSettings
    from plantprint_collector.config import Settings as CollectorSettings
    from plantprint_simulators.config import DyehouseSettings, LoadSettings

    models: dict[str, type[BaseSettings]] = {
        "collector": CollectorSettings,
        "accountant": AccountantSettings,
        "api": ApiSettings,
        "simulator": DyehouseSettings,
        "load": LoadSettings,
    }
    for part, model in models.items():
        for name, field in model.model_fields.items():
            default = field.default
            if isinstance(default, SecretStr):
                default = default.get_secret_value()
            shown = "required" if default is PydanticUndefined else str(default)
            yield Setting(f"PLANTPRINT_{name.upper()}", part, shown, field.description or "")


def settings_page() -> str:
    """Markdown, one table a part."""
    lines = [
        "# Settings",
        "",
        "Every setting is an environment variable; units are in the names. A gateway's own limits are in its `agent.yaml`.",
        "Made by `plantprint doctor --settings > docs/settings.md`.",
    ]
    part = ""
    for setting in all_settings():
        if setting.part != part:
            part = setting.part
            lines += ["", f"## {part}", "", "| variable | default | what it sets |", "| --- | --- | --- |"]
        default = setting.default.replace("|", "\\|")
        lines.append(f"| `{setting.name}` | `{default}` | {setting.description} |")
    return "\n".join(lines) + "\n"
