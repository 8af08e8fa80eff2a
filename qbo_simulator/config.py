"""What a simulator is started with."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from qbo_simulator.company import CompanySize

# Invented, and the same in every simulator, so that examples can be copied.
REALM_ID = "4620816365000007770"
CLIENT_ID = "ABsimulatedClientIdNotFromIntuit000000000000000000"
CLIENT_SECRET = "simulated-client-secret-not-from-intuit"
REFRESH_TOKEN = "RT1-00-H0-simulated-refresh-token-not-from-intuit"


@dataclass(frozen=True)
class SimulatorConfig(CompanySize):
    """A company's size, and who serves it how.

    `scenario` names behaviours joined by commas; `switches` go on top of them, in the scenarios' own words. Port 0 is
    any free one. `latency_ms` replaces the scenario's. `keep_pages_mb` megabytes of pages are kept, to be served again
    as they are (0: each is made anew). `tls_folder` serves HTTPS with a certificate of a local authority that is made
    there; `proxy_port` opens an HTTPS proxy that takes Intuit's hosts for this one.
    """

    host: str = "127.0.0.1"
    port: int = 0
    realm_id: str = REALM_ID
    client_id: str = CLIENT_ID
    client_secret: str = CLIENT_SECRET
    refresh_token: str = REFRESH_TOKEN
    scenario: str = "calm"
    switches: dict[str, Any] = field(default_factory=dict)
    limits: bool = True
    latency_ms: float | None = None
    keep_pages_mb: int = 0
    access_token_seconds: int | None = None
    tls_folder: Path | None = None
    proxy_port: int | None = None
