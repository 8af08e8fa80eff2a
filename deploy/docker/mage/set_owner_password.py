"""Gives Mage's owner the password on stdin, by Mage's own code. Who is logged in stays so."""

from __future__ import annotations

import os
import sys


def main() -> int:
    password = sys.stdin.readline().rstrip("\n")
    if not password:
        print("set_owner_password: no password on stdin", file=sys.stderr)
        return 2
    from mage_ai.settings.repo import set_repo_path  # noqa: PLC0415 - before Mage's database is imported

    set_repo_path(os.environ["MAGE_REPO_PATH"])
    from mage_ai.authentication.passwords import create_bcrypt_hash, generate_salt  # noqa: PLC0415
    from mage_ai.orchestration.db import db_connection  # noqa: PLC0415
    from mage_ai.orchestration.db.models.oauth import User  # noqa: PLC0415

    db_connection.start_session()
    owner = User.query.filter(User.username == os.environ["DEFAULT_OWNER_USERNAME"]).one_or_none()
    if owner is None:
        print("set_owner_password: Mage has no owner yet; start it once", file=sys.stderr)
        return 4
    salt = generate_salt()
    owner.update(password_hash=create_bcrypt_hash(password, salt), password_salt=salt)
    return 0


if __name__ == "__main__":
    sys.exit(main())
