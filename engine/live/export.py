"""Writes the scripts as files for clients in other languages: NAME.lua, a manifest with each SHA1, and the golden
vectors.

It overwrites only its own files: those in the manifest of an earlier export whose content is unchanged.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Final

from engine.errors import Refused
from engine.live.scripts import LAYOUT, NAMES, lua_folder, script

GOLDEN: Final = "golden.json"
MANIFEST: Final = "manifest.json"
_MADE_BY: Final = "budget-engine scripts export"


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written. sha1s: script name -> what EVALSHA names."""

    folder: Path
    layout: str
    sha1s: Mapping[str, str]
    files: tuple[str, ...]


def export(folder: Path) -> Exported:
    """Writes everything into a folder, which is created where missing. Raises Refused; then nothing was written."""
    sha1s = {name: script(name).sha1 for name in NAMES}
    files = {f"{name}.lua": script(name).text.encode() for name in NAMES}
    files[GOLDEN] = (lua_folder() / GOLDEN).read_bytes()
    files[MANIFEST] = _manifest(sha1s, files)
    try:
        _refuse_what_is_not_ours(folder, files)
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            _write(folder / name, content)
    except OSError as error:
        raise Refused(f"{folder} cannot be written ({error.strerror}): name another folder") from None
    return Exported(folder, LAYOUT, sha1s, tuple(files))


def _manifest(sha1s: Mapping[str, str], files: Mapping[str, bytes]) -> bytes:
    document = {
        "made_by": _MADE_BY,
        "version": _version(),
        "layout": LAYOUT,
        "names": list(NAMES),
        "scripts": {name: {"file": f"{name}.lua", "sha1": sha1} for name, sha1 in sha1s.items()},
        "files": {name: _sha1(content) for name, content in files.items()},
    }
    return (json.dumps(document, indent=2) + "\n").encode()


def _version() -> str:
    try:
        return metadata.version("budget-engine")
    except metadata.PackageNotFoundError:
        return "checkout"


def _refuse_what_is_not_ours(folder: Path, files: Mapping[str, bytes]) -> None:
    if folder.exists() and not folder.is_dir():
        raise Refused(f"{folder} is a file: name a folder to export into")
    earlier = _earlier(folder / MANIFEST)
    for name, content in files.items():
        path = folder / name
        if not path.exists() or (name == MANIFEST and earlier):
            continue
        if not path.is_file():
            raise Refused(f"{path} is not a file: move it away, or name another folder")
        standing = path.read_bytes()
        if standing != content and earlier.get(name) != _sha1(standing):
            why = "was changed since an export" if name in earlier else "was not written by an export"
            raise Refused(f"{path} {why}: move it away, or name another folder; nothing was written")


def _earlier(manifest: Path) -> dict[str, str]:
    """File name to SHA1 of an earlier export into this folder; empty when the manifest is not one of ours."""
    try:
        document: Any = json.loads(manifest.read_bytes())
        return dict(document["files"]) if document["made_by"] == _MADE_BY else {}
    except (FileNotFoundError, IsADirectoryError, ValueError, KeyError, TypeError):
        return {}


def _write(path: Path, content: bytes) -> None:
    """Writes a file atomically: a client must never load half a script."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    # Another user may own the folder: an existing file or link is removed and not written through.
    beside.unlink(missing_ok=True)
    with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644), "wb") as file:
        file.write(content)
    beside.replace(path)


def _sha1(content: bytes) -> str:
    return hashlib.sha1(content, usedforsecurity=False).hexdigest()
