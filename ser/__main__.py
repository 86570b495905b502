"""The console script ``ser``, also ``python3 -m ser``: runs a verb, a module of :mod:`ser.verbs`."""

from __future__ import annotations

import ast
import difflib
import importlib
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from ser import __version__, cli
from ser.errors import UsageError

USAGE = "usage: ser <verb> [arguments]; ser <verb> --help explains one"


def verbs() -> dict[str, str]:
    """The modules of ``ser/verbs``, and the first line of each one's docstring.

    They are read, not imported: some of them load torch.
    """
    summaries = {}
    for path in sorted(Path(__file__).parent.glob("verbs/[a-z]*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
        summaries[path.stem] = (ast.get_docstring(tree) or "").partition("\n")[0]
    return summaries


def overview() -> str:
    """The text of ``ser --help``."""
    known = verbs()
    width = max(map(len, known), default=0)
    columns = shutil.get_terminal_size().columns - 2
    texts = [f"  {name:{width}}  {meaning}" for name, meaning in known.items()]
    lines = [line for text in texts for line in cli.wrapped(text, columns)]
    return "\n".join([USAGE, "", "verbs:", *lines])


def dispatch(argv: Sequence[str] | None = None) -> int:
    """Run the verb that the first argument names.

    Args:
        argv: the arguments; None: those of the process.

    Raises:
        UsageError: there is no such verb.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    if words[:1] in (["-h"], ["--help"]):
        print(overview())
        return 0
    if words[:1] == ["--version"]:
        print(__version__)
        return 0
    if not words:
        raise UsageError(USAGE)
    known = verbs()
    verb = words[0].replace("-", "_")
    if verb not in known:
        near = difflib.get_close_matches(verb, known, n=2, cutoff=0.7)
        raise UsageError(
            f"no verb '{words[0]}'; " + (f"did you mean {' or '.join(near)}?" if near else USAGE)
        )
    return int(importlib.import_module(f"ser.verbs.{verb}").main(words[1:]))


def main() -> NoReturn:
    """Run and exit, as every verb does."""
    cli.run(dispatch)


if __name__ == "__main__":
    main()
