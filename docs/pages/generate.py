"""Write the pages of the documentation that are made from the code and from records of measurements.

.venv/bin/python -m docs.pages.generate            write docs/input.md, docs/accuracy-and-cost.md and its figures
.venv/bin/python -m docs.pages.generate --check    say which pages differ from what would be written (status 1)
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from docs.pages.accuracy_page import accuracy_page
from docs.pages.figures import draw_all
from docs.pages.input_page import input_page
from docs.pages.records import RecordError, read_records

DOCS = Path(__file__).parents[1]


def pages(docs: Path = DOCS) -> dict[Path, str]:
    """Return the text of every generated page by its path.  Raises RecordError for a malformed record."""
    return {docs / "input.md": input_page(), docs / "accuracy-and-cost.md": accuracy_page(read_records(docs / "records"))}


def main() -> int:
    """Write or check, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    try:
        made = pages()
        if not arguments.check:
            draw_all(read_records(DOCS / "records"), DOCS / "figures")
    except RecordError as problem:
        print(f"docs: error: {problem}", file=sys.stderr)
        return 1
    old = [path for path, text in made.items() if not path.is_file() or path.read_text(encoding="utf-8") != text]
    for path in old:
        print(f"{path.name} " + ("is out of date: run run/docs" if arguments.check else "written"))
        if not arguments.check:
            path.write_text(made[path], encoding="utf-8")
    return 1 if arguments.check and old else 0


if __name__ == "__main__":
    sys.exit(main())
