"""The command line, `qbo-backfill`. Each command is a file of this package; errors become one line and an exit code."""

from __future__ import annotations

import sys

import click
import typer

from async_extractor.cli import (
    auth,
    bench,
    check,
    mage,
    metrics,
    plan,
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

app = typer.Typer(
    name="qbo-backfill",
    help="Backfill a company's QuickBooks Online history into Postgres, schema raw.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command("check")(check.check)
app.command("run")(run.run)
app.command("plan")(plan.plan)
app.command("status")(status.status)
app.command("resume")(resume.resume)
app.command("retry")(retry.retry)
app.command("reprocess")(reprocess.reprocess)
app.command("verify")(verify.verify)
app.command("report")(report.report)
app.add_typer(quarantine.app, name="quarantine")
app.add_typer(triggers.app, name="triggers")
app.add_typer(mage.app, name="mage")
app.command("metrics")(metrics.metrics)
app.command("bench")(bench.bench)
secrets.app.command("rotate")(rotate.rotate)
app.add_typer(secrets.app, name="secrets")
app.add_typer(auth.app, name="auth")
app.add_typer(warehouse.app, name="warehouse")
for program in (programs.simulator, programs.postgres):
    app.command(context_settings=programs.CONTEXT, add_help_option=False)(program)


def main() -> None:
    """The console script: exit 0 done, 2 bad parameters, 3 incomplete and resumable, 4 configuration."""
    core_dumps.forbid()
    try:
        code = app(standalone_mode=False)
    except BackfillError as error:
        told = str(error)
        if isinstance(error, ConfigurationError):
            told = f"{told.rstrip('.')}; `qbo-backfill check` looks at all that a run needs"
        print(f"qbo-backfill: {told}", file=sys.stderr)
        sys.exit(error.exit_code)
    except click.exceptions.Abort:
        print("qbo-backfill: stopped", file=sys.stderr)
        sys.exit(130)
    except click.ClickException as error:
        print(f"qbo-backfill: {error.format_message().rstrip('.')}; see `qbo-backfill --help`", file=sys.stderr)
        sys.exit(2)
    sys.exit(code if isinstance(code, int) else 0)
