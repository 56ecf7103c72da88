"""Commands about a site's model and the factor library."""

import json
from pathlib import Path

import typer

from plantprint_cli.errors import need
from plantprint_cli.operate import DATABASE


def register(app: typer.Typer) -> None:
    model = typer.Typer(no_args_is_help=True, help="The plant model: check a file, apply it, export its schema.")
    model.command(name="check")(model_check)
    model.command(name="apply")(model_apply)
    model.command(name="schema")(model_schema)
    app.add_typer(model, name="model")
    factors = typer.Typer(no_args_is_help=True, help="Emission factors: list them, explain one.")
    factors.command(name="list")(factors_list)
    factors.command(name="explain")(factors_explain)
    app.add_typer(factors, name="factors")
    app.command(name="account")(account)


def model_check(plant: Path = typer.Argument(..., exists=True, dir_okay=False, help="plant.yaml")) -> None:
    """Check a plant file; every problem comes with its line and what to do. Exit code 2 when there is an error."""
    from plantprint.plant.graph import compile_plant
    from plantprint.plant.load import load_plant

    graph = compile_plant(load_plant(plant.read_text(encoding="utf-8"), str(plant)))
    typer.echo(
        f"{plant}: good; {len(graph.meters)} meters, {len(graph.edges)} flows, {len(graph.work_units)} work units"
    )


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
        site, version = apply_model_file(conn, plant, None if effective is None else parse_instant(effective))
    typer.echo(f"site {site}: version {version}")


def model_schema() -> None:
    """Print the JSON Schema of plant.yaml, for editors."""
    from plantprint.plant.load import plant_json_schema

    typer.echo(json.dumps(plant_json_schema(), indent=2, ensure_ascii=False))


def factors_list(
    contains: str = typer.Argument("", help="Part of an id or name."),
    as_json: bool = typer.Option(False, "--json"),
) -> None:
    """List the factors that ship."""
    from plantprint.factors import builtin_factors

    found = [f for f in builtin_factors() if contains.lower() in f"{f.factor_id} {f.name} {f.name_zh}".lower()]
    if as_json:
        typer.echo(json.dumps([f.to_json() for f in found], ensure_ascii=False))
        return
    for factor in found:
        typer.echo(
            f"{factor.factor_id:40} {factor.value:>12} kg CO2e/{factor.unit:5} {factor.geography:8} {factor.name}"
        )


def factors_explain(factor_id: str = typer.Argument(..., help="A factor's id.")) -> None:
    """Say everything that is known of a factor: value, gases, place, year, document."""
    from plantprint.factors import builtin_factors
    from plantprint_cli.errors import CommandError

    found = next((f for f in builtin_factors() if f.factor_id == factor_id), None)
    if found is None:
        raise CommandError(f"no factor {factor_id!r}; `plantprint factors list` shows all")
    for name, value in found.to_json().items():
        if value not in (None, ""):
            typer.echo(f"{name:16} {value}")


def account(
    facts: Path = typer.Argument(
        ..., exists=True, dir_okay=False, help="Facts as JSON; docs/neutral.md describes them."
    ),
    known_at: str = typer.Option(None, "--known-at", help="Count only facts known by then, RFC 3339."),
    as_json: bool = typer.Option(False, "--json", help="Print every account to the last digit as JSON."),
) -> None:
    """Account a hand-made or exported plant without database: the way for a certifier to check every figure."""
    from plantprint import neutral

    found = neutral.account_facts(neutral.parse_facts(facts.read_bytes()), known_at)
    result = neutral.accounts_json(found)
    if as_json:
        typer.echo(json.dumps(result, ensure_ascii=False))
        return
    for source, total in result["accounted"].items():
        typer.echo(f"{source:20} {total['amount']} {total['unit']}")
    for name, batch in result["batches"].items():
        typer.echo(f"batch {name:20} {batch['kg_co2e']} kg CO2e{'  (incomplete)' if batch['incomplete'] else ''}")
    for issue in result["issues"]:
        typer.echo(f"issue {issue['code']} {issue['place']}: {issue['message']}")
