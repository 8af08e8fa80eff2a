"""Where the evidence is written, and what may not be in it: secrets, and paths of the machine that made it."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterable, Mapping
from datetime import datetime, timezone
from pathlib import Path

EVIDENCE = Path(__file__).parents[2] / "evidence"

_BOX_WORDS = re.compile(r"[ \t]+$", re.MULTILINE)
_ANSI = re.compile(r"\x1b\[[0-9;]*m")


class EvidenceError(Exception):
    """The evidence can't be made, or isn't fit to be shown: one line."""


class Gallery:
    """The folder. `paths` are replaced where they occur; `secrets` may not occur at all."""

    def __init__(self, folder: Path = EVIDENCE, *, paths: Mapping[str, str] | None = None) -> None:
        self.folder = folder
        self._paths = dict(paths or {})
        self._secrets: set[str] = set()

    def hide(self, secrets: Iterable[str]) -> None:
        """Values that no file may hold."""
        self._secrets.update(value for value in secrets if len(value) >= 8)

    def text(self, name: str, title: str, body: str) -> None:
        """A file of text below `text/`, with what it is and when it was made."""
        made = f"{datetime.now(timezone.utc):%Y-%m-%d %H:%M} UTC"
        head = f"{title}\nMade by `make evidence` on {made}, on the simulator.\n\n"
        self._write(Path("text") / name, head + body)

    def document(self, name: str, content: str) -> None:
        """A file of another kind, as it is."""
        self._write(Path(name), content)

    def picture(self, name: str) -> Path:
        """Where a picture goes."""
        path = self.folder / "pictures" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def clean(self, text: str) -> str:
        """Without escape codes, trailing spaces and this machine's paths and name."""
        text = _BOX_WORDS.sub("", _ANSI.sub("", text))
        for path, shown in sorted(self._paths.items(), key=lambda item: -len(item[0])):
            text = text.replace(path, shown)
        return text.replace(socket.gethostname(), "HOST")

    def _write(self, name: Path, content: str) -> None:
        content = self.clean(content)
        if any(secret in content for secret in self._secrets):
            raise EvidenceError(f"evidence/{name} would hold a secret; it was not written")
        found = re.search(r"/(?:root|home|Users|tmp|work)/[\w/.-]*", content)
        if found is not None:
            raise EvidenceError(f"evidence/{name} would hold the path {found[0]}; it was not written")
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content.rstrip("\n") + "\n", encoding="utf-8")
