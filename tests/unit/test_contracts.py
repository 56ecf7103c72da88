"""The market of a plant: contracts by their factors, certificates spread over the hours of their span."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from product_cases import HOUR, MILL, event

from plantprint.contracts import market_of
from plantprint.factors import builtin_factors, latest
from plantprint.market import Certificate, hour_shares, unused
from plantprint.plant.model import Plant
from plantprint.quantities import micro
from plantprint.times import HOUR_MS

LIBRARY = latest(builtin_factors())
WIND = replace(LIBRARY["cn.grid.2023.zhejiang"], factor_id="own.wind", value=Decimal("0.012"))
CONTRACT = {"id": "ppa", "name": {"en": "Wind"}, "factor": "own.wind"}
SPAN = {"from": "2026-11-24T08:30:00Z", "to": "2026-11-24T10:00:00Z"}


def market(*events: Any, **changes: Any) -> Any:
    asked = {"source": "grid", "contracts": [CONTRACT], **changes}
    plant = Plant.model_validate({**MILL, "market": asked})
    return market_of(plant, {**LIBRARY, "own.wind": WIND}, events, {HOUR: micro(400), HOUR + HOUR_MS: micro(400)})


def test_a_certificate_counts_evenly_over_its_span_and_no_further() -> None:
    found, issues = market(event("1", "certificate", contract="ppa", amount="0.75", unit="MWh", **SPAN))
    assert issues == ()
    assert found.certificates == (
        Certificate("ppa", HOUR, micro(250)),
        Certificate("ppa", HOUR + HOUR_MS, micro(500)),
    )
    assert unused(found) == {HOUR + HOUR_MS: micro(100)}
    assert hour_shares(found)[HOUR]["ppa"] * 400 == 250


def test_corrected_and_withdrawn_certificates_do_not_count() -> None:
    first = event("1", "certificate", contract="ppa", amount=3, unit="MWh", **SPAN)
    second = event("1", "certificate", 0, 1, contract="ppa", amount=15, **SPAN)
    other = event("2", "certificate", contract="ppa", amount=9, **SPAN)
    found, _ = market(first, second, other, event("3", "withdraw", event_id="2"))
    assert sum(one.amount for one in found.certificates) == micro(15)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"contract": "sun"}, "'sun', which is no contract"),
        ({"amount": -1}, "no number above zero"),
        ({"unit": "kg"}, "cannot be converted"),
        ({"to": "2026-11-24T08:00:00Z"}, "ends before it starts"),
        ({"to": "soon"}, "soon"),
    ],
)
def test_a_wrong_certificate_is_kept_out_and_says_why(change: dict[str, Any], words: str) -> None:
    wrong = event("1", "certificate", **{"contract": "ppa", "amount": 1, **SPAN, **change})
    found, (issue,) = market(wrong)
    assert found.certificates == ()
    assert (issue.code, issue.place) == ("certificate-invalid", "mes/1")
    assert words in issue.message


def test_a_factor_that_is_not_there_is_said_and_a_plant_without_market_has_none() -> None:
    found, issues = market(residual="nobody.knows")
    assert [(one.code, one.place) for one in issues] == [("factor-missing", "grid")]
    assert found.residual is None
    assert market_of(Plant.model_validate(MILL), LIBRARY, (), {}) == (None, ())
