"""What a simulator is started with."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from qbo_simulator.company import CompanySize

# Invented, and the same in every simulator, so that examples can be copied.
REALM_ID = "4620816365000007770"
CLIENT_ID = "ABsimulatedClientIdNotFromIntuit000000000000000000"
CLIENT_SECRET = "simulated-client-secret-not-from-intuit"
REFRESH_TOKEN = "RT1-00-H0-simulated-refresh-token-not-from-intuit"


@dataclass(frozen=True)
class SimulatorConfig:
    """`scenario` names behaviours joined by commas; `switches` go on top of them, in the scenarios' own words.

    Port 0 is any free one. `latency_ms` replaces the scenario's. `tls_folder` serves HTTPS with a certificate of a
    local authority that is made there; `proxy_port` opens an HTTPS proxy that takes Intuit's hosts for this one.
    """

    host: str = "127.0.0.1"
    port: int = 0
    seed: int = 7
    invoices: int = 2_500
    customers: int = 700
    items: int = 300
    years: float = 3.0
    end: date = date(2026, 1, 1)
    realm_id: str = REALM_ID
    client_id: str = CLIENT_ID
    client_secret: str = CLIENT_SECRET
    refresh_token: str = REFRESH_TOKEN
    scenario: str = "calm"
    switches: dict[str, Any] = field(default_factory=dict)
    limits: bool = True
    latency_ms: float | None = None
    access_token_seconds: int | None = None
    tls_folder: Path | None = None
    proxy_port: int | None = None

    @property
    def size(self) -> CompanySize:
        return CompanySize(self.seed, self.invoices, self.customers, self.items, self.years, self.end)
