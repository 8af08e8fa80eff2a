"""A client of `/_simulator/`, without an event loop: for tests and scripts that move the books of a running simulator.

control = Control(sim.url)
control.edit("Invoice", insert=2, txn_date="2023-05-01")
control.edit("Customer", rename={"1": "Another Name"}, merge=[["2", "3"]])
control.oracle("Invoice")["current"]
"""

from __future__ import annotations

import json
import urllib.request
from typing import Any
from urllib.error import HTTPError

from qbo_simulator.changes import ControlError


class Control:
    def __init__(self, url: str, timeout: float = 60.0) -> None:
        self._base = f"{url}/_simulator"
        self._timeout = timeout

    def edit(self, entity: str, **kinds: Any) -> dict[str, list[Any]]:
        """Change the books; the Ids by kind of change. ControlError when it makes no sense."""
        done: dict[str, list[Any]] = self.ask("edit", {"entity": entity} | kinds)
        return done

    def oracle(self, entity: str) -> dict[str, Any]:
        """The whole truth of an entity: `now`, the `current` records, and those that are `gone`."""
        told: dict[str, Any] = self.ask(f"oracle/{entity}")
        return told

    def behave(self, scenario: str | None = None, **switches: Any) -> None:
        """Behave so from now on; without a scenario, on top of how it behaves."""
        self.ask("faults", ({} if scenario is None else {"scenario": scenario}) | {"switches": switches})

    def clock(self, offset_seconds: float) -> None:
        """Set QuickBooks' clock so far from this machine's."""
        self.ask("clock", {"offset_seconds": offset_seconds})

    def ask(self, path: str, body: Any = None) -> Any:
        """Any control call; a body makes it a POST."""
        request = urllib.request.Request(  # noqa: S310 - the simulator's own address
            f"{self._base}/{path}",
            None if body is None else json.dumps(body).encode(),
            {"Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=self._timeout) as answer:  # noqa: S310
                return json.loads(answer.read())
        except HTTPError as error:
            raise ControlError(error.read().decode(errors="replace").strip()) from error
