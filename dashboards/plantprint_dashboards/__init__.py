"""Grafana dashboards of plantprint, written as files: `build` makes them, `check` tells whether they are up to date."""

from plantprint_dashboards.output import READER_ROLE, build, check
from plantprint_dashboards.queries import Query, queries

__all__ = ["READER_ROLE", "Query", "build", "check", "queries"]
