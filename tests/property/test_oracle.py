"""Every posting of `account_hour` against a second accounting written from the definition alone (tests/oracle)."""

from hypothesis import given, settings
from oracle.oracle_cases import EXAMPLES, ORACLE, Facts, cases, oracle_hours, product_hours, without_quality


@ORACLE
@given(cases())
def test_postings_equal_those_of_the_oracle_digit_for_digit(facts: Facts) -> None:
    got, wanted = product_hours(facts), oracle_hours(facts)
    assert [without_quality(net) for net in got] == [without_quality(net) for net in wanted]
    assert got == wanted


@settings(ORACLE, max_examples=max(1, EXAMPLES // 3))
@given(cases(large=True))
def test_huge_amounts_are_exact_too(facts: Facts) -> None:
    assert product_hours(facts) == oracle_hours(facts)
