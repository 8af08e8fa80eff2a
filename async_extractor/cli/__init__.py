"""The command line, `qbo-backfill`. Each command is a file of this package; errors become one line and an exit code."""

from __future__ import annotations

import difflib
import platform
import sys
from importlib import metadata
from typing import Any

import typer
import typer.core
import typer.main

from async_extractor.cli import (
    auth,
    bench,
    check,
    mage,
    metrics,
    plan,
    profiles,
    programs,
    quarantine,
    report,
    reprocess,
    resume,
    retry,
    rotate,
    run,
    secrets,
    status,
    triggers,
    verify,
    warehouse,
)
from async_extractor.errors import BackfillError, ConfigurationError
from async_extractor.mage import core_dumps

NAME = "qbo-backfill"

# Click's own errors, from wherever this typer has its click: since 0.20 or so it brings its own.
UsageError: Any = next(one for one in typer.BadParameter.__mro__ if one.__name__ == "UsageError")
ClickException: Any = next(one for one in typer.BadParameter.__mro__ if one.__name__ == "ClickException")

# Typer has all commands before all groups.
ORDER = (
    "secrets",
    "auth",
    "profiles",
    "check",
    "warehouse",
    "mage",
    "plan",
    "run",
    "status",
    "resume",
    "retry",
    "reprocess",
)


class Commands(typer.core.TyperGroup):
    """Commands in the order of work, and the one that was meant where a name is wrong."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 - click's own signature
        """In the order of work; others as they were added."""
        return sorted(self.commands, key=lambda name: ORDER.index(name) if name in ORDER else len(ORDER))

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Click's own; its error names the command that is close."""
        try:
            return super().resolve_command(ctx, args)
        except UsageError as error:
            close = difflib.get_close_matches(args[0], [*self.commands], 1)
            error.message = f"No such command {args[0]!r}" + (f"; did you mean {close[0]!r}?" if close else "")
            raise


app = typer.Typer(
    name=NAME,
    help="Backfill a company's QuickBooks Online history into Postgres, schema raw.",
    cls=Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"{NAME} {metadata.version('async-extractor')} (Python {platform.python_version()})")
        raise typer.Exit


VERSION = typer.Option(False, "--version", callback=_show_version, is_eager=True, help="The version, and nothing else.")


@app.callback()
def _root(version: bool = VERSION) -> None:
    """Backfill a company's QuickBooks Online history into Postgres, schema raw."""


SET_UP, BACKFILL, PROVE, OPERATE, TRY = "Set up", "Backfill", "Prove it", "Day by day", "Try it without QuickBooks"
secrets.app.command("rotate")(rotate.rotate)
app.add_typer(secrets.app, name="secrets", cls=Commands, rich_help_panel=SET_UP)
app.add_typer(auth.app, name="auth", cls=Commands, rich_help_panel=SET_UP)
app.add_typer(warehouse.app, name="warehouse", cls=Commands, rich_help_panel=SET_UP)
app.add_typer(mage.app, name="mage", cls=Commands, rich_help_panel=SET_UP)
app.command("profiles", rich_help_panel=SET_UP)(profiles.profiles)
app.command("check", rich_help_panel=SET_UP)(check.check)
app.command("plan", rich_help_panel=BACKFILL)(plan.plan)
app.command("run", rich_help_panel=BACKFILL)(run.run)
app.command("status", rich_help_panel=BACKFILL)(status.status)
app.command("resume", rich_help_panel=BACKFILL)(resume.resume)
app.command("retry", rich_help_panel=BACKFILL)(retry.retry)
app.command("reprocess", rich_help_panel=BACKFILL)(reprocess.reprocess)
app.command("verify", rich_help_panel=PROVE)(verify.verify)
app.command("report", rich_help_panel=PROVE)(report.report)
app.add_typer(quarantine.app, name="quarantine", cls=Commands, rich_help_panel=PROVE)
app.add_typer(triggers.app, name="triggers", cls=Commands, rich_help_panel=OPERATE)
app.command("metrics", rich_help_panel=OPERATE)(metrics.metrics)
app.command("bench", rich_help_panel=OPERATE)(bench.bench)
for program in (programs.simulator, programs.postgres):
    app.command(context_settings=programs.CONTEXT, add_help_option=False, rich_help_panel=TRY)(program)


def command() -> Any:
    """The whole command line, as click's command."""
    root = typer.main.get_command(app)
    waiting = [root]
    while waiting:
        one: Any = waiting.pop()
        waiting += getattr(one, "commands", {}).values()
        for parameter in one.params:
            if parameter.default is None:  # "[default: None]" says nothing
                parameter.show_default = False
    return root


def main() -> None:
    """The console script: exit 0 done, 2 bad parameters, 3 incomplete and resumable, 4 configuration."""
    core_dumps.forbid()
    try:
        code = command()(prog_name=NAME, standalone_mode=False)
    except BackfillError as error:
        told = str(error)
        if isinstance(error, ConfigurationError):
            told = f"{told.rstrip('.')}; `qbo-backfill check` looks at all that a run needs"
        print(f"qbo-backfill: {told}", file=sys.stderr)
        sys.exit(error.exit_code)
    except typer.Abort:
        print("qbo-backfill: stopped", file=sys.stderr)
        sys.exit(130)
    except ClickException as error:
        if type(error).__name__ == "NoArgsIsHelpError":  # which has the help as its message
            error.show()
            sys.exit(2)
        context = getattr(error, "ctx", None)
        told = error.format_message().rstrip(".")
        if meant := difflib.get_close_matches(
            getattr(error, "option_name", ""), getattr(error, "possibilities", ()), 1
        ):
            told = f"No such option {error.option_name}; did you mean {meant[0]}?"
        if context and "secrets" in context.command_path.split() and "extra argument" in told:
            told = "one NAME is all it takes; its value is asked for, or read from stdin, and not shown"
        print(f"qbo-backfill: {told}; see `{context.command_path if context else NAME} --help`", file=sys.stderr)
        sys.exit(2)
    sys.exit(code if isinstance(code, int) else 0)
