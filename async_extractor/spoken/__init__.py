"""What people read in a run, in the language that they have chosen: the code speaks English, `say` translates.

`ops`, JSON and `--events` keep the English words: they are for programs, and for whoever searches the web for them.
Texts are translated where they are shown, by one table (`sentences.py`, and the checks' own words). A sentence is
recognised by its form, and what stands in its places is translated likewise; what the table doesn't know stays as it
is.
"""

from __future__ import annotations

import contextvars
import functools
import os
import re
import string
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from async_extractor.entities import ENTITIES
from async_extractor.errors import RequestError
from async_extractor.language import LANGUAGES, Phrase
from async_extractor.spoken.sentences import KEPT, SENTENCES

VARIABLE = "QBO_BACKFILL_LANG"
_NUMBER = r"[-+]?\d{1,3}(?:,\d{3})+(?:\.\d+)?%?|[-+]?\d+(?:\.\d+)?%?"
# Sentences in sentences. A list has no end of them, and has nothing to be said in another language.
_DEEPEST = 12
# Between the things that a run owes (`ops.owed`), which may be checks' findings.
_OWED = re.compile(
    r"\. (?=[a-z_]+: |not read: |the range was never planned|edits since |what was edited "
    "|deletions are |the checks were)"
)
# Of one clause of a check, which may have semicolons of its own.
_MOST_PARTS = 4
_chosen: contextvars.ContextVar[str] = contextvars.ContextVar("language", default="")


def speak(lang: str) -> None:
    """From here on, in this task, texts are in this language."""
    _chosen.set(lang)


def spoken(environ: Mapping[str, str] = os.environ) -> str:
    """The language that texts are in: as `speak` was told, else QBO_BACKFILL_LANG, else English."""
    lang = _chosen.get() or environ.get(VARIABLE, "").strip() or "en"
    return lang if lang in LANGUAGES else "en"


def checked_environment(environ: Mapping[str, str] = os.environ) -> None:
    """RequestError where QBO_BACKFILL_LANG names no language."""
    if (lang := environ.get(VARIABLE, "").strip()) not in ("", *LANGUAGES):
        raise RequestError(f"{VARIABLE}: {lang!r} is not one of {', '.join(LANGUAGES)}")


def say(text: str, lang: str = "") -> str:
    """The text, or the number, in the language that is spoken."""
    return text if (lang or spoken()) == "en" else _translated(text)


@dataclass(frozen=True)
class _Form:
    """A sentence's form: what it looks like in English, and what it is in Spanish.

    `literals` are words that all texts of this form have, in this order, so that few patterns are tried; `weight` is
    how many letters it has of its own.
    """

    pattern: re.Pattern[str]
    spanish: str
    literals: tuple[str, ...]
    weight: int
    begins_with_words: bool

    def said(self, text: str, depth: int) -> str | None:
        """The text in Spanish; None where it hasn't this form."""
        place = 0
        for literal in self.literals:
            if (found := text.find(literal, place)) < 0:
                return None
            place = found + len(literal)
        if (match := self.pattern.fullmatch(text)) is None:
            return None
        values, chosen = dict[str, str](), dict[str, int]()
        for group, value in match.groupdict().items():
            if value is not None:
                name, _, form = group.partition("__")
                values.setdefault(name, value)
                if form:
                    chosen[name] = int(form)
                else:
                    values[name] = value
        return "".join(_parts(self.spanish, values, chosen, depth))


def _parts(template: str, values: Mapping[str, str], chosen: Mapping[str, int], depth: int) -> Iterator[str]:
    """A template's parts; a plural's form by its number, or where the English has none, by how many it means."""
    for literal, field, spec, _ in string.Formatter().parse(template):
        yield literal
        if field is None:
            continue
        name = _group(field)
        if not spec or "|" not in spec:
            kept = name in KEPT or (name in ("item", "items") and " " not in values[name])
            yield values[name] if kept else _translated(values[name], depth + 1)
            continue
        forms = spec.split("|")
        number = found.group() if (found := re.search(_NUMBER, values[name])) else str(chosen.get(name, ""))
        form = 0 if number == "0" and len(forms) == 3 else len(forms) - (2 if number == "1" else 1)
        yield forms[form].replace("#", _translated(number, depth + 1))


def _group(field: str) -> str:
    """A field as a group's name, which holds no brackets."""
    return re.sub(r"(\w+)\[(\w+)\]", r"\2_of_\1", field)


def _form(phrase: Phrase) -> _Form:
    english, spanish = phrase
    places = string.Formatter().parse(spanish)
    # By whose number the Spanish chooses its words.
    counted = {_group(field) for _, field, spec, _ in places if field and spec and "|" in spec}
    pattern, literals, weight = "", [""], 0
    for literal, field, spec, _ in string.Formatter().parse(english):
        pattern += re.escape(literal)
        literals.append(literal)
        if field is None:
            continue
        name = _group(field)
        if spec and "|" in spec:
            forms = spec.split("|")
            weight += max(map(len, forms))
            numbered = [re.escape(form).replace(re.escape("#"), f"(?:{_NUMBER})") for form in forms]
            if f"(?P<{name}__" not in pattern:
                # How many each form means: 0, 1, or more.
                many = range(3 - len(forms), 3)
                numbered = [f"(?P<{name}__{n}>{form})" for n, form in zip(many, numbered, strict=True)]
            pattern += f"(?:{'|'.join(numbered)})"
        else:
            value = _NUMBER if spec == "#" or name in counted else ".*?"
            pattern += f"(?P={name})" if f"(?P<{name}>" in pattern else f"(?P<{name}>{value})"
    weight += sum(map(len, literals))
    begins = not english.startswith("{")
    return _Form(re.compile(pattern, re.DOTALL), spanish, tuple(filter(None, literals)), weight, begins)


@functools.cache
def _forms() -> list[_Form]:
    """All of them: first those that begin with words of their own, then those that say most in words of their own.

    A sentence in a sentence is so left to the one that it stands in.
    """
    from async_extractor.checks import messages  # noqa: PLC0415 - brings much along, and in Spanish only

    of_days = [messages.ODD_DAY, messages.GAP, *messages.WEEKDAYS, *messages.WEEKDAYS_PLURAL]
    phrases = map(_form, [*SENTENCES, *messages.NAMES.values(), *of_days])
    return sorted([*phrases, *_findings()], key=lambda form: (not form.begins_with_words, -form.weight))


@functools.cache
def _findings() -> list[_Form]:
    """What checks find, those first that say most in words of their own."""
    from async_extractor.checks.messages import MESSAGES  # noqa: PLC0415 - as above

    return sorted(map(_form, MESSAGES.values()), key=lambda form: -form.weight)


@functools.lru_cache(maxsize=1000)
def _translated(text: str, depth: int = 0) -> str:
    if re.fullmatch(_NUMBER, text):
        return text.translate(str.maketrans(",.", ".,"))
    if depth > _DEEPEST or not re.search("[A-Za-z]{2}", text):
        return text
    if len(owed := _OWED.split(text)) > 1:
        return ". ".join(_translated(one, depth + 1) for one in owed)
    entity, colon, rest = text.partition(": ")
    if colon and entity in ENTITIES:
        return f"{entity}: {_translated(rest, depth + 1)}"
    if (found := _found(text, depth)) is not None:
        return found
    return next((said for form in _forms() if (said := form.said(text, depth)) is not None), text)


def _found(text: str, depth: int) -> str | None:
    """What checks have found: clauses that semicolons join, perhaps with the check's name; None for any other text."""
    parts, said = text.split("; "), list[str]()
    while parts:
        clauses = ("; ".join(parts[:length]) for length in range(1, _MOST_PARTS + 1) if length <= len(parts))
        for length, clause in enumerate(clauses, 1):
            if (spanish := _clause(clause, depth)) is not None:
                said.append(spanish)
                parts = parts[length:]
                break
        else:
            return None
    return "; ".join(said)


def _clause(text: str, depth: int) -> str | None:
    from async_extractor.checks.messages import NAMES  # noqa: PLC0415 - as above

    name, colon, rest = text.partition(": ")
    if colon and name == "what to do":
        return f"qué hacer: {rest}"
    if colon and name in NAMES:
        found = _clause(rest, depth)
        return None if found is None else f"{NAMES[name][1]}: {found}"
    return next((said for form in _findings() if (said := form.said(text, depth)) is not None), None)
