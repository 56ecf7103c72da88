"""The two mistakes that the delivery test must notice: an edge that deletes on PUBACK, a collector that acks too early.

Run as `python delivery_wrong.py edge agent.yaml` or `python delivery_wrong.py collect`: the product's own entry points,
with one argument changed that no setting reaches.
"""

import sys
from functools import partial
from pathlib import Path

from plantprint_cli.logs import configure_logging
from plantprint_cli.services import read_settings


def edge_that_deletes_on_puback(config: Path) -> int:
    from plantprint_edge import agent

    vars(agent)["Agent"] = partial(agent.Agent, delete_on="puback")
    return agent.run_file(config)


def collector_that_acks_before_the_commit() -> int:
    from plantprint_collector import service
    from plantprint_collector.accountant_config import AccountantSettings
    from plantprint_collector.config import Settings
    from plantprint_collector.intake import Intake

    vars(service)["Intake"] = partial(Intake, ack_order="before_commit")
    return service.run(read_settings(Settings), AccountantSettings())


if __name__ == "__main__":
    configure_logging()
    if sys.argv[1] == "edge":
        sys.exit(edge_that_deletes_on_puback(Path(sys.argv[2])))
    sys.exit(collector_that_acks_before_the_commit())
