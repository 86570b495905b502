"""What ``ser predict`` makes besides its table, recording by recording: tracks, figures, a page."""

from __future__ import annotations

import importlib.util
import logging
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import ser
from ser.data.files import whole_file
from ser.errors import UsageError
from ser.predict.recordings import Collector, Recording
from ser.predict.result import Piece, Result
from ser.predict.spoken import Speech
from ser.predict.track import LONGEST_SMOOTHING_S, TrackSettings
from ser.predict.track_files import suffix, write_track

log = logging.getLogger("ser")

FIGURE_FORMATS = ("png", "svg", "pdf")
_LONGEST_NAME = 100
_PACKAGES = {  # package -> what needs it, and the extra that has it
    "praatio": ("TextGrids need", "interpret"),
    "matplotlib": ("figures need", "interpret"),
    "jinja2": ("the page needs", "report"),
}


@dataclass(frozen=True)
class ViewOptions:
    """What is asked for besides the table; None is the default, and tells that nobody asked.

    Attributes:
        track: folder of the tracks.
        track_format: one of :data:`ser.predict.track_files.KINDS`; None: tsv.
        track_window_s, track_hop_s: see :class:`ser.predict.track.TrackSettings`.
        smooth_s: see :func:`ser.predict.track.smooth`.
        figure: folder of the figures.
        figure_format: one of :data:`FIGURE_FORMATS`; None: png.
        html: file of the page.
        alignment: files or folders with words and phones.
    """

    track: Path | None = None
    track_format: str | None = None
    track_window_s: float | None = None
    track_hop_s: float | None = None
    smooth_s: float | None = None
    figure: Path | None = None
    figure_format: str | None = None
    html: Path | None = None
    alignment: Sequence[Path] = ()

    def __post_init__(self) -> None:
        """Refuse what makes no track.

        Raises:
            UsageError: that.
        """
        try:
            TrackSettings(self.track_window_s, self.track_hop_s)
        except ValueError as error:
            raise UsageError(f"{error}; see --track-window and --track-hop") from error
        if self.smooth_s is not None and not 0 <= self.smooth_s <= LONGEST_SMOOTHING_S:
            raise UsageError(f"--smooth must be from 0 to {LONGEST_SMOOTHING_S:g} s, got {self.smooth_s:g}")

    @property
    def settings(self) -> TrackSettings | None:
        """How tracks are made; None where nobody asks for any."""
        if self.track is self.figure is self.html is None:
            return None
        return TrackSettings(self.track_window_s, self.track_hop_s)

    def check(self) -> None:
        """Say what is given and not used.

        Raises:
            UsageError: a package is not installed.
        """
        needed = {
            "praatio": self.track is not None and self.track_format == "textgrid",
            "matplotlib": self.figure is not None,
            "jinja2": self.html is not None,
        }
        for package, (what, extra) in _PACKAGES.items():
            if needed[package] and importlib.util.find_spec(package) is None:
                raise UsageError(f"{what} {package}; install it with: utils/install.sh --extra {extra}")
        track, figure, html = self.track, self.figure, self.html
        unused = {
            "--track-format": self.track_format is not None and track is None,
            "--figure-format": self.figure_format is not None and figure is None,
            "--alignment": bool(self.alignment) and figure is html is None,
        }
        if self.settings is None:
            values = {"window": self.track_window_s, "hop": self.track_hop_s}
            unused |= {f"--track-{name}": value is not None for name, value in values.items()}
            unused["--smooth"] = self.smooth_s is not None
        users = {
            "--track-format": "--track",
            "--figure-format": "--figure",
            "--alignment": "--figure or --html",
        }
        for option in (option for option, value in unused.items() if value):
            log.warning("%s is not used without %s", option, users.get(option, "--track, --figure or --html"))


@dataclass
class _Names:
    """File names of recordings: safe ones, each once."""

    taken: set[str] = field(default_factory=set)

    def of(self, source: str) -> str:
        """The name of a recording's file, without its suffix."""
        stem = re.sub(r"[^\w.-]+", "_", Path(source).stem).strip("._-")[:_LONGEST_NAME] or "recording"
        name, number = stem, 1
        while name.lower() in self.taken:
            number += 1
            name = f"{stem}_{number}"
        self.taken.add(name.lower())
        if name != Path(source).stem:
            log.info("%s: its files are called %s", source, name)
        return name


class Views:
    """Writes tracks, figures and the page while results go by."""

    def __init__(
        self,
        options: ViewOptions,
        sampling_rate_hz: int,
        model: str,
        facts: Mapping[str, str],
        limits: Sequence[str],
    ) -> None:
        """Get ready.

        Args:
            options: what is asked for.
            sampling_rate_hz: of the pieces' samples.
            model: its name, for the page.
            facts: what the page says of it, name -> text.
            limits: sentences that must be known with every result.

        Raises:
            DataError: an alignment cannot be used.
            UsageError: a package is not installed.
        """
        options.check()
        self._options, self._names = options, _Names()
        shown = options.figure is not None or options.html is not None
        self._speech = Speech(options.alignment if shown else ())
        self._page = None
        audio_s = 0.0
        if options.html is not None:
            from ser.predict import page

            audio_s = page.AUDIO_S
            self._page = page.Page(page.About(model, facts, limits))
        self._collector = Collector(
            sampling_rate_hz, sound=shown, audio_s=audio_s, smooth_s=options.smooth_s or 0.0
        )

    def watch(self, pieces: Iterable[Piece]) -> Iterator[Piece]:
        """The same pieces; what is shown of their samples is kept."""
        return self._collector.watch(pieces)

    def show(self, results: Iterable[Result]) -> Iterator[Result]:
        """The same results; each recording's files are written once all of its results went by.

        Raises:
            DataError: a file cannot be written.
        """
        if self._options.settings is None:
            yield from results
            return
        for result in results:
            if (before := self._collector.add(result)) is not None:
                self._write(before)
            yield result
        if (last := self._collector.finish()) is not None:
            self._write(last)
        self._finish()

    def _write(self, recording: Recording) -> None:
        options = self._options
        name = self._names.of(recording.source) if options.track or options.figure else ""
        if options.track is not None and recording.track is not None:
            kind = options.track_format or "tsv"
            path = options.track / f"{name}{suffix(kind)}"
            write_track(path, kind, recording.track, recording.emotions, recording.end_s)
        if options.figure is None and self._page is None:
            return
        tiers = self._speech.of(recording.source)
        if options.figure is not None:
            from ser.predict.plots import draw_recording, save_recording

            path = options.figure / f"{name}.{options.figure_format or FIGURE_FORMATS[0]}"
            save_recording(draw_recording(recording, tiers), path)
        if self._page is not None:
            self._page.add(recording, tiers)

    def _finish(self) -> None:
        if self._page is None or self._options.html is None:
            return
        if not len(self._page):
            log.warning("%s: is not written, no recording could be used", self._options.html)
            return
        if self._page.left_out:
            log.warning(
                "%s: shows the first %d recordings; %d more are not on it",
                self._options.html, len(self._page), self._page.left_out,
            )  # fmt: skip
        with whole_file(self._options.html) as stream:
            stream.writelines(self._page.html())


def facts_of(emotions: Sequence[str], norm: str, track: str, smooth_s: float | None) -> dict[str, str]:
    """What a page says of a model.

    Args:
        emotions: the classes, in order.
        norm: by what features are normalised.
        track: what a row of the track is.
        smooth_s: how it is smoothed.
    """
    smoothing = f"a Gaussian over time, {smooth_s:g} s standard deviation" if smooth_s else "none"
    return {
        "classes, in order": ", ".join(emotions),
        "normalisation": norm,
        "track": track,
        "smoothing": smoothing,
        "made by": f"ser {ser.__version__}",
    }
