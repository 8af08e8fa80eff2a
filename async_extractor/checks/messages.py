"""Every sentence that a check can say, in English and Spanish, filled in from the check's figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

from async_extractor.language import Phrase, fill

NAMES: dict[str, Phrase] = {
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

# By `check.severity`, or `check.case` where one severity has several reasons.
MESSAGES: dict[str, Phrase] = {
    "not_made": ("could not be made: {reason}", "no se pudo hacer: {reason}"),
    # keys
    "keys.ok": (
        "{rows:this run wrote no row, so there is no Id to check|the one row written by this run has an Id of its own, "
        "and it is its payload's|# rows written by this run: each Id is there once and is its payload's}",
        "{rows:esta ejecución no escribió filas: no hay Ids que revisar|la única fila escrita por esta ejecución tiene "
        "un Id propio, el de su payload|# filas escritas por esta ejecución: cada Id está una sola vez y es el de su "
        "payload}",
    ),
    "keys.table": (
        "{rows:the table is empty|one row: its Id is its payload's|# rows: each Id is there once and is its payload's}",
        "{rows:la tabla está vacía|una fila: su Id es el de su payload|# filas: cada Id está una sola vez y es el de "
        "su payload}",
    ),
    "keys.error": (
        "Ids are wrong: {twice} there twice, {empty} empty, {unlike_payload} other than the payload's Id",
        "hay Ids incorrectos: {twice} repetidos, {empty} vacíos, {unlike_payload} distintos del Id de su payload",
    ),
    # utc
    "utc.ok": (
        "{rows:no row was written, so there is no time to check|the row's LastUpdatedTime is inside the window it was "
        "read in, in UTC|each row's LastUpdatedTime is inside the window it was read in, in UTC}",
        "{rows:no se escribieron filas: no hay tiempos que revisar|el LastUpdatedTime de la fila está dentro de la "
        "ventana en que se leyó, en UTC|el LastUpdatedTime de cada fila está dentro de la ventana en que se leyó, en "
        "UTC}",
    ),
    "utc.warning": (
        "{without_date:# row has|# rows have} no LastUpdatedTime",
        "{without_date:# fila no tiene|# filas no tienen} LastUpdatedTime",
    ),
    "utc.error": (
        "{outside:# row has|# rows have} a LastUpdatedTime outside the window in which it was read",
        "{outside:# fila tiene|# filas tienen} LastUpdatedTime fuera de la ventana en que se leyó",
    ),
    # pages
    "pages.ok": ("page numbers run from 1 without holes", "los números de página van desde 1 sin huecos"),
    "pages.notice": (
        "{holes:chunk|chunks} {holes}: pages without rows of their own; what they brought came in a later page or the "
        "catch-up, too",
        "{holes:tramo|tramos} {holes}: hay páginas sin filas propias; lo que trajeron vino también en una página "
        "posterior o en la puesta al día",
    ),
    "pages.error": (
        "{beyond:chunk|chunks} {beyond}: rows of pages that were never read",
        "{beyond:tramo|tramos} {beyond}: hay filas de páginas que nunca se leyeron",
    ),
    # chunk_counts
    "chunk_counts.ok": (
        "{read:this run read no chunk itself|the chunk gave at least the rows that QuickBooks counted for it|every "
        "chunk gave at least the rows that QuickBooks counted for it}",
        "{read:esta ejecución no leyó ningún tramo|el tramo dio al menos las filas que QuickBooks contó|cada tramo dio "
        "al menos las filas que QuickBooks contó}",
    ),
    "chunk_counts.notice": (
        "{chunks:# chunk|# chunks} gave fewer rows than QuickBooks counted when it was planned: rows edited since then "
        "have left their window and are in the catch-up",
        "{chunks:# tramo dio|# tramos dieron} menos filas que las contadas al planificar: las editadas desde entonces "
        "salieron de su ventana y están en la puesta al día",
    ),
    # ledger
    "ledger.ok": (
        "the chunks cover the range without holes, and each was read",
        "los tramos cubren el rango sin huecos y cada uno se leyó",
    ),
    "ledger.hollow": (
        "{hollow_chunks:# chunk is|# chunks are} marked done, and no attempt ever read it: {hollow:of hollow_chunks}",
        "{hollow_chunks:# tramo figura como hecho|# tramos figuran como hechos} y nadie lo leyó: "
        "{hollow:of hollow_chunks}",
    ),
    "ledger.holes": ("no chunk covers {holes}", "ningún tramo cubre {holes}"),
    "ledger.open": (
        "{open:# chunk of the range is|# chunks of the range are} not done",
        "{open:# tramo del rango no está hecho|# tramos del rango no están hechos}",
    ),
    # quarantine
    "quarantine.ok": ("no record is in quarantine", "ningún registro está en cuarentena"),
    "quarantine.warning": (
        "{standing:# record is|# records are} in quarantine, {of_this_run} since this run: QuickBooks has them, "
        "raw does not",
        "{standing:# registro está|# registros están} en cuarentena, {of_this_run} desde esta ejecución: QuickBooks "
        "los tiene, raw no",
    ),
    "quarantine.error": (
        "{standing:# record is|# records are} in quarantine, {of_this_run} of the {read} read by this run: too many "
        "for single bad records, so the table or the schema may be at fault",
        "{standing:# registro está|# registros están} en cuarentena, {of_this_run} de los {read} leídos por esta "
        "ejecución: son demasiados para ser registros sueltos; quizá el problema sea la tabla o el esquema",
    ),
    # source_count
    "source_count.ok": (
        "{source:QuickBooks has no record in the range, and neither has raw|QuickBooks and raw both have # record in "
        "the range|QuickBooks and raw both have # records in the range}",
        "{source:QuickBooks no tiene registros en el rango, y raw tampoco|QuickBooks y raw tienen # registro en el "
        "rango|QuickBooks y raw tienen # registros en el rango}",
    ),
    "source_count.explained": (
        "QuickBooks has {source:# record|# records} in the range, raw {raw}: the difference of {missing} is in "
        "quarantine ({quarantined:# record|# records} there)",
        "QuickBooks tiene {source:# registro|# registros} en el rango y raw {raw}: la diferencia de {missing} está en "
        "cuarentena ({quarantined:# registro|# registros} allí)",
    ),
    "source_count.error": (
        "QuickBooks has {source:# record|# records} in the range, raw {raw}: {missing} missing, of which quarantine "
        "explains {quarantined}",
        "QuickBooks tiene {source:# registro|# registros} en el rango y raw {raw}: faltan {missing}, de los que la "
        "cuarentena explica {quarantined}",
    ),
    "source_count.more": (
        "raw has {raw:# record|# records} in the range, QuickBooks {source}: {surplus} edited or deleted there since "
        "the range was read",
        "raw tiene {raw:# registro|# registros} en el rango y QuickBooks {source}: {surplus} se editaron o borraron "
        "allí después de leerse",
    ),
    # source_rows: how it was compared, then what differs
    "source_rows.whole": (
        "every one of QuickBooks' {compared:# records|# record|# records} of the range was compared with raw",
        "se {compared:compararon # registros|comparó # registro|compararon # registros} de QuickBooks con raw, "
        "uno por uno",
    ),
    "source_rows.counted": (
        "QuickBooks counts {source:# record|# records} in the range, raw {raw}",
        "QuickBooks cuenta {source:# registro|# registros} en el rango, raw {raw}",
    ),
    "source_rows.equal": ("no difference was found", "no hay diferencias"),
    "source_rows.missing": (
        "{missing} missing in raw ({ids[missing]:of missing})",
        "{missing:falta|faltan} en raw {missing} ({ids[missing]:of missing})",
    ),
    "source_rows.outdated": (
        "{outdated} older in raw than at QuickBooks ({ids[outdated]:of outdated})",
        "{outdated} con una versión anterior en raw ({ids[outdated]:of outdated})",
    ),
    "source_rows.unheld": (
        "{unheld} with a version that raw can't hold and no run has set aside ({ids[unheld]:of unheld})",
        "{unheld} con una versión que raw no puede guardar y que ninguna ejecución ha apartado "
        "({ids[unheld]:of unheld})",
    ),
    "source_rows.unmoved": (
        "{unmoved} changed at QuickBooks without a new LastUpdatedTime, which only `reprocess` or a repair brings "
        "({ids[unmoved]:of unmoved})",
        "{unmoved} {unmoved:cambiado|cambiados} en QuickBooks sin nueva LastUpdatedTime; solo `reprocess` o una "
        "reparación {unmoved:lo trae|los traen} ({ids[unmoved]:of unmoved})",
    ),
    "source_rows.renamed": (
        "{renamed} with older names in {renamed:its|their} references, which `reprocess` brings "
        "({ids[renamed]:of renamed})",
        "{renamed} con nombres anteriores en sus referencias; `reprocess` los actualiza ({ids[renamed]:of renamed})",
    ),
    "source_rows.altered": (
        "{altered} altered in raw ({ids[altered]:of altered})",
        "{altered} {altered:alterado|alterados} en raw ({ids[altered]:of altered})",
    ),
    "source_rows.surplus": (
        "{surplus} in raw that QuickBooks doesn't have ({ids[surplus]:of surplus})",
        "{surplus} en raw que QuickBooks no tiene ({ids[surplus]:of surplus})",
    ),
    "source_rows.misplaced": (
        "{misplaced} with a window in raw in which it can't have been read ({ids[misplaced]:of misplaced})",
        "{misplaced} con una ventana en raw en la que no se pudo leer ({ids[misplaced]:of misplaced})",
    ),
    "source_rows.quarantined": (
        "{quarantined} in quarantine ({ids[quarantined]:of quarantined})",
        "{quarantined} en cuarentena ({ids[quarantined]:of quarantined})",
    ),
    "source_rows.unread": (
        "{unread} created or edited at QuickBooks since the range was read ({ids[unread]:of unread})",
        "{unread} {unread:creado o editado|creados o editados} en QuickBooks después de leer el rango "
        "({ids[unread]:of unread})",
    ),
    "source_rows.superseded": (
        "{superseded} that QuickBooks lists no more, kept as what was in effect ({ids[superseded]:of superseded})",
        "{superseded} que QuickBooks ya no lista y se {superseded:conserva|conservan} como lo vigente entonces "
        "({ids[superseded]:of superseded})",
    ),
    "source_rows.moved": (
        "{moved} edited at QuickBooks since, and out of the range by that ({ids[moved]:of moved})",
        "{moved} {moved:editado|editados} en QuickBooks y por eso fuera del rango ({ids[moved]:of moved})",
    ),
    "source_rows.unexplained": (
        "{unexplained} that QuickBooks counts and doesn't give, or gives without an Id",
        "{unexplained} que QuickBooks cuenta y no entrega, o entrega sin Id",
    ),
    "source_rows.days": (
        "on {different_days:# day|# days}: {days:of different_days}",
        "{different_days:el día|los días} {days:of different_days}",
    ),
    # volume
    "volume.empty": ("no rows in the range", "no hay filas en el rango"),
    "volume.ok": (
        "{rows:# row|# rows} from {first_day} to {last_day}, without gaps, empty days or outliers",
        "{rows:# fila|# filas} del {first_day} al {last_day}, sin huecos, días vacíos ni atípicos",
    ),
    "volume.gaps": (
        "{gap_count:# gap|# gaps, the longest}: {longest_gap}",
        "{gap_count:# hueco|# huecos, el más largo}: {longest_gap}",
    ),
    "volume.low": (
        "{low:# day|# days} with too few rows, for example: {lowest}",
        "{low:# día|# días} con muy pocas filas, por ejemplo: {lowest}",
    ),
    "volume.high": (
        "{high:# day|# days} with unusually many rows, for example: {highest}",
        "{high:# día|# días} con muchas más filas de lo usual, por ejemplo: {highest}",
    ),
    "volume.confirmed": (
        "QuickBooks counts the same, so it is so in the company's books",
        "QuickBooks cuenta lo mismo: así está en los libros de la empresa",
    ),
    "volume.lost": (
        "raw has {lost:# row|# rows} fewer than when run {lost_since} had ended, and nothing here deletes a row",
        "raw tiene {lost:# fila|# filas} menos que al terminar la ejecución {lost_since}, y aquí nada borra filas",
    ),
    "volume.lost_elsewhere": (
        "{lost:it is|they are} not of this range, where QuickBooks counts the same",
        "no {lost:es|son} de este rango, donde QuickBooks cuenta lo mismo",
    ),
    # seals
    "seals.ok": ("every day is as the last run left it", "cada día está como lo dejó la última ejecución"),
    "seals.sealed": (
        "{sealed:nothing was written, so no day had to be sealed anew|# day sealed|# days sealed}; rows that anything "
        "else changes from now on show in the next verification",
        "{sealed:no se escribió nada y no hubo que sellar ningún día|# día sellado|# días sellados}; lo que otra mano "
        "cambie desde ahora se verá en la próxima verificación",
    ),
    "seals.changed": (
        "another hand has changed rows created on {changed:# day|# days}, which QuickBooks does not confirm: "
        "{changed_days:of changed}",
        "otra mano cambió filas creadas en {changed:# día|# días} que QuickBooks no confirma: "
        "{changed_days:of changed}",
    ),
    "seals.none": (
        "raw has no seals yet: no run has come to its end",
        "raw todavía no tiene sellos: ninguna ejecución llegó a su fin",
    ),
    "seals.notice": (
        "records created on {broken:# day|# days} are not as runs left them: {broken_days:of broken}",
        "los registros creados en {broken:# día|# días} no están como los dejaron las ejecuciones: "
        "{broken_days:of broken}",
    ),
    # windows
    "windows.ok": (
        "every row's window is a chunk of the ledger and holds its LastUpdatedTime, in UTC",
        "la ventana de cada fila es un tramo de la bitácora y contiene su LastUpdatedTime, en UTC",
    ),
    "windows.error": (
        "{misplaced:# row has|# rows have} a window that can't be theirs ({ids:of misplaced})",
        "{misplaced:# fila tiene|# filas tienen} una ventana que no puede ser la suya ({ids:of misplaced})",
    ),
    "windows.LastUpdatedTime outside its window": ("LastUpdatedTime outside it", "LastUpdatedTime fuera de ella"),
    "windows.its window is no chunk of the ledger": ("it is no chunk of the ledger", "no es un tramo de la bitácora"),
    "windows.written by no run of the ledger": (
        "written by no run of the ledger",
        "ninguna ejecución de la bitácora las escribió",
    ),
    "windows.to be read again, and not read since": (
        "a repair wanted them to be read again, and nobody has",
        "una reparación pidió leerlas otra vez y nadie lo ha hecho",
    ),
    "windows.ingested in the future": ("ingested in the future", "con hora de ingesta en el futuro"),
    # repair
    "repair.ok": (
        "{windows:no window was|# window was|# windows were} read again and {marked_deleted:# row|# rows} marked "
        "deleted; what was wrong is right now",
        "se {windows:leyeron otra vez # ventanas|leyó otra vez # ventana|leyeron otra vez # ventanas} y se "
        "{marked_deleted:marcaron # filas como borradas|marcó # fila como borrada|marcaron # filas como borradas}; lo "
        "que estaba mal quedó bien",
    ),
    "repair.error": (
        "{windows:no window was|# window was|# windows were} read again and {marked_deleted:# row|# rows} marked "
        "deleted; differences are left",
        "se {windows:leyeron otra vez # ventanas|leyó otra vez # ventana|leyeron otra vez # ventanas} y se "
        "{marked_deleted:marcaron # filas como borradas|marcó # fila como borrada|marcaron # filas como borradas}; "
        "quedan diferencias",
    ),
    # reprocess
    "reprocess.ok": (
        "reading the range again left the same {rows_after:# row|# rows} with the same hash",
        "leer otra vez el rango dejó {rows_after:la misma fila|las mismas # filas} con el mismo hash",
    ),
    "reprocess.notice": (
        "reading the range again changed it, from {rows_before:# row|# rows} to {rows_after} or in what they say: "
        "edited at QuickBooks, or changed here, since they were first read",
        "leer otra vez el rango lo cambió, de {rows_before:# fila|# filas} a {rows_after} o en lo que dicen: se "
        "editaron en QuickBooks, o se cambiaron aquí, desde la primera lectura",
    ),
    "reprocess.renamed": (
        "reading the range again brought other names inside references, and nothing else: QuickBooks fills these in "
        "when it answers, without a new version",
        "leer otra vez el rango trajo otros nombres dentro de referencias y nada más: QuickBooks los completa al "
        "responder, sin una nueva versión",
    ),
    "reprocess.warning": (
        "reading the range again changed what {rows_after:its row says|its # rows say} under the same versions, and "
        "not only names inside references: changed here by another hand, or at QuickBooks without a new version",
        "leer otra vez el rango cambió lo que {rows_after:dice su fila|dicen sus # filas} con las mismas versiones, y "
        "no solo nombres dentro de referencias: otra mano lo cambió aquí, o QuickBooks sin una nueva versión",
    ),
}

# Why a day or a stretch of days is unusual.
ODD_DAY: Phrase = (
    "{weekday} {day} has {rows:no rows|# row|# rows}, where {weekdays} from {first} to {last} usually have {usual} "
    "(median), give or take {spread} (MAD)",
    "{weekday} {day}: {rows:sin filas|# fila|# filas}, cuando los {weekdays} del {first} al {last} suelen tener "
    "{usual} (mediana), más o menos {spread} (MAD)",
)
GAP: Phrase = (
    "no rows from {first} to {last} ({days:# day|# days}), where the days around suggest about {expected}",
    "sin filas del {first} al {last} ({days:# día|# días}); por los días de alrededor se esperaban unas {expected}",
)
WEEKDAYS: Sequence[Phrase] = (
    ("Monday", "lunes"),
    ("Tuesday", "martes"),
    ("Wednesday", "miércoles"),
    ("Thursday", "jueves"),
    ("Friday", "viernes"),
    ("Saturday", "sábado"),
    ("Sunday", "domingo"),
)
WEEKDAYS_PLURAL: Sequence[Phrase] = [
    (f"{english}s", spanish if spanish.endswith("es") else f"{spanish}s") for english, spanish in WEEKDAYS
]


def check_name(name: str, lang: str) -> str:
    """The check's name for people."""
    return fill(NAMES[name], lang, {}) if name in NAMES else name


def sentence(says: Sequence[str], figures: Mapping[str, Any], lang: str) -> str:
    """What a check found, in one language; its parts are joined by semicolons."""
    odd = {name: odd_day(value, lang) for name, value in figures.items() if isinstance(value, dict) and "kind" in value}
    return "; ".join(fill(MESSAGES[key], lang, {**figures, **odd}) for key in says)


def odd_day(found: Mapping[str, Any], lang: str) -> str:
    """Why a day, or a gap, of the volume check is unusual."""
    if found["kind"] == "gap":
        return fill(GAP, lang, found)
    weekday = date.fromisoformat(str(found["day"])).weekday()
    names = {"weekday": fill(WEEKDAYS[weekday], lang, {}), "weekdays": fill(WEEKDAYS_PLURAL[weekday], lang, {})}
    return fill(ODD_DAY, lang, {**found, **names})
