"""`qbo-backfill metrics`: OpenMetrics text for Prometheus."""

from __future__ import annotations

import sys

import typer

from async_extractor.cli.options import PROFILE
from async_extractor.cli.reading import as_json, read
from async_extractor.errors import RequestError
from async_extractor.monitoring.openmetrics import as_text, collect
from async_extractor.paths import from_home, write_whole
from async_extractor.spoken import say

OUT = typer.Option("", "--out", metavar="FILE", help="Replace FILE at once, for node_exporter's textfile collector")
AS_JSON = typer.Option(False, "--json", help="One JSON object a sample instead")


def metrics(out: str = OUT, json_lines: bool = AS_JSON, profile: str = PROFILE) -> None:
    """What ops knows as OpenMetrics text: rows, requests, chunks, checks, where the time went."""
    families = read(lambda connection, _realm: collect(connection), profile)
    if json_lines:
        for family in families:
            for sample in family.samples:
                labels, value = dict(sample.labels), sample.value
                print(as_json({"name": family.name, "kind": family.type, "labels": labels, "value": value}))
        return
    text = as_text(families)
    if not out:
        sys.stdout.write(text)
        return
    try:
        write_whole(from_home(out), text)
    except OSError as error:
        raise RequestError(f"out: {out} can't be written ({error.strerror})") from None
    print(say(f"Written: {out}"), file=sys.stderr)
