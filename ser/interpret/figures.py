"""Which figures are drawn: tables, a page of telling utterances, a word in all emotions, any utterance."""

from __future__ import annotations

import logging
import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ser import config
from ser.data import files, tables
from ser.data.tsv import read_tsv
from ser.errors import DataError
from ser.feats.audio import load_samples
from ser.feats.extract import FeatureSettings, load_used_settings
from ser.interpret import plots, table_plots
from ser.interpret.groups import GroupStat, Maps, map_files, read_maps
from ser.interpret.maps import Attended
from ser.interpret.masking import GradientStat, MaskingStat
from ser.interpret.plots import Drawing, Panel, Spoken
from ser.interpret.statistics import VowelConsonant
from ser.scoring.metrics import Floats
from ser.scoring.system import read_system

log = logging.getLogger("ser")
LEAST = 20  # segments of a phone that is drawn
LONG_WORD = 15  # frames that a word chosen automatically lasts on average
AROUND_S = 0.15  # what is shown before and behind a word


@dataclass(frozen=True)
class FigureConfig:
    """``conf/figures.yaml``."""

    utterances: tuple[str, ...]  # each gets a figure of its own
    word: str | None  # is drawn in every emotion; null: one that is said in all of them
    above: str  # wave or mel
    formats: tuple[str, ...]  # png, svg, pdf

    def __post_init__(self) -> None:
        """Refuse what cannot be drawn."""
        if self.above not in ("wave", "mel"):
            raise ValueError(f"above must be wave or mel, got {self.above}")
        if not self.formats or set(self.formats) - {"png", "svg", "pdf"}:
            raise ValueError(
                f"formats must be some of png, svg, pdf, got {', '.join(self.formats) or 'none'}"
            )


class Material:
    """What the figures of one system are made of."""

    def __init__(self, data: Path, folders: Sequence[Path], above: str) -> None:
        """``data`` has the recordings and features, ``folders`` the maps, one a seed."""
        self.maps: Maps = read_maps(folders)
        systems = [read_system(folder) for folder in folders]
        self.emotions = systems[0].emotions
        utts = self.maps.weights.keys()
        self.posteriors: dict[str, Floats] = {
            utt: np.mean([system.posteriors[utt] for system in systems], axis=0) for utt in utts
        }
        self.settings: FeatureSettings = load_used_settings(data)
        fbank = self.settings.fbank
        self.shift_s = fbank.frame_shift_ms / 1000
        self.middle_s = (fbank.frame_length_ms if fbank.snip_edges else fbank.frame_shift_ms) / 2000
        self.above = above
        self.recordings = tables.read_table(data / "wav.scp", made_by="stage 0")
        self.features = tables.ArkReader(data / "feats.scp", made_by="stage 1")
        self.references = {row.utt: row.emotion for row in self.maps.phones[0]}
        self.phones = _by_utterance(self.maps.phones[0])
        self.words = _by_utterance(self.maps.words[0]) if self.maps.words else {}

    def hypothesis(self, utt: str) -> str:
        """The class with the highest posterior, mean over seeds."""
        return self.emotions[int(self.posteriors[utt].argmax())]

    def title(self, utt: str) -> str:
        """The utterance, what it is, what it was taken for, and the posteriors."""
        said, heard = self.references[utt], self.hypothesis(utt)
        result = f"{said}, decided {heard} ({'right' if said == heard else 'wrong'})"
        numbers = "  ".join(f"{c} {p:.2f}" for c, p in zip(self.emotions, self.posteriors[utt], strict=True))
        return f"{utt}: {result}\n{numbers}"

    def panel(self, utt: str, title: str, span_s: tuple[float, float] | None = None) -> Panel:
        """One utterance, or a piece of it."""
        weights = self.maps.weights[utt]
        end_s = self.middle_s + (len(weights) - 0.5) * self.shift_s
        start, end = span_s or (0.0, end_s)
        samples = log_mel = None
        if self.above == "wave":
            samples = load_samples(Path(self.recordings[utt]), self.settings.audio).astype(np.float64)
        else:
            log_mel = self.features.read(utt).astype(np.float64)
        return Panel(
            title, max(0.0, start), min(end, end_s), weights * len(weights), self.shift_s, self.middle_s,
            self.spoken(self.phones[utt]), self.spoken(self.words.get(utt, [])),
            samples, self.settings.audio.sampling_rate_hz, log_mel,
        )  # fmt: skip

    def spoken(self, rows: Sequence[Attended]) -> list[Spoken]:
        """Segments in seconds; a frame lasts half a shift to both sides of its window's middle."""
        begin = self.middle_s - self.shift_s / 2
        return [
            Spoken(
                "" if row.kind == "silence" else row.symbol,
                row.kind,
                begin + row.first * self.shift_s,
                begin + (row.first + row.frames) * self.shift_s,
            )
            for row in rows
        ]


def _by_utterance(rows: Sequence[Attended]) -> dict[str, list[Attended]]:
    found: dict[str, list[Attended]] = defaultdict(list)
    for row in rows:
        if row.first >= 0:
            found[row.utt].append(row)
    return found


def draw_all(
    data: Path,
    statistics: Path,
    out: Path,
    folders: Sequence[Path],
    settings: FigureConfig,
    also: Sequence[str],
) -> None:
    """Draw every figure, unless they are up to date.

    Args:
        data: data folder with recordings and features.
        statistics: folder with ``vowel_consonant.tsv`` and ``phone_stats.tsv``; ``masking_stats.tsv`` and
            ``gradient_stats.tsv`` are drawn if they are there.
        out: folder for the files.
        folders: maps, one a seed; their attention is drawn thin, its mean bold.
        settings: see :class:`FigureConfig`.
        also: further utterances to draw.

    Raises:
        DataError: something cannot be read, or an utterance of ``also`` was not decoded or not aligned.
    """
    tables_of = (statistics / "vowel_consonant.tsv", statistics / "phone_stats.tsv")
    probed = (statistics / "masking_stats.tsv", statistics / "gradient_stats.tsv")
    inputs = map_files(folders) | {path.name: path for path in [*tables_of, *probed] if path.exists()}
    wanted = {**config.to_dict(settings), "also": list(also)}
    if files.is_made(out, wanted, inputs):
        log.info("%s: up to date", out)
        return
    material = Material(data, folders, settings.above)
    stats = read_tsv(tables_of[1], GroupStat)
    figures = {"vowel_consonant": table_plots.draw_vowel_consonant(read_tsv(tables_of[0], VowelConsonant))}
    kinds = {row.symbol: row.kind for row in material.maps.phones[0]}
    figures["phones"] = table_plots.draw_phones(stats, kinds, LEAST)
    figures["emotions"] = table_plots.draw_emotions(stats, material.emotions)
    if all(path.exists() for path in probed):
        figures["masking"] = table_plots.draw_masking(
            read_tsv(probed[0], MaskingStat), read_tsv(probed[1], GradientStat)
        )
    chosen = telling(material)
    heading = "The most certain right and wrong decision of each class (attention / uniform; vowels shaded)"
    figures["page"] = plots.draw_page([material.panel(utt, material.title(utt)) for utt in chosen], heading)
    for utt in [*settings.utterances, *also]:
        if utt in material.phones:
            figures[f"utterance_{utt}"] = plots.draw_utterance(material.panel(utt, material.title(utt)))
        elif utt in also:
            raise DataError(
                f"--utt {utt}: has no attention or no phones; name a decoded and aligned utterance"
            )
        else:
            log.info("%s: not decoded or not aligned, so it is not drawn", utt)
    word = settings.word or common_word(material)
    if word is not None:
        figures |= _word_figure(material, word)
    with files.locked(out):
        (out / files.MADE).unlink(missing_ok=True)
        for name, figure in figures.items():
            plots.save(figure, out / name, settings.formats)
        files.write_made(out, wanted, inputs)
    log.info("%s: %d figures", out, len(figures))


def telling(material: Material) -> list[str]:
    """For each class the right and the wrong decision with the highest posterior, as far as there are."""
    found = []
    for emotion in material.emotions:
        for right in (True, False):
            some = [
                utt
                for utt in material.phones
                if material.references[utt] == emotion and (material.hypothesis(utt) == emotion) == right
            ]
            if some:
                found.append(max(some, key=lambda utt: (material.posteriors[utt].max(), utt)))
    return found


def common_word(material: Material) -> str | None:
    """The word of some length that is said in most emotions, then most often in the rarest of them."""
    counts: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    frames: dict[str, list[int]] = defaultdict(list)
    for utt, rows in material.words.items():
        for row in rows:
            if row.kind == "word":
                counts[row.symbol][material.references[utt]] += 1
                frames[row.symbol].append(row.frames)
    long = [word for word in counts if np.mean(frames[word]) >= LONG_WORD and len(counts[word]) > 1]
    if not long:
        return None
    return max(long, key=lambda word: (len(counts[word]), min(counts[word].values()), word))


def _word_figure(material: Material, word: str) -> dict[str, Drawing]:
    """One word in every emotion, each from the utterance that is recognised best."""
    best: dict[str, tuple[float, Attended]] = {}
    for utt, rows in material.words.items():
        emotion = material.references[utt]
        certain = float(material.posteriors[utt][material.emotions.index(emotion)])
        for row in rows:
            if row.symbol == word and certain > best.get(emotion, (-math.inf, row))[0]:
                best[emotion] = certain, row
    if len(best) < 2:
        log.info("%s: is said in fewer than two emotions, so it is not drawn", word)
        return {}
    panels = []
    for emotion in [name for name in material.emotions if name in best]:
        certain, row = best[emotion]
        piece = material.spoken([row])[0]
        span = piece.start_s - AROUND_S, piece.end_s + AROUND_S
        title = f"{emotion} ({certain:.2f}), word: {row.relative:.2f}\n{row.utt}"
        panels.append(material.panel(row.utt, title, span))
    heading = f"{word}: attention / uniform in every emotion, in the utterance recognised best"
    return {f"word_{word}": plots.draw_row(panels, heading)}


def load_figures(path: Path, overrides: Sequence[str]) -> FigureConfig:
    """Read ``conf/figures.yaml``."""
    return config.load(FigureConfig, path, overrides)
