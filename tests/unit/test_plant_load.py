"""Plant files: every error has its line, its path and a remedy, and all of them are told at once."""

from decimal import Decimal
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

import plantprint_simulators
from plantprint.plant.check import ModelIssue, PlantError
from plantprint.plant.load import inspect_plant, load_plant, plant_json_schema
from plantprint.times import to_ms

PLANT = """\
plantprint: 1
site: {id: mill, name: {en: Mill}}
bucket_s: 60
work_centers:
  - id: line-1
    name: {en: Line 1}
    work_units:
      - {id: u1, name: {en: Unit 1}}
sources:
  - {id: grid, name: {en: Grid}, unit: kWh, kind: grid, factor: f, scope: 2}
meters:
  - {id: m-in, name: {en: In}, unit: kWh, bindings: [{channel: gw/in}]}
  - id: m-u1
    name: {en: U1}
    unit: kWh
    bindings: [{channel: gw/u1}]
pools:
  - {id: bus, name: {en: Bus}, unit: kWh}
flows:
  - {from: grid, to: bus, amount: m-in}
  - {from: bus, to: u1, amount: m-u1}
  - {from: bus, to: unmetered, amount: rest}
"""


def issues_of(old: str, new: str, text: str = PLANT) -> list[ModelIssue]:
    assert text.count(old) == 1
    return list(inspect_plant(text.replace(old, new)).issues)


def line_of(part: str, text: str = PLANT) -> int:
    return text[: text.index(part)].count("\n") + 1


def test_a_sound_plant_loads_without_a_word() -> None:
    plant, issues = inspect_plant(PLANT)
    assert issues == ()
    assert plant is not None
    assert plant.flows[2].amount == "rest"
    assert load_plant(PLANT, "plant.yaml") == plant


@pytest.mark.parametrize("name", ["dyehouse", "pv", "steel"])
def test_plants_of_the_simulators_load(name: str) -> None:
    folder = Path(plantprint_simulators.__path__[0]) / "data" / name
    load_plant((folder / "plant.yaml").read_text(encoding="utf-8"), name)


def test_key_given_twice_is_an_error_at_its_second_line() -> None:
    (issue,) = issues_of("    unit: kWh\n", "    unit: kWh\n    unit: MWh\n")
    assert (issue.line, issue.path) == (16, "meters.1.unit")
    assert "first at line 15" in issue.message


def test_unknown_key_suggests_the_right_one() -> None:
    (issue,) = issues_of("    bindings: [{channel: gw/u1}]", "    bindings: [{channel: gw/u1}]\n    max_gap: 30")
    assert (issue.line, issue.path) == (17, "meters.1.max_gap")
    assert "max_gap_s" in issue.remedy


def test_missing_key_is_told_at_its_parent() -> None:
    (issue,) = issues_of("    unit: kWh\n", "")
    assert (issue.line, issue.path, issue.message) == (13, "meters.1.unit", "'unit' is missing")


def test_all_errors_come_at_once_in_order_of_lines() -> None:
    text = PLANT.replace("plantprint: 1", "plantprint: 2").replace("scope: 2", "scope: 9").replace("gw/in", "gw in")
    with pytest.raises(PlantError) as caught:
        load_plant(text, "plant.yaml")
    assert [issue.line for issue in caught.value.issues] == [1, 10, 12]
    assert str(caught.value).startswith("plant.yaml:1: plantprint: input should be 1, not 2")
    assert all(issue.remedy for issue in caught.value.issues)


@pytest.mark.parametrize(
    ("old", "new", "line", "message"),
    [
        ("bucket_s: 60", "bucket_s: [60", 4, "this is not YAML"),
        ("bucket_s: 60", "bucket_s: &b 60\nsettle_after_s: *b", 4, "aliases"),
        ("bucket_s: 60", "effective_at: 2026-02-30", 3, "day is out of range"),
        ("bucket_s: 60", "bucket_s: !!python/name:os.system x", 3, "could not determine a constructor"),
        ("bucket_s: 60", "bucket_s: \x00", 3, "special characters are not allowed"),
    ],
)
def test_text_that_is_not_plain_yaml(old: str, new: str, line: int, message: str) -> None:
    (issue,) = issues_of(old, new)
    assert issue.line == line
    assert message in issue.message


@pytest.mark.parametrize("text", ["", "just text", "- a\n- b\n", "a: 1\n---\nb: 2\n", "[" * 5000])
def test_other_documents_are_refused_in_words(text: str) -> None:
    plant, issues = inspect_plant(text)
    assert plant is None
    assert issues
    assert all(issue.line >= 1 and issue.message and issue.remedy for issue in issues)


def test_decimals_keep_their_digits_and_times_their_offset() -> None:
    binding = "{channel: gw/u1, ratio: 0.12345678901234567890123, valid_from: 2026-01-01T08:00:00+08:00}"
    plant, issues = inspect_plant(PLANT.replace("{channel: gw/u1}", binding))
    assert plant is not None, issues
    (loaded,) = plant.meters[1].bindings
    assert loaded.ratio == Decimal("0.12345678901234567890123")
    assert loaded.valid_from is not None
    assert to_ms(loaded.valid_from) == 1_767_225_600_000


def test_text_that_yaml_takes_for_a_number_says_to_quote_it() -> None:
    (issue,) = issues_of("{en: Line 1}", "{en: 1}")
    assert issue.line == 6
    assert "quotes" in issue.remedy


def test_warnings_do_not_stop_a_plant() -> None:
    text = PLANT.replace("      - {id: u1", "      - {id: u2, name: {en: Spare}}\n      - {id: u1")
    plant, (issue,) = inspect_plant(text)
    assert plant is not None
    assert (issue.severity, issue.line) == ("warning", 8)
    assert "u2" in issue.message


def test_schema_describes_the_file_as_it_is_written() -> None:
    schema = plant_json_schema()
    assert {"from", "to", "amount"} <= set(schema["$defs"]["Flow"]["properties"])
    assert set(schema["required"]) <= set(yaml.safe_load(PLANT))


@given(
    st.text(max_size=200) | st.lists(st.sampled_from([*PLANT.splitlines(), "  - x: [", "? a", "&a *a"])).map("\n".join)
)
@settings(max_examples=100)
def test_no_text_makes_it_stumble(text: str) -> None:
    plant, issues = inspect_plant(text)
    assert plant is not None or any(issue.severity == "error" for issue in issues)
    assert all(1 <= issue.line <= text.count("\n") + 2 for issue in issues)
