"""Recorded traffic: HAR, VCR's YAML, and JSON files with a manifest, as one kind of exchange.

A manifest is a `MANIFEST.tsv` with the columns `source kind file entity status request`; the request is `get URL`, with
`BODY text` or JSON after it where there was one, and `FILE.headers.json` holds the answer's headers if they are known.
JSON files without a manifest have records and no requests.
"""

from __future__ import annotations

import base64
import json
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit
from xml.etree import ElementTree

import yaml  # type: ignore[import-untyped]

MANIFEST = "MANIFEST.tsv"
_BELOW_REALM = re.compile(r"^(?:/v3)?/company/[^/]+/|^/v3/|^/")
_LISTS = frozenset(["Line", "LinkedTxn", "CustomField", "TaxLine", "ItemGroupLine"])


class RecordingError(ValueError):
    """A folder or a file that can't be read as recordings: one line."""


@dataclass(frozen=True)
class Exchange:
    """A request below its realm (`query?query=...`; empty where it is not known) and its answer."""

    source: str
    method: str
    target: str
    body: str
    status: int
    headers: dict[str, str] | None
    answer: bytes

    @property
    def document(self) -> Any:
        """The answer as JSON would have it; None when it is neither JSON nor XML."""
        try:
            return json.loads(self.answer)
        except ValueError:
            return _from_xml(self.answer)


def exchanges(folder: Path) -> Iterator[Exchange]:
    """Every exchange below the folder, file by file. RecordingError names what can't be read."""
    if not folder.is_dir():
        raise RecordingError(f"there is no folder {folder}")
    listed: set[Path] = set()
    for manifest in sorted(folder.rglob(MANIFEST)):
        for found, exchange in _manifest(manifest):
            listed.add(found)
            yield exchange
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.suffix == ".har":
            yield from _har(path, name)
        elif path.suffix in (".yml", ".yaml"):
            yield from _vcr(path, name)
        elif path.suffix == ".json" and not name.endswith(".headers.json") and path not in listed:
            yield Exchange(name, "", "", "", 200, None, path.read_bytes())


def _har(path: Path, name: str) -> Iterator[Exchange]:
    try:
        entries = json.loads(path.read_bytes())["log"]["entries"]
        for at, entry in enumerate(entries):
            request, response = entry["request"], entry["response"]
            content = response.get("content", {})
            text = content.get("text", "")
            answer = base64.b64decode(text) if content.get("encoding") == "base64" else text.encode()
            headers = {header["name"].lower(): header["value"] for header in response.get("headers", [])}
            sent = request.get("postData", {}).get("text", "")
            yield Exchange(
                f"{name}#{at}", request["method"].upper(), _target(request["url"]), sent,
                int(response["status"]), headers, answer,
            )  # fmt: skip
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise RecordingError(f"{name} is no HAR: {error}") from error


class _Loader(yaml.SafeLoader):  # type: ignore[misc]
    """Ruby's own tags are read as what they hold."""


_Loader.add_constructor("!binary", lambda loader, node: base64.b64decode(loader.construct_scalar(node)))
_Loader.add_multi_constructor("!ruby/", lambda loader, _tag, node: loader.construct_mapping(node, deep=True))


def _vcr(path: Path, name: str) -> Iterator[Exchange]:
    try:
        document = yaml.load(path.read_bytes(), _Loader)  # noqa: S506 - a safe loader with two tags more
        for at, pair in enumerate(document["http_interactions"] if isinstance(document, dict) else []):
            request, response = pair["request"], pair["response"]
            headers = {
                str(key).lower(): value[0] if isinstance(value, list) else str(value)
                for key, value in (response.get("headers") or {}).items()
            }
            yield Exchange(
                f"{name}#{at}", str(request["method"]).upper(), _target(str(request["uri"])),
                _unpacked(request.get("body")).decode("utf-8", "replace"),
                int(response["status"]["code"]), headers, _unpacked(response.get("body")),
            )  # fmt: skip
    except (yaml.YAMLError, KeyError, TypeError, ValueError) as error:
        raise RecordingError(f"{name} is no VCR cassette: {' '.join(str(error).split())[:200]}") from error


def _unpacked(body: Any) -> bytes:
    """A cassette's body, whatever way it was kept."""
    kept: Any = body
    if isinstance(body, dict):
        kept = body.get("string") or body.get("base64_string") or b""
        if "base64_string" in body and isinstance(kept, str):
            kept = base64.b64decode(kept)
    raw = kept if isinstance(kept, bytes) else str(kept or "").encode()
    try:
        return zlib.decompress(raw, 47) if raw[:2] == b"\x1f\x8b" else raw
    except zlib.error:
        return raw


def _manifest(manifest: Path) -> Iterator[tuple[Path, Exchange]]:
    for line in manifest.read_text(encoding="utf-8").splitlines()[1:]:
        fields = line.split("\t")
        if len(fields) != 6:
            continue  # the rest of a request that was written over several lines
        _, kind, file, _, status, request = fields
        path = manifest.parent / file
        if not path.is_file():
            raise RecordingError(f"{manifest.name} names {file}, which is not there")
        if not kind.startswith("recording"):
            yield path, Exchange(file, "", "", "", 0, None, b"")
            continue
        method, target, body = _request(request)
        yield path, Exchange(file, method, target, body, int(status or 200), _headers_beside(path), path.read_bytes())


def _headers_beside(path: Path) -> dict[str, str] | None:
    beside = path.with_name(path.name + ".headers.json")
    if not beside.is_file():
        return None
    try:
        told = json.loads(beside.read_bytes())
        return {key.lower(): value[0] if isinstance(value, list) else str(value) for key, value in told.items()}
    except (ValueError, AttributeError) as error:
        raise RecordingError(f"{beside.name} holds no headers: {error}") from error


def _request(told: str) -> tuple[str, str, str]:
    """Method, target and body of a manifest's request: `get URL`, `post URL BODY text`, `get URL {parameters} body`."""
    method, _, rest = told.partition(" ")
    url, _, rest = rest.partition(" ")
    if rest.startswith("BODY"):
        return method.upper(), _target(url), rest[4:].strip()
    decoder = json.JSONDecoder()
    values: list[Any] = []
    rest = rest.strip()
    while rest:
        try:
            value, end = decoder.raw_decode(rest)
        except ValueError:
            break
        values.append(value)
        rest = rest[end:].strip()
    parameters, body = [*values, None, None][:2]
    target = _target(url)
    if isinstance(parameters, dict):
        target += ("&" if "?" in target else "?") + urlencode(parameters)
    sent = body if isinstance(body, str) else "" if body is None else json.dumps(body)
    return method.upper(), target, sent


def _target(url: str) -> str:
    parts = urlsplit(url)
    path = _BELOW_REALM.sub("", parts.path, count=1)
    return path + (f"?{parts.query}" if parts.query else "")


def _from_xml(body: bytes) -> Any:
    """An XML answer as JSON would have it: attributes and elements are keys, a text beside attributes is `value`."""
    if b"<!" in body[:500].replace(b"<!--", b""):
        return None  # no document type is wanted
    try:
        root = ElementTree.fromstring(body)  # noqa: S314 - no document type, so no entities
    except (ElementTree.ParseError, ValueError):
        return None
    return _element(root)


def _element(element: ElementTree.Element) -> Any:
    children = list(element)
    found: dict[str, Any] = dict(element.attrib)
    if not children:
        name = _tag(element)
        if found or name.endswith("Ref"):
            return found | {"value": element.text}
        return element.text
    for child in children:
        name = _tag(child)
        value = _element(child)
        if name in _LISTS:
            found.setdefault(name, []).append(value)
        elif name in found:
            before = found[name]
            found[name] = [*before, value] if isinstance(before, list) else [before, value]
        else:
            found[name] = value
    return found


def _tag(element: ElementTree.Element) -> str:
    return str(element.tag).rpartition("}")[2]
