"""Templates to pages: the filters that templates use, and the style and scripts that go into every page."""

import json
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from bsc.printable import visible, visible_lines
from bsc.report.chip import bytes_text, place_text
from bsc.units import UNKNOWN, format_ratio, format_si

TEMPLATES = "templates"

_NARROW = "\N{NO-BREAK SPACE}"


def render(template: str, context: Mapping[str, Any]) -> str:
    """A page. Names in plans are untrusted: what is not `Markup` is made visible and escaped."""
    return visible_lines(_environment().get_template(template).render(context))


def data_block(name: str, value: Any) -> Markup:
    """A block of JSON for the page's script, names made visible; no text in it can end the block."""
    text = json.dumps(_shown(value), sort_keys=True, separators=(",", ":"), allow_nan=False)
    for sign in "<>&":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return Markup(f'<script type="application/json" id="{name}">{text}</script>')


def percent(share: float | None) -> str:
    """A share, `97.5 %`; all is all, and hardly anything is not nothing."""
    if share is None:
        return UNKNOWN
    if 0 < share < 0.001 or 0.999 < share < 1:
        return f"< 0.1{_NARROW}%" if share < 0.5 else f"> 99.9{_NARROW}%"
    return f"{100 * share:.3g}{_NARROW}%"


def template_text(name: str) -> Markup:
    """A style sheet or script of ours, as it is."""
    return Markup(files("bsc.report").joinpath(TEMPLATES, name).read_text(encoding="utf-8"))


def _shown(value: Any) -> Any:
    """Texts in what a page is given, visible; what is markup already is not touched."""
    if isinstance(value, Markup):
        return value
    if isinstance(value, str):
        return visible(value)
    if isinstance(value, Mapping):
        return {_shown(key): _shown(each) for key, each in value.items()}
    return list(map(_shown, value)) if isinstance(value, list | tuple) else value


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("bsc.report", TEMPLATES),
        autoescape=True,
        finalize=_shown,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"si": format_si, "ratio": format_ratio, "percent": percent, "count": "{:,}".format}
    environment.filters |= {"bytes": bytes_text, "place": place_text}
    environment.globals |= {"file": template_text, "data_block": data_block}
    return environment
