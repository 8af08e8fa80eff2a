"""An entity of which the company makes up no records: it has those that were planted, and no others."""

from __future__ import annotations

from qbo_simulator.company.table import Table


class NotMadeUpError(Exception):
    """The company has only planted records of this entity: there is nothing to generate one from."""


class PlantedTable(Table):
    """Planted records only, to be read. `is_name_list`: inactive ones are left out unless a query speaks of Active."""

    def __init__(self, entity: str, *, is_name_list: bool) -> None:
        super().__init__()
        self.entity = entity
        self.is_name_list = is_name_list

    def render(self, slot: int) -> bytes:
        raise KeyError(f"no {self.entity} was planted in slot {slot}")

    def generate(self, now: int) -> int:  # noqa: ARG002 - as the other tables have it
        raise NotMadeUpError(f"records of {self.entity} are not made up; plant one")
