"""Searching all that the stack shows and keeps for the values that it must not show."""

from __future__ import annotations

import json

from tests.compose.composed import SERVICES, Stack

# What the images themselves put into their own processes' environment, and nobody else can see. The superuser's
# password is worthless by then; pgAdmin's opens pgAdmin, which asks for the reader's password again.
IN_ITS_OWN_CONTAINER = {"postgres": {"postgres_password"}, "pgadmin": {"pgadmin_password"}}


def assert_no_secret_shows(stack: Stack, secrets: dict[str, str]) -> None:
    """AssertionError with the place and the secrets' names."""
    places = {
        ".env": (stack.folder / ".env").read_text(),
        "docker compose config": stack.compose("config"),
        "docker compose logs": stack.compose("logs", "--no-color"),
        "database mage": stack.execute("postgres", "pg_dump", "--username", "postgres", "mage"),
        "database warehouse": stack.execute("postgres", "pg_dump", "--username", "postgres", "warehouse"),
        "mage_data": stack.execute("mage", "sh", "-c", "find /home/src/mage_data -type f -exec cat {} +"),
        "mage_project": stack.execute("mage", "sh", "-c", "find /home/src/mage_project -type f -exec cat {} +"),
    }
    for service in (*SERVICES, "setup"):
        places[f"docker inspect {service}"] = json.dumps(stack.inspect(service))
    for name, text in places.items():
        assert len(text) > 10, name
        assert _found(text, secrets) == set(), name
    for service in SERVICES:
        found = _found(stack.processes(service), secrets) - IN_ITS_OWN_CONTAINER.get(service, set())
        assert found == set(), f"processes of {service}"
    print(f"{len(secrets)} secrets in none of: {', '.join(places)}, processes of {', '.join(SERVICES)}")


def qbo_secrets(stack: Stack) -> dict[str, str]:
    """The tokens and the app's secret as Mage Secrets have them now."""
    script = (
        "import json; from async_extractor.mage.secrets import MageSecrets; s = MageSecrets.locate(); "
        "print(json.dumps({n: s.get(n) for n in ('QBO_CLIENT_SECRET', 'QBO_REFRESH_TOKEN', 'QBO_ACCESS_TOKEN')}))"
    )
    values: dict[str, str] = json.loads(stack.execute("mage", "python", "-c", script))
    values["QBO_ACCESS_TOKEN"] = json.loads(values["QBO_ACCESS_TOKEN"])["token"]
    return values


def _found(text: str, secrets: dict[str, str]) -> set[str]:
    return {name for name, value in secrets.items() if value in text}
