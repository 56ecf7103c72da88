"""The one module that touches grafana-foundation-sdk: core panels, variables and boards in the classic schema.

Colours mean: green, amber, red only the state of a budget; purple something to distrust; grey text nothing special.
"""

import json
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

from plantprint_dashboards.queries import ALL, Query

with warnings.catch_warnings():
    # The SDK recommends its v2 schema by a warning per class; the classic one is what Grafana 12 and 13 both read.
    warnings.simplefilter("ignore", DeprecationWarning)
    from grafana_foundation_sdk.builders import bargauge, common, stat, table, timeseries
    from grafana_foundation_sdk.builders import dashboard as sdk
    from grafana_foundation_sdk.cog.builder import Builder
    from grafana_foundation_sdk.cog.encoder import JSONEncoder
    from grafana_foundation_sdk.cog.variants import Dataquery
    from grafana_foundation_sdk.models import common as choice
    from grafana_foundation_sdk.models import dashboard as model

DATASOURCE_UID = "plantprint-postgres"
DATASOURCE_TYPE = "grafana-postgresql-datasource"
TAG = "plantprint"
REFRESH_S = 10
NO_VALUE = "no data"

_SOURCE = choice.DataSourceRef(DATASOURCE_TYPE, "${datasource}")
_P = TypeVar("_P", stat.Panel, bargauge.Panel, timeseries.Panel, table.Panel)
Panel = Builder[model.Panel]

Steps = Sequence[tuple[float | None, str]]
PLAIN: Steps = ((None, "text"),)
BUDGET: Steps = ((None, "green"), (0.8, "orange"), (1.0, "red"))


@dataclass(frozen=True, slots=True)
class Face:
    """What every panel must have; `place` is (x, y, width, height) on a grid of 24 columns."""

    id: int
    title: str
    description: str
    unit: str
    place: tuple[int, int, int, int]
    decimals: int | None = None


@dataclass(frozen=True, slots=True)
class Column:
    """Heading and unit of a table's column."""

    name: str
    heading: str
    unit: str | None = None


@dataclass(frozen=True, slots=True)
class Marks:
    """Spans of time drawn over every time axis."""

    name: str
    query: Query
    color: str


class _SqlQuery(Dataquery):
    """A query to the PostgreSQL data source, which the SDK lacks."""

    def __init__(self, query: Query, ref_id: str) -> None:
        self.query, self.ref_id = query, ref_id

    def to_json(self) -> dict[str, object]:
        return {
            "datasource": _SOURCE,
            "editorMode": "code",
            "format": self.query.shape,
            "rawQuery": True,
            "rawSql": self.query.sql,
            "refId": self.ref_id,
        }


class _Target(Builder[Dataquery]):
    def __init__(self, query: Query, ref_id: str = "A") -> None:
        self._built = _SqlQuery(query, ref_id)

    def build(self) -> Dataquery:
        return self._built


def _dress(panel: _P, face: Face, steps: Steps, *queries: Query) -> _P:
    """Puts on what all panels share."""
    x, y, width, height = face.place
    panel.id(face.id).title(face.title).description(face.description).unit(face.unit).no_value(NO_VALUE)
    panel.datasource(_SOURCE).grid_pos(model.GridPos(h=height, w=width, x=x, y=y))
    panel.thresholds(
        sdk.ThresholdsConfig()
        .mode(model.ThresholdsMode.ABSOLUTE)
        .steps([model.Threshold(value, color) for value, color in steps])
    )
    panel.color_scheme(sdk.FieldColor().mode(model.FieldColorModeId.THRESHOLDS))
    if face.decimals is not None:
        panel.decimals(face.decimals)
    for ref_id, query in zip("AB", queries, strict=False):
        panel.with_target(_Target(query, ref_id))
    return panel


def _every_row() -> common.ReduceDataOptions:
    return common.ReduceDataOptions().values(True).calcs(["lastNotNull"]).fields("")


def number(face: Face, query: Query, steps: Steps = PLAIN) -> Panel:
    """One number per row, named by the row's text if it has any."""
    return (
        _dress(stat.Panel(), face, steps, query)
        .reduce_options(_every_row())
        .graph_mode(choice.BigValueGraphMode.NONE)
        .color_mode(choice.BigValueColorMode.VALUE)
        .text_mode(choice.BigValueTextMode.AUTO)
    )


def bars(face: Face, query: Query, steps: Steps) -> Panel:
    """One horizontal bar per row, from 0 to 1.2 so that going over is seen."""
    return (
        _dress(bargauge.Panel(), face, steps, query)
        .reduce_options(_every_row())
        .orientation(choice.VizOrientation.HORIZONTAL)
        .display_mode(choice.BarGaugeDisplayMode.BASIC)
        .value_mode(choice.BarGaugeValueMode.TEXT)
        .min(0)
        .max(1.2)
    )


def stacked_hours(face: Face, stacked: Query, limit: Query) -> Panel:
    """Hourly bars stacked by series, under the dashed line of a limit; gaps stay gaps."""
    dashed = {
        "color": {"mode": "fixed", "fixedColor": "red"},
        "custom.drawStyle": "line",
        "custom.fillOpacity": 0,
        "custom.lineStyle": {"fill": "dash", "dash": [10, 10]},
        "custom.lineInterpolation": "stepAfter",
        "custom.stacking": {"mode": "none", "group": "limit"},
    }
    return (
        _dress(timeseries.Panel(), face, PLAIN, stacked, limit)
        .draw_style(choice.GraphDrawStyle.BARS)
        .bar_alignment(choice.BarAlignment.AFTER)
        .fill_opacity(70)
        .line_width(1)
        .stacking(common.StackingConfig().mode(choice.StackingMode.NORMAL).group("A"))
        .color_scheme(sdk.FieldColor().mode(model.FieldColorModeId.PALETTE_CLASSIC_BY_NAME))
        .min(0)
        .interval("1h")
        .legend(
            common.VizLegendOptions()
            .show_legend(True)
            .display_mode(choice.LegendDisplayMode.LIST)
            .placement(choice.LegendPlacement.BOTTOM)
            .calcs([])
        )
        .tooltip(common.VizTooltipOptions().mode(choice.TooltipDisplayMode.MULTI).sort(choice.SortOrder.DESCENDING))
        .override_by_query("B", [model.DynamicConfigValue(name, value) for name, value in dashed.items()])
    )


def matrix(face: Face, query: Query, row: str, column: str, value: str) -> Panel:
    """A table of one number per row and column, shaded light to dark; an unknown cell stays empty."""
    grouping = {"rowField": row, "columnField": column, "valueField": value, "emptyValue": "null"}
    return (
        _dress(table.Panel(), face, PLAIN, query)
        .with_transformation(model.DataTransformerConfig(id_val="groupingToMatrix", options=grouping))
        .color_scheme(sdk.FieldColor().mode(model.FieldColorModeId.CONTINUOUS_BLUES))
        .cell_options(choice.TableColoredBackgroundCellOptions(mode=choice.TableCellBackgroundDisplayMode.BASIC))
    )


def rows(face: Face, query: Query, columns: Sequence[Column]) -> Panel:
    """A table with a heading, and where it has one a unit, for every column of the query."""
    panel = _dress(table.Panel(), face, PLAIN, query)
    for column in columns:
        properties: dict[str, str] = {"displayName": column.heading}
        if column.unit is not None:
            properties["unit"] = column.unit
        panel.override_by_name(column.name, [model.DynamicConfigValue(n, value) for n, value in properties.items()])
    return panel


def _variables(sites: Query, lines: Query) -> list[Builder[model.VariableModel]]:
    source = model.VariableOption(selected=True, text=TAG, value=DATASOURCE_UID)
    return [
        sdk.DatasourceVariable("datasource").label("Data source").type(DATASOURCE_TYPE).current(source),
        _listed("site", "Site", sites, model.VariableRefresh.ON_DASHBOARD_LOAD),
        _listed("line", "Line", lines, model.VariableRefresh.ON_DASHBOARD_LOAD)
        .multi(True)
        .include_all(True)
        .all_value(ALL)
        .current(model.VariableOption(selected=True, text=["All"], value=["$__all"])),
    ]


def _listed(name: str, label: str, query: Query, refresh: model.VariableRefresh) -> sdk.QueryVariable:
    variable = sdk.QueryVariable(name).label(label).datasource(_SOURCE).query(query.sql).definition(query.sql)
    return variable.refresh(refresh).sort(model.VariableSort.DISABLED).allow_custom_value(False)


def _annotation(marks: Marks) -> sdk.AnnotationQuery:
    return (
        sdk.AnnotationQuery()
        .name(marks.name)
        .datasource(_SOURCE)
        .enable(True)
        .icon_color(marks.color)
        .target(_Target(marks.query, "Anno"))
    )


def board(
    uid: str,
    title: str,
    description: str,
    panels: Sequence[Panel],
    *,
    sites: Query,
    lines: Query,
    marks: Sequence[Marks],
    span: Literal["now-24h", "now-7d"] = "now-24h",
) -> bytes:
    """The JSON file of a dashboard with the variables `datasource`, `site` and `line`; the same bytes every time."""
    built = (
        sdk.Dashboard(title)
        .uid(uid)
        .description(description)
        .tags([TAG])
        .timezone("browser")
        .readonly()
        .refresh(f"{REFRESH_S}s")
        .time(span, "now")
        .tooltip(model.DashboardCursorSync.CROSSHAIR)
        .link(
            sdk.DashboardLink("plantprint boards")
            .type(model.DashboardLinkType.DASHBOARDS)
            .tags([TAG])
            .as_dropdown(True)
            .include_vars(True)
            .keep_time(True)
        )
    )
    for variable in _variables(sites, lines):
        built.with_variable(variable)
    for each in marks:
        built.annotation(_annotation(each))
    for panel in panels:
        built.with_panel(panel)
    text = json.dumps(built.build(), cls=JSONEncoder, indent=2, sort_keys=True, ensure_ascii=False)
    return (text + "\n").encode()
