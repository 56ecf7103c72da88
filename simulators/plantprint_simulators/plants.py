"""The plants that ship with the simulators: model files, and gateway configurations with ports and paths filled in."""

import json
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Literal

PlantName = Literal["dyehouse", "steel", "pv", "house"]
RecordedName = Literal["steel", "pv", "house"]

_RECORDS: dict[RecordedName, str] = {
    "steel": "steel_daewoo_15min.csv.gz",
    "pv": "aew_pv_site_a_15min.csv.gz",
    "house": "uci_house_1min_submeters.csv.gz",
}


def plant_file(name: PlantName) -> Path:
    """The plant's `plant.yaml`."""
    return _folder(name) / "plant.yaml"


def recorded_file(name: RecordedName) -> Path:
    """What was recorded of a plant, CSV packed with gzip."""
    return _folder(name) / _RECORDS[name]


def render_agent_config(
    site: str,
    modbus_ports: Sequence[int],
    mqtt_url: str,
    broker_url: str,
    outbox_path: Path,
    *,
    modbus_host: str = "127.0.0.1",
) -> str:
    """`agent.yaml` of the dye house's gateway: it reads the plant's devices and sends to the broker at `broker_url`.

    `modbus_ports` are those of `meters.GATEWAYS`, in that order; `mqtt_url` is the plant's own broker.
    """
    main, line_1, line_2, line_3 = modbus_ports
    urls = {"mqtt_url": mqtt_url, "broker_url": broker_url}
    ports = {"port_main": main, "port_line_1": line_1, "port_line_2": line_2, "port_line_3": line_3}
    values: dict[str, str | float] = {
        "site": site,
        "modbus_host": modbus_host,
        "outbox_path": str(outbox_path),
        **urls,
        **ports,
    }
    return _render("dyehouse", values)


def render_recorded_config(
    name: RecordedName,
    broker_url: str,
    outbox_path: Path,
    *,
    speed: float | Literal["max"] = "max",
    file: Path | None = None,
) -> str:
    """`agent.yaml` of a gateway that replays a recorded plant, `speed` recorded seconds per second, and then stops.

    `file` has the columns of the one that ships, which is the default.
    """
    paths = {"outbox_path": str(outbox_path), "file": str(file or recorded_file(name))}
    return _render(name, {"broker_url": broker_url, "speed": speed, **paths})


def _render(name: PlantName, values: Mapping[str, str | float]) -> str:
    """JSON text is YAML text, so that no path or URL can break out of its place."""
    template = Template((_folder(name) / "agent.yaml").read_text(encoding="utf-8"))
    bare = {"site"}  # stands inside topics
    return template.substitute({key: value if key in bare else json.dumps(value) for key, value in values.items()})


def _folder(name: PlantName) -> Path:
    return Path(str(files("plantprint_simulators"))) / "data" / name
