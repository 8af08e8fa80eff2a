"""What people read can be Spanish: every sentence of an error or an event has its Spanish one, its values in place."""

from __future__ import annotations

import ast
import itertools
import re
import string
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from async_extractor.checks.messages import MESSAGES, NAMES, sentence
from async_extractor.errors import RequestError
from async_extractor.spoken import checked_environment, say, speak, spoken
from async_extractor.spoken.sentences import SENTENCES

ROOT = Path(__file__).parents[2] / "async_extractor"
# Errors whose text is for programmers.
INNER = ("ValueError", "RuntimeError", "AttributeError", "TypeError", "KeyError")
# Words that Spanish hasn't.
ENGLISH = re.compile(
    r"\b(the|is|are|was|were|of|and|with|not|can't|which|that|for|this|has|from|again|than)\b", re.IGNORECASE
)


# Headings that are the same in both languages: names of columns, of QuickBooks, of figures.
SAME = {"", "429", "Id", "Mage", "bytes", "chunk", "concurrency", "fecha_fin", "fecha_inicio", "p50 ms", "p95 ms"}
SAME |= {"realm", "trigger"}
# What shows texts to people, and what is no sentence.
SHOWS = re.compile(r"print|.*\.print|typer\.(echo|confirm|prompt)|web\.Response")
AS_THEY_ARE = {"qbo-backfill: ", "[ERROR] "}
# A command, and a sentence of which the most stands elsewhere.
FRAME = re.compile(r"qbo-backfill |Would read {}\.$")
# What each name of a piece of source may be.
Known = Mapping[str, Sequence[ast.AST | None]]


def templates(node: ast.AST | None, known: Known) -> list[str]:
    """The texts that a piece of source may be, `{}` where a value stands."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return [node.value]
    if isinstance(node, ast.IfExp):
        return [*templates(node.body, known), *templates(node.orelse, known)]
    if isinstance(node, ast.FormattedValue):
        window = ast.unparse(node.value).endswith("window")
        return ["[{}, {})"] if window else templates(node.value, known) or ["{}"]
    if isinstance(node, ast.BoolOp):
        return [text for value in node.values for text in templates(value, known)]
    if isinstance(node, (ast.JoinedStr, ast.BinOp)):
        parts = node.values if isinstance(node, ast.JoinedStr) else (node.left, node.right)
        return ["".join(texts) for texts in itertools.product(*(templates(part, known) or ["{}"] for part in parts))]
    if isinstance(node, ast.Call) and ast.unparse(node.func) == "with_profile":
        return templates(node.args[0], known)
    if isinstance(node, (ast.Name, ast.Call)) and (name := ast.unparse(getattr(node, "func", node))) in known:
        others = {key: nodes for key, nodes in known.items() if key != name}
        return [text for one in known[name] for text in templates(one, others)]
    return []


def sources() -> Iterator[tuple[str, ast.AST, Known]]:
    """Each piece of the source, where it stands, and what its function's names and its file's one-liners may be."""
    for path in sorted(ROOT.rglob("*.py")):
        tops = ast.parse(path.read_text(encoding="utf-8")).body
        one_liners = {
            top.name: [top.body[-1].value]
            for top in tops
            if isinstance(top, ast.FunctionDef) and len(top.body) < 3 and isinstance(top.body[-1], ast.Return)
        }
        for part in [inner for top in tops for inner in (top.body if isinstance(top, ast.ClassDef) else [top])]:
            known: dict[str, Sequence[ast.AST | None]] = dict(one_liners)
            for node in ast.walk(part):
                if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                    name = node.targets[0].id
                    known[name] = [*known.get(name, []), node.value]
            for node in ast.walk(part):
                yield f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 0)}", node, known


def said() -> Iterator[tuple[str, str]]:
    """Each sentence that is raised, emitted, found by `check` or passed through `say`, and where."""
    for where, node, known in sources():
        shown: Sequence[ast.expr] = ()
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
            raised = ast.unparse(node.exc.func).rpartition(".")[2]
            shown = node.exc.args[:1] if raised not in INNER else ()
        elif isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            if called.endswith(".emit"):
                shown = node.args[2:3]
            elif called in ("say", "self._add", "print_fitted", "KnownSecret"):
                shown = node.args
        for number, text in enumerate(text for one in shown for text in templates(one, known)):
            if re.search(r"[a-z]{3} [a-z]", text) and not FRAME.match(text):
                yield f"{where}:{number}", text


def unsaid(node: ast.AST, known: Known) -> list[str]:
    """The words of a text that is shown, and not passed through `say`."""
    if isinstance(node, ast.Constant):
        return [node.value] if isinstance(node.value, str) and re.search("[A-Za-z]{2}", node.value) else []
    parts: Sequence[ast.AST | None] = ()
    if isinstance(node, ast.JoinedStr):
        parts = node.values
    elif isinstance(node, ast.FormattedValue):
        parts = [node.value]
    elif isinstance(node, ast.IfExp):
        parts = [node.body, node.orelse]
    elif isinstance(node, ast.BinOp):
        parts = [node.left, node.right]
    elif isinstance(node, (ast.Name, ast.Call)) and (name := ast.unparse(getattr(node, "func", node))) in known:
        parts, known = known[name], {key: nodes for key, nodes in known.items() if key != name}
    return [text for part in parts if part is not None for text in unsaid(part, known)]


SAID = dict(said())


def test_what_is_shown_is_said() -> None:
    """Every text of a print is passed through `say`, every table is `print_fitted`'s, and its headings are known."""
    for where, node, known in sources():
        if isinstance(node, ast.ImportFrom) and node.module == "rich.table":
            assert where.startswith(("cli/screen.py", "cli/check.py")), where
        called = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
        # Click's own usage lines are English, as `--help` is.
        if isinstance(node, ast.Call) and SHOWS.fullmatch(called) and not where.startswith("cli/__init__.py"):
            shown = [*node.args, *(keyword.value for keyword in node.keywords if keyword.arg == "text")]
            words = {text for one in shown for text in unsaid(one, known)}
            assert words <= AS_THEY_ARE, f"{where}: {words}"
        if isinstance(node, ast.Call) and called == "Column" and where.startswith("cli/"):
            for name in templates(node.args[0], known):
                assert say(name, "es") != name or name in SAME, f"{where}: {name}"


@pytest.mark.parametrize("where", SAID)
def test_sentence(where: str) -> None:
    """Its values are numbers here, which neither language changes."""
    text = SAID[where].replace("{}", "7")
    spanish = say(text, "es")
    assert spanish != text
    assert spanish.count("7") == text.count("7")
    left = ENGLISH.findall(re.sub(r"`[^`]*`|qbo-backfill [\w -]+|'[^']*'|--[\w-]+", "", spanish))
    assert not left, spanish


@pytest.mark.parametrize("phrase", SENTENCES, ids=[str(number) for number in range(len(SENTENCES))])
def test_both_have_the_same_places(phrase: tuple[str, str]) -> None:
    places = [{name for _, name, _, _ in string.Formatter().parse(text) if name} for text in phrase]
    assert places[0] == places[1]


def found(keys: Sequence[str], number: int) -> list[str]:
    """What a check says by these parts, with this number in all places, in English and in Spanish."""
    values: dict[str, Any] = {}
    for _, name, _, _ in (place for key in keys for place in string.Formatter().parse(MESSAGES[key][0])):
        base, _, part = (name or "").rstrip("]").partition("[")
        if part:
            values.setdefault(base, {})[part] = number
        elif base:
            values[base] = number
    return [sentence(keys, values, lang) for lang in ("en", "es")]


@pytest.mark.parametrize("key", MESSAGES)
def test_what_a_check_says_is_recognised(key: str) -> None:
    """Stored in English, in a run's reason for one; plurals as they are chosen by the number."""
    for number in (0, 1, 1234):
        english, spanish = found([key], number)
        assert say(english, "es") == spanish


CHECKS = sorted({key.partition(".")[0] for key in MESSAGES} & NAMES.keys())


@pytest.mark.parametrize("check", CHECKS)
def test_several_things_that_a_check_says(check: str) -> None:
    """Semicolons join them, and have some in themselves; the check's name and a command may stand around."""
    for keys in itertools.permutations([key for key in MESSAGES if key.startswith(f"{check}.")], 2):
        english, spanish = found(keys, 1234)
        command = "qbo-backfill verify items --repair"
        assert say(f"{check}: {english}; what to do: {command}", "es") == (
            f"{NAMES[check][1]}: {spanish}; qué hacer: {command}"
        )


def test_odd_days() -> None:
    day = {"first": "2024-10-21", "last": "2025-02-10", "usual": 4.5, "spread": 1}
    low = {"kind": "empty", "day": "2024-12-16", "rows": 0, **day}
    high = {"kind": "high", "day": "2025-01-11", "rows": 42, **day}
    gap = {"kind": "gap", "first": "2024-10-21", "last": "2024-10-22", "days": 2, "expected": 12}
    figures = {"low": 1, "lowest": low, "high": 12, "highest": high, "gap_count": 1, "longest_gap": gap}
    says = ("volume.gaps", "volume.low", "volume.high", "volume.confirmed")
    spanish = say(f"run 7: volume: {sentence(says, figures, 'en')}", "es")
    assert spanish.endswith(sentence(says, figures, "es").replace("4.5", "4,5"))
    assert "lunes 2024-12-16: sin filas, cuando los lunes del 2024-10-21 al 2025-02-10" in spanish
    assert "los sábados" in spanish


def test_a_sentence_in_a_sentence() -> None:
    window = "[2024-01-01T00:00:00Z, 2025-01-01T00:00:00Z)"
    english = (
        f"run 5: 3 chunks of invoices in {window}, 1,234 rows at QuickBooks; about 12 requests (1 of them spent on "
        "counting), 0.1 minutes at Intuit's quota, 0.00% of a month's 500,000 calls; 31 spent this month"
    )
    assert say(english, "es") == (
        f"ejecución 5: 3 tramos de invoices en {window}, 1.234 filas en QuickBooks; unas 12 solicitudes (1 ya usada en "
        "contar), 0,1 minutos con la cuota de Intuit, 0,00% de las 500.000 llamadas del mes; "
        "31 usadas este mes"
    )


def test_numbers_are_found_where_they_stand() -> None:
    """A value by whose number Spanish chooses its words is that number, and no text that has others before it."""
    assert say("Would resume run 85: items by created in [a, b): 263 of 367 chunks are left.", "es") == (
        "Por retomar: ejecución 85: items por created en [a, b): faltan 263 de 367 tramos."
    )


def test_what_is_said_of_an_entity() -> None:
    failed = "7 of 9 chunks are not done (1 failed, for example: x); `qbo-backfill resume` goes on where it stopped"
    assert say(f"items: {failed}", "es") == f"items: {say(failed, 'es')}" != f"items: {failed}"
    missing = "source_rows: QuickBooks counts 3 records in the range, raw 2; 1 missing in raw (101)"
    assert say(f"items: {missing}", "es") == f"items: {say(missing, 'es')}" != f"items: {missing}"


def test_all_that_a_run_owes() -> None:
    """As `ops.runs` keeps it: each by itself, a check's findings or a sentence."""
    owed = (
        "not read: from 2024-01-01 00:00 to 2025-01-01 00:00",
        "ledger: 3 chunks of the range are not done",
        "edits since 2024-01-01 10:00 are not caught up with",
        "source_rows: QuickBooks counts 3,000 records in the range, raw 1,988; 1,012 missing in raw (132 and 9 more)",
        "the checks were not made",
    )
    assert all(say(one, "es") != one for one in owed)
    assert say(". ".join(owed), "es") == ". ".join(say(one, "es") for one in owed)


def test_the_words_of_others_stay() -> None:
    """Intuit's and Postgres': whoever searches for them must find them."""
    for theirs in ("Number of arguments", "must be owner of schema ops", "out of memory", "number of files is 1.5"):
        assert theirs in say(f"QuickBooks answered HTTP 400, code 4001: {theirs}", "es")
        assert theirs in say(f"Postgres 53100: {theirs}; free space on the server and run again", "es")


def test_what_is_not_known_stays() -> None:
    for text in ("", "7", "Item 3", "qb_invoices_backfill", "something that nobody has foreseen"):
        assert say(text, "es") == text
        assert say(text, "en") == text


def test_names_are_nobodys_words() -> None:
    """A company, an entity or a file may be called as a word of the table is."""
    for english, spanish in (
        (
            "'x' is none that Mage Secrets holds (all, run, done, load)",
            "'x' no está en Mage Secrets (all, run, done, load)",
        ),
        ("run 7: done by last_updated in [a, b)", "ejecución 7: done por last_updated en [a, b)"),
        (
            "Postgres at load: nothing answers there (x; POSTGRES_HOST, POSTGRES_PORT)",
            "Postgres en load: nada responde ahí (x; POSTGRES_HOST, POSTGRES_PORT)",
        ),
    ):
        assert say(english, "es") == spanish


def test_long_texts_end() -> None:
    """Lists of thousands, and texts that nearly have a form."""
    for text in (", ".join(map(str, range(5_000))), "a: " * 3_000, "x (" * 2_000, "run 1: " + "2 chunks of " * 1_000):
        assert say(text, "es")


def test_which_language() -> None:
    assert spoken({}) == "en"
    assert spoken({"QBO_BACKFILL_LANG": "es"}) == "es"
    with pytest.raises(RequestError, match="QBO_BACKFILL_LANG: 'fr' is not one of en, es"):
        checked_environment({"QBO_BACKFILL_LANG": "fr"})
    try:
        speak("es")
        assert spoken({}) == "es"
    finally:
        speak("")
