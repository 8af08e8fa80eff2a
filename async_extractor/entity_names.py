"""Which entities a text names: one, several joined by commas, or `all`; and which was meant where it names none."""

from __future__ import annotations

import difflib
import unicodedata

from async_extractor.entities import ENTITIES, NOT_QUERYABLE, Entity
from async_extractor.errors import RequestError

ALL = "all"
_EVERY = ("todo", "todos", "todas", "every", "everything")


def entity_named(name: object) -> Entity:
    """The entity of that name. RequestError with the name that was meant, where that can be told."""
    text = "" if name is None else str(name).strip()
    if not text:
        raise RequestError(f"entity: is missing; one of {', '.join(ENTITIES)}")
    if text in ENTITIES:
        return ENTITIES[text]
    word = _letters_and_digits(text)
    for other, why in NOT_QUERYABLE.items():
        if word == _letters_and_digits(other):
            raise RequestError(f"entity: {other} can't be queried: {why}")
    meant = _meant(word)
    if meant is None:
        raise RequestError(f"entity: {text!r} is not one of {', '.join(ENTITIES)}")
    raise RequestError(f"entity: {text!r} is not an entity; {meant} is")


def entities_named(text: str) -> list[Entity]:
    """The entities of a list, in its order; `all` is every one. RequestError names each that is wrong or doubled."""
    names = [name.strip() for name in str(text).split(",")]
    if names == [ALL]:
        return list(ENTITIES.values())
    found: list[Entity] = []
    wrong: list[str] = []
    for name in names:
        try:
            entity = entity_named(name)
        except RequestError as error:
            wrong.append(str(error))
            continue
        if entity in found:
            wrong.append(f"entity: {name} is there twice")
        found.append(entity)
    if wrong:
        raise RequestError("; ".join(dict.fromkeys(wrong)))
    return found


def _meant(word: str) -> str | None:
    """What was meant by a word: another case, the singular, QuickBooks' name, Spanish, or a slip of the finger."""
    known = {_letters_and_digits(other): ALL for other in _EVERY} | {ALL: ALL}
    for entity in ENTITIES.values():
        names = (entity.name, entity.query_name, *entity.spanish)
        for form in (
            form for name in names for form in (_letters_and_digits(name), _singular(_letters_and_digits(name)))
        ):
            known.setdefault(form, entity.name)
    for form in (word, _singular(word)):
        if form in known:
            return known[form]
    close = difflib.get_close_matches(word, known, 1, 0.75)
    return known[close[0]] if close else None


def _letters_and_digits(text: str) -> str:
    """Small letters and digits only, without accents."""
    letters = unicodedata.normalize("NFKD", text.lower())
    return "".join(letter for letter in letters if letter.isascii() and letter.isalnum())


def _singular(word: str) -> str:
    for ending in ("es", "s"):
        if word.endswith(ending) and len(word) > len(ending) + 3:
            return word[: -len(ending)]
    return word
