"""The manifests are valid by Kubernetes' own schemas, and agree with each other and with the Compose stack."""

from __future__ import annotations

import re
import runpy
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import kubernetes_validate
import pytest
import yaml

from async_extractor.mage.blocks import MOST_WORKERS

CHECKOUT = Path(__file__).parents[2]
FOLDER = CHECKOUT / "deploy" / "kubernetes"
# Old and new: a cluster of any version in between takes them.
VERSIONS = ("1.29", "1.37")


def _resources() -> list[Any]:
    found = [resource for path in sorted(FOLDER.glob("*.yaml")) for resource in yaml.safe_load_all(path.read_text())]
    assert len(found) > 10
    return found


RESOURCES = _resources()
WORKLOADS = [resource for resource in RESOURCES if resource["kind"] in ("Deployment", "StatefulSet")]


def _name(resource: Any) -> str:
    return f"{resource['kind']}/{resource['metadata']['name']}"


def _pods() -> list[Any]:
    return [workload["spec"]["template"]["spec"] for workload in WORKLOADS]


def _containers() -> list[Any]:
    return [one for pod in _pods() for one in [*pod.get("initContainers", []), *pod["containers"]]]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("resource", RESOURCES, ids=_name)
def test_a_manifest_is_valid_by_kubernetes_schemas(resource: Any, version: str) -> None:
    kubernetes_validate.validate(resource, version, strict=True)


def test_the_schemas_refuse_what_is_wrong() -> None:
    wrong = yaml.safe_load(yaml.safe_dump(WORKLOADS[0]))
    wrong["spec"]["template"]["spec"]["containers"][0]["redOnlyRootFilesystem"] = True
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, VERSIONS[-1], strict=True)


def test_images_are_those_of_the_compose_stack() -> None:
    compose = yaml.safe_load((CHECKOUT / "docker-compose.yml").read_text())
    composed = {re.sub(r"\$\{\w+:-([^}]+)\}", r"\1", service["image"]) for service in compose["services"].values()}
    assert {container["image"] for container in _containers()} == composed


def test_no_pod_runs_as_root_or_may_gain_rights() -> None:
    for pod in _pods():
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"] > 0
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in _containers():
        assert container["securityContext"]["allowPrivilegeEscalation"] is False
        assert container["securityContext"]["capabilities"]["drop"] == ["ALL"]
        assert container["resources"]["limits"]["memory"]


def test_every_volume_that_is_mounted_is_there_and_every_claim_is_made() -> None:
    claims = {resource["metadata"]["name"] for resource in RESOURCES if resource["kind"] == "PersistentVolumeClaim"}
    for workload in WORKLOADS:
        pod = workload["spec"]["template"]["spec"]
        volumes = {volume["name"]: volume for volume in pod["volumes"]}
        templates = {claim["metadata"]["name"] for claim in workload["spec"].get("volumeClaimTemplates", [])}
        for container in [*pod.get("initContainers", []), *pod["containers"]]:
            assert {mount["name"] for mount in container["volumeMounts"]} <= volumes.keys() | templates
        for volume in volumes.values():
            if "persistentVolumeClaim" in volume:
                assert volume["persistentVolumeClaim"]["claimName"] in claims


def test_every_key_of_the_secret_is_one_that_the_readme_makes() -> None:
    script = (CHECKOUT / "deploy" / "docker" / "create_secrets.sh").read_text()
    made = set(re.findall(r"^create (\w+)", script, re.MULTILINE)) | {"mage_password"}
    used = {
        item["key"]
        for pod in _pods()
        for volume in pod["volumes"]
        if "secret" in volume
        for item in volume["secret"]["items"]
    } | {
        variable["valueFrom"]["secretKeyRef"]["key"]
        for container in _containers()
        for variable in container.get("env", [])
        if "secretKeyRef" in variable.get("valueFrom", {})
    }
    assert used == made
    assert "mage_password" in (FOLDER / "README.md").read_text()


def test_selectors_find_their_pods_and_services_their_ports() -> None:
    labels = {
        workload["metadata"]["name"]: workload["spec"]["template"]["metadata"]["labels"] for workload in WORKLOADS
    }
    for workload in WORKLOADS:
        selector = workload["spec"]["selector"]["matchLabels"]
        assert selector.items() <= labels[workload["metadata"]["name"]].items()
    for service in (resource for resource in RESOURCES if resource["kind"] == "Service"):
        name = service["metadata"]["name"]
        assert service["spec"]["selector"].items() <= labels[name].items()
        (workload,) = (one for one in WORKLOADS if one["metadata"]["name"] == name)
        ports = {port["name"] for port in workload["spec"]["template"]["spec"]["containers"][0]["ports"]}
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= ports


def test_the_extract_block_runs_in_jobs_and_triggers_stay_as_mage_left_them(tmp_path: Path) -> None:
    script = runpy.run_path(str(FOLDER / "extract_in_jobs.py"))
    script["main"](CHECKOUT / "mage_project", tmp_path / "project", "backfill")
    triggers = tmp_path / "project/pipelines/qb_items_backfill/triggers.yaml"
    triggers.write_text("triggers: []  # as Mage left it\n")
    script["main"](CHECKOUT / "mage_project", tmp_path / "project", "backfill")
    assert "as Mage left it" in triggers.read_text()
    for pipeline in ("invoices", "customers", "items"):
        path = tmp_path / f"project/pipelines/qb_{pipeline}_backfill/metadata.yaml"
        executors = {block["uuid"]: block["executor_type"] for block in yaml.safe_load(path.read_text())["blocks"]}
        assert executors.pop("qb_extract") == "k8s"
        assert set(executors.values()) == {"local_python"}
    settings = yaml.safe_load((tmp_path / "project/metadata.yaml").read_text())
    assert settings["k8s_executor_config"]["namespace"] == "backfill"
    assert settings["help_improve_mage"] is False
    accounts = {resource["metadata"]["name"] for resource in RESOURCES if resource["kind"] == "ServiceAccount"}
    assert settings["k8s_executor_config"]["service_account_name"] in accounts


def test_server_and_jobs_share_mages_data_the_project_and_one_postgres() -> None:
    """Mage gives a Job the image, environment and volumes of the container that MAGE_CONTAINER_NAME names."""
    image = dict(re.findall(r"(MAGE_\w+)=(\S+)", (CHECKOUT / "deploy" / "docker" / "mage" / "Dockerfile").read_text()))
    (server,) = (one for one in WORKLOADS if one["metadata"]["name"] == "mage")
    pod = server["spec"]["template"]["spec"]
    environment = {variable["name"]: variable.get("value") for variable in pod["containers"][0]["env"]}
    (container,) = (one for one in pod["containers"] if one["name"] == environment["MAGE_CONTAINER_NAME"])
    claims = {
        volume["name"]: volume["persistentVolumeClaim"]["claimName"]
        for volume in pod["volumes"]
        if "persistentVolumeClaim" in volume
    }
    shared = {
        mount["mountPath"]: claims[mount["name"]] for mount in container["volumeMounts"] if mount["name"] in claims
    }
    assert shared.keys() == {image["MAGE_DATA_DIR"], image["MAGE_REPO_PATH"]}
    modes = {
        resource["metadata"]["name"]: resource["spec"]["accessModes"]
        for resource in RESOURCES
        if resource["kind"] == "PersistentVolumeClaim"
    }
    assert {tuple(modes[claim]) for claim in shared.values()} == {("ReadWriteMany",)}
    services = {resource["metadata"]["name"] for resource in RESOURCES if resource["kind"] == "Service"}
    assert urlsplit(environment["MAGE_DATABASE_CONNECTION_URL"]).hostname in services
    assert environment["POSTGRES_HOST"] in services
    (postgres,) = (one for one in WORKLOADS if one["metadata"]["name"] == environment["POSTGRES_HOST"])
    assert (postgres["spec"]["replicas"], server["spec"]["replicas"]) == (1, 1)


def test_mage_may_do_with_jobs_what_its_executor_does_and_the_jobs_may_do_nothing() -> None:
    (role,) = (resource for resource in RESOURCES if resource["kind"] == "Role")
    may = {(resource, verb) for rule in role["rules"] for resource in rule["resources"] for verb in rule["verbs"]}
    assert may >= {("jobs", "create"), ("jobs", "get"), ("jobs", "delete"), ("pods", "get")}
    assert {resource for resource, _ in may} == {"jobs", "pods"}
    (binding,) = (resource for resource in RESOURCES if resource["kind"] == "RoleBinding")
    assert [subject["name"] for subject in binding["subjects"]] == ["mage"]


def test_no_more_workers_are_allowed_than_mage_runs_blocks_at_once() -> None:
    settings = yaml.safe_load((CHECKOUT / "mage_project" / "metadata.yaml").read_text())
    assert settings["queue_config"]["concurrency"] == MOST_WORKERS
    assert "queue_type" not in settings["queue_config"]
