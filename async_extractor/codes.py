"""The stable codes of events, checks and errors: QBF-, a letter, a phase's digit, and two digits.

The letter says the severity at its worst: I for information, W for a warning, E for an error. The
first digit is the phase: 1 auth, 2 plan, 3 extract, 4 load, 5 validate, 6 report. A code never changes its
meaning; docs/error-codes.md is this table for people (`python -m tools.docs.code_document`).
"""

from __future__ import annotations

from dataclasses import dataclass

from async_extractor.language import Phrase


@dataclass(frozen=True)
class Code:
    """`name` is the event's, the check's or the error's; `means` (en, es) and `action` are for people."""

    code: str
    name: str
    means: Phrase
    action: str = ""


# Emitted as events: in Mage's log, as JSON lines, and, from a warning upwards, in ops.events and the report.
EVENTS = (
    Code(
        "QBF-I101",
        "token_refreshed",
        (
            "A new access token was issued; a rotated refresh token is stored already.",
            "Se emitió un nuevo token de acceso; el refresh token rotado ya está guardado.",
        ),
    ),
    Code(
        "QBF-W102",
        "token_retry",
        (
            "Intuit's token endpoint gave no answer; the refresh is tried again.",
            "El servidor de tokens de Intuit no respondió; se vuelve a intentar.",
        ),
        "Nothing, unless it goes on: then look at Intuit's status page.",
    ),
    Code(
        "QBF-W103",
        "token_not_stored",
        (
            "The rotated refresh token could not be stored in Mage Secrets yet; it is tried again.",
            "El refresh token rotado todavía no se pudo guardar en Mage Secrets; se reintenta.",
        ),
        "Make Mage's database writable; until then the new token is in this process only.",
    ),
    Code(
        "QBF-W104",
        "token_waits",
        (
            "Another process of this company is refreshing the access token, and takes long.",
            "Otro proceso de esta empresa está renovando el access token y se demora.",
        ),
        "It goes on by itself when that one ends. A process that was suspended has to be continued or ended.",
    ),
    Code(
        "QBF-I201",
        "planned",
        ("The range was cut into chunks in the ledger.", "El rango se dividió en tramos en la bitácora."),
    ),
    Code(
        "QBF-W202",
        "budget_not_shared",
        (
            "Postgres can't hold the company's shared budget, so this process takes a safe part of it.",
            "Postgres no puede llevar la cuota compartida de la empresa; este proceso toma una parte segura.",
        ),
        "Repair the connection or the role's rights (POSTGRES_*); the run is slower, not wrong.",
    ),
    Code(
        "QBF-W204",
        "clock_set_back",
        (
            "The clock of Postgres' server was set back; turns and pauses dated by the old one are dated anew.",
            "El reloj del servidor de Postgres se atrasó; lo fechado con el anterior se fecha de nuevo.",
        ),
        "Let the server's clock be slewed, not set.",
    ),
    Code(
        "QBF-W206",
        "clock_ahead",
        (
            "QuickBooks' answers are dated more than five minutes ahead of Postgres' clock.",
            "Las respuestas de QuickBooks llevan más de cinco minutos de adelanto respecto al reloj de Postgres.",
        ),
        "Set the clock of Postgres' server (NTP). If QuickBooks' is the wrong one, edits between two runs may "
        "be missed: `qbo-backfill verify --deep` shows them.",
    ),
    Code(
        "QBF-I203",
        "repair_begun",
        (
            "A verification reads windows again and marks rows deleted.",
            "Una verificación vuelve a leer ventanas y marca filas como borradas.",
        ),
    ),
    Code(
        "QBF-I313",
        "extract_begun",
        (
            "The workers begin; how many chunks are to be read.",
            "Empiezan los trabajadores; cuántos tramos hay que leer.",
        ),
    ),
    Code("QBF-I301", "chunk_started", ("A worker began a chunk.", "Un trabajador empezó un tramo.")),
    Code(
        "QBF-I302",
        "chunk_released",
        ("A chunk was given back on purpose, to be resumed.", "Un tramo se devolvió a propósito, para reanudarlo."),
        "`qbo-backfill resume`.",
    ),
    Code(
        "QBF-E303",
        "chunk_failed",
        ("A chunk could not be read; the others go on.", "Un tramo no se pudo leer; los demás siguen."),
        "`qbo-backfill retry`; intuit_tid names the failure to Intuit's support.",
    ),
    Code(
        "QBF-W304",
        "chunk_lost",
        (
            "Another worker has taken the chunk over; nothing is written twice.",
            "Otro trabajador tomó el tramo; nada se escribe dos veces.",
        ),
    ),
    Code(
        "QBF-W305",
        "retry",
        (
            "A request failed for a passing reason (5xx, a cut connection, HTML for JSON) and is sent again.",
            "Una solicitud falló por una causa pasajera (5xx, conexión cortada, HTML en vez de JSON) y se "
            "envía otra vez.",
        ),
        "Nothing: it is counted among the retries.",
    ),
    Code(
        "QBF-W306",
        "throttled",
        (
            "QuickBooks answered 429; the whole company pauses.",
            "QuickBooks respondió 429; toda la empresa hace una pausa.",
        ),
        "Nothing; when it comes often, another program asks the same company: lower the concurrency of either.",
    ),
    Code(
        "QBF-W307",
        "breaker",
        (
            "The circuit breaker opened, probed or closed: QuickBooks is out of reach, or answers again.",
            "El cortacircuitos se abrió, probó o cerró: QuickBooks no responde, o vuelve a responder.",
        ),
        "Look at Intuit's status page; the run waits 15 minutes and then ends resumable.",
    ),
    Code(
        "QBF-W308",
        "order_ignored",
        (
            "QuickBooks did not honour ORDERBY; windows that fit one page are read instead.",
            "QuickBooks no respetó ORDERBY; se leen ventanas que caben en una página.",
        ),
    ),
    Code(
        "QBF-W309",
        "page_split",
        (
            "QuickBooks can't serve a page; it is halved down to the record that breaks it.",
            "QuickBooks no puede servir una página; se parte hasta dar con el registro que la rompe.",
        ),
        "`qbo-backfill quarantine list` names the record.",
    ),
    Code(
        "QBF-W310",
        "incomplete",
        ("The run ended with chunks that are not done.", "La ejecución terminó con tramos sin hacer."),
        "`qbo-backfill resume`.",
    ),
    Code(
        "QBF-W311",
        "changes_cut_off",
        (
            "QuickBooks' list of changes was full, so deleted records may be missing from it.",
            "La lista de cambios de QuickBooks venía llena; pueden faltar borrados.",
        ),
        "`qbo-backfill verify ... --repair` finds and marks them.",
    ),
    Code(
        "QBF-W312",
        "more_events",
        (
            "More events of the kinds above than are kept; their number is told.",
            "Hubo más eventos de estos de los que se guardan; se dice cuántos.",
        ),
    ),
    Code(
        "QBF-W315",
        "worker_retired",
        (
            "Postgres has no connection left for a worker; the run's others do its work.",
            "Postgres no tiene conexión para un trabajador; los demás de la ejecución hacen su parte.",
        ),
        "Raise max_connections, or lower concurrency.",
    ),
    Code(
        "QBF-I314",
        "answered",
        (
            "QuickBooks answered a request; the event has its status, seconds and bytes.",
            "QuickBooks respondió una solicitud; el evento tiene estado, segundos y bytes.",
        ),
    ),
    Code("QBF-I401", "page_loaded", ("A page is in raw.", "Una página está en raw.")),
    Code(
        "QBF-I406",
        "progress",
        (
            "How far the run is: chunks, rows, rate, and the time left.",
            "Cuánto lleva la ejecución: tramos, filas, ritmo y el tiempo que falta.",
        ),
    ),
    Code(
        "QBF-I402",
        "chunk_done",
        (
            "All pages of a chunk are in raw, and the ledger says so.",
            "Todas las páginas de un tramo están en raw, y la bitácora lo dice.",
        ),
    ),
    Code(
        "QBF-W403",
        "quarantined",
        (
            "A record that Postgres can't hold, or that Intuit can't serve, was set aside whole; its page went on.",
            "Un registro que Postgres no puede guardar, o que Intuit no puede servir, se apartó entero; su "
            "página siguió.",
        ),
        "`qbo-backfill quarantine show`; after a correction in QuickBooks `qbo-backfill quarantine retry`.",
    ),
    Code(
        "QBF-W404",
        "database_retry",
        (
            "Postgres was out of reach or refused for a passing reason; the work is done again.",
            "Postgres no respondió o rechazó por una causa pasajera; el trabajo se repite.",
        ),
        "Nothing; after 90 s the run ends resumable.",
    ),
    Code(
        "QBF-W405",
        "marked_deleted",
        (
            "Records were deleted in QuickBooks: marked in raw, their payload kept.",
            "Registros borrados en QuickBooks: marcados en raw, con su payload.",
        ),
    ),
    Code(
        "QBF-W501",
        "validated",
        (
            "A check has its result; its own code is in the field check_code.",
            "Una validación tiene resultado; su código está en el campo check_code.",
        ),
    ),
    Code("QBF-I601", "run_finished", ("The run's figures.", "Las cifras de la ejecución.")),
    Code(
        "QBF-I603",
        "report_written",
        (
            "The report's files are there; the event names the page.",
            "Los archivos del informe están listos; el evento nombra la página.",
        ),
    ),
    Code(
        "QBF-W602",
        "report_not_written",
        (
            "The report's files could not be written; the run itself is not touched.",
            "No se pudieron escribir los archivos del informe; la ejecución no cambia.",
        ),
        "Make the folder writable, then `qbo-backfill report RUN`.",
    ),
)

# Checks: rows of ops.validations.
CHECKS = (
    Code(
        "QBF-E511",
        "keys",
        (
            "Ids are not empty, stand once, and are their payload's Id.",
            "Los Ids no están vacíos, están una sola vez y son los de su payload.",
        ),
        "verify --repair",
    ),
    Code(
        "QBF-E512",
        "utc",
        (
            "LastUpdatedTime is inside the window that a row was read in, in UTC.",
            "LastUpdatedTime está dentro de la ventana en que se leyó la fila, en UTC.",
        ),
        "verify --repair",
    ),
    Code(
        "QBF-E513",
        "pages",
        (
            "Page numbers run from 1 to the pages that were read, without holes.",
            "Los números de página van de 1 a las páginas leídas, sin huecos.",
        ),
        "verify --repair",
    ),
    Code(
        "QBF-E514",
        "chunk_counts",
        (
            "Each chunk gave as many rows as COUNT(*) said when it was planned.",
            "Cada tramo dio tantas filas como COUNT(*) dijo al planificar.",
        ),
    ),
    Code(
        "QBF-E515",
        "ledger",
        (
            "Chunks cover the range without holes, all are done, and each that is done was read.",
            "Los tramos cubren el rango sin huecos, todos están hechos y cada uno se leyó.",
        ),
        "verify --repair, or run the range again",
    ),
    Code(
        "QBF-E516",
        "quarantine",
        (
            "No record is in quarantine; more than a handful is an error.",
            "Ningún registro está en cuarentena; más que unos pocos es un error.",
        ),
        "quarantine list",
    ),
    Code(
        "QBF-E517",
        "source_count",
        ("QuickBooks' COUNT(*) of the range is raw's.", "El COUNT(*) de QuickBooks del rango es el de raw."),
        "verify --repair",
    ),
    Code(
        "QBF-E518",
        "volume",
        (
            "No gaps, empty days or outliers by weekday (median and MAD), and no row lost since the last run.",
            "Sin huecos, días vacíos ni atípicos por día de la semana (mediana y MAD), y sin filas perdidas "
            "desde la ejecución anterior.",
        ),
        "verify",
    ),
    Code(
        "QBF-E519",
        "seals",
        (
            "Each day is as the last run left it: nobody else has changed rows.",
            "Cada día está como lo dejó la última ejecución: nadie más cambió filas.",
        ),
        "verify --repair",
    ),
    Code(
        "QBF-E520",
        "source_rows",
        (
            "The differing windows, record by record: which Ids, and how.",
            "Las ventanas que difieren, registro por registro: qué Ids, y cómo.",
        ),
        "verify --repair",
    ),
    Code(
        "QBF-E521",
        "windows",
        (
            "Each row's window is a chunk of the ledger and holds it.",
            "La ventana de cada fila es un tramo de la bitácora y la contiene.",
        ),
        "verify --repair",
    ),
    Code(
        "QBF-E522",
        "repair",
        (
            "What a repair read again and marked, and whether all is well after it.",
            "Qué volvió a leer y a marcar una reparación, y si después todo está bien.",
        ),
    ),
    Code(
        "QBF-E523",
        "reprocess",
        (
            "Reading a window again left the same rows with the same hash.",
            "Leer otra vez una ventana dejó las mismas filas con el mismo hash.",
        ),
        "verify --deep",
    ),
)

# What ends a command: the class of the one-line error, and the exit code.
ERRORS = (
    Code(
        "QBF-E901",
        "RequestError",
        (
            "Exit 2: a parameter is wrong. Nothing was asked of anyone.",
            "Salida 2: un parámetro está mal. No se preguntó nada a nadie.",
        ),
        "Correct it.",
    ),
    Code(
        "QBF-E902",
        "IncompleteError",
        (
            "Exit 3: chunks are left, a check found an error or could not be made, or raw differs from "
            "QuickBooks. Nothing is lost.",
            "Salida 3: quedan tramos, una validación encontró un error o no se pudo hacer, o raw difiere de "
            "QuickBooks. Nada se perdió.",
        ),
        "`qbo-backfill resume`, or `verify --repair`.",
    ),
    Code(
        "QBF-E903",
        "ConfigurationError",
        (
            "Exit 4: a secret, the authorization, or the database's set-up is wrong.",
            "Salida 4: un secreto, la autorización o la preparación de la base de datos está mal.",
        ),
        "The line says which; retrying will not help.",
    ),
    Code(
        "QBF-I904",
        "NotOfferedError",
        (
            "Exit 0: this company has no such entity (its edition, its country, a feature that is off).",
            "Salida 0: esta empresa no tiene esa entidad (su edición, su país o una función desactivada).",
        ),
        "Nothing; [entities.md](entities.md) says what it needs.",
    ),
)

_BY_NAME = {code.name: code for code in (*EVENTS, *CHECKS, *ERRORS)}


def about(name: str) -> Code:
    """The code with its meaning, by the event's, check's or error's name. KeyError for an unknown one."""
    return _BY_NAME[name]


def code_of(name: str) -> str:
    """`QBF-E303` and the like, by the event's, check's or error's name. KeyError for an unknown one."""
    return _BY_NAME[name].code
