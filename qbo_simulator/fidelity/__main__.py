"""Compare the simulator with recorded traffic: `python -m qbo_simulator.fidelity FOLDER`.

FOLDER holds HAR files, VCR cassettes (YAML), or JSON answers with a MANIFEST.tsv. It prints which key paths of the
genuine records the simulator produces, the records outside, and for each request what the simulator answers otherwise.
Exit 0 when every record is inside and every request alike, 3 when not, 2 when the folder can't be read.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from qbo_simulator.company import CompanySize
from qbo_simulator.fidelity.coverage import Coverage, coverage
from qbo_simulator.fidelity.recordings import Exchange, RecordingError, exchanges
from qbo_simulator.fidelity.replay import Replay, replay

_DIFFERENT = 3
_UNREADABLE = 2


def _records(found: list[Coverage], size: CompanySize, verbose: bool) -> Iterator[str]:
    made_up = f"{size.invoices:,} invoices, {size.customers:,} customers and {size.items:,} items"
    yield f"Records, held against {made_up} made up"
    yield "               records  distinct  key paths         produced  by occurrence         inside"
    for one in found:
        produced = len(one.seen) - len(one.missing)
        inside = one.records - len(one.outside)
        yield (
            f"{one.entity:<12} {one.records:>9,} {len(one.distinct):>9,} {len(one.seen):>10,} "
            f"{f'{produced:,} = {one.by_kind:.1f} %':>16} {f'{one.by_occurrence:.2f} %':>14} "
            f"{f'{inside:,}/{one.records:,}':>14}"
        )
    for one in found:
        for title, counted in (
            ("key paths never produced", one.missing),
            ("values of another type", one.types),
            ("keys in another order", one.order),
        ):
            for what, count in counted.most_common():
                yield f"  {one.entity}, {title}: {what} ({count:,} records)"
        for source, identifier, missing in one.outside:
            yield f"  outside: {one.entity} {identifier} of {source}: {', '.join(missing)}"
        if verbose and one.records:
            for path in sorted(one.seen):
                told = ", never produced" if path in one.missing else ""
                yield f"  {one.entity} {path}: {one.seen[path]:,}{told}"
            yield f"  {one.entity}, in no record given: {', '.join(sorted(one.never_seen))}"


def _requests(found: list[Replay]) -> Iterator[str]:
    sent = [one for one in found if not one.skipped]
    different = [one for one in sent if one.differences]
    skipped = Counter(one.skipped for one in found if one.skipped)
    why = ", ".join(f"{count} {reason}" for reason, count in skipped.most_common())
    yield (
        f"Requests: {len(sent)} sent again, {len(sent) - len(different)} answered alike, {len(different)} otherwise"
        + (f"; not sent: {why}" if why else "")
    )
    for one in different:
        yield f"  {one.exchange.source}: {one.exchange.method} {one.exchange.target[:100]}"
        for difference in one.differences:
            yield f"      {difference}"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m qbo_simulator.fidelity", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    parser.add_argument("--invoices", type=int, default=20_000, metavar="N", help="made up to compare with (20000)")
    parser.add_argument("--verbose", action="store_true", help="every key path, and what only the simulator has")
    options = parser.parse_args(arguments)
    size = CompanySize(invoices=options.invoices, customers=options.invoices // 5, items=options.invoices // 16)
    try:
        found: list[Exchange] = list(exchanges(options.folder))
    except RecordingError as error:
        print(f"fidelity: {error}", file=sys.stderr)
        return _UNREADABLE
    covered = coverage(found, size)
    answered = list(replay(found))
    for line in (*_records(covered, size, options.verbose), "", *_requests(answered)):
        print(line)
    alike = not any(one.missing or one.types or one.order for one in covered)
    return 0 if alike and not any(one.differences for one in answered) else _DIFFERENT


if __name__ == "__main__":
    sys.exit(main())
