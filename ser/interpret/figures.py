"""Which figures are drawn: tables, the most confident decisions, a word in all emotions, any utterance."""

from __future__ import annotations

import logging
import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ser import config
from ser.align.features import frame_timing, read_used_set
from ser.data import files, tables
from ser.data.naming import utterances_by_raw_id
from ser.data.segments import read_recordings
from ser.data.tsv import read_tsv
from ser.errors import DataError
from ser.feats.audio import load_samples
from ser.feats.sets import set_folder
from ser.interpret import plots, table_plots
from ser.interpret.groups import GroupStat, Maps, map_files, read_maps
from ser.interpret.maps import Attended
from ser.interpret.masking import GradientStat, MaskingStat
from ser.interpret.plots import Drawing, Panel, Spoken
from ser.interpret.statistics import VowelConsonant
from ser.scoring.metrics import Floats
from ser.scoring.posteriors import read_posteriors

log = logging.getLogger("ser")
LEAST = 20  # segments of a phone that is drawn
LONG_WORD_S = 0.15  # that a word chosen automatically lasts on average
AROUND_S = 0.15  # what is shown before and behind a word


@dataclass(frozen=True)
class FigureConfig:
    """``conf/figures.yaml``."""

    utterances: tuple[str, ...]  # names or raw ids; each gets a figure of its own
    word: str | None  # is drawn in every emotion; null: one that is said in all of them
    above: str  # wave, or mel: the features
    formats: tuple[str, ...]  # png, svg, pdf

    def __post_init__(self) -> None:
        """Refuse what cannot be drawn."""
        if self.above not in ("wave", "mel"):
            raise ValueError(f"above must be wave or mel, got {self.above}")
        if not self.formats or set(self.formats) - {"png", "svg", "pdf"}:
            raise ValueError(
                f"formats must be some of png, svg, pdf, got {', '.join(self.formats) or 'none'}"
            )


class FigureInputs:
    """What the figures of one system are made of.

    Attributes:
        maps: the attention of all seeds.
        emotions: class order.
        posteriors: utterance -> (C,), mean over seeds.
        feature_set: the set whose frames have the attention.
        timing: of these frames.
        references: utterance -> its class.
        phones: utterance -> its phones in time order.
        words: utterance -> its words; empty if the alignment has none.
        names: raw id -> utterance.
    """

    def __init__(self, data: Path, folders: Sequence[Path], above: str) -> None:
        """Read maps.

        Args:
            data: data folder with recordings and features.
            folders: maps, one a seed.
            above: wave or mel, what panels show above the attention.

        Raises:
            DataError: something is missing or cannot be used.
        """
        self.maps: Maps = read_maps(folders)
        outputs = [read_posteriors(folder) for folder in folders]
        self.emotions = outputs[0].emotions
        self.posteriors: dict[str, Floats] = {
            utt: np.mean([output.posteriors[utt] for output in outputs], axis=0) for utt in self.maps.weights
        }
        self.feature_set = read_used_set(folders[0], "steps/map_attention.sh again")
        self.timing = frame_timing(self.feature_set)
        self.references = {row.utt: row.emotion for row in self.maps.phones[0]}
        self.phones = _by_utterance(self.maps.phones[0])
        self.words = _by_utterance(self.maps.words[0]) if self.maps.words else {}
        self.names = utterances_by_raw_id(data)
        self._above = above
        self._recordings = read_recordings(data)
        feats = set_folder(data, self.feature_set.name) / "feats.scp"
        self._features = tables.ArkReader(feats, made_by="stage 1")

    def hypothesis(self, utt: str) -> str:
        """The class with the highest posterior, mean over seeds."""
        return self.emotions[int(self.posteriors[utt].argmax())]

    def title(self, utt: str) -> str:
        """Two lines: id, reference and decision of an utterance; its posteriors."""
        reference, decision = self.references[utt], self.hypothesis(utt)
        result = f"{reference}, decided {decision} ({'right' if reference == decision else 'wrong'})"
        numbers = "  ".join(f"{c} {p:.2f}" for c, p in zip(self.emotions, self.posteriors[utt], strict=True))
        return f"{utt}: {result}\n{numbers}"

    def panel(self, utt: str, title: str, span_s: tuple[float, float] | None = None) -> Panel:
        """One utterance, or what lies between two times of it."""
        weights = self.maps.weights[utt]
        shift_s, middle_s = self.timing.shift_s, self.timing.middle_s
        end_s = middle_s + (len(weights) - 0.5) * shift_s
        start, end = span_s or (0.0, end_s)
        samples = features = None
        if self._above == "wave":
            samples = load_samples(self._recordings[utt], self.feature_set.audio).astype(np.float64)
        else:
            features = self._features.read(utt).astype(np.float64)
        return Panel(
            title, max(0.0, start), min(end, end_s), weights * len(weights), shift_s, middle_s,
            self.spoken(self.phones[utt]), self.spoken(self.words.get(utt, [])),
            samples, self.feature_set.audio.sampling_rate_hz, features, self.feature_set.name,
        )  # fmt: skip

    def spoken(self, rows: Sequence[Attended]) -> list[Spoken]:
        """Segments in seconds; a frame lasts half a shift to both sides of its window's middle."""
        begin = self.timing.middle_s - self.timing.shift_s / 2
        return [
            Spoken(
                "" if row.kind == "silence" else row.symbol,
                row.kind,
                begin + row.first * self.timing.shift_s,
                begin + (row.first + row.frames) * self.timing.shift_s,
            )
            for row in rows
        ]


def _by_utterance(rows: Sequence[Attended]) -> dict[str, list[Attended]]:
    """Utterance -> its segments, without the frames of no segment."""
    segments: dict[str, list[Attended]] = defaultdict(list)
    for row in rows:
        if row.first >= 0:
            segments[row.utt].append(row)
    return segments


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
            ``gradient_stats.tsv`` are drawn if they exist.
        out: folder for the files.
        folders: maps, one a seed; their attention is drawn thin, its mean bold.
        settings: see :class:`FigureConfig`.
        also: further utterances to draw.

    Raises:
        DataError: something cannot be read, or an utterance of ``also`` was not decoded or not aligned.
    """
    names = ("vowel_consonant.tsv", "phone_stats.tsv", "masking_stats.tsv", "gradient_stats.tsv")
    inputs = map_files(folders) | {name: statistics / name for name in names if (statistics / name).exists()}
    record = {**config.to_dict(settings), "also": list(also)}
    if files.is_made(out, record, inputs):
        log.info("%s: up to date", out)
        return
    drawn = FigureInputs(data, folders, settings.above)
    figures = _table_figures(drawn, *(statistics / name for name in names))
    figures["page"] = plots.draw_page(
        [drawn.panel(utt, drawn.title(utt)) for utt in most_confident(drawn)],
        "The most confident right and wrong decision of each class (attention / uniform; vowels shaded)",
    )
    figures |= _utterance_figures(drawn, settings.utterances, also)
    if word := settings.word or common_word(drawn):
        figures |= _word_figure(drawn, word)
    with files.locked(out):
        (out / files.MADE).unlink(missing_ok=True)
        outputs = []
        for name, figure in figures.items():
            outputs += plots.save(figure, out / name, settings.formats)
        files.write_made(out, record, inputs, outputs)
    log.info("%s: %d figures", out, len(figures))


def _table_figures(
    drawn: FigureInputs, vowel_consonant: Path, phone_stats: Path, masking: Path, gradients: Path
) -> dict[str, Drawing]:
    stats = read_tsv(phone_stats, GroupStat)
    kinds = {row.symbol: row.kind for row in drawn.maps.phones[0]}
    figures = {
        "vowel_consonant": table_plots.draw_vowel_consonant(read_tsv(vowel_consonant, VowelConsonant)),
        "phones": table_plots.draw_phones(stats, kinds, LEAST),
        "emotions": table_plots.draw_emotions(stats, drawn.emotions),
    }
    if masking.exists() and gradients.exists():
        figures["masking"] = table_plots.draw_masking(
            read_tsv(masking, MaskingStat), read_tsv(gradients, GradientStat)
        )
    return figures


def _utterance_figures(
    drawn: FigureInputs, utterances: Sequence[str], also: Sequence[str]
) -> dict[str, Drawing]:
    """One figure for each utterance that is asked for; those of the settings may be missing."""
    figures = {}
    for name in [*utterances, *also]:
        utt = drawn.names.get(name, name)
        if utt in drawn.phones:
            figures[f"utterance_{utt}"] = plots.draw_utterance(drawn.panel(utt, drawn.title(utt)))
        elif name in also:
            raise DataError(
                f"--utt {name}: has no attention or no phones; name a decoded and aligned utterance"
            )
        else:
            log.info("%s: not decoded or not aligned, so it is not drawn", name)
    return figures


def most_confident(drawn: FigureInputs) -> list[str]:
    """For each class the right and the wrong decision with the highest posterior, where one exists."""
    chosen = []
    for emotion in drawn.emotions:
        for right in (True, False):
            utterances = [
                utt
                for utt in drawn.phones
                if drawn.references[utt] == emotion and (drawn.hypothesis(utt) == emotion) == right
            ]
            if utterances:
                chosen.append(max(utterances, key=lambda utt: (drawn.posteriors[utt].max(), utt)))
    return chosen


def common_word(drawn: FigureInputs) -> str | None:
    """The word of some length that is said in most emotions, then most often in the rarest of them."""
    counts: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    frames: dict[str, list[int]] = defaultdict(list)
    for utt, rows in drawn.words.items():
        for row in rows:
            if row.kind == "word":
                counts[row.symbol][drawn.references[utt]] += 1
                frames[row.symbol].append(row.frames)
    least = LONG_WORD_S / drawn.timing.shift_s - 1e-6  # frames
    long = [word for word in counts if np.mean(frames[word]) >= least and len(counts[word]) > 1]
    if not long:
        return None
    return max(long, key=lambda word: (len(counts[word]), min(counts[word].values()), word))


def _word_figure(drawn: FigureInputs, word: str) -> dict[str, Drawing]:
    """One word in every emotion, each from the utterance that is recognised best."""
    best: dict[str, tuple[float, Attended]] = {}
    for utt, rows in drawn.words.items():
        emotion = drawn.references[utt]
        posterior = float(drawn.posteriors[utt][drawn.emotions.index(emotion)])
        for row in rows:
            if row.symbol == word and posterior > best.get(emotion, (-math.inf, row))[0]:
                best[emotion] = posterior, row
    if len(best) < 2:
        log.info("%s: is said in fewer than two emotions, so it is not drawn", word)
        return {}
    panels = []
    for emotion in [name for name in drawn.emotions if name in best]:
        posterior, row = best[emotion]
        segment = drawn.spoken([row])[0]
        span = segment.start_s - AROUND_S, segment.end_s + AROUND_S
        title = f"{emotion} ({posterior:.2f}), word: {row.relative:.2f}\n{row.utt}"
        panels.append(drawn.panel(row.utt, title, span))
    heading = f"{word}: attention / uniform in every emotion, in the utterance recognised best"
    return {f"word_{word}": plots.draw_row(panels, heading)}


def load_figures(path: Path, overrides: Sequence[str]) -> FigureConfig:
    """Read ``conf/figures.yaml``."""
    return config.load(FigureConfig, path, overrides)
