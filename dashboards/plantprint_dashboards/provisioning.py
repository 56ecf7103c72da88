"""Grafana's provisioning files and the read-only database role: fixed uids, and secrets only as variables' names."""

from typing import Any

import yaml

from plantprint_dashboards.builders import DATASOURCE_TYPE, DATASOURCE_UID, TAG

READER_ROLE = "plantprint_reader"
STATEMENT_TIMEOUT_S = 15
BOARDS_PATH = "/etc/grafana/plantprint/dashboards"

_HEAD = "# Written by `plantprint dashboards build`; changes made here are lost. See docs/grafana.md.\n"


def datasource_yaml() -> bytes:
    """The data source; `$NAME` values come from Grafana's environment and are expanded once, so `$` in them is safe."""
    return _yaml(
        {
            "apiVersion": 1,
            "prune": True,
            "datasources": [
                {
                    "name": TAG,
                    "uid": DATASOURCE_UID,
                    "orgId": 1,
                    "type": DATASOURCE_TYPE,
                    "access": "proxy",
                    "url": "$PLANTPRINT_GRAFANA_DB_ADDRESS",
                    "user": "$PLANTPRINT_GRAFANA_DB_USER",
                    "editable": False,
                    "jsonData": {
                        "database": "$PLANTPRINT_GRAFANA_DB_NAME",
                        "sslmode": "$PLANTPRINT_GRAFANA_DB_SSLMODE",
                        "postgresVersion": 1500,
                        "timescaledb": False,
                        "maxOpenConns": 5,
                        "maxIdleConns": 2,
                        "connMaxLifetime": 14_400,
                    },
                    "secureJsonData": {"password": "$PLANTPRINT_GRAFANA_DB_PASSWORD"},
                }
            ],
        }
    )


def boards_yaml() -> bytes:
    """The provider that reads the dashboards from `BOARDS_PATH` into a folder of their own."""
    return _yaml(
        {
            "apiVersion": 1,
            "providers": [
                {
                    "name": TAG,
                    "orgId": 1,
                    "type": "file",
                    "folder": TAG,
                    "folderUid": TAG,
                    "disableDeletion": False,
                    "allowUiUpdates": False,
                    "updateIntervalSeconds": 30,
                    "options": {"path": BOARDS_PATH, "foldersFromFilesStructure": False},
                }
            ],
        }
    )


def reader_sql(role: str = READER_ROLE) -> bytes:
    """SQL that makes or repairs the role that Grafana uses: it may read the report_* views, and nothing else.

    Grafana does not check the SQL that its users write, so this role is the guard. Run it again after a migration.
    """
    return f"""-- Written by `plantprint dashboards build`.
-- Run it with psql as the owner of the database, after each migration; once, give the role a password:
-- \\password {role}
do $$
declare
    view regclass;
begin
    if not exists (select from pg_roles where rolname = '{role}') then
        create role {role} login;
    end if;
    for view in
        select c.oid from pg_class c
        where c.relkind = 'v' and c.relname like 'report\\_%' and c.relnamespace = current_schema()::regnamespace
    loop
        execute format('grant select on %s to {role}', view);
    end loop;
    execute format('grant usage on schema %I to {role}', current_schema());
end $$;
alter role {role} set statement_timeout = '{STATEMENT_TIMEOUT_S}s';
alter role {role} set default_transaction_read_only = on;
alter role {role} connection limit 10;
""".encode()


def _yaml(content: dict[str, Any]) -> bytes:
    return (_HEAD + yaml.safe_dump(content, sort_keys=False, allow_unicode=True)).encode()
