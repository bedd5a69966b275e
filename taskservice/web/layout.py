"""The frame that all pages share: head, navigation, style sheet, and a policy that lets them load only our own files.

Links are relative, so that the pages work behind a proxy that adds a path prefix.
"""

from collections.abc import Mapping
from html import escape
from importlib.resources import files
from string import Template
from typing import Final

from litestar import MediaType, Response

from taskservice.web.assets import SECURITY, VERSIONS

_TEMPLATES: Final = files("taskservice.web") / "templates"


def fill(template: str, values: Mapping[str, str]) -> str:
    """The text of a template with its `$names` replaced. Values are HTML."""
    return Template((_TEMPLATES / template).read_text("utf-8")).substitute(values)


def page(
    template: str,
    values: dict[str, str],
    *,
    title: str,
    root: str,
    inline_styles: bool = False,
    headers: Mapping[str, str] | None = None,
) -> Response[str]:
    """A whole page. `root` leads from it to `/`: `./`, `../` and so on."""
    styles = "'self' 'unsafe-inline'" if inline_styles else "'self'"
    policy = (
        f"default-src 'none'; script-src 'self'; style-src {styles}; "
        "img-src 'self' data:; font-src 'self' data:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    shared = VERSIONS | {"root": root, "assets": f"{root}schema/assets"}
    body = fill(template, shared | values)
    frame = {"title": escape(title), "body": body, "page": template.removesuffix(".html")}
    return Response(
        fill("layout.html", shared | frame),
        media_type=MediaType.HTML,
        headers=SECURITY | {"Content-Security-Policy": policy, "Cache-Control": "no-cache"} | dict(headers or {}),
    )
