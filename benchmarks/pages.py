"""Files that the benchmarks write: results, and parts of pages between markers."""

import json
import os
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
README = ROOT / "README.md"
CORE = ROOT / "docs" / "explanation" / "core.md"
PERFORMANCE = ROOT / "docs" / "explanation" / "performance.md"
IMAGES = ROOT / "docs" / "images"


def markers(name: str) -> tuple[str, str]:
    """The lines between which a command writes."""
    return f"<!-- {name}:start -->", f"<!-- {name}:end -->"


def write_between_markers(page: Path, name: str, text: str) -> None:
    """Put ``text`` between a page's two markers of that name."""
    first, last = markers(name)
    before, start, rest = page.read_text().partition(first)
    _, end, after = rest.partition(last)
    if not (start and end):
        raise SystemExit(f"{page.name} has no lines {first} and {last} for the text to stand between")
    write_atomically(page, f"{before}{start}\n{text}\n{end}{after}")


def write_json(path: Path, results: dict[str, Any]) -> None:
    """The results, so that whoever reads the file meanwhile sees the old or the new, never half."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, json.dumps(results, indent=1) + "\n")


def write_atomically(path: Path, text: str) -> None:
    """Write beside ``path``, then put it in its place."""
    with tempfile.NamedTemporaryFile("w", dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
        file.write(text)
    os.chmod(file.name, path.stat().st_mode & 0o777 if path.exists() else 0o644)
    os.replace(file.name, path)
