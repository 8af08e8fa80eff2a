"""Whether what is in raw is what QuickBooks has: the checks after each run, and those on demand."""

from async_extractor.checks.after_run import Validator
from async_extractor.checks.result import Severity, Validation, latest, worst

__all__ = ["Severity", "Validation", "Validator", "latest", "worst"]
