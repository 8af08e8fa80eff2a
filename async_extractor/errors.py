"""The errors a caller sees. Each is one line that says what is wrong, where, and what to do.

BackfillError                 every error of this package that a person can act on
├── RequestError       exit 2   a parameter is wrong; nothing was asked of anyone, nothing was written
├── IncompleteError    exit 3   the run ended with chunks not done; running it again resumes it
├── ConfigurationError exit 4   a secret, an authorization, or the database's set-up is wrong
└── NotOfferedError    exit 0   this company has no such entity: nothing to read, and nothing wrong
"""

from __future__ import annotations

from async_extractor.profile_option import with_profile


class BackfillError(Exception):
    """One line a person can act on; `exit_code` is what the command line ends with."""

    exit_code = 1

    def __init__(self, told: object) -> None:
        super().__init__(with_profile(str(told)))


class RequestError(BackfillError):
    """A parameter is wrong. Raised before any request and before anything is written."""

    exit_code = 2


class IncompleteError(BackfillError):
    """The run ended with chunks not done. Nothing is lost: the same command resumes it."""

    exit_code = 3


class ConfigurationError(BackfillError):
    """A secret, an authorization or the database's set-up is wrong. Retrying will not help."""

    exit_code = 4


class NotOfferedError(BackfillError):
    """This company has no such entity: its edition, country or features. Nothing was read."""

    exit_code = 0
