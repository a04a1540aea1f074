"""Checks that the built site loads nothing from other hosts: `python -m docs.check_site`."""

import re
import sys

from docs.api_pages import ROOT

SITE = ROOT / "site"


def external_assets(page: str) -> list[str]:
    """Return the addresses of scripts, styles, fonts and pictures that an HTML page loads from other hosts."""
    if 'class="mermaid"' in page:
        return ["mermaid"]  # the theme would load its renderer from another host
    tags = re.findall(r"<(?:script|img|iframe|link)\b[^>]*>", page)
    loaded = [tag for tag in tags if not re.search(r"""rel=["']?(?:canonical|next|prev)""", tag)]
    return [
        address for tag in loaded for address in re.findall(r"""(?:src|href)=["']?((?:https?:)?//[^"'\s>]+)""", tag)
    ]


def check_site() -> None:
    """Exit with status 1 if a page of the built site loads something from another host."""
    external = {path: external_assets(path.read_text("utf-8")) for path in sorted(SITE.rglob("*.html"))}
    if not external or any(external.values()):
        sys.exit(
            f"the site is not there, or loads from other hosts: {[item for item in external.items() if item[1]][:5]}"
        )


if __name__ == "__main__":
    check_site()
