"""The report's words, English and Spanish side by side so that neither is forgotten."""

from __future__ import annotations

from datetime import datetime

from async_extractor.language import LANGUAGES, Phrase, fill, number
from async_extractor.windows import UTC

TEXTS: dict[str, Phrase] = {
    # Verdicts
    "title": ("Run {run}: {entity}", "Ejecución {run}: {entity}"),
    "title_verify": ("Verification {run}: {entity}", "Verificación {run}: {entity}"),
    "complete": ("Complete", "Completo"),
    "complete_why": (
        "{chunks:The range's # chunks are|The range's one chunk is|All # chunks of the range are} in raw.",
        "{chunks:Los # tramos del rango están|El único tramo del rango está|Los # tramos del rango están} en raw.",
    ),
    "nothing_new": ("Complete, nothing new", "Completo, nada nuevo"),
    "nothing_new_why": (
        "{rows:QuickBooks has no record in the range|The range's one row was in raw before|The range's # rows were in "
        "raw before}; this run found nothing to add or change.",
        "{rows:QuickBooks no tiene registros en el rango|La única fila del rango ya estaba en raw|Las # filas del "
        "rango ya estaban en raw}; esta ejecución no encontró nada que agregar o cambiar.",
    ),
    "look": ("Complete, with something to look at", "Completo, con algo que revisar"),
    "look_why": (
        "{checks:# check has|# checks have} something that a person should look at.",
        "{checks:# validación tiene|# validaciones tienen} algo que conviene revisar.",
    ),
    "wrong": ("Not right yet", "Todavía no está bien"),
    "wrong_why": (
        "The chunks were read, but rows are missing or wrong, or nobody could tell: {checks}.",
        "Los tramos se leyeron, pero hay filas que faltan o están mal, o no se pudo saber: {checks}.",
    ),
    "incomplete": ("Not complete", "Incompleto"),
    "incomplete_why": (
        "{left} of {chunks:# chunk is|# chunks are} not done. What was read is safe; the run goes on where it stopped.",
        "{left:Falta|Faltan} {left} de {chunks:# tramo|# tramos}. Lo que se leyó está a salvo; la carga sigue donde se "
        "detuvo.",
    ),
    "failed": ("Stopped", "Detenido"),
    "owed_why": (
        "No chunk is left to be read, but the run did not end well: the data may not be complete.",
        "No falta leer ningún tramo, pero la ejecución no terminó bien: los datos pueden no estar completos.",
    ),
    "failed_why": (
        "The run could not go on. Nothing that was read is lost.",
        "La carga no pudo seguir. Nada de lo leído se perdió.",
    ),
    "running": ("Still running", "En curso"),
    "running_why": (
        "{done} of {chunks:# chunk is|# chunks are} done so far.",
        "{done:Va|Van} {done} de {chunks:# tramo|# tramos}.",
    ),
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
    "nothing_to_do": ("Nothing to do.", "No hay nada que hacer."),
    "resume_with": ("Go on where it stopped:", "Seguir donde se detuvo:"),
    "repair_with": ("Name what differs and repair it:", "Nombrar lo que difiere y repararlo:"),
    "look_with": ("Look at it:", "Revisarlo:"),
    "contents": ("Contents", "Contenido"),
    "counts_equal": (
        "{source} at QuickBooks = {raw} in raw",
        "{source} en QuickBooks = {raw} en raw",
    ),
    "counts_differ": (
        "{source} at QuickBooks ≠ {raw} in raw",
        "{source} en QuickBooks ≠ {raw} en raw",
    ),
    "company": ("Company", "Empresa"),
    # A company's report
    "company_title": ("The company's entities", "Las entidades de la empresa"),
    "company_complete": ("All entities are complete", "Todas las entidades están completas"),
    "company_incomplete": ("Not all entities are complete", "No todas las entidades están completas"),
    "company_why": (
        "{whole} of {entities:# entity is|# entities are} complete; {absent:every one is|# is|# are} "
        "{absent:offered|not offered|not offered} in this company.",
        "{whole} de {entities:# entidad está completa|# entidades están completas}; en esta empresa "
        "{absent:existen todas|no existe #|no existen #}.",
    ),
    "not_offered": ("Not offered in this company", "No existe en esta empresa"),
    "entities": ("Entities", "Entidades"),
    "entities_caption": ("Each entity of this run", "Cada entidad de esta ejecución"),
    "all_entities": ("All", "Todas"),
    "run_number": ("Run", "Ejecución"),
    "range": ("Range (UTC days)", "Rango (días UTC)"),
    "date": ("Run on", "Fecha de la ejecución"),
    # The page of all runs
    "index_title": ("All runs", "Todas las ejecuciones"),
    "index_complete": ("Each entity's last run is complete", "La última ejecución de cada entidad está completa"),
    "index_incomplete": ("Not every entity is complete", "No todas las entidades están completas"),
    "no_runs": ("No run yet", "Todavía no hay ejecuciones"),
    "index_why": (
        "Complete by its last run: {well} of {entities:# entity|# entities}.",
        "Completas según su última ejecución: {well} de {entities:# entidad|# entidades}.",
    ),
    "runs": ("Runs", "Ejecuciones"),
    "runs_caption": (
        "The newest {most} runs (UTC); a number without a link has no report here: qbo-backfill report NUMBER --open",
        "Las {most} ejecuciones más nuevas (UTC); un número sin enlace no tiene reporte aquí: "
        "qbo-backfill report NÚMERO --open",
    ),
    "began": ("Began", "Inicio"),
    "date_of_page": ("Page of", "Página del"),
    # Control totals
    "control": ("Control totals", "Totales de control"),
    "control_told": (
        "The range's records in raw by month of TxnDate, to hold against a report of QuickBooks' own; deleted ones are "
        "left out.",
        "Los registros del rango en raw por mes de TxnDate, para cotejar con un informe de QuickBooks, sin los "
        "borrados.",
    ),
    "month": ("Month", "Mes"),
    "currency": ("Currency", "Moneda"),
    "total_amount": ("Sum of TotalAmt", "Suma de TotalAmt"),
    "balance": ("Sum of Balance", "Suma de Balance"),
    "first_date": ("First date", "Primera fecha"),
    "last_date": ("Last date", "Última fecha"),
    "all_months": ("All", "Todos"),
    # Totals
    "totals": ("In figures", "En cifras"),
    "rows_read": ("records read", "registros leídos"),
    "inserted": ("inserted", "insertados"),
    "updated": ("updated", "actualizados"),
    "unchanged": ("unchanged", "sin cambios"),
    "quarantined": ("in quarantine", "en cuarentena"),
    "chunks_done": ("chunks done", "tramos hechos"),
    "of_planned": (
        "of {planned}, {before} before this run",
        "de {planned}, {before} antes de esta ejecución",
    ),
    "requests": ("requests", "solicitudes"),
    "requests_note": (
        "{reading} read chunks and catch-up, {others} counted, listed changes or checked; of all, {retried} retried, "
        "{throttled} throttled (429)",
        "{reading} leyeron tramos y la puesta al día, {others} contaron, pidieron cambios o validaron; de todas, "
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
    "no_checks": ("no check was made", "no se hizo ninguna validación"),
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
        "Each bar is one {step} (UTC) of {filter_field}: {rows:# row|# rows} from {first} to {last}, the most, {most}, "
        "in {peak}. {odd:None is|▼ marks the one that is|▼ marks the # that are} unusual.",
        "Cada barra es {step} (UTC) de {filter_field}: {rows:# fila|# filas} del {first} al {last}; el máximo, {most}, "
        "en {peak}. {odd:No hay inusuales|▼ marca el inusual|▼ marca los # inusuales}.",
    ),
    "one_day": ("day", "un día"),
    "one_week": ("week", "una semana"),
    "one_month": ("month", "un mes"),
    "per_chunk": (
        "{size:Rows read per chunk|Rows read, # chunks a bar}",
        "{size:Filas leídas por tramo|Filas leídas, # tramos por barra}",
    ),
    "chunks_told": (
        "Each bar is {size:one chunk|# chunks in a row}, named by its first day: {read:# row|# rows} in "
        "{chunks:# chunk|# chunks}, {inserted} inserted, {updated} updated, {unchanged} unchanged.",
        "Cada barra es {size:un tramo|# tramos seguidos}, con el nombre de su primer día: {read:# fila|# filas} en "
        "{chunks:# tramo|# tramos}, {inserted} insertadas, {updated} actualizadas, {unchanged} sin cambios.",
    ),
    "rows": ("rows", "filas"),
    "day": ("Day", "Día"),
    "unusual": ("unusual", "inusual"),
    "odd_days": ("Unusual days and gaps", "Días inusuales y huecos"),
    "why": ("Why", "Por qué"),
    # Time
    "time": ("Where the time went", "En qué se fue el tiempo"),
    "time_told": (
        "{total} of work in {attempts:# attempt|# attempts} at a chunk, by up to {workers:# worker|# workers}; the bar "
        "is all of it, and the longest part is {longest}.",
        "{total} de trabajo en {attempts:# intento|# intentos} de tramos, hasta {workers:# trabajador|# trabajadores} "
        "a la vez; la barra es todo, y lo que más tardó: {longest}.",
    ),
    "part": ("Part", "Parte"),
    "seconds": ("Seconds", "Segundos"),
    "share": ("Share", "Parte del total"),
    "wait": (
        "waiting for the rate limit, the breaker, or before another try",
        "espera por la cuota, el cortacircuitos o antes de reintentar",
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
    "made": (
        "Made by qbo-backfill {version} from ops, {moment}.",
        "Hecho por qbo-backfill {version} desde ops, {moment}.",
    ),
    "simulator": ("simulator (invented data)", "simulador (datos inventados)"),
    "invoices": ("invoices", "facturas"),
    "customers": ("customers", "clientes"),
    "items": ("items", "productos y servicios"),
    "to": ("to", "a"),
    "now": ("now", "ahora"),
}


class Texts:
    """The words of one language: `texts("complete")`, with values for the braces. KeyError for an unknown key."""

    def __init__(self, lang: str) -> None:
        self.lang = lang if lang in LANGUAGES else "en"

    def __call__(self, key: str, **values: object) -> str:
        return fill(TEXTS[key], self.lang, values)

    def word(self, name: str) -> str:
        """The word for a name of the code where there is one, else the name itself."""
        return self(name) if name in TEXTS else name

    def title(self, key: str) -> str:
        """The text, or the name itself where there is none, with a capital, as a table's heads have it."""
        text = self.word(key)
        return text[:1].upper() + text[1:]

    def number(self, value: float, decimals: int = 0) -> str:
        """1,234.5 in English, 1.234,5 in Spanish."""
        return number(value, self.lang, decimals)

    def duration(self, seconds: float) -> str:
        """`12.3 s`, `4 min 5 s`, `2 h 10 min`."""
        if seconds < 60:
            return f"{self.number(seconds, 1)} s"
        minutes, rest = divmod(round(seconds), 60)
        hours, minutes = divmod(minutes, 60)
        return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"

    def size(self, count: int) -> str:
        """Bytes in decimal units."""
        value = float(count)
        for unit in ("B", "kB", "MB"):
            if value < 1000:
                return f"{self.number(value, 0 if unit == 'B' else 1)} {unit}"
            value /= 1000
        return f"{self.number(value, 1)} GB"

    def span(self, start: datetime, end: datetime | None) -> str:
        """Two moments of UTC, days alone at midnight; `now` for an end that is still open."""
        return f"{day_or_minute(start)} {self('to')} {day_or_minute(end) if end else self('now')}"


def day_or_minute(moment: datetime) -> str:
    """The UTC day alone at midnight, else with the minute."""
    text = f"{moment.astimezone(UTC):%Y-%m-%d %H:%M}"
    return text.removesuffix(" 00:00") if moment.second == 0 else text


def exact(moment: datetime) -> str:
    """To the second, in UTC."""
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
