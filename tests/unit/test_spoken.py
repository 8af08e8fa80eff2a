"""What people read can be Spanish: every sentence of an error or an event has its Spanish one, its values in place."""

from __future__ import annotations

import ast
import itertools
import re
import string
from collections.abc import Iterator, Sequence
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


def template(node: ast.expr | None) -> str | None:
    """A text of the source, `{}` where a value stands; None where it isn't one."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values)
    return None


def said() -> Iterator[tuple[str, str]]:
    """Each sentence that is raised or emitted, and where."""
    for path in sorted(ROOT.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            text = None
            if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
                raised = ast.unparse(node.exc.func).rpartition(".")[2]
                text = template(node.exc.args[0]) if node.exc.args and raised not in INNER else None
            elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(".emit") and len(node.args) > 2:
                text = template(node.args[2])
            if text and re.search(r"[a-z]{3} [a-z]", text):
                yield f"{path.relative_to(ROOT)}:{node.lineno}", text


SAID = dict(said())


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
