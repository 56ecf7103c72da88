"""Commands of the factor library: list, explain, choose, add an own factor, compare two versions."""

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import typer

from plantprint_cli.durations import parse_duration_s
from plantprint_cli.errors import CommandError, need

if TYPE_CHECKING:
    from plantprint.factors import Factor

Purpose = Literal["footprint", "inventory"]

JSON = typer.Option(False, "--json", help="Print JSON.")
OPTIONAL_DATABASE = typer.Option(
    None, "--database-url", envvar="PLANTPRINT_DATABASE_URL", help="Count a database's own factors in."
)


def register(app: typer.Typer) -> None:
    factors = typer.Typer(no_args_is_help=True, help="Emission factors: list, explain, choose, add, compare.")
    factors.command(name="list")(factors_list)
    factors.command(name="explain")(factors_explain)
    factors.command(name="choose")(factors_choose)
    factors.command(name="add")(factors_add)
    factors.command(name="diff")(factors_diff)
    app.add_typer(factors, name="factors")


def factors_list(
    contains: str = typer.Argument("", help="Part of an id, subject or name."),
    geography: str = typer.Option("", "--geography", help="Only this place, such as CN-ZJ."),
    purpose: Purpose = typer.Option(None, "--purpose", help="What it is to serve; the two never mix."),
    expires_within: str = typer.Option(
        "", "--expires-within", metavar="DURATION", help="Only what ends so soon (90d) or is over, and nothing follows."
    ),
    database_url: str = OPTIONAL_DATABASE,
    as_json: bool = JSON,
) -> None:
    """List factors, the newest version of each; an expired one is marked.

    Before a year ends, `--expires-within 90d` tells which ones will want a successor.
    """
    from plantprint import factor_library

    rows = factor_library.find(
        library(database_url),
        contains=contains,
        geography=geography,
        purpose=purpose,
        at_ms=now_ms(),
        expires_within_ms=int(parse_duration_s(expires_within) * 1000) if expires_within else None,
    )
    if as_json:
        typer.echo(json.dumps(rows, ensure_ascii=False))
        return
    if not rows:
        typer.echo("no factor fits; `plantprint factors list` without conditions shows all", err=True)
    for row in rows:
        mark = "  expired" if row.get("expired") else f"  ends {row['valid_to']}" if expires_within else ""
        typer.echo(
            f"{row['factor']:40} {row['value']:>12} kg CO2e/{row['unit']:6} {row['geography']:8} {row['name']}{mark}"
        )


def factors_explain(
    factor_id: str = typer.Argument(..., help="A factor's id."),
    database_url: str = OPTIONAL_DATABASE,
    as_json: bool = JSON,
) -> None:
    """Say everything that is known of a factor: value, gases, place, year, document, every version."""
    from plantprint import factor_library

    print_facts(factor_library.explain(library(database_url), factor_id, now_ms()), as_json)


def factors_choose(
    subject: str = typer.Argument(..., help="What is wanted, such as electricity.grid."),
    unit: str = typer.Option(..., "--unit", help="Per which unit."),
    geography: str = typer.Option(..., "--geography", help="Where, such as CN-ZJ."),
    purpose: Purpose = typer.Option("footprint", "--purpose", help="What it is to serve; the two never mix."),
    at: str = typer.Option(None, "--at", help="When it was used, RFC 3339; now by default."),
    database_url: str = OPTIONAL_DATABASE,
    as_json: bool = JSON,
) -> None:
    """Choose a factor and show every step of the way: places and years that were tried, and why this one."""
    from plantprint import factor_choice, factor_library
    from plantprint.quantities import is_unit

    if not is_unit(unit):
        raise CommandError(f"--unit: {unit!r} is not a known unit; use one such as kWh, GJ, kg, t, Nm3 or t.km")
    wanted = factor_choice.Wanted(subject=subject, unit=unit, geography=geography, purpose=purpose, at_ms=instant(at))
    chosen = factor_library.explain_choice(factor_choice.choose(library(database_url), wanted))
    print_facts(chosen, as_json)
    if chosen["factor"] is None:
        raise typer.Exit(1)


def factors_add(
    factor: Path = typer.Argument(..., exists=True, dir_okay=False, help="A factor's columns as JSON."),
    database_url: str = typer.Option(..., "--database-url", envvar="PLANTPRINT_DATABASE_URL", show_envvar=True),
) -> None:
    """Store an own factor, or the next version of one; figures under the former version stay reproducible."""
    need("psycopg", "collector")
    import psycopg

    from plantprint import factor_library
    from plantprint_collector import store

    added = factor_library.own_factor(read_json(factor), now_ms(), library(database_url))
    with psycopg.connect(database_url) as conn:
        store.load_factors(conn, [(added.factor_id, added.to_json())])
    typer.echo(f"{added.factor_id} version {added.version}: {added.value} kg CO2e/{added.unit}")


def factors_diff(
    old: Path = typer.Argument(..., exists=True, dir_okay=False, help="A factor table (CSV)."),
    new: Path = typer.Argument(None, exists=True, dir_okay=False, help="Another; what ships by default."),
    as_json: bool = JSON,
) -> None:
    """Compare two factor tables: added, removed, changed with the change in percent."""
    from plantprint import factor_library
    from plantprint.factors import builtin_factors, parse_factors

    after = builtin_factors() if new is None else parse_factors(new.read_text(encoding="utf-8"), str(new))
    before = parse_factors(old.read_text(encoding="utf-8"), str(old))
    rows = factor_library.diff_rows(factor_library.diff(before, after))
    if as_json:
        typer.echo(json.dumps(rows, ensure_ascii=False))
        return
    for row in rows:
        change = f"{row['old']} → {row['new']} ({row['percent']} %)" if row["what"] == "changed" else row["value"]
        typer.echo(f"{row['what']:8} {row['factor']:40} {change} kg CO2e/{row['unit']}")


def library(database_url: str | None) -> list["Factor"]:
    """What ships, and the database's own where one is named."""
    from plantprint.factors import Factor, builtin_factors

    found = list(builtin_factors())
    if database_url:
        need("psycopg", "collector")
        import psycopg

        with psycopg.connect(database_url) as conn:
            rows = conn.execute("select version, body from factor where body ->> 'known_at' <> ''").fetchall()
        found += [Factor.from_json({**body, "version": version}) for version, body in rows]
    return found


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def instant(at: str | None) -> int:
    from plantprint.times import parse_instant

    try:
        return now_ms() if at is None else parse_instant(at)
    except ValueError as error:
        raise CommandError(f"--at: {error}") from error


def read_json(path: Path) -> dict[str, Any]:
    try:
        body = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise CommandError(f"{path}:{error.lineno}: {error.msg}") from error
    if not isinstance(body, dict):
        raise CommandError(f"{path}: one factor is an object of its columns")
    return body


def print_facts(body: dict[str, Any], as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(body, ensure_ascii=False))
        return
    for name, value in body.items():
        rows = value if isinstance(value, list) else [value]
        for row in rows:
            if row not in (None, "", {}):
                typer.echo(f"{name:16} {_line(row)}")


def _line(row: Any) -> str:
    if not isinstance(row, dict):
        return str(row)
    if "code" in row:
        return f"{row['code']}: {row['message']}; {row['remedy']}"
    return ", ".join(f"{name} {value}" for name, value in row.items() if value not in (None, ""))
