"""tap-quickbooks, unmodified but for its hosts, which are pointed at the simulator."""

from __future__ import annotations

import os

from tap_quickbooks import client, main

client.SANDBOX_ENDPOINT_BASE = os.environ["QBO_URL"]
client.TOKEN_REFRESH_URL = f"{os.environ['QBO_URL']}/oauth2/v1/tokens/bearer"
main()
