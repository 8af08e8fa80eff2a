"""Copies the Mage project for a cluster: the block of each pipeline that extracts runs in Kubernetes Jobs.

    python extract_in_jobs.py FROM TO

Everything is as in FROM, but for `triggers.yaml`: one that is in TO stays, since Mage writes there which trigger is
disabled. Mage 0.9.80 gives a Job the image, the environment and the volumes of its own pod, and runs in it
`/app/run_app.sh mage run`, which the official image has.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import Any

import yaml

EXTRACT = ("qb_extract", "qb_entity")
LIMITS = {"cpu": "1000m", "memory": "1Gi"}
REQUESTS = {"cpu": "250m", "memory": "512Mi"}


def main(source: Path, target: Path, namespace: str) -> None:
    kept = {path.relative_to(target): path.read_bytes() for path in target.glob("pipelines/*/triggers.yaml")}
    shutil.copytree(source, target, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    for name, content in kept.items():
        (target / name).write_bytes(content)

    project = target / "metadata.yaml"
    settings: dict[str, Any] = yaml.safe_load(project.read_text())
    settings["k8s_executor_config"] = {
        "namespace": namespace,
        "service_account_name": "extract",
        "job_name_prefix": "qbo-{trigger_name}",
        "resource_limits": LIMITS,
        "resource_requests": REQUESTS,
    }
    project.write_text(yaml.safe_dump(settings, sort_keys=False))

    for path in target.glob("pipelines/*/metadata.yaml"):
        pipeline: dict[str, Any] = yaml.safe_load(path.read_text())
        for block in pipeline["blocks"]:
            if block["uuid"] in EXTRACT:
                block["executor_type"] = "k8s"
        path.write_text(yaml.safe_dump(pipeline, sort_keys=False))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), os.environ["KUBE_NAMESPACE"])
