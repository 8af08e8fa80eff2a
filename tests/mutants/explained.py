"""Mutants that no test can notice, or none should: what each changes, as the report prints it, and why it may live."""

from __future__ import annotations

EXPLAINED: dict[str, str] = {}
