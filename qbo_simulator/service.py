"""The accounting API without HTTP: statements, batches and change data capture over one company."""

from __future__ import annotations

import json
from random import Random
from typing import Any

import msgspec

from qbo_simulator import scenarios
from qbo_simulator.behaviour import Behaviour, Poison, RequestKind, behaviour, merged
from qbo_simulator.changes import Changes, ControlError, oracle
from qbo_simulator.company import Company
from qbo_simulator.company.table import Table, slot_of
from qbo_simulator.config import SimulatorConfig
from qbo_simulator.envelopes import Answer, invalid_id, service_fault, xml_document
from qbo_simulator.faults import FaultPlan, poisoned_slots
from qbo_simulator.ledger import Ledger
from qbo_simulator.oauth import Consent
from qbo_simulator.pages import Pages
from qbo_simulator.query.grammar import Query, QueryFault, parse
from qbo_simulator.query.properties import (
    EMPTY_ENTITIES,
    NOT_IN_CDC,
    PROPERTIES,
    RESPONSE_KEYS,
    WITH_CUSTOM_FIELDS,
    WITH_TOTAL_COUNT,
    entity_name,
)
from qbo_simulator.query.select import select
from qbo_simulator.times import Clock, pacific, parse_instant
from qbo_simulator.writes import WriteFault, write

_BATCH_ITEMS = 30


class Service:
    """One company and the state of its API. Every method answers at once; waiting is the server's."""

    def __init__(self, config: SimulatorConfig) -> None:
        self.config = config
        self.clock = Clock()
        self.company = Company(config)
        self.ledger = Ledger()
        self.consent = Consent(config.client_id, config.client_secret, config.refresh_token, self.clock)
        self._pages = Pages(config.keep_pages_mb * 1_000_000)
        self._changes = Changes(self.company, self.ledger, config.seed)
        self.turn = 0
        self._switches: dict[str, Any] = {}
        self.adopt(merged(scenarios.switches(config.scenario), config.switches))

    def adopt(self, switches: dict[str, Any]) -> None:
        """Behave so from now on; the options given at the start stay on top. BehaviourError changes nothing."""
        options: dict[str, Any] = {}
        if not self.config.limits:
            options["limits"] = {"enforced": False}
        if self.config.latency_ms is not None:
            options["latency"] = {"base_ms": [self.config.latency_ms] * 2, "row_ms": 0, "line_ms": 0}
        if self.config.access_token_seconds is not None:
            options["tokens"] = {"access_seconds": self.config.access_token_seconds}
        adopted = behaviour(merged(switches, options))
        self._switches = switches
        self.how: Behaviour = adopted
        self.company.use_new_keys(adopted.answers.new_keys)
        self.faults = FaultPlan(adopted.faults, self.config.seed)
        self.chance = Random(f"{self.config.seed}/{adopted.about}")
        self.poisoned = poisoned_slots(adopted, self.company, self.config.seed)
        self.dropped_answers = 0

    @property
    def switches(self) -> dict[str, Any]:
        return self._switches

    def now(self) -> int:
        return int(self.clock.now())

    # The books, for tests in the same event loop; `Control` is for all others

    def table(self, entity: str) -> Table:
        """The rows of an entity. ControlError when the company has none of that name."""
        table = self.company.tables.find(entity)
        if table is None:
            raise ControlError(f"no entity {entity!r}; there are {', '.join(self.company.tables)}")
        return table

    def change(self, entity: str, /, **kinds: Any) -> dict[str, list[Any]]:
        """Change the books as `/_simulator/edit` does: `change("Invoice", insert=2, void=["130"])`. ControlError."""
        return self._changes.make(self.table(entity), kinds, self.now(), ripple=self.how.edits.ripple)

    def oracle(self, entity: str) -> dict[str, Any]:
        """The whole truth of an entity, as `/_simulator/oracle` tells it."""
        return oracle(self.table(entity), self.now())

    # Answers

    def query(self, statement: str, *, as_xml: bool = False, compressed: bool = False, include: str = "") -> Answer:
        """The answer to a statement, and afterwards the edits that a busy company sees.

        `compressed`: with its gzip form, where that is put together from pieces. `include`: Intuit's parameter.
        """
        self.turn += 1
        try:
            query = parse(statement)
            entity = entity_name(query.entity)
            if entity in self.how.queries.absent:
                return self._absent(entity, as_xml)
            if entity not in self.company.tables:
                return self._answer({"QueryResponse": {"totalCount": 0} if query.count else {}}, as_xml)
            if entity == "Preferences" and query.limit is not None:
                raise QueryFault("4001", "QueryValidationError: pagination is not supported for Preferences")
            table = self.company.tables[entity]
            selection = select(query, table, self.how.queries, self.turn)
        except QueryFault as fault:
            if fault.code == "2030" and not as_xml:
                return invalid_id(fault.detail)
            message = "Error parsing query" if fault.code == "4000" else "Invalid query"
            return self.fault(400, fault.code, message, fault.detail, "ValidationFault", as_xml=as_xml)
        if query.count:
            return self._answer({"QueryResponse": {"totalCount": selection.total}}, as_xml)
        if self.poisoned.get(entity, frozenset()).intersection(selection.slots):
            return self._poison_answer(as_xml)
        counted = entity in WITH_TOTAL_COUNT and self.how.answers.total_count == "seen"
        total = selection.total if counted else None
        without_sku = entity == "Item" and self.how.queries.sku == "named" and "Sku" not in query.also
        takes_more = include == "enhancedAllCustomFields" and entity in WITH_CUSTOM_FIELDS
        more_fields = self.how.answers.custom_fields if takes_more else 0
        if query.columns or as_xml or without_sku or more_fields:
            answer = self._rewritten(entity, table, query, selection.slots, total, as_xml, more_fields)
        else:
            answer = self._pages.page(
                entity,
                table,
                query.start,
                selection.slots,
                edits=self.company.edits(),
                stamp=self.clock.envelope_time().encode(),
                compressed=compressed,
                total=total,
            )
        answer.rows = len(selection.slots)
        self.ledger.rows[entity] += answer.rows
        self._changes.after_page(table, selection.slots, self.how.edits, self.chance, self.now())
        return answer

    def batch(self, body: bytes, *, strike: bool, as_xml: bool = False) -> Answer:
        """Up to 30 payloads, one after another: queries and writes. `strike` puts a Fault in place of one."""
        try:
            requests = [dict(item) for item in json.loads(body)["BatchItemRequest"]]
        except (ValueError, KeyError, TypeError):
            return self.fault(400, "2010", "Request has invalid or unsupported property",
                              "Property Name:BatchItemRequest is unsupported or missing", "ValidationFault",
                              as_xml=as_xml)  # fmt: skip
        if len(requests) > _BATCH_ITEMS:
            return self.fault(400, "1040", "Batch size limit exceeded",
                              f"Maximum {_BATCH_ITEMS} items are allowed in a batch request", "ValidationFault",
                              as_xml=as_xml)  # fmt: skip
        answers: list[msgspec.Raw] = []
        rows = 0
        struck = self.chance.randrange(len(requests)) if strike and requests else None
        for at, request in enumerate(requests):
            identifier = request.get("bId")
            if at == struck:
                item = self.fault(
                    500,
                    "10000",
                    "An application error has occurred while processing your request",
                    "System Failure Error",
                    "SystemFault",
                )
            elif isinstance(request.get("Query"), str):
                item = self.query(request["Query"])
            else:
                entity = next((name for name in request if name in self.company.tables), "")
                item = self.write(entity, str(request.get("operation")), request.get(entity))
            rows += item.rows
            content = item.body[: item.body.rindex(b',"time":')]
            tag = b"" if identifier is None else b',"bId":' + msgspec.json.encode(identifier)
            answers.append(msgspec.Raw(content + tag + b"}"))
        answer = self._answer({"BatchItemResponse": answers}, as_xml)
        answer.rows = rows
        return answer

    def changes(self, entities: str, since: str, *, as_xml: bool = False) -> Answer:
        """Change data capture: what changed since, oldest first, 1,000 objects at most, the deleted as stubs after."""
        rules = self.how.cdc
        oldest = int((self.now() - rules.days * 86_400) * 1_000_000)
        try:
            names = [entity_name(name.strip()) for name in entities.split(",") if name.strip()]
            instant = parse_instant(since.replace(" ", "+"), self.how.queries.naive_times)
            if instant < oldest and rules.older == "refused":
                raise ValueError(since)
        except (QueryFault, ValueError):
            return self.fault(400, "2030", "Invalid ID", f"changedSince or entities is not valid: {since}",
                              "ValidationFault", as_xml=as_xml)  # fmt: skip
        if rules.exceptions == "refused" and not NOT_IN_CDC.isdisjoint(names):
            detail = f"Operation changedatacapture on {min(NOT_IN_CDC & set(names))} is not supported"
            return self.fault(400, "500", "Unsupported Operation", detail, "ValidationFault", as_xml=as_xml)
        if rules.older == "cut":
            instant = max(instant, oldest)
        room = rules.objects
        found: list[dict[str, Any]] = []
        for name in names:
            listed = name in self.company.tables and (name not in NOT_IN_CDC or rules.exceptions == "listed")
            records = self._changes_of(name, instant, room) if listed else []
            if records is None:
                return self._poison_answer(as_xml)
            room -= len(records)
            page = {name: records, "startPosition": 1, "maxResults": len(records)} if records else {}
            found.append(page)
        answer = self._answer({"CDCResponse": [{"QueryResponse": found}]}, as_xml)
        answer.rows = rules.objects - room
        return answer

    def company_info(self, *, as_xml: bool = False) -> Answer:
        return self._answer({"CompanyInfo": msgspec.Raw(self.company.tables["CompanyInfo"].payload(0))}, as_xml)

    def read(self, entity: str, identifier: str, *, as_xml: bool = False) -> Answer:
        """One record by its Id."""
        table = self.company.tables.find(entity)
        slot = None if table is None else table.slot_of_id(identifier)
        if slot is None and not identifier.isdecimal() and not as_xml:
            return invalid_id(identifier)
        if table is None or slot is None:
            detail = (
                "Object Not Found : Something you're trying to use has been made inactive. Check the fields with "
                "accounts, customers, items, vendors or employees."
            )
            return self.fault(400, "610", "Object Not Found", detail, "ValidationFault", as_xml=as_xml)
        return self._answer({entity: msgspec.Raw(table.payload(slot))}, as_xml)

    def write(self, entity: str, operation: str, body: Any, *, as_xml: bool = False) -> Answer:
        """Create, update, delete or void one record."""
        try:
            record = write(self.company, entity, operation, body, self.now())
        except WriteFault as fault:
            return service_fault(400, fault.code, fault.message, fault.detail, "ValidationFault",
                                 self.clock.envelope_time(), as_xml=as_xml,
                                 element=(fault.element or "") if as_xml else fault.element)  # fmt: skip
        self.ledger.edits[f"{entity} {operation}"] += 1
        return self._answer({entity: msgspec.Raw(record)}, as_xml)

    def fault(
        self, status: int, code: str, message: str, detail: str | None, fault_type: str, *, as_xml: bool = False
    ) -> Answer:
        stamp = self.clock.envelope_time()
        return service_fault(status, code, message, detail, fault_type, stamp, as_xml=as_xml)

    # Pieces

    def _answer(self, content: dict[str, Any], as_xml: bool) -> Answer:
        stamp = self.clock.envelope_time()
        if as_xml:
            plain = json.loads(msgspec.json.encode(content), parse_float=str, parse_int=str)
            return Answer(200, xml_document(plain, stamp), "application/xml;charset=UTF-8")
        return Answer(200, msgspec.json.encode(content | {"time": stamp}))

    def _rewritten(
        self, entity: str, table: Table, query: Query, slots: list[int], total: int | None, as_xml: bool,
        more_fields: int,
    ) -> Answer:  # fmt: skip
        """A page of records that are not served as they are: some columns only, more custom fields, or XML."""
        if not slots:
            return self._answer({"QueryResponse": {}}, as_xml)
        records: list[Any] = []
        for slot in slots:
            record = json.loads(table.payload(slot), parse_float=_verbatim)
            if self.how.queries.sku == "named" and "Sku" not in (*query.also, *query.columns):
                record.pop("Sku", None)
            if more_fields:
                record["CustomField"] = [*record.get("CustomField", ()), *_fields_beyond_three(record, more_fields)]
            records.append(_columns(record, query.columns) if query.columns else record)
        page = {RESPONSE_KEYS.get(entity, entity): records, "startPosition": query.start, "maxResults": len(records)}
        if total is not None:
            page["totalCount"] = total
        return self._answer({"QueryResponse": page}, as_xml)

    def _absent(self, entity: str, as_xml: bool) -> Answer:
        """What a company says of an entity that it doesn't have; Intuit's error-codes page has all three."""
        code = self.how.queries.absent_says
        message, detail = {
            "4001": ("Invalid query", f"QueryValidationError: invalid context declaration: {entity}"),
            "5020": ("Permission Denied Error", "You do not have permission to access this feature."),
            "5030": ("Feature Not Supported Error", "Feature Not Supported Error : This feature is not supported."),
        }[code]
        return self.fault(400, code, message, detail, "ValidationFault", as_xml=as_xml)

    def _poison_answer(self, as_xml: bool) -> Answer:
        poison: Poison = self.how.poison
        if poison.code == "4002":
            return self.fault(400, "4002", "Error processing query", "Error processing query", "Service", as_xml=as_xml)
        return self.fault(500, "10000", "An application error has occurred while processing your request",
                          "System Failure Error: java.lang.IllegalArgumentException", "SystemFault",
                          as_xml=as_xml)  # fmt: skip

    def _changes_of(self, entity: str, since: int, room: int) -> list[Any] | None:
        """None when a poisoned record is among them."""
        table = self.company.tables[entity]
        second = -(-since // 1_000_000)
        first = table.by_updated.rank(max(second, 0) << 32)
        slots = [slot_of(key) for key in table.by_updated.slice(first, first + room)]
        if self.poisoned.get(entity, frozenset()).intersection(slots):
            return None
        records: list[Any] = [msgspec.Raw(table.payload(slot)) for slot in slots]
        for slot, when in table.deleted.items():
            if slot in table.merged and self.how.cdc.merged == "absent":
                continue
            if when >= second and len(records) < room:
                moved = {"LastUpdatedTime": pacific(when).decode()}
                records.append({"domain": "QBO", "status": "Deleted", "Id": table.id_text(slot), "MetaData": moved})
        return records


def items_in(body: bytes) -> int:
    """How many payloads a batch holds; 1 when it is none."""
    try:
        return max(len(json.loads(body)["BatchItemRequest"]), 1)
    except (ValueError, KeyError, TypeError):
        return 1


def request_kind(statement: str) -> RequestKind:
    return "count" if "count(" in statement[:40].lower().replace(" ", "") else "query"


def readable_entity(written: str) -> str | None:
    """The entity of a path such as `/invoice/130`."""
    return next((name for name in (*PROPERTIES, *EMPTY_ENTITIES) if name.lower() == written.lower()), None)


def _fields_beyond_three(record: dict[str, Any], count: int) -> list[dict[str, Any]]:
    """Custom fields of the newer kind: their DefinitionIds begin above a billion, and not all of them are text."""
    fields: list[dict[str, Any]] = []
    for at in range(count):
        value = {"NumberValue": at} if at % 2 else {"StringValue": f"{record['Id']}-{at}"}
        kind = "NumberType" if at % 2 else "StringType"
        fields.append({"DefinitionId": str(1_000_000_001 + at), "Name": f"Field {4 + at}", "Type": kind, **value})
    return fields


def _verbatim(text: str) -> msgspec.Raw:
    return msgspec.Raw(text.encode())


def _columns(record: dict[str, Any], columns: tuple[str, ...]) -> dict[str, Any]:
    """The asked-for columns of a record and its Id, in the record's own order, marked sparse."""
    wanted: dict[str, set[str]] = {"id": set()}
    for column in columns:
        first, _, second = column.lower().partition(".")
        wanted.setdefault(first, set()).update({second} if second else ())
    chosen: dict[str, Any] = {"sparse": True}
    for key, value in record.items():
        inner = wanted.get(key.lower())
        if inner is None:
            continue
        if inner and isinstance(value, dict):
            chosen[key] = {name: value[name] for name in value if name.lower() in inner}
        else:
            chosen[key] = value
    return chosen
