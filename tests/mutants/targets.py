"""What is mutated, and the tests that must notice."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Target:
    """A module, and the tests that must notice; those that know it best come first, as the first failure ends a run."""

    name: str
    module: str
    tests: tuple[str, ...]


TARGETS = [
    Target("windows", "async_extractor/windows.py", ("tests/unit/test_windows.py", "tests/unit/test_request.py")),
    Target("faults", "async_extractor/qbo/faults.py", ("tests/unit/test_faults.py", "tests/unit/client")),
    Target(
        "budget",
        "async_extractor/qbo/limits.py",
        ("tests/unit/test_budget.py", "tests/unit/test_breaker.py"),
    ),
]


@dataclass(frozen=True)
class ByHand:
    """Mutants written by hand: `name`.yaml beside this file takes safeguards out, one by one."""

    name: str
    tests: tuple[str, ...]


BY_HAND = [
    ByHand(
        "merge",
        (
            "tests/integration/test_page_load.py",
            "tests/integration/test_merge_safeguards.py",
            "tests/integration/test_digest.py",
        ),
    ),
    ByHand(
        "gate",
        (
            "tests/integration/test_budget_safeguards.py",
            "tests/integration/test_budget_pauses.py",
            "tests/integration/test_budget_order.py",
            "tests/integration/test_budget_holders.py",
            "tests/integration/test_budget.py",
            "tests/integration/test_budget_clock.py",
            "tests/integration/test_breaker_outage.py",
        ),
    ),
]

# Where an operator has a dozen replacements, those that are a person's slip: one off, the other way round.
OPERATORS = {
    "core/ReplaceBinaryOperator_": ("Add_Sub", "Sub_Add", "Mul_FloorDiv", "FloorDiv_Mul", "Mod_FloorDiv", "Div_Mul"),
    "core/ReplaceComparisonOperator_": (
        *("Lt_LtE", "LtE_Lt", "Gt_GtE", "GtE_Gt", "Lt_GtE", "LtE_Gt", "Gt_LtE", "GtE_Lt"),
        *("Eq_NotEq", "NotEq_Eq", "Is_IsNot", "IsNot_Is", "In_NotIn", "NotIn_In"),
    ),
}
