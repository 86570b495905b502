"""How far the aligner's boundaries lie from a corpus's own phone times, beside other ways of aligning.

Usage: python3 tests/bench/alignment.py [--lexicon conf/lexicon.txt] [--only WAY]
         <egs/corpus> <data-dir> <work-dir>

Each way trains on the corpus itself and is compared with <data-dir>/phone.ctm, whose times it does not see:
  given    k2, the reference's phones and pauses given in their order
  lexicon  k2, the words and a lexicon given, with variants from the reference's phones (with --lexicon)
  uniform  the reference's phones, all equally long
  kaldi    Kaldi's monophone flat start on the same words and lexicon (with --lexicon, where the packages
           kaldi-hmm-gmm and kaldifst<1.8 can be imported)
Prints a table for each, and the seconds of processor time that training and aligning with k2 took.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from ser import config
from ser.align import boundaries
from ser.align.features import ALIGN_SET
from ser.align.lexicon import read_lexicon, read_words, write_lexicon
from ser.data import tables
from ser.data.alignment import read_ctm, write_ctm
from ser.data.manifests import Segment
from ser.data.phones import PhoneSet, load_phones

Alignments = dict[str, list[Segment]]


class Bench:
    """A corpus, its reference, and a folder to work in."""

    def __init__(self, recipe: Path, data: Path, work: Path) -> None:
        """Copy what is needed of the data folder and make the aligner's features."""
        self.recipe, self.data, self.work = recipe.resolve(), data.resolve(), work.resolve()
        self.phones: PhoneSet = load_phones(self.conf("phones.yaml"))
        self.durations = {
            name: float(value) for name, value in tables.read_table(self.data / "utt2dur").items()
        }
        reference = read_ctm(self.data / "phone.ctm")
        self.reference: Alignments = {
            name: boundaries.fill_gaps(rows, self.durations[name], self.phones)
            for name, rows in reference.items()
            if rows
        }
        self._copy(self.work / "all", tables.read_table(self.data / "text"))
        made = ("--nj", 2, "--main", "false", "--compress", "CM")
        self.step("extract", *made, "conf/corpus.yaml", self.work / "all", self.conf(f"{ALIGN_SET}.yaml"))
        self.step("compute_cmvn", "--set", ALIGN_SET, self.work / "all")

    def conf(self, name: str) -> Path:
        """A settings file of the recipe, or else the shared one."""
        own = self.recipe / "conf" / name
        return own if own.exists() else config.SHARED / name

    def _copy(self, folder: Path, texts: dict[str, str]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("wav.scp", "utt2spk", "utt2dur"):
            tables.write_table(folder / name, tables.read_table(self.data / name))
        tables.write_table(folder / "text", texts)

    def step(self, name: str, *arguments: object) -> float:
        """Run a step in the recipe's folder; the seconds of processor time it took."""
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        command = ["bash", f"steps/{name}.sh", *map(str, arguments)]
        subprocess.run(command, cwd=self.recipe, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    def k2(self, name: str, data: Path, lexicon: Path, *options: str) -> Alignments:
        """Train on ``data`` and align it."""
        model, out = self.work / f"{name}_model", self.work / name
        spent = self.step(
            "train_phones", self.conf("align.yaml"), self.conf("phones.yaml"), data, lexicon, model, *options
        )
        spent += self.step("align", "--nj", 2, data, model, out)
        print(f"{name}: {spent:.0f} s of processor time")
        return read_ctm(out / "phone.ctm")

    def given(self) -> Alignments:
        """The reference's phones are the words of the transcripts."""
        symbols = sorted({phone for rows in self.reference.values() for phone, _, _ in rows})
        codes = {phone: f"P{number}" for number, phone in enumerate(symbols)}
        data = self.work / "given_all"
        texts = {
            name: " ".join(codes[phone] for phone, _, _ in rows) for name, rows in self.reference.items()
        }
        self._copy(data, texts)
        if not (data / ALIGN_SET).exists():
            (data / ALIGN_SET).symlink_to(self.work / "all" / ALIGN_SET)
        lexicon = self.work / "given.txt"
        write_lexicon(lexicon, {code: [(phone,)] for phone, code in codes.items()})
        return self.k2("given", data, lexicon, "--set", "optional_silence=false")

    def lexicon(self, source: Path) -> Path:
        """The lexicon of the corpus."""
        out = self.work / "lexicon.txt"
        sources = ("--lexicon", source.resolve(), "--labels", self.data / "phone.ctm")
        self.step("make_lexicon", *sources, self.conf("phones.yaml"), self.work / "all", out)
        return out

    def uniform(self) -> Alignments:
        """All phones of an utterance as long as one another."""
        alignments = {}
        for name, rows in self.reference.items():
            length = self.durations[name] / len(rows)
            alignments[name] = [(phone, i * length, length) for i, (phone, _, _) in enumerate(rows)]
        return alignments

    def kaldi(self, lexicon_path: Path) -> Alignments:
        """Kaldi's monophones."""
        sys.path.insert(0, str(Path(__file__).parent))
        import kaldi_mono
        import soundfile

        lexicon = read_lexicon(lexicon_path, self.phones)
        words = read_words(tables.read_table(self.work / "all" / "text"), lexicon)
        wavs = tables.read_table(self.data / "wav.scp")
        samples = {name: soundfile.read(wavs[name], dtype="float32")[0] for name in words}
        feats = kaldi_mono.features(samples, tables.read_table(self.data / "utt2spk"))
        return kaldi_mono.align(feats, words, lexicon, self.phones.silence[0])

    def report(self, name: str, alignment: Alignments) -> None:
        """Print the comparison with the reference."""
        write_ctm(self.work / f"{name}.ctm", alignment)
        print(
            f"\n{name}: {len(alignment.keys() & self.reference.keys())} of {len(self.reference)} utterances"
        )
        for row in (
            boundaries.HEADER,
            *boundaries.table(boundaries.compare(self.reference, alignment, self.phones)),
        ):
            print("\t".join(row), flush=True)


def main() -> None:
    """Run all that can be run."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--lexicon", type=Path)
    parser.add_argument("--only", choices=("given", "lexicon", "uniform", "kaldi"))
    parser.add_argument("recipe", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("work", type=Path)
    args = parser.parse_args()
    bench = Bench(args.recipe, args.data, args.work)
    chosen = [args.only] if args.only else ["uniform", "given", "lexicon", "kaldi"]
    if "uniform" in chosen:
        bench.report("uniform", bench.uniform())
    if "given" in chosen:
        bench.report("given", bench.given())
    if args.lexicon is None:
        return
    lexicon = bench.lexicon(args.lexicon)
    if "lexicon" in chosen:
        bench.report("lexicon", bench.k2("lexicon", bench.work / "all", lexicon))
    if "kaldi" in chosen:
        try:
            bench.report("kaldi", bench.kaldi(lexicon))
        except ImportError as error:
            print(f"\nkaldi: not measured ({error})")


if __name__ == "__main__":
    main()
