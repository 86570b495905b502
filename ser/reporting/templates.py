"""Templates of pages, and the style that they share."""

from __future__ import annotations

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

from ser.reporting.colours import variables


def environment(package: str) -> Environment:
    """Templates of a package, and ``style.html``, which all pages begin their style with."""
    templates = Environment(
        loader=ChoiceLoader([PackageLoader(package, ""), PackageLoader("ser.reporting", "")]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.globals["variables"] = variables
    return templates
