"""The page's own files, read once: no request path ever reaches the file system."""

from __future__ import annotations

from pathlib import Path

STATIC = Path(__file__).parent / "static"
TYPES = {
    ".html": "text/html",
    ".js": "text/javascript",
    ".css": "text/css",
    ".svg": "image/svg+xml",
}


def load_static(folder: Path = STATIC) -> dict[str, tuple[bytes, str]]:
    """File name to content and content type. Raises FileNotFoundError without an index.html."""
    if not (folder / "index.html").is_file():
        raise FileNotFoundError(
            f"no index.html in {folder}; install the package with its data files"
        )
    return {
        path.name: (path.read_bytes(), TYPES[path.suffix])
        for path in folder.iterdir()
        if path.suffix in TYPES
    }
