"""Mutation testing: `python -m tests.mutants [windows faults budget merge gate]`, all of them without a word.

Works on a copy of the checkout in a temporary folder. Modules are mutated by cosmic-ray, which has a virtual
environment of its own (.state/cosmic-ray): it needs a newer SQLAlchemy than Mage pins. Takes an hour on two cores.
Exit 1 when a mutant survives that explained.yaml doesn't explain.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import venv
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

from tests.mutants.targets import BY_HAND, OPERATORS, TARGETS, ByHand, Target

CHECKOUT = Path(__file__).parents[2]
TOOL = "cosmic-ray==8.7.0"
# Seconds for the tests of one mutant; one that never ends is killed by it.
LONGEST = 300


@dataclass(frozen=True)
class Result:
    """One mutant: what was done where, and whether a test noticed."""

    what: str
    killed: bool


def main(names: list[str]) -> int:
    os.nice(15)
    targets: list[Target | ByHand] = [*TARGETS, *BY_HAND]
    known = [target.name for target in targets]
    if unknown := [name for name in names if name not in known]:
        print(f"{unknown[0]!r} is not one of {', '.join(known)}", file=sys.stderr)
        return 2
    unexplained = 0
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        copy = _copy(Path(folder) / "checkout")
        for target in targets:
            if not names or target.name in names:
                results = _by_rule(target, copy) if isinstance(target, Target) else _by_hand(target, copy)
                unexplained += _report(target.name, results)
    return 1 if unexplained else 0


def _copy(to: Path) -> Path:
    """What git knows of the checkout, as it is now."""
    listed = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=CHECKOUT,
                            capture_output=True, check=True).stdout.decode().split("\0")  # fmt: skip
    for name in filter(None, listed):
        if (CHECKOUT / name).is_file():
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(CHECKOUT / name, to / name)
    return to


def _report(name: str, results: Iterable[Result]) -> int:
    """Prints the survivors as they are found, then the target's line; how many of them are not explained."""
    explained = {
        what: group["why"]
        for group in yaml.safe_load(Path(__file__).with_name("explained.yaml").read_text())
        for what in group["survivors"]
    }
    mutants, survived, unexplained = 0, 0, 0
    for result in results:
        mutants += 1
        if not result.killed:
            survived += 1
            unexplained += result.what not in explained
            print(f"survived: {result.what}: {explained.get(result.what, 'NOT EXPLAINED')}", flush=True)
    print(f"{name}: {mutants} mutants, {mutants - survived} killed, {survived} survived, "
          f"{unexplained} of them unexplained", flush=True)  # fmt: skip
    return unexplained


def _passes(copy: Path, tests: tuple[str, ...]) -> bool:
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests]
    try:
        ended = subprocess.run(command, cwd=copy, capture_output=True, timeout=LONGEST, check=False)
    except subprocess.TimeoutExpired:
        return False
    if ended.returncode not in (0, 1, 2):
        raise RuntimeError(ended.stdout.decode()[-2000:] + ended.stderr.decode()[-2000:])
    return ended.returncode == 0


def _by_hand(target: ByHand, copy: Path) -> Iterator[Result]:
    assert _passes(copy, target.tests), "the tests fail without a mutant"
    for mutant in yaml.safe_load((Path(__file__).with_name(f"{target.name}.yaml")).read_text()):
        file = copy / mutant["file"]
        sound = file.read_text()
        assert sound.count(mutant["old"]) == 1, f"{mutant['file']} has changed: {mutant['without']}"
        file.write_text(sound.replace(mutant["old"], mutant["new"]))
        try:
            yield Result(f"without {mutant['without']}", killed=not _passes(copy, target.tests))
        finally:
            file.write_text(sound)


def _by_rule(target: Target, copy: Path) -> Iterator[Result]:
    assert _passes(copy, target.tests), "the tests fail without a mutant"
    tool = _tool()
    config, session = copy / "cosmic-ray.toml", copy / f"{target.name}.sqlite"
    tests = " ".join([sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *target.tests])
    left_out = [f"{prefix}(?!({'|'.join(kept)})$).*" for prefix, kept in OPERATORS.items()]
    config.write_text(
        f'[cosmic-ray]\nmodule-path = "{target.module}"\ntimeout = {LONGEST}.0\nexcluded-modules = []\n'
        f'test-command = "{tests}"\n\n[cosmic-ray.distributor]\nname = "local"\n\n'
        f"[cosmic-ray.filters.operators-filter]\nexclude-operators = {left_out!r}\n"
    )
    for command, *files in (
        ("cosmic-ray", "init", config, session),
        ("cr-filter-operators", session, config),
        ("cosmic-ray", "exec", config, session),
    ):
        subprocess.run([tool / command, *map(str, files)], cwd=copy, check=True)
    dumped = subprocess.run(
        [tool / "cosmic-ray", "dump", session], cwd=copy, capture_output=True, text=True, check=True
    )
    source = (copy / target.module).read_text().splitlines()
    for line in dumped.stdout.splitlines():
        item, outcome = json.loads(line)
        if outcome is None or outcome["worker_outcome"] == "skipped":
            continue
        (mutation,) = item["mutations"]
        what = f"{target.module}: {source[mutation['start_pos'][0] - 1].strip()} -> {_changed(outcome['diff'])}"
        yield Result(what, killed=outcome["test_outcome"] != "survived")


def _tool() -> Path:
    """The folder of cosmic-ray's commands, installed the first time."""
    home = CHECKOUT / ".state" / "cosmic-ray"
    if not (home / "bin" / "cosmic-ray").exists():
        venv.create(home, with_pip=True, clear=True)
        subprocess.run([home / "bin" / "pip", "install", "--quiet", TOOL], check=True)
    return home / "bin"


def _changed(diff: str) -> str:
    """What the mutated lines are now."""
    lines = [line[1:].strip() for line in diff.splitlines() if line.startswith("+") and not line.startswith("+++")]
    return " ".join(lines) or "(line removed)"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
