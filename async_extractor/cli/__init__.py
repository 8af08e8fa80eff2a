"""The command line, `qbo-backfill`. Each command is a file of this package; errors become one line and an exit code."""

from __future__ import annotations

import difflib
import gc
import importlib
import platform
import sys
from typing import Any

import typer
import typer.core
import typer.main

from async_extractor.cli import output
from async_extractor.errors import BackfillError, ConfigurationError
from async_extractor.mage import core_dumps
from async_extractor.profile_option import with_profile
from async_extractor.spoken import checked_environment, say

NAME = "qbo-backfill"

# Click's own errors, from wherever this typer has its click: since 0.20 or so it brings its own.
UsageError: Any = next(one for one in typer.BadParameter.__mro__ if one.__name__ == "UsageError")
ClickException: Any = next(one for one in typer.BadParameter.__mro__ if one.__name__ == "ClickException")

# The commands in the order of work, by their panels in the help, each with its line there. A command's own file is
# imported when it is called: all of them together take most of a second.
PANELS = {
    "Set up": {
        "secrets": "The credentials of QuickBooks and Postgres, kept encrypted in Mage Secrets (see MAGE_DATA_DIR).",
        "auth": "The connection to Intuit: make it anew, or see how long it lasts.",
        "profiles": "The companies that Mage Secrets holds: since when each is connected, and how its last run ended.",
        "check": "Look at secrets, Postgres, Mage and QuickBooks, and say what a run would trip over. Changes nothing.",
        "warehouse": (
            "The warehouse's schemas and rights, as the role that owns them. The pipelines log in as another one."
        ),
        "mage": "The pipelines in a Mage project of your own.",
    },
    "Backfill": {
        "plan": "What it would cost in requests, minutes at the quota and share of the month's calls; loads nothing.",
        "run": "Backfill an entity, several or all; of one company or several.",
        "status": "The newest runs: their windows, chunks done and left, rows, and why one stopped.",
        "resume": "Go on where a run stopped: only chunks that are not done are read. Safe to repeat.",
        "retry": "Read failed chunks again; with --chunk the one of a date, done or not. Safe to repeat.",
        "reprocess": (
            "Read a range again, done or not. Safe to repeat: the check `reprocess` holds the rows' hash "
            "before against after."
        ),
    },
    "Prove it": {
        "verify": "Compare raw with QuickBooks, name what differs, repair it.",
        "report": (
            "A run's report: verdict, what to do, figures, checks, volume, where the time went. Or a page of all runs."
        ),
        "quarantine": "Records that Postgres can't hold or Intuit can't serve, kept whole.",
    },
    "Day by day": {
        "metrics": "What ops knows as OpenMetrics text: rows, requests, chunks, checks, where the time went.",
        "bench": "Measure a grid of concurrency and chunk, and recommend a setting.",
        "triggers": "One-time triggers of the pipelines, in Mage's own files.",
    },
    "Try it without QuickBooks": {
        "simulator": "Serve a simulated QuickBooks Online company; `simulator --help` tells its options.",
        "postgres": "Run a PostgreSQL of the project's own, on loopback: `postgres up`, `down`, `url`.",
    },
}
COMMANDS = {name: (panel, line) for panel, lines in PANELS.items() for name, line in lines.items()}


class Commands(typer.core.TyperGroup):
    """Commands in the order of work, and the one that was meant where a name is wrong."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 - click's own signature
        """In the order of work; others as they were added."""
        order = [*COMMANDS]
        return sorted(self.commands, key=lambda name: order.index(name) if name in order else len(order))

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Click's own; its error names the command that is close."""
        try:
            return super().resolve_command(ctx, args)
        except UsageError as error:
            close = difflib.get_close_matches(args[0], [*self.commands], 1)
            error.message = f"No such command {args[0]!r}" + (f"; did you mean {close[0]!r}?" if close else "")
            raise


class Root(Commands):
    """All commands by their names and their lines alone; the one that is called is loaded."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command that the first word names, as its file has it."""
        name, _, rest = super().resolve_command(ctx, args)
        return name, loaded(name), rest


app = typer.Typer(
    name=NAME,
    help="Backfill a company's QuickBooks Online history into Postgres, schema raw.",
    cls=Root,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib import metadata  # noqa: PLC0415 - 50 ms that nothing else here needs

        print(f"{NAME} {metadata.version('async-extractor')} (Python {platform.python_version()})")
        raise typer.Exit


VERSION = typer.Option(False, "--version", callback=_show_version, is_eager=True, help="The version, and nothing else.")


@app.callback()
def _root(version: bool = VERSION) -> None:
    """Backfill a company's QuickBooks Online history into Postgres, schema raw."""


def loaded(name: str) -> Any:
    """A command of `COMMANDS`, as click's, from its file."""
    panel, line = COMMANDS[name]
    program = name in ("simulator", "postgres")
    # Nothing of what modules are made of is garbage, and looking for it takes a tenth of their import.
    gc.disable()
    try:
        module: Any = importlib.import_module(f"async_extractor.cli.{'programs' if program else name}")
        gc.freeze()
    finally:
        gc.enable()
    alone = typer.Typer(add_completion=False, rich_markup_mode="rich")
    if program:
        context = module.CONTEXT
        alone.command(name, context_settings=context, add_help_option=False, rich_help_panel=panel)(
            getattr(module, name)
        )
    elif hasattr(module, "app"):
        alone.add_typer(module.app, name=name, cls=Commands, help=line, rich_help_panel=panel)
    else:
        alone.command(name, rich_help_panel=panel)(getattr(module, name))
    made: Any = typer.main.get_command(alone)
    made = getattr(made, "commands", {}).get(name, made)
    for one in (made, *getattr(made, "commands", {}).values()):
        _silence(one)
    return made


def _silence(made: Any) -> None:
    for parameter in made.params:
        if parameter.default is None:  # "[default: None]" says nothing
            parameter.show_default = False


def command() -> Any:
    """The whole command line, as click's command."""
    root: Any = typer.main.get_command(app)
    _silence(root)
    for name, (panel, line) in COMMANDS.items():
        root.add_command(typer.core.TyperCommand(name, help=line, rich_help_panel=panel))
    return root


def main() -> None:
    """The console script: exit 0 done, 2 bad parameters, 3 incomplete and resumable, 4 configuration."""
    core_dumps.forbid()
    output.guard()
    code = _called()
    for line in output.not_written():
        print(f"{NAME}: {say(line)}", file=sys.stderr)
        code = max(code, ConfigurationError.exit_code)
    sys.exit(code)


def _called() -> int:
    try:
        checked_environment()
        code = command()(prog_name=NAME, standalone_mode=False)
    except BackfillError as error:
        told = str(error)
        if isinstance(error, ConfigurationError):
            told = f"{told.rstrip('.')}; {with_profile('`qbo-backfill check`')} looks at all that a run needs"
        for line in told.splitlines():
            print(f"qbo-backfill: {say(line)}", file=sys.stderr)
        return error.exit_code
    except typer.Abort:
        print(say("qbo-backfill: stopped"), file=sys.stderr)
        return 130
    except ClickException as error:
        if type(error).__name__ == "NoArgsIsHelpError":  # which has the help as its message
            error.show()
            return 2
        context = getattr(error, "ctx", None)
        told = error.format_message().rstrip(".")
        # None for an option of one letter.
        options = getattr(error, "possibilities", None) or ()
        if meant := difflib.get_close_matches(getattr(error, "option_name", ""), options, 1):
            told = f"No such option {error.option_name}; did you mean {meant[0]}?"
        if context and "secrets" in context.command_path.split() and "extra argument" in told:
            told = "one NAME is all it takes; its value is asked for, or read from stdin, and not shown"
        print(f"qbo-backfill: {told}; see `{context.command_path if context else NAME} --help`", file=sys.stderr)
        return 2
    return code if isinstance(code, int) else 0
