"""``lhotse prepare iemocap``: in lhotse's tree this is lhotse/bin/modes/recipes/iemocap.py."""

import click
from lhotse.bin.modes import prepare
from lhotse.recipes.iemocap import prepare_iemocap
from lhotse.utils import Pathlike

__all__ = ["iemocap"]


@prepare.command(context_settings=dict(show_default=True))
@click.argument("corpus_dir", type=click.Path(exists=True, dir_okay=True))
@click.argument("output_dir", type=click.Path())
@click.option(
    "--frame-offset",
    type=int,
    default=0,
    help="Added to the frames of the forced alignments; most take them as they stand, some add 2.",
)
def iemocap(corpus_dir: Pathlike, output_dir: Pathlike, frame_offset: int):
    """IEMOCAP emotional speech data preparation."""
    prepare_iemocap(corpus_dir, output_dir=output_dir, frame_offset=frame_offset)
