"""A neutral way in: one JSON document of facts accounted without database or network, every account to the last digit.

A fact without `known_at` was always known; with an instant only facts known by then count. docs/neutral.md describes it.
"""

from plantprint.neutral.document import Facts, FactsError, facts_json_schema, parse_facts
from plantprint.neutral.result import accounts_json
from plantprint.neutral.run import Accounts, account_facts

__all__ = ["Accounts", "Facts", "FactsError", "account_facts", "accounts_json", "facts_json_schema", "parse_facts"]
