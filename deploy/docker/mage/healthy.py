"""Exit 0 when Mage is ready: its API answers for this project, from its database, and its scheduler runs.

`/api/status` alone stays 200 when the scheduler is gone, and then no trigger fires.
"""

from __future__ import annotations

import json
import os
import sys
import urllib.request

# The public id of Mage's own web page; each call needs it, and it opens nothing by itself.
PAGE_CLIENT_ID = "zkWlN0PkIKSN0C11CfUHUj84OT5XOJ6tDZ6bDRO2"


def main() -> int:
    request = urllib.request.Request(
        "http://127.0.0.1:6789/api/statuses",
        headers={"X-API-KEY": PAGE_CLIENT_ID},
    )
    # Loopback, whatever a proxy variable says.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=5) as response:
            (status,) = json.load(response)["statuses"]
    except (OSError, ValueError, KeyError) as error:
        print(f"Mage doesn't answer: {error!r}")
        return 1
    if status["repo_path"] != os.environ["MAGE_REPO_PATH"] or status["scheduler_status"] != "running":
        print(f"Mage isn't ready: {status['repo_path']}, scheduler {status['scheduler_status']}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
