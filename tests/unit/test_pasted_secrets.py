"""What pasting adds to a secret is taken off; what can't be right is told by its place."""

from __future__ import annotations

import pytest

from async_extractor.errors import ConfigurationError
from async_extractor.mage.launch import dates_as_text
from async_extractor.mage.secrets import clean, removed


@pytest.mark.parametrize(
    ("name", "pasted", "kept"),
    [
        ("QBO_CLIENT_ID", "\ufeffID\r\n", "ID"),
        ("QBO_CLIENT_SECRET", "a\u200bb\u2060", "ab"),
        ("QBO_REFRESH_TOKEN", "\tTOKEN\u00a0 \n", "TOKEN"),
        ("ACME_QBO_REALM_ID", "4620 8163 6500 0007 770", "4620816365000007770"),
        ("POSTGRES_HOST", " db\u200d ", "db"),
        ("POSTGRES_PASSWORD", " pass\u200bword ", " pass\u200bword "),
        ("NOT_OURS", " x ", " x "),
    ],
)
def test_what_pasting_adds_is_taken_off(name: str, pasted: str, kept: str) -> None:
    assert clean(name, pasted) == kept


def test_a_character_that_cannot_be_in_it_is_named_with_its_place() -> None:
    with pytest.raises(ConfigurationError, match=r"^QBO_CLIENT_ID: character 3 of its value is U\+00E9 \(LATIN SMALL"):
        clean("QBO_CLIENT_ID", "ab\u00e9")


def test_set_can_tell_what_was_taken_off() -> None:
    assert removed("\ufeffID\r\n", "ID") == "2 blanks or line ends, U+FEFF"
    assert removed("ID", "ID") == ""


def test_dates_of_a_trigger_become_text() -> None:
    from datetime import date, datetime

    given = {"a": date(2023, 1, 1), "b": [datetime(2023, 1, 1, 2)], "c": 5}  # noqa: DTZ001 - as YAML gives it
    assert dates_as_text(given) == {"a": "2023-01-01", "b": ["2023-01-01T02:00:00"], "c": 5}
