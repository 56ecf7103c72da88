"""The state file of a simulated plant: when it opened, what its registers had counted, which events are confirmed."""

from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from plantprint_simulators.errors import SimulatorError


@dataclass(frozen=True, slots=True)
class PlantState:
    """`start_s`: where counters begin; `opening_s`: when production begins; `totals` up to `checkpoint_s`.

    `confirmed_ms`: every production event before this instant was confirmed by the collector; batches ordered before
    `ordered_from_s` are not reported any more.
    """

    seed: int
    start_s: int
    opening_s: int
    checkpoint_s: int
    totals: dict[str, int] = field(default_factory=dict)
    confirmed_ms: int = 0
    ordered_from_s: int = 0


def load_state(path: Path, seed: int, now_s: int, lead_in_s: int) -> PlantState:
    """The stored state, or a plant born at `now_s` that opens `lead_in_s` later; raises `SimulatorError`."""
    if not path.exists():
        opening_s = now_s + lead_in_s
        return PlantState(seed, now_s, opening_s, now_s, confirmed_ms=opening_s * 1000)
    try:
        state = msgspec.json.decode(path.read_bytes(), type=PlantState)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise SimulatorError(f"{path}: not a state file ({error}); move it away to start a new plant") from error
    if state.seed != seed:
        raise SimulatorError(f"{path}: belongs to seed {state.seed}, not {seed}; use that seed or another folder")
    if state.checkpoint_s > now_s:
        raise SimulatorError(
            f"{path}: registers were counted up to site second {state.checkpoint_s}, the site's clock says {now_s}; "
            "registers never fall: run with the clock of the earlier run or in another instance folder"
        )
    return state


def save_state(path: Path, state: PlantState) -> None:
    """Replaces the file in one step, so a kill leaves the old or the new state."""
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_suffix(".tmp")
    scratch.write_bytes(msgspec.json.encode(state))
    scratch.replace(path)
