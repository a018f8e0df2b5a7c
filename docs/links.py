"""Check that every link inside the built site leads somewhere: `python docs/links.py FOLDER`."""

from __future__ import annotations

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlparse


class Page(HTMLParser):
    """The links and the anchors of one page."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what a tag leads to, and what it is called."""
        held = dict(attrs)
        self.anchors |= {name for key in ("id", "name") if (name := held.get(key))}
        self.links += [link for key in ("href", "src") if (link := held.get(key))]


def broken(site: Path) -> list[str]:
    """List the links within the site that lead nowhere, each with the page it stands on."""
    pages = {p.resolve(): Page(p) for p in sorted(site.rglob("*.html"))}
    found = []
    for path, page in pages.items():
        for link in page.links:
            parts = urlparse(link)
            if parts.scheme or parts.netloc:
                continue
            goal = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            inside = pages.get(goal)
            lost = inside is not None and parts.fragment and parts.fragment not in inside.anchors
            if not goal.exists() or lost:
                found.append(f"{path.relative_to(site.resolve())}: {link}")
    return found


if __name__ == "__main__":
    lost = broken(Path(sys.argv[1]))
    print("\n".join(lost) or "every link inside the site leads somewhere")
    sys.exit(bool(lost))
