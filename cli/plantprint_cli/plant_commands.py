"""Commands about a site's model, and accounting of a document of facts."""

import json
import sys
from pathlib import Path
from typing import Any, Literal

import typer

from plantprint_cli.errors import DATABASE, CommandError, need

Form = Literal["tree", "mermaid", "dot", "json"]
Lang = Literal["en", "zh"]
GwpChoice = Literal["AR4", "AR5", "AR6"]
Purpose = Literal["footprint", "inventory"]

# A drawing that goes into a file or pipe is not cut at a terminal's width.
_FILE_COLUMNS = 400


def register(app: typer.Typer) -> None:
    model = typer.Typer(
        no_args_is_help=True, help="The plant model: check a file, draw it, apply it, export its schema."
    )
    model.command(name="check")(model_check)
    model.command(name="show")(model_show)
    model.command(name="apply")(model_apply)
    model.command(name="schema")(model_schema)
    app.add_typer(model, name="model")
    app.command(name="account")(account)


def model_check(plant: Path = typer.Argument(..., exists=True, dir_okay=False, help="plant.yaml")) -> None:
    """Check a plant file and its hourly files; every problem comes with its line and what to do. Exit code 2 for an error."""
    from plantprint.plant.graph import compile_plant
    from plantprint_cli.plant_files import read_site

    files = read_site(plant)
    graph = compile_plant(files.plant)
    for one in files.warnings:
        typer.echo(f"{plant}:{one.line}: {one.path}: {one.message}; {one.remedy}", err=True)
    typer.echo(
        f"{plant}: good; {len(graph.meters)} meters, {len(graph.edges)} flows, {len(graph.work_units)} work units"
    )
    for name, series in files.series.items():
        typer.echo(f"{name}: good; {len(series.hours)} hours, zone {series.geography or 'not named'}")


def model_show(
    plant: Path = typer.Argument(..., exists=True, dir_okay=False, help="plant.yaml"),
    form: Form = typer.Option("tree", "--format", help="Mermaid is for Markdown, dot for Graphviz."),
    lang: Lang = typer.Option("en", "--lang", help="The language of names."),
    as_json: bool = typer.Option(False, "--json", help="The same as --format json."),
) -> None:
    """Draw the plant graph: what flows from each source over pools and stores to work units, and which meters say so."""
    from rich.console import Console

    from plantprint.plant.graph import compile_plant
    from plantprint.plant.load import load_plant
    from plantprint_cli import model_show as show

    graph = compile_plant(load_plant(plant.read_text(encoding="utf-8"), str(plant)))
    if as_json or form == "json":
        typer.echo(json.dumps(show.as_json(graph), indent=2, ensure_ascii=False))
    elif form == "tree":
        Console(highlight=False, width=None if sys.stdout.isatty() else _FILE_COLUMNS).print(show.tree(graph, lang))
    else:
        typer.echo(show.drawing(graph, form, lang))


def model_apply(
    plant: Path = typer.Argument(..., exists=True, dir_okay=False, help="plant.yaml"),
    effective: str = typer.Option(
        None, "--effective", help="From when it holds, RFC 3339; the first model holds from the beginning."
    ),
    database_url: str = DATABASE,
) -> None:
    """Store a plant file as the next version of its site's model; running processes follow by themselves."""
    need("psycopg", "collector")
    import psycopg

    from plantprint.times import parse_instant
    from plantprint_cli.setup import apply_model_file

    with psycopg.connect(database_url) as conn:
        effective_ms = None if effective is None else parse_instant(effective)
        site, version = apply_model_file(conn, plant, effective_ms, typer.echo)
    typer.echo(f"site {site}: version {version}")


def model_schema() -> None:
    """Print the JSON Schema of plant.yaml, for editors."""
    from plantprint.plant.load import plant_json_schema

    typer.echo(json.dumps(plant_json_schema(), indent=2, ensure_ascii=False))


def account(
    facts: Path = typer.Argument(
        None, exists=True, dir_okay=False, help="Facts as JSON; docs/neutral.md describes them."
    ),
    known_at: str = typer.Option(None, "--known-at", help="Count only facts known by then, RFC 3339."),
    gwp_set: GwpChoice = typer.Option(None, "--gwp-set", help="Value gases anew; published values count by default."),
    purpose: Purpose = typer.Option(
        None, "--purpose", help="Refuse factors that serve the other one; the two never mix."
    ),
    years_max: int = typer.Option(12, "--years-max", min=1, help="Refuse facts that reach over more years."),
    as_json: bool = typer.Option(False, "--json", help="Print every account to the last digit as JSON."),
    schema: bool = typer.Option(False, "--schema", help="Print the JSON Schema of the document and leave."),
) -> None:
    """Account a hand-made or exported plant without database: the way for a certifier to check every figure."""
    from plantprint import neutral

    if schema:
        typer.echo(json.dumps(neutral.facts_json_schema(), indent=2, ensure_ascii=False))
        return
    if facts is None:
        raise CommandError(
            "account needs a document of facts; docs/neutral.md describes it, --schema prints its schema"
        )
    stated = neutral.parse_facts(facts.read_bytes())
    accounts = neutral.account_facts(stated, known_at, gwp_set, purpose, years_max)
    result = neutral.accounts_json(accounts)
    if as_json:
        typer.echo(json.dumps(result, ensure_ascii=False))
    else:
        _print_accounts(result)


def _print_accounts(result: dict[str, Any]) -> None:
    for source, total in result["accounted"].items():
        typer.echo(f"{source:20} {total['amount']} {total['unit']}")
    for account_ in result["accounts"]:
        if account_["account_kind"] != "batch":
            name = f"{account_['account_kind']} {account_['account_id']}"
            typer.echo(f"{name:26} {account_['kg_co2e']} kg CO2e{'' if account_['complete'] else '  (incomplete)'}")
    for name, batch in result["batches"].items():
        whole = batch["product_footprint"]
        mark = "  (incomplete)" if batch["incomplete"] else ""
        words = [f"batch {name:20} {batch['kg_co2e']} kg CO2e", batch["status"]]
        if whole is not None:
            words.insert(1, f"{whole['boundary']} {whole['kg_co2e']} kg CO2e")
        typer.echo(f"{', '.join(words)}{mark}")
        issues = (*batch["issues"], *(whole["reasons"] if whole else ()))
        told = (f"  {i['code']} {i['place']}: {i['message']}; {i['remedy']}" for i in issues)
        for line in dict.fromkeys(told):
            typer.echo(line)
    for issue in result["issues"]:
        typer.echo(f"issue {issue['code']} {issue['place']}: {issue['message']}; {issue['remedy']}")
