"""`/_simulator/`: what tests ask of the simulator and do to its books. Loopback only."""

from __future__ import annotations

import base64
import binascii
import ipaddress
import json
import logging
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import msgspec
from aiohttp import web

from qbo_simulator import scenarios
from qbo_simulator.behaviour import BehaviourError, merged
from qbo_simulator.changes import ControlError
from qbo_simulator.company.planted import PlantedTable
from qbo_simulator.company.table import Table
from qbo_simulator.planting import PlantingError, plant
from qbo_simulator.query.properties import EMPTY_ENTITIES, NAME_LISTS
from qbo_simulator.service import Service

log = logging.getLogger("qbo_simulator")


class ControlRoutes:
    def __init__(self, service: Service) -> None:
        self._service = service

    def routes(self) -> list[web.RouteDef]:
        base = "/_simulator"
        return [
            web.get(f"{base}/", guarded(self.about)),
            web.get(f"{base}/ledger", guarded(self.ledger)),
            web.delete(f"{base}/ledger", guarded(self.reset_ledger)),
            web.get(f"{base}/truth/{{entity}}", guarded(self.truth)),
            web.get(f"{base}/truth/{{entity}}/{{id}}", guarded(self.truth_of)),
            web.get(f"{base}/oracle/{{entity}}", guarded(self.oracle)),
            web.post(f"{base}/edit", guarded(self.edit)),
            web.post(f"{base}/load", guarded(self.load)),
            web.get(f"{base}/faults", guarded(self.behaviour)),
            web.post(f"{base}/faults", guarded(self.adopt)),
            web.post(f"{base}/clock", guarded(self.clock)),
            web.post(f"{base}/tokens", guarded(self.tokens)),
        ]

    async def about(self, _request: web.Request) -> web.StreamResponse:
        company = self._service.company
        return web.json_response(
            {
                "realm_id": self._service.config.realm_id,
                "rows": {entity: len(table) for entity, table in company.tables.items()},
                "behaviour": self._service.how.about,
                "scenarios": {name: scenarios.about(name) for name in scenarios.names()},
            }
        )

    async def ledger(self, request: web.Request) -> web.StreamResponse:
        """Counts; with `?log=1` every request too."""
        return web.json_response(self._service.ledger.summary(log=request.query.get("log") == "1"))

    async def reset_ledger(self, _request: web.Request) -> web.StreamResponse:
        """Count from nothing. Requests under way are forgotten, so do it when there are none."""
        self._service.ledger.reset()
        return web.json_response({"reset": True})

    async def truth(self, request: web.Request) -> web.StreamResponse:
        """The current records in the order of their Ids, inactive ones too, each as it would be served, one a line.

        `?framing=length` puts `Id TAB length NEWLINE` before each record, for records that hold line breaks.
        `?deleted=1` lists the Ids of deleted records instead.
        """
        table = self._service.table(request.match_info["entity"])
        if request.query.get("deleted") == "1":
            return web.json_response({"deleted": [table.id_text(slot) for slot in table.deleted]})
        response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
        await response.prepare(request)
        try:
            for part in _parts(table, framed=request.query.get("framing") == "length"):
                await response.write(part)
            await response.write_eof()
        except ConnectionError:
            log.debug("the client left before the answer's end")
        return response

    async def truth_of(self, request: web.Request) -> web.StreamResponse:
        table = self._service.table(request.match_info["entity"])
        slot = table.slot_of_id(request.match_info["id"])
        if slot is None:
            raise web.HTTPNotFound(text=f"no {table.entity} with Id {request.match_info['id']}\n")
        return web.Response(body=table.payload(slot), content_type="application/json")

    async def edit(self, request: web.Request) -> web.StreamResponse:
        """Change the books: `{"entity": "Invoice", "edit": 3, "insert": 2, "void": ["130"], "delete": 1}`.

        Answers the Ids by kind of change. docs/simulator.md has the kinds.
        """
        asked = await _object(request)
        return web.json_response(self._service.change(str(asked.pop("entity", "")), **asked))

    async def oracle(self, request: web.Request) -> web.StreamResponse:
        """Each record with its version and bytes, and all that was deleted or merged away, as one JSON object."""
        body = msgspec.json.encode(self._service.oracle(request.match_info["entity"]))
        return web.Response(body=body, content_type="application/json")

    async def load(self, request: web.Request) -> web.StreamResponse:
        """Plant records, to be served byte for byte.

        As NDJSON (`?entity=Invoice[&replace=1]`, one record a line), or as JSON: `{"entity": "Invoice",
        "replace": false, "records": [{"payload": "text"} or {"payload_base64": "..."}, ...]}`, where a record may
        also say `id`, `created`, `updated`, `txn_date`, `name`, `active` by which queries find it; what it does not say
        is read from the payload, and else is now. Of entities that are empty otherwise, too (Vendor, Payment ...).
        """
        if request.content_type in ("application/x-ndjson", "application/octet-stream"):
            table = self._plantable(request.query.get("entity", ""))
            replace = request.query.get("replace") == "1"
            records = [{"payload": line} for line in (await request.read()).split(b"\n") if line]
        else:
            asked = await _object(request)
            table = self._plantable(str(asked.get("entity", "")))
            replace = bool(asked.get("replace", False))
            records = [_bytes_of(record) for record in asked.get("records", [])]
        if replace:
            table.clear()
        try:
            slots = [plant(table, record, self._service.now()) for record in records]
        except PlantingError as error:
            raise ControlError(str(error)) from error
        return web.json_response({"planted": len(slots), "rows": len(table)})

    async def behaviour(self, _request: web.Request) -> web.StreamResponse:
        return web.json_response(msgspec.to_builtins(self._service.how))

    async def adopt(self, request: web.Request) -> web.StreamResponse:
        """Behave otherwise from now on: `{"scenario": "storm,busy", "switches": {...}}`; without a scenario, the
        switches go on top of the present ones."""
        asked = await _object(request)
        unknown = set(asked) - {"scenario", "switches"}
        if unknown:
            raise ControlError(f"unknown key {min(unknown)!r}: scenario and switches")
        scenario = asked.get("scenario")
        base = self._service.switches if scenario is None else scenarios.switches(str(scenario))
        self._service.adopt(merged(base, asked.get("switches", {})))
        return web.json_response(msgspec.to_builtins(self._service.how))

    async def clock(self, request: web.Request) -> web.StreamResponse:
        """Move the server's clock: `{"offset_seconds": 86400}` from the machine's."""
        asked = await _object(request)
        offset = asked.get("offset_seconds")
        if not isinstance(offset, (int, float)) or isinstance(offset, bool):
            raise ControlError("offset_seconds must be a number")
        self._service.clock.offset = float(offset)
        return web.json_response({"now": self._service.clock.envelope_time()})

    async def tokens(self, request: web.Request) -> web.StreamResponse:
        """`{"expire_access": true}`, `{"revoke": true}`, or `{"restore": "<refresh token>"}`."""
        asked = await _object(request)
        consent = self._service.consent
        if asked.get("revoke"):
            consent.revoke_all()
        if "restore" in asked:
            consent.restore(str(asked["restore"]))
        expired = consent.expire_access_tokens() if asked.get("expire_access") else 0
        return web.json_response({"refresh_token": consent.refresh_token, "expired": expired})

    def _plantable(self, entity: str) -> Table:
        tables = self._service.company.tables
        if entity in EMPTY_ENTITIES and entity not in tables:
            tables[entity] = PlantedTable(entity, is_name_list=entity in NAME_LISTS)
        return self._service.table(entity)


_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def guarded(handler: _Handler) -> _Handler:
    """For callers on this machine only; what makes no sense is one line and 400."""

    async def guarded(request: web.Request) -> web.StreamResponse:
        if not ipaddress.ip_address((request.remote or "0.0.0.0").partition("%")[0]).is_loopback:  # noqa: S104
            raise web.HTTPForbidden(text="the simulator is controlled from its own machine only\n")
        try:
            return await handler(request)
        except (ControlError, BehaviourError) as error:
            raise web.HTTPBadRequest(text=f"{error}\n") from error

    return guarded


async def _object(request: web.Request) -> dict[str, Any]:
    try:
        asked = await request.json()
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ControlError(f"the body is no JSON: {error}") from error
    if not isinstance(asked, dict):
        raise ControlError("the body must be a JSON object")
    return asked


def _parts(table: Table, *, framed: bool) -> Iterator[bytes]:
    """A table's records in parts of about a megabyte."""
    part: list[bytes] = []
    size = 0
    for slot in list(table.slots()):
        if slot in table.deleted:
            continue  # since this answer began
        payload = table.payload(slot)
        if framed:
            part.append(b"%b\t%d\n" % ((table.id_text(slot) or "").encode(), len(payload)))
        part.append(payload + b"\n")
        size += len(payload)
        if size > 1_000_000:
            yield b"".join(part)
            part, size = [], 0
    yield b"".join(part)


def _bytes_of(record: Any) -> dict[str, Any]:
    if not isinstance(record, dict):
        raise ControlError("each record must be an object with payload or payload_base64")
    found = dict(record)
    encoded = found.pop("payload_base64", None)
    try:
        if encoded is not None:
            found["payload"] = base64.b64decode(encoded, validate=True)
        elif isinstance(found.get("payload"), str):
            found["payload"] = found["payload"].encode()
    except (binascii.Error, ValueError) as error:
        raise ControlError(f"a record's payload can't be read: {error}") from error
    if not isinstance(found.get("payload"), bytes):
        raise ControlError("each record must have payload (text) or payload_base64")
    return found
