"""QuickBooks' count of a range against raw's, and what the records that were found explain of their difference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from async_extractor.checks.comparison import Compared, FindingKind

# Findings of records that QuickBooks' count of the range has.
COUNTED: tuple[FindingKind, ...] = (
    "missing",
    "outdated",
    "unmoved",
    "altered",
    "renamed",
    "quarantined",
    "unheld",
    "unread",
)


@dataclass(frozen=True)
class Counts:
    """QuickBooks' count of a range and raw's, and the Ids in it that stand in quarantine.

    Where the two differ is looked for without these: a record that raw can't hold would hide one that it has too much.
    """

    at_source: int
    in_raw: int
    aside: Sequence[str] = ()
    aside_in_raw: int = 0

    @property
    def of_others(self) -> tuple[int, int]:
        """Both counts without what stands in quarantine."""
        return self.at_source - len(self.aside), self.in_raw - self.aside_in_raw

    def without(self, rows: int) -> Counts:
        """With so many rows fewer in raw."""
        return replace(self, in_raw=self.in_raw - rows)


@dataclass(frozen=True)
class Reconciled:
    """QuickBooks' count of the range and raw's, and the records that explain where these differ.

    `unexplained` are records that QuickBooks counts beyond raw's and beyond all findings; `left_over` are rows that raw
    counts beyond QuickBooks' and beyond all findings.
    """

    at_source: int
    in_raw: int
    compared: Compared
    unexplained: int
    left_over: int = 0

    @property
    def surplus(self) -> list[str]:
        """Ids that raw has and no answer of QuickBooks' shows any trace of."""
        return [finding.id for finding in self.compared.of("surplus")]

    def without_surplus(self) -> Reconciled:
        """As it is once the surplus rows are marked deleted: they count no more."""
        left = {i: finding for i, finding in self.compared.findings.items() if finding.kind != "surplus"}
        in_raw = self.in_raw - (len(self.compared.findings) - len(left))
        return replace(self, in_raw=in_raw, compared=replace(self.compared, findings=left))

    def including(self, rows: int) -> Reconciled:
        """With so many rows more that were held against QuickBooks one by one."""
        return replace(self, at_source=self.at_source + rows, in_raw=self.in_raw + rows)

    @property
    def whole(self) -> bool:
        """Whether every difference has a record's name, so that what QuickBooks hasn't is known."""
        return self.unexplained == 0 and self.left_over == 0
