"""Settings are checked when read, and give no secret away."""

from typing import Any

import pytest
from pydantic import SecretStr, ValidationError

from plantprint.times import parse_instant
from plantprint_collector.config import Settings
from plantprint_collector.intake import Intake
from plantprint_collector.migrate import load_migrations

DATABASE = SecretStr("postgresql://u:secret@h/d")


def test_defaults_take_everything() -> None:
    settings = Settings(database_url=DATABASE)
    assert settings.collector_slots == "0123456789abcdef"
    assert settings.earliest_ms == parse_instant("1990-01-01T00:00:00Z")
    assert "secret" not in repr(settings)


def test_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLANTPRINT_DATABASE_URL", "postgresql:///x")
    monkeypatch.setenv("PLANTPRINT_COLLECTOR_SLOTS", "f00a")
    assert Settings.model_validate({}).collector_slots == "0af"


@pytest.mark.parametrize(
    "wrong",
    [
        {"collector_slots": "xyz"}, {"collector_slots": ""}, {"earliest_at": "1990"}, {"reconnect_s_max": 0.1},
        {"mqtt_cert_file": "a.pem"}, {"collector_client_id": "a b"}, {"commit_rows_max": 0},
    ],
)  # fmt: skip
def test_nonsense_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Settings(database_url=DATABASE, **wrong)


@pytest.mark.parametrize("url", ["http://x", "mqtt://", "127.0.0.1:1883"])
def test_a_broker_url_must_be_one(url: str) -> None:
    intake = Intake(Settings(database_url=DATABASE, mqtt_url=SecretStr(url)))
    with pytest.raises(ValueError, match="PLANTPRINT_MQTT_URL"):
        intake.start()


def test_every_setting_says_what_it_is() -> None:
    assert all(field.description for field in Settings.model_fields.values())


def test_migration_files_are_in_order_and_complete_for_every_tier() -> None:
    files = load_migrations()
    assert [m.number for m in files] == sorted(m.number for m in files)
    for tier in ("native", "apache", "tsl"):
        text = "\n".join(m.text for m in files if tier in m.tiers)
        for function in ("pp_ensure", "pp_drop_before", "pp_compress_before"):
            assert text.count(f"create function {function}(") == 1, (tier, function)
