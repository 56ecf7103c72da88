"""Primary data share and data quality ratings: PACT's worked examples and the rules behind the scores."""

from fractions import Fraction

import pytest

from plantprint.data_quality import (
    Contribution,
    DataQuality,
    data_quality_ratings,
    geographical_rating,
    primary_data_share,
    technological_rating,
    temporal_rating,
)


def test_golden_pact_primary_data_share_30_percent() -> None:
    parts = [
        Contribution(800, supplier_share=Fraction(36, 100)),
        Contribution(2400, activity_is_primary=True),
        Contribution(90),
        Contribution(1000, activity_is_primary=True, factor_is_primary=True),
    ]
    share = primary_data_share(parts)
    assert share is not None
    assert share == Fraction(1288, 4290)
    assert round(share * 100) == 30


def test_golden_pact_data_quality_ratings_1_55_2_45_2_65() -> None:
    """Parts of 25, 30 and 45 % score 2, 2, 1 in one indicator, 2, 2, 3 in the next, 1, 5, 2 in the third."""
    parts = [
        Contribution(25, quality=DataQuality(2, 2, 1)),
        Contribution(30, quality=DataQuality(2, 2, 5)),
        Contribution(45, quality=DataQuality(1, 3, 2)),
    ]
    found = data_quality_ratings(parts)
    assert found == DataQuality(Fraction("1.55"), Fraction("2.45"), Fraction("2.65"))


def test_metered_electricity_with_an_average_factor_is_not_primary() -> None:
    assert primary_data_share([Contribution(5, activity_is_primary=True, factor_is_primary=False)]) == 0


def test_removals_weigh_by_their_size() -> None:
    parts = [Contribution(60, True, True), Contribution(-40)]
    assert primary_data_share(parts) == Fraction(60, 100)


def test_what_is_not_known_is_worst() -> None:
    assert data_quality_ratings([Contribution(1)]) == DataQuality(Fraction(5), Fraction(5), Fraction(5))


def test_nothing_emitted_has_no_share() -> None:
    assert primary_data_share([Contribution(0, True, True)]) is None
    assert data_quality_ratings([]) is None


@pytest.mark.parametrize("share", [Fraction(-1, 2), Fraction(3, 2), Fraction(36)])
def test_a_supplier_s_share_in_percent_is_refused(share: Fraction) -> None:
    with pytest.raises(ValueError, match="is 0 to 1"):
        Contribution(1, supplier_share=share)


def test_a_rating_is_one_to_five() -> None:
    with pytest.raises(ValueError, match=r"1 \(best\) to 5"):
        DataQuality(0)


@pytest.mark.parametrize(
    ("days", "rating"),
    [(0, 1), (366, 1), (367, 2), (-731, 2), (1096, 3), (1097, 4), (1461, 4), (1462, 5), (None, 5)],
)
def test_time_apart(days: int | None, rating: int) -> None:
    assert temporal_rating(days) == rating


@pytest.mark.parametrize(
    ("site", "of_data", "rating"),
    [
        ("CN-ZJ", "CN-ZJ", 1),
        ("CN-ZJ", "CN", 2),
        ("CN-ZJ", "east-china", 3),
        ("CN-ZJ", "GLO", 4),
        ("CN-ZJ", "CN-JS", 5),
        ("CN-ZJ", "DE", 5),
        ("CN", "CN", 2),
        ("NL", "NL", 1),
        ("NL-NH", "NL", 1),
        ("NL-NH", "NL-NH", 1),
    ],
)
def test_place_apart(site: str, of_data: str, rating: int) -> None:
    assert geographical_rating(site, of_data, {"east-china"}) == rating


def test_technology_apart() -> None:
    assert [technological_rating(t) for t in ("plant", "company", "equivalent", "proxy", "unknown")] == [1, 2, 3, 4, 5]
