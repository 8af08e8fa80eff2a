"""Named behaviours, each a YAML file beside this one that a person can read. `calm,busy` puts two together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from qbo_simulator.behaviour import BehaviourError, merged

_FOLDER = Path(__file__).parent


def names() -> list[str]:
    return sorted(path.stem for path in _FOLDER.glob("*.yaml"))


def about(name: str) -> str:
    """The scenario's one-line description."""
    return str(_read(name).get("about", ""))


def switches(composed: str) -> dict[str, Any]:
    """The switches of scenarios joined by commas, later ones on top. BehaviourError names an unknown one."""
    result: dict[str, Any] = {}
    for name in (part.strip() for part in composed.split(",")):
        if name:
            result = merged(result, _read(name))
    return result


def _read(name: str) -> dict[str, Any]:
    if name not in names():
        raise BehaviourError(f"no scenario {name!r}; there are {', '.join(names())}")
    return msgspec.yaml.decode((_FOLDER / f"{name}.yaml").read_bytes(), type=dict[str, Any])
