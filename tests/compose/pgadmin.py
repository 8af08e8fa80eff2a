"""pgAdmin as a person's browser uses it: the log-in page, the tree of servers, connecting to one."""

from __future__ import annotations

import http.cookiejar
import json
import re
import urllib.parse
import urllib.request
from typing import Any


class PgAdmin:
    """A session of pgAdmin's."""

    def __init__(self, port: int) -> None:
        self._address = f"http://127.0.0.1:{port}"
        self._cookies = http.cookiejar.CookieJar()
        # Loopback only, whatever a proxy variable says.
        self._opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPCookieProcessor(self._cookies)
        )
        self._csrf = ""

    def log_in(self, email: str, password: str) -> None:
        """AssertionError when it is refused."""
        page = self._get("/login")
        found = re.search(r'csrfToken[^:]*:\s*[\'"]?(?:&#34;)?([\w.-]+)', page)
        assert found is not None, "the log-in page has no CSRF token"
        form = {"email": email, "password": password, "csrf_token": found[1], "internal_button": "Login"}
        self._opener.open(
            f"{self._address}/authenticate/login", urllib.parse.urlencode(form).encode(), timeout=60
        ).close()
        script = self._get("/browser/js/utils.js")
        token = re.search(r"pgAdmin\['csrf_token'\] = '([^']+)'", script)
        assert token is not None, "pgAdmin refused the log-in"
        self._csrf = token[1]

    def servers(self) -> list[dict[str, Any]]:
        """The registered servers, each with its `name`, `host` and `username`."""
        groups = json.loads(self._get("/browser/server_group/nodes/"))["data"]
        return [server for group in groups for server in json.loads(self._get(f"/browser/server/obj/{group['_id']}/"))]

    def connect(self, server: dict[str, Any], password: str) -> dict[str, Any]:
        """Connect to a server with a password, as its dialog does."""
        request = urllib.request.Request(  # noqa: S310 - always http
            f"{self._address}/browser/server/connect/{server['gid']}/{server['id']}",
            json.dumps({"password": password, "save_password": False}).encode(),
            {"Content-Type": "application/json", "X-pgA-CSRFToken": self._csrf},
        )
        with self._opener.open(request, timeout=60) as response:
            answer: dict[str, Any] = json.load(response)
        return answer

    def _get(self, path: str) -> str:
        request = urllib.request.Request(  # noqa: S310 - always http
            f"{self._address}{path}", headers={"X-pgA-CSRFToken": self._csrf}
        )
        with self._opener.open(request, timeout=60) as response:
            return str(response.read().decode())
