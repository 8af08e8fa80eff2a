"""Fill in sentences in English or Spanish: plurals, numbers and lists as each language writes them.

A phrase is a pair of templates (en, es) in the syntax of `str.format`, with three specs of its own:

    {rows}                    1,234 or 1.234; a list of Ids is shortened to `12, 40 and 7 more`
    {days:# day|# days}       singular and plural of a number or of a list's length; of three forms the first is for 0
    {ids:of missing}          a list that was cut off, with the figure that counts all of it
"""

from __future__ import annotations

import string
from collections.abc import Mapping, Sequence
from typing import Any

LANGUAGES = ("en", "es")

Phrase = tuple[str, str]

# More names than this make a sentence unreadable.
_MOST_NAMED = 5


def fill(phrase: Phrase, lang: str, values: Mapping[str, Any]) -> str:
    """The phrase in one language. KeyError when a value is missing."""
    return _Filler(lang, values).vformat(phrase[LANGUAGES.index(lang)], (), values)


def number(value: Any, lang: str, decimals: int | None = None) -> str:
    """1,234.5 in English, 1.234,5 in Spanish; one decimal where there is a fraction unless `decimals` says."""
    if decimals is None:
        decimals = 0 if value == int(value) else 1
    text = f"{value:,.{decimals}f}"
    return text.translate(str.maketrans(",.", ".,")) if lang == "es" else text


def named(values: Sequence[Any], lang: str = "en", total: int | None = None) -> str:
    """`12, 40, 41, 52, 60 and 7 more`; `total` where the list was cut off before."""
    total = len(values) if total is None else total
    shown = ", ".join(str(value) for value in values[:_MOST_NAMED])
    more = total - min(len(values), _MOST_NAMED)
    return (
        fill(("{shown} and {more} more", "{shown} y {more} más"), lang, {"shown": shown, "more": more})
        if more
        else shown
    )


class _Filler(string.Formatter):
    def __init__(self, lang: str, values: Mapping[str, Any]) -> None:
        self._lang = lang
        self._values = values

    def format_field(self, value: Any, format_spec: str) -> str:
        if "|" in format_spec:
            forms = format_spec.split("|")
            count = len(value) if isinstance(value, (list, tuple)) else value
            form = forms[0] if count == 0 and len(forms) == 3 else forms[-2] if count == 1 else forms[-1]
            return form.replace("#", number(count, self._lang))
        if isinstance(value, (list, tuple)):
            total = self._values[format_spec.removeprefix("of ")] if format_spec else None
            return named(value, self._lang, total)
        if isinstance(value, (int, float)):
            return number(value, self._lang)
        return str(value)
