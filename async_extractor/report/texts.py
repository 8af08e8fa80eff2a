"""The report's words, English and Spanish side by side so that neither is forgotten."""

from __future__ import annotations

_TEXTS: dict[str, tuple[str, str]] = {
    # Verdicts
    "title": ("Run {run}: {entity}", "Ejecución {run}: {entity}"),
    "title_verify": ("Verification {run}: {entity}", "Verificación {run}: {entity}"),
    "complete": ("Complete", "Completo"),
    "complete_why": (
        "All {chunks} chunks of the range are in raw, and every check passed.",
        "Los {chunks} tramos del rango están en raw y todas las validaciones pasaron.",
    ),
    "look": ("Complete, with something to look at", "Completo, con algo que revisar"),
    "look_why": (
        "All {chunks} chunks of the range are in raw. Checks with something that a person should look at: {number}.",
        "Los {chunks} tramos del rango están en raw. Validaciones con algo que conviene revisar: {number}.",
    ),
    "wrong": ("Not right yet", "Todavía no está bien"),
    "wrong_why": (
        "The chunks were read, but rows are missing or wrong: {checks}.",
        "Los tramos se leyeron, pero hay filas que faltan o están mal: {checks}.",
    ),
    "incomplete": ("Not complete", "Incompleto"),
    "incomplete_why": (
        "{left} of {chunks} chunks are not done. What was read is safe; the run goes on where it stopped.",
        "Faltan {left} de {chunks} tramos. Lo que se leyó está a salvo; la carga sigue donde se detuvo.",
    ),
    "failed": ("Stopped", "Detenido"),
    "failed_why": (
        "The run could not go on. Nothing that was read is lost.",
        "La carga no pudo seguir. Nada de lo leído se perdió.",
    ),
    "running": ("Still running", "En curso"),
    "running_why": ("{done} of {chunks} chunks are done so far.", "Van {done} de {chunks} tramos."),
    "verified": ("Raw equals QuickBooks", "Raw es igual a QuickBooks"),
    "verified_why": ("Nothing in the range is missing or wrong.", "Nada falta ni está mal en el rango."),
    "verified_look": ("Nothing is wrong; something to look at", "Nada está mal; hay algo que revisar"),
    "repaired": ("Repaired: raw equals QuickBooks", "Reparado: raw es igual a QuickBooks"),
    "repaired_why": (
        "Differences were found, read again and checked again.",
        "Se encontraron diferencias, se volvieron a leer y a revisar.",
    ),
    "different": ("Raw differs from QuickBooks", "Raw difiere de QuickBooks"),
    "different_why": ("These checks say so: {checks}.", "Lo dicen estas validaciones: {checks}."),
    "reason": ("Why it ended: {error}", "Por qué terminó: {error}"),
    "what_to_do": ("What to do", "Qué hacer"),
    "nothing_to_do": (
        "Nothing: there is nothing left to do for this range.",
        "Nada: no queda nada por hacer en este rango.",
    ),
    "resume_with": ("Go on where it stopped:", "Seguir donde se detuvo:"),
    "repair_with": ("Name what differs and mend it:", "Nombrar lo que difiere y repararlo:"),
    "look_with": ("Look at it:", "Revisarlo:"),
    "contents": ("Contents", "Contenido"),
    # Totals
    "totals": ("In figures", "En cifras"),
    "rows_read": ("records read", "registros leídos"),
    "inserted": ("inserted", "insertados"),
    "updated": ("updated", "actualizados"),
    "unchanged": ("unchanged", "sin cambios"),
    "quarantined": ("in quarantine", "en cuarentena"),
    "chunks_done": ("chunks done", "tramos hechos"),
    "of_planned": ("of {planned}", "de {planned}"),
    "requests": ("requests", "solicitudes"),
    "requests_note": (
        "{retried} retried, {throttled} throttled (429)",
        "{retried} repetidas, {throttled} frenadas (429)",
    ),
    "month_note": (
        "{number} of the company in the month of the run",
        "{number} de la empresa en el mes de la ejecución",
    ),
    "duration": ("duration", "duración"),
    "rate_note": ("{rate} rows/s", "{rate} filas/s"),
    "pages": ("pages", "páginas"),
    "bytes": ("received", "recibidos"),
    "at_source": ("records at QuickBooks", "registros en QuickBooks"),
    "in_raw": ("rows in raw", "filas en raw"),
    "compared": ("compared one by one", "comparados uno por uno"),
    "all_compared": ("all of them", "todos"),
    "missing": ("missing", "faltantes"),
    "altered": ("altered or outdated", "alterados o atrasados"),
    "surplus": ("surplus", "sobrantes"),
    "read_again": ("read again", "leídos otra vez"),
    "nothing_written": ("raw had them already; nothing was written", "raw ya los tenía; no se escribió nada"),
    # Checks
    "checks": ("Checks", "Validaciones"),
    "checks_caption": ("Each check, the gravest first", "Cada validación, la más grave primero"),
    "before_repair": ("Found before the repair", "Encontrado antes de la reparación"),
    "result": ("Result", "Resultado"),
    "check": ("Check", "Validación"),
    "found": ("What was found", "Qué se encontró"),
    "do": ("What to do", "Qué hacer"),
    "no_checks": ("No check has been made yet.", "Todavía no se hizo ninguna validación."),
    "sev_ok": ("passed", "pasó"),
    "sev_notice": ("note", "nota"),
    "sev_warning": ("look at it", "revisar"),
    "sev_error": ("wrong", "mal"),
    # Volume
    "volume": ("Volume", "Volumen"),
    "per_day": ("Rows in raw per day", "Filas en raw por día"),
    "per_week": ("Rows in raw per week", "Filas en raw por semana"),
    "per_month": ("Rows in raw per month", "Filas en raw por mes"),
    "days_told": (
        "{rows} rows from {first} to {last}; the most, {most}, in {peak}. {odd} marked as unusual.",
        "{rows} filas de {first} a {last}; el máximo, {most}, en {peak}. {odd} marcados como inusuales.",
    ),
    "per_chunk": ("Rows read per chunk", "Filas leídas por tramo"),
    "chunks_told": (
        "{read} rows in {chunks} chunks: {inserted} inserted, {updated} updated, {unchanged} unchanged.",
        "{read} filas en {chunks} tramos: {inserted} insertadas, {updated} actualizadas, {unchanged} sin cambios.",
    ),
    "rows": ("rows", "filas"),
    "day": ("Day", "Día"),
    "unusual": ("unusual", "inusual"),
    "odd_days": ("Unusual days and gaps", "Días inusuales y huecos"),
    "why": ("Why", "Por qué"),
    # Time
    "time": ("Where the time went", "En qué se fue el tiempo"),
    "time_told": (
        "{total} of work in {attempts}, spread over up to {workers} workers; the longest part is {longest}.",
        "{total} de trabajo en {attempts}, repartido entre hasta {workers} trabajadores; lo que más tardó: {longest}.",
    ),
    "time_unit": ("seconds", "segundos"),
    "attempts": ("{number} attempts", "{number} intentos"),
    "part": ("Part", "Parte"),
    "seconds": ("Seconds", "Segundos"),
    "share": ("Share", "Parte del total"),
    "wait": (
        "waiting for the budget, the breaker, or before another try",
        "espera por cuota, cortacircuitos o antes de reintentar",
    ),
    "fetch": ("network: Intuit's answers", "red: respuestas de Intuit"),
    "split": ("splitting pages into records", "separar páginas en registros"),
    "copy": ("COPY into raw or staging", "COPY a raw o a la tabla de paso"),
    "merge": ("merge into raw, and commit", "fusión en raw y confirmación"),
    "other": ("everything else", "todo lo demás"),
    "overlap": (
        "A page is fetched while the one before it is loaded: {seconds} s of fetching cost no time of their own.",
        "Una página se pide mientras se carga la anterior: {seconds} s de descarga no costaron tiempo propio.",
    ),
    # Events
    "story": ("Retries, throttles and the breaker", "Reintentos, frenos y el cortacircuitos"),
    "no_events": (
        "Nothing out of the ordinary: no retry, no 429, and the circuit breaker stayed closed.",
        "Nada fuera de lo común: sin reintentos, sin 429, y el cortacircuitos siguió cerrado.",
    ),
    "events_by_code": ("How often", "Cuántas veces"),
    "events_caption": ("What happened, in order (UTC)", "Qué pasó, en orden (UTC)"),
    "code": ("Code", "Código"),
    "times": ("Times", "Veces"),
    "meaning": ("Meaning", "Significado"),
    "when": ("When", "Cuándo"),
    "what": ("What (the log's own words)", "Qué (texto del registro, en inglés)"),
    # Chunks
    "chunks": ("Chunks", "Tramos"),
    "chunks_caption": ("Each chunk (UTC)", "Cada tramo (UTC)"),
    "window": ("Window", "Ventana"),
    "state": ("State", "Estado"),
    "attempts_column": ("Attempts", "Intentos"),
    "requests_column": ("Requests", "Solicitudes"),
    "read_column": ("Read", "Leídas"),
    "catch_up": ("catch-up", "puesta al día"),
    "resume_point": ("Resume point", "Punto de reanudación"),
    "resume_at": ("The next to be read is {window} ({state}).", "El siguiente por leer es {window} ({state})."),
    "resume_none": (
        "None: every chunk of this run is done.",
        "Ninguno: todos los tramos de esta ejecución están hechos.",
    ),
    "planned": ("planned", "por hacer"),
    "running_state": ("at work", "en curso"),
    "done": ("done", "hecho"),
    "failed_state": ("failed", "falló"),
    "superseded": ("replaced", "reemplazado"),
    # About
    "about": ("The run", "La ejecución"),
    "name": ("What", "Qué"),
    "value": ("Value", "Valor"),
    "range_utc": ("Range, UTC", "Rango, UTC"),
    "range_guayaquil": ("Range, America/Guayaquil", "Rango, America/Guayaquil"),
    "started": ("Started", "Inicio"),
    "finished": ("Ended", "Fin"),
    "not_finished": ("not yet", "todavía no"),
    "as_of": ("Read as of (Intuit's clock)", "Leído hasta (reloj de Intuit)"),
    "entity": ("Entity", "Entidad"),
    "filter_field": ("Filter field", "Campo de filtro"),
    "mode": ("Mode", "Modo"),
    "chunk": ("Chunk", "Tramo"),
    "concurrency": ("Concurrency", "Concurrencia"),
    "environment": ("QuickBooks", "QuickBooks"),
    "realm": ("Company (realm)", "Empresa (realm)"),
    "source_count": ("Counted at QuickBooks when planned", "Contados en QuickBooks al planificar"),
    "settings": ("Settings and versions", "Ajustes y versiones"),
    "made": ("Made by qbo-backfill from ops, {moment}.", "Hecho por qbo-backfill desde ops, {moment}."),
    "simulator": ("simulator (invented data)", "simulador (datos inventados)"),
    "invoices": ("invoices", "facturas"),
    "customers": ("customers", "clientes"),
    "items": ("items", "productos y servicios"),
    "show": ("Show", "Mostrar"),
    "to": ("to", "a"),
    "now": ("now", "ahora"),
}

LANGUAGES = ("en", "es")


class Texts:
    """The words of one language: `texts("complete")`, with values for the braces. KeyError for an unknown key."""

    def __init__(self, lang: str) -> None:
        self.lang = lang if lang in LANGUAGES else "en"
        self._at = LANGUAGES.index(self.lang)

    def __call__(self, key: str, **values: object) -> str:
        return _TEXTS[key][self._at].format(**values)

    def word(self, name: str) -> str:
        """The word for a name of the code where there is one, else the name itself."""
        return _TEXTS[name][self._at] if name in _TEXTS else name

    def number(self, value: float, decimals: int = 0) -> str:
        """1,234.5 in English, 1.234,5 in Spanish."""
        text = f"{value:,.{decimals}f}"
        return text.translate(str.maketrans(",.", ".,")) if self.lang == "es" else text


def all_texts() -> dict[str, tuple[str, str]]:
    """Every key with its English and its Spanish."""
    return dict(_TEXTS)
