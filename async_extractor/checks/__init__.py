"""Whether what is in raw is what QuickBooks has: the checks after each run, and those on demand."""

from async_extractor.checks.after_run import Validator
from async_extractor.checks.result import CheckResult, Severity, latest, why_not_done, worst

__all__ = ["CheckResult", "Severity", "Validator", "latest", "why_not_done", "worst"]
