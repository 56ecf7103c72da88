"""The board 'Plant now', which answers on a wall screen: are we fine this minute?"""

from plantprint_dashboards import queries as q
from plantprint_dashboards.builders import (
    BUDGET,
    Column,
    Face,
    Marks,
    Panel,
    bars,
    board,
    matrix,
    number,
    rows,
    stacked_hours,
)

UID = "plantprint-plant-now"
RATE = "suffix:kgCO2e/h"
EMISSION = "suffix:kgCO2e"
DOUBTFUL_SHARE = ((None, "text"), (0.05, "purple"))
STALE_AGE_S = ((None, "text"), (60.0, "purple"))
BATCH_COLUMNS = (
    Column("batch", "Batch"),
    Column("product", "Product"),
    Column("status", "Status"),
    Column("started_at", "Started", "dateTimeFromNow"),
    Column("quantity", "Ordered"),
    Column("unit", "Unit"),
    Column("partial_footprint", "Partial footprint", EMISSION),
    Column("per_unit", "Per unit", EMISSION),
)
FACTOR_COLUMNS = (
    Column("source", "Source"),
    Column("scope", "Scope"),
    Column("unit", "Unit"),
    Column("factor_value", "kgCO2e per unit"),
    Column("factor", "Factor"),
    Column("version", "Version"),
)


def plant_now() -> bytes:
    """The dashboard file."""
    return board(
        UID,
        "Plant now",
        "Are we fine this minute? Rates, the day against its budget, running batches, and what the numbers rest on.",
        [*_emission(), *_trust(), *_lines(), *_details()],
        sites=q.SITES,
        lines=q.LINES,
        marks=[Marks("Batches", q.BATCHES_MARK, "blue"), Marks("Budget breaches", q.BREACHES_MARK, "red")],
    )


def _emission() -> list[Panel]:
    """First row, left: the answer in numbers, for the whole site."""
    return [
        number(
            Face(
                1,
                "Rate now",
                "kgCO2e/h. Sum over sources of measured flow x emission factor, in the newest bucket. "
                "Source: report_live, kind plant.",
                RATE,
                (0, 0, 4, 4),
                1,
            ),
            q.RATE_NOW,
        ),
        number(
            Face(
                2,
                "Today",
                "kgCO2e since the site's midnight, settled hours and the open one. Source: report_live, kind plant.",
                EMISSION,
                (4, 0, 4, 4),
                0,
            ),
            q.TODAY,
        ),
        number(
            Face(
                3,
                "Today, of budget so far",
                "Share. Emission since the site's midnight / (hourly budgets of all lines x hours "
                "since then); no data when a line has no budget. Source: report_live, report_work_center.",
                "percentunit",
                (8, 0, 4, 4),
                0,
            ),
            q.TODAY_OF_BUDGET,
            BUDGET,
        ),
    ]


def _trust() -> list[Panel]:
    """First row, right: how far to trust it."""
    return [
        number(
            Face(
                4,
                "Grid intensity",
                "gCO2e/kWh. The location-based factor in use for grid electricity. Source: report_source.",
                "suffix:gCO2e/kWh",
                (12, 0, 4, 4),
                0,
            ),
            q.GRID_INTENSITY,
        ),
        number(
            Face(
                5,
                "Not measured",
                "Share. 1 - measured / (measured + recovered + estimated + missing) of what the live rate "
                "rests on. Source: report_live, kind plant.",
                "percentunit",
                (16, 0, 4, 4),
                0,
            ),
            q.NOT_MEASURED,
            DOUBTFUL_SHARE,
        ),
        number(
            Face(
                6,
                "Data age",
                "Seconds. Age of the newest reading when the accountant last wrote + time since then; it grows "
                "when meters or the accountant stop. Source: report_live, kind plant.",
                "s",
                (20, 0, 4, 4),
                0,
            ),
            q.DATA_AGE,
            STALE_AGE_S,
        ),
    ]


def _lines() -> list[Panel]:
    """Lines against their budgets, now and over the day."""
    return [
        bars(
            Face(
                7,
                "Budget used per line",
                "Share. Rate now / hourly budget of the line; lines without a budget are not "
                "shown. Source: report_live, kind work_center.",
                "percentunit",
                (0, 4, 8, 9),
                0,
            ),
            q.LINE_OF_BUDGET,
            BUDGET,
        ),
        stacked_hours(
            Face(
                8,
                "Emission by line, per hour",
                "kgCO2e in each hour. Net postings x newest factor, without exported energy and "
                "stock; an hour with a missing factor stays empty. Dashed: sum of the lines' hourly budgets. "
                "Source: report_emission_hour, report_work_center.",
                RATE,
                (8, 4, 16, 9),
                0,
            ),
            q.EMISSION_BY_LINE,
            q.BUDGET_OF_LINES,
        ),
    ]


def _details() -> list[Panel]:
    """Where it comes from: steps, batches, factors."""
    return [
        matrix(
            Face(
                9,
                "Rate now by line and step",
                "kgCO2e/h of each process step on each line, in the newest bucket. "
                "Source: report_live, kind work_center.",
                RATE,
                (0, 13, 10, 8),
                1,
            ),
            q.RATE_BY_STEP,
            "line",
            "step",
            "rate",
        ),
        rows(
            Face(
                10,
                "Running batches",
                "Partial footprint, gate to gate, in kgCO2e so far, and per unit of the ordered quantity. "
                "Source: report_batch, report_live, kind batch.",
                "none",
                (10, 13, 14, 8),
            ),
            q.RUNNING_BATCHES,
            BATCH_COLUMNS,
        ),
        rows(
            Face(
                11,
                "What the numbers rest on",
                "The emission factor of each source, location-based, per unit of the source; "
                "no value means that the factor is missing or in another unit. Source: report_source.",
                "none",
                (0, 21, 24, 6),
            ),
            q.FACTORS,
            FACTOR_COLUMNS,
        ),
    ]
