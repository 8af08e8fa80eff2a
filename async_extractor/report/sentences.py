"""What a check found, in Spanish, from its figures. English sentences are the checks' own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from async_extractor.checks import Validation
from async_extractor.codes import about
from async_extractor.report.texts import Texts

CHECK_NAMES: dict[str, tuple[str, str]] = {
    "keys": ("keys", "claves"),
    "utc": ("times in UTC", "tiempos en UTC"),
    "pages": ("page numbers", "números de página"),
    "chunk_counts": ("chunks against the plan", "tramos contra el plan"),
    "ledger": ("ledger", "bitácora de tramos"),
    "quarantine": ("quarantine", "cuarentena"),
    "source_count": ("count at QuickBooks", "conteo en QuickBooks"),
    "source_rows": ("rows at QuickBooks", "filas en QuickBooks"),
    "volume": ("volume by day", "volumen por día"),
    "seals": ("seals", "sellos"),
    "windows": ("windows", "ventanas"),
    "repair": ("repair", "reparación"),
    "reprocess": ("reprocessing", "reproceso"),
}


def check_name(name: str, lang: str) -> str:
    """The check's name for people."""
    english, spanish = CHECK_NAMES.get(name, (name, name))
    return spanish if lang == "es" else english


def sentence(check: Validation, texts: Texts) -> str:
    """The check's result in the report's language."""
    if texts.lang != "es":
        return check.message
    spanish = _SPANISH.get(check.name)
    return spanish(check, texts) if spanish is not None else check.message


def odd_day(day: dict[str, Any], texts: Texts) -> str:
    """Why a day of the volume check is unusual."""
    if texts.lang != "es":
        return str(day["why"])
    if "rows" not in day:
        return f"sin filas hasta {day['last']}, cuando cabía esperar unas {texts.number(day['expected'])}"
    return (
        f"{texts.number(day['rows'])} filas; ese día de la semana suele tener {texts.number(day['usual'])} (mediana) "
        f"más o menos {texts.number(day['spread'])} (MAD)"
    )


def event_meaning(name: str, texts: Texts) -> str:
    """What an event means; its name when nothing is known of it."""
    known = about(name)
    english = known.meaning if known is not None else name
    return _EVENTS.get(name, english) if texts.lang == "es" else english


_EVENTS = {
    "token_refreshed": "Se emitió un nuevo token de acceso; el refresh token rotado ya está guardado.",
    "token_retry": "El servidor de tokens de Intuit no respondió; se vuelve a intentar.",
    "token_not_stored": "El refresh token rotado todavía no se pudo guardar en Mage Secrets; se reintenta.",
    "budget_not_shared": "La cuota compartida no se pudo usar en Postgres; este proceso toma una parte segura.",
    "chunk_failed": "Un tramo no se pudo leer; los demás siguen.",
    "chunk_lost": "Otro trabajador tomó el tramo; nada se escribe dos veces.",
    "retry": "Una solicitud falló por una causa pasajera y se envía otra vez.",
    "throttled": "QuickBooks respondió 429; toda la empresa hace una pausa.",
    "breaker": "El cortacircuitos se abrió, probó o cerró: QuickBooks no responde, o vuelve a responder.",
    "order_ignored": "QuickBooks no respetó ORDERBY; se leen ventanas que caben en una página.",
    "page_split": "QuickBooks no puede servir una página; se parte hasta dar con el registro que la rompe.",
    "incomplete": "La ejecución terminó con tramos sin hacer.",
    "changes_cut_off": "La lista de cambios de QuickBooks venía llena; pueden faltar borrados.",
    "more_events": "Hubo más de estos eventos; se dice cuántos.",
    "quarantined": "Un registro que Postgres no puede guardar, o que Intuit no puede servir, se apartó entero.",
    "database_retry": "Postgres no respondió o rechazó por una causa pasajera; el trabajo se repite.",
    "marked_deleted": "Registros borrados en QuickBooks: marcados en raw, con su payload.",
    "report_not_written": "No se pudieron escribir los archivos del informe.",
}


def _keys(check: Validation, texts: Texts) -> str:
    found = check.found
    if check.severity == "error":
        return "hay Ids vacíos, repetidos o distintos del Id de su payload"
    return f"{texts.number(found['rows'])} filas: cada id está una sola vez y es el de su payload"


def _utc(check: Validation, texts: Texts) -> str:
    found = check.found
    if check.severity == "error":
        return f"{texts.number(found['outside'])} filas tienen LastUpdatedTime fuera de la ventana en que se leyeron"
    if check.severity == "warning":
        return f"{texts.number(found['without_date'])} filas no tienen LastUpdatedTime"
    return "ventanas, LastUpdatedTime y hora de ingesta concuerdan en UTC"


def _pages(check: Validation, _texts: Texts) -> str:
    found = check.found
    if check.severity == "error":
        return f"los tramos {_list(found['beyond'])} tienen filas de páginas que nunca se leyeron"
    if check.severity == "notice":
        return (
            f"los tramos {_list(found['holes'])} tienen páginas sin filas propias: "
            "lo que trajeron vino también en una página posterior"
        )
    return "los números de página van desde 1 sin huecos"


def _chunk_counts(check: Validation, texts: Texts) -> str:
    found = check.found
    if check.severity == "notice":
        return (
            f"{texts.number(len(found['chunks']))} tramos dieron menos filas que COUNT(*) al planificar: las editadas "
            "desde entonces salieron de su ventana y están en el tramo de puesta al día"
        )
    return "cada tramo dio al menos las filas que COUNT(*) dijo al planificar"


def _ledger(check: Validation, texts: Texts) -> str:
    found = check.found
    if found["hollow"]:
        return f"{texts.number(len(found['hollow']))} tramos figuran como hechos y nadie los leyó: " + _list(
            chunk["window"] for chunk in found["hollow"]
        )
    if found["holes"]:
        return f"ningún tramo cubre {_list(found['holes'])}"
    if found["open"]:
        return f"{texts.number(found['open'])} tramos del rango no están hechos"
    return "los tramos cubren el rango sin huecos y cada uno se leyó"


def _quarantine(check: Validation, texts: Texts) -> str:
    found = check.found
    if not found["standing"]:
        return "ningún registro está en cuarentena"
    return (
        f"en cuarentena: {texts.number(found['standing'])}, "
        f"desde esta ejecución: {texts.number(found['of_this_run'])}; "
        "QuickBooks los tiene y raw no puede guardarlos"
    )


def _source_count(check: Validation, texts: Texts) -> str:
    found = check.found
    source, raw = found["source"], found["raw"]
    if source == raw:
        return f"QuickBooks y raw tienen {texts.number(raw)} registros en el rango"
    if source > raw and check.severity == "notice":
        return (
            f"QuickBooks tiene {texts.number(source)} registros en el rango y raw {texts.number(raw)}: "
            f"en cuarentena o fuera del rango por una edición: {texts.number(source - raw)}"
        )
    if source > raw:
        return (
            f"QuickBooks tiene {texts.number(source)} registros en el rango y raw {texts.number(raw)}: "
            f"faltan {texts.number(source - raw)}"
        )
    return (
        f"raw tiene {texts.number(raw - source)} registros más en el rango que los {texts.number(source)} de "
        "QuickBooks: se editaron o borraron allí después de leerse"
    )


_KINDS = {
    "missing": "faltan en raw",
    "outdated": "tienen en raw una versión anterior",
    "altered": "están alterados en raw",
    "surplus": "están en raw y QuickBooks no los tiene",
    "misplaced": "tienen en raw una ventana en la que no pudieron leerse",
    "quarantined": "están en cuarentena",
    "unread": "se crearon o editaron en QuickBooks después de leer el rango",
    "moved": "se editaron en QuickBooks y salieron del rango",
}


def _source_rows(check: Validation, texts: Texts) -> str:
    found = check.found
    how = (
        f"se compararon los {texts.number(found['compared'])} registros de QuickBooks con raw"
        if found["whole"]
        else f"QuickBooks cuenta {texts.number(found['source'])} registros en el rango, "
        f"raw {texts.number(found['raw'])}"
    )
    told = [
        f"{texts.number(found[kind])} {words} ({_list(found['ids'].get(kind, []), found[kind])})"
        for kind, words in _KINDS.items()
        if found[kind]
    ]
    if not told:
        return f"{how}; no hay diferencias"
    if found["days"]:
        told.append(f"días: {_list(found['days'])}")
    return f"{how}: " + "; ".join(told)


def _volume(check: Validation, texts: Texts) -> str:
    found = check.found
    if "lost" in found:
        lost = texts.number(found["lost"])
        where = ". No son de este rango" if check.severity == "warning" else ""
        return f"raw tiene {lost} filas menos que al terminar la ejecución anterior, y aquí nada borra filas{where}"
    if not found["first_day"]:
        return "no hay filas en el rango"
    parts = []
    if found["gaps"]:
        gap = found["gaps"][0]
        parts.append(f"huecos: {texts.number(len(found['gaps']))}, por ejemplo de {gap['first']} a {gap['last']}")
    for kinds, words in (
        ({"empty", "low"}, "días con muy pocas filas"),
        ({"high"}, "días con muchas más filas de lo usual"),
    ):
        days = [day for day in found["odd_days"] if day["kind"] in kinds]
        if days:
            parts.append(f"{texts.number(len(days))} {words}, por ejemplo {days[0]['day']}: {odd_day(days[0], texts)}")
    if not parts:
        rows, first, last = texts.number(found["rows"]), found["first_day"], found["last_day"]
        return f"{rows} filas de {first} a {last}, sin huecos, días vacíos ni atípicos"
    if check.severity == "notice":
        parts.append("QuickBooks cuenta lo mismo: así está en los libros de la empresa")
    return "; ".join(parts)


def _seals(check: Validation, texts: Texts) -> str:
    found = check.found
    days = found["days"]
    if isinstance(days, int):
        return (
            f"{texts.number(days)} días sellados: lo que otra mano cambie desde ahora se verá en `qbo-backfill verify`"
        )
    if days:
        which = _list(day["created_day"] for day in days)
        return f"los registros creados en {which} no están como los dejó la última ejecución"
    return "cada día está como lo dejó la última ejecución" if check.severity == "ok" else "raw todavía no tiene sellos"


def _windows(check: Validation, texts: Texts) -> str:
    found = check.found
    if check.severity == "ok":
        return "la ventana de cada fila es un tramo de la bitácora y contiene su LastUpdatedTime, en UTC"
    return "; ".join(
        f"{texts.number(number)} filas: {_REASONS.get(reason, reason)}" for reason, number in found["reasons"].items()
    )


_REASONS = {
    "LastUpdatedTime outside its window": "LastUpdatedTime fuera de su ventana",
    "its window is no chunk of the ledger": "su ventana no es ningún tramo de la bitácora",
    "written by no run of the ledger": "ninguna ejecución de la bitácora las escribió",
    "ingested in the future": "con hora de ingesta en el futuro",
}


def _repair(check: Validation, texts: Texts) -> str:
    found = check.found
    end = "quedan diferencias" if check.severity == "error" else "lo que estaba mal quedó bien"
    return (
        f"se volvieron a leer {texts.number(len(found['windows']))} ventanas y se marcaron como borradas "
        f"{texts.number(found['marked_deleted'])} filas; {end}"
    )


def _reprocess(check: Validation, texts: Texts) -> str:
    found = check.found
    rows = texts.number(found["rows_after"])
    if check.severity == "ok":
        return f"leer otra vez la ventana dejó las mismas {rows} filas con el mismo hash"
    return (
        "leer otra vez la ventana cambió filas: QuickBooks o alguien las cambió desde la primera lectura; "
        f"ahora son {rows}"
    )


def _list(values: Any, number: int | None = None, most: int = 5) -> str:
    all_values = [str(value) for value in values]
    number = len(all_values) if number is None else number
    shown = ", ".join(all_values[:most])
    return shown if number <= most else f"{shown} y {number - most} más"


_SPANISH: dict[str, Callable[[Validation, Texts], str]] = {
    "keys": _keys,
    "utc": _utc,
    "pages": _pages,
    "chunk_counts": _chunk_counts,
    "ledger": _ledger,
    "quarantine": _quarantine,
    "source_count": _source_count,
    "source_rows": _source_rows,
    "volume": _volume,
    "seals": _seals,
    "windows": _windows,
    "repair": _repair,
    "reprocess": _reprocess,
}
