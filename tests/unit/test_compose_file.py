"""What can be said of the Docker stack without an engine: the files of secrets, the compose file as it is written."""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

CHECKOUT = Path(__file__).parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((CHECKOUT / "docker-compose.yml").read_text())
SERVICES: dict[str, Any] = COMPOSE["services"]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    (tmp_path / "deploy" / "docker").mkdir(parents=True)
    (tmp_path / "mage_project").mkdir()
    shutil.copy(CHECKOUT / "deploy" / "docker" / "create_secrets.sh", tmp_path / "deploy" / "docker")
    return tmp_path


def _create(checkout: Path) -> dict[str, str]:
    subprocess.run([checkout / "deploy" / "docker" / "create_secrets.sh"], check=True, capture_output=True)
    return {path.name: path.read_text() for path in (checkout / "deploy" / "docker" / "secrets").iterdir()}


def test_every_secret_of_the_compose_file_is_made_random_and_for_its_owner_only(checkout: Path) -> None:
    made = _create(checkout)
    folder = checkout / "deploy" / "docker" / "secrets"
    passwd = made.pop("passwd")
    assert made.keys() == COMPOSE["secrets"].keys()
    assert {secret["file"] for secret in COMPOSE["secrets"].values()} == {
        f"./deploy/docker/secrets/{name}" for name in made
    }
    values = {value.strip().rpartition(":")[2] for value in made.values()}
    assert len(values) == len(made)
    assert all(re.fullmatch(r"[A-Za-z0-9]{32}", value) for value in values)
    assert made["mage_pgpass"].startswith("postgres:5432:mage:mage:")
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE((folder / name).stat().st_mode) for name in made} == {0o600}
    assert not any(value in passwd + (checkout / ".env").read_text() for value in values)


def test_a_second_time_changes_nothing_and_a_lost_one_is_made_anew(checkout: Path) -> None:
    made = _create(checkout)
    settings = (checkout / ".env").read_text()
    assert _create(checkout) == made
    assert (checkout / ".env").read_text() == settings
    (checkout / "deploy" / "docker" / "secrets" / "reader_password").unlink()
    again = _create(checkout)
    assert again.pop("reader_password") != made.pop("reader_password")
    assert again == made


def test_the_containers_run_as_the_owner_of_the_secrets_and_never_as_root(checkout: Path) -> None:
    _create(checkout)
    owner = (checkout / "deploy" / "docker" / "secrets" / "mage_pgpass").stat().st_uid
    settings = dict(line.split("=") for line in (checkout / ".env").read_text().split())
    assert int(settings["STACK_UID"]) == owner > 0
    assert os.geteuid() in (0, owner)
    for name, service in SERVICES.items():
        assert service["user"].startswith("${STACK_UID:-1000}:"), name


def test_secrets_and_settings_are_ignored_by_git_and_by_image_builds() -> None:
    assert {"deploy/docker/secrets/", ".env"} <= set((CHECKOUT / ".gitignore").read_text().splitlines())
    taken = [line[1:] for line in (CHECKOUT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    assert (CHECKOUT / ".dockerignore").read_text().splitlines()[1] == "*"
    assert not any("deploy/docker/secrets".startswith(name.rstrip("/")) for name in taken)


def test_no_variable_of_a_container_is_a_secret_but_a_path_to_one() -> None:
    for name, service in SERVICES.items():
        for variable, value in (service.get("environment") or {}).items():
            if re.search(r"PASSWORD|SECRET|TOKEN|KEY", variable) and variable != "HIDE_API_TRIGGER_TOKEN":
                assert str(value).startswith("/run/secrets/"), f"{name}: {variable}"
            assert not re.search(r"://[^/@]*:[^/@]*@", str(value)), f"{name}: {variable} holds a password"


def test_the_owners_password_is_at_hand_only_where_it_is_needed() -> None:
    holders = {name for name, service in SERVICES.items() if "warehouse_owner_password" in service.get("secrets", [])}
    assert holders == {"postgres", "setup"}


def test_ports_are_published_on_loopback_only() -> None:
    ports = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert len(ports) == 3
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_every_service_is_bounded_and_may_not_gain_rights() -> None:
    for name, service in SERVICES.items():
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["mem_limit"], name
        assert service["init"] is True, name
        assert service["logging"]["options"] == {"max-size": "10m", "max-file": "3"}, name
        assert service["ulimits"]["core"] == 0, name
        assert ("healthcheck" in service) is (name != "setup"), name


def test_the_image_is_built_on_the_mage_that_the_project_is_pinned_to() -> None:
    dockerfile = (CHECKOUT / "deploy" / "docker" / "mage" / "Dockerfile").read_text()
    (version,) = re.findall(r"^FROM mageai/mageai:(\S+)$", dockerfile, re.MULTILINE)
    assert f'"mage-ai=={version}"' in (CHECKOUT / "pyproject.toml").read_text()
    assert SERVICES["mage"]["image"] == f"qbo-backfill-mage:${{STACK_TAG:-{version}}}"
