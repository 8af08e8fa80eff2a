"""Stores the simulated company's credentials in Mage Secrets, unless a company's own are there already."""

from __future__ import annotations

import sys

from async_extractor.mage.secrets import MageSecrets
from qbo_simulator import config

COMPANYS_OWN = {"QBO_REALM_ID", "QBO_CLIENT_ID", "QBO_CLIENT_SECRET", "QBO_REFRESH_TOKEN"}


def main(url: str) -> int:
    secrets = MageSecrets.locate(announce=print)
    environment = secrets.get("QBO_ENVIRONMENT") or "no environment yet"
    stored = set(secrets.names())
    if environment != "simulator" and stored & {"QBO_ENVIRONMENT", *COMPANYS_OWN}:
        print(f"Mage Secrets are about a company in {environment}: the simulator's credentials are not stored.")
        return 0
    values = {
        "QBO_ENVIRONMENT": "simulator",
        "QBO_SIMULATOR_URL": url,
        "QBO_REALM_ID": config.REALM_ID,
        "QBO_CLIENT_ID": config.CLIENT_ID,
        "QBO_CLIENT_SECRET": config.CLIENT_SECRET,
        "QBO_REFRESH_TOKEN": config.REFRESH_TOKEN,
    }
    for name, value in values.items():
        if name not in stored:
            secrets.set(name, value)
    print("The pipelines read the simulated company.")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
