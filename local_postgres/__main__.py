"""`python -m local_postgres`, or `qbo-backfill postgres`: a PostgreSQL server for machines without one."""

from __future__ import annotations

import sys
from pathlib import Path

import typer

from local_postgres.cluster import LocalPostgresError
from local_postgres.embedded import EmbeddedPostgres

app = typer.Typer(
    name="qbo-backfill postgres",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    no_args_is_help=True,
    help="A PostgreSQL of the project's own, on loopback, from the binaries of a wheel. Needs no rights.",
)

Data = typer.Option(
    Path(".state/postgres"),
    "--data",
    metavar="DIR",
    help="The folder of its data, its password and its port.",
)
ShowPassword = typer.Option(False, "--show-password", help="Print the password instead of ***.")


@app.command()
def up(data: Path = Data, show_password: bool = ShowPassword) -> None:
    """Start it, making its data the first time, and print its URL. Does nothing when it runs already."""
    address = EmbeddedPostgres(data).up()
    typer.echo(address.url(show_password=show_password))


@app.command()
def down(data: Path = Data) -> None:
    """Stop it. The data stays; `up` goes on with it."""
    stopped = EmbeddedPostgres(data).down()
    typer.echo(f"Postgres in {data} is stopped." if stopped else f"No Postgres ran in {data}.")


@app.command()
def url(data: Path = Data, show_password: bool = ShowPassword) -> None:
    """Print the running server's URL. Ends with 4 when none runs."""
    typer.echo(EmbeddedPostgres(data).url(show_password=show_password))


def main() -> None:
    """Exit 0 when it is done, 2 for wrong words, 4 when the server can't be had."""
    try:
        app(prog_name="qbo-backfill postgres")
    except LocalPostgresError as error:
        print(f"qbo-backfill: {error}", file=sys.stderr)
        sys.exit(4)


if __name__ == "__main__":
    main()
