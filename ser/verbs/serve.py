"""Serve a trained model on this machine: a page to drop recordings on or speak to, and a JSON endpoint.

  ser serve [options] [<model>]

reads   <model>, a model folder, a package, or the name of a model that comes with ser (emodb)
prints  the page's address, when it can be opened; stderr gets a line for each request
ends    at Ctrl-C

  curl -F file=@x.wav http://127.0.0.1:8765/predict
  curl -X POST -T x.wav 'http://127.0.0.1:8765/predict?track=1&attention=1'

The page and the endpoint are this machine's alone, and pages of other sites may not ask them.  Nothing that
is sent is kept or logged.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence

from ser import cli
from ser.errors import DataError
from ser.ranges import Range

PACKAGES = ("starlette", "uvicorn", "python_multipart")


def get_parser() -> cli.Parser:
    """The command line."""
    parser = cli.Parser(__doc__, "serve")
    parser.add_argument("model", nargs="?", metavar="<model>")
    parser.add_argument("--host", default="127.0.0.1", help="IP address to listen at (127.0.0.1)")
    parser.add_argument("--port", type=cli.whole(Range(0, 65535)), default=8765, help="0: a free one (8765)")
    parser.add_argument(
        "--open-to-network",
        action="store_true",
        help="allow a --host that others reach: whoever does can use the server, which has no password and "
        "no encryption",
    )
    parser.add_argument(
        "--max-seconds", type=cli.whole(Range(1, 3600)), default=300, help="of a recording (300)"
    )
    parser.add_argument(
        "--max-megabytes", type=cli.whole(Range(1, 512)), default=32, help="of an upload (32)"
    )
    parser.add_allow_code()
    parser.add_use_gpu()
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the verb."""
    args = get_parser().parse_args(argv)
    for package in PACKAGES:
        if importlib.util.find_spec(package) is None:
            name = package.replace("_", "-")
            raise DataError(f"{name} is not installed; run utils/install.sh --extra serve")
    from ser.serving import limits, server

    bounds = limits.Limits(seconds=args.max_seconds, megabytes=args.max_megabytes)
    with server.listen(args.host, args.port, open_to_network=args.open_to_network) as sock:
        model = server.load_model(args.model, allow=args.allow_code, use_gpu=args.use_gpu)
        server.serve(model, sock, bounds, open_to_network=args.open_to_network)
    return 0
