"""Starts Mage with its own secrets read from files.

Mage takes its owner's password and its token key from the environment only, when its settings are imported. They
are put there inside this process and just for that, so that neither `docker inspect` nor the environment of any
process shows them: not of this one, nor of the notebook's kernel that Mage starts.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from async_extractor.mage import launch as mage_launch

SECRETS = Path(os.environ.get("SECRETS_DIR", "/run/secrets"))
FROM_FILES = {
    "DEFAULT_OWNER_PASSWORD": "mage_owner_password",
    "JWT_SECRET": "mage_jwt_secret",
}


def main() -> None:
    for variable, name in FROM_FILES.items():
        try:
            value = (SECRETS / name).read_text().strip()
        except OSError as error:
            sys.exit(f"start_mage: {SECRETS / name} can't be read ({error.strerror}); `make up` creates it")
        if not value:
            # Mage would fall back to a password and a key that everybody knows.
            sys.exit(f"start_mage: {SECRETS / name} is empty; delete it and run `make up`, which creates it anew")
        os.environ[variable] = value
    from mage_ai.settings import server  # noqa: PLC0415 - it reads the environment when imported

    for variable in FROM_FILES:
        if getattr(server, variable) != os.environ.pop(variable):
            sys.exit(f"start_mage: Mage didn't take {variable}; another version of Mage reads it elsewhere")
    mage_launch.start(Path(os.environ["MAGE_REPO_PATH"]), "--host", "0.0.0.0", "--port", "6789")  # noqa: S104


if __name__ == "__main__":
    main()
