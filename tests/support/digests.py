"""What lies below a folder, by content."""

from __future__ import annotations

import hashlib
from pathlib import Path


def digest(root: Path) -> dict[str, str]:
    """Hash of each file below a folder, by relative path."""
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }
