"""The aligner's acoustic model: its settings, its file, its training from a flat start.

Shapes: T frames, P pdfs, D values a frame.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np

from ser.align import gmm, hmm
from ser.align.gmm import Floats
from ser.align.hmm import Graph, Ints
from ser.data.files import whole_file
from ser.errors import DataError
from ser.ranges import Range

log = logging.getLogger("ser")

MODEL, SETTINGS = "model.npz", "align.yaml"


class BestPath(NamedTuple):
    """The best path through a graph."""

    pdfs: Ints  # (T,)
    segments: Ints  # (T,), index into the graph's labels
    score: float  # its log-likelihood, transitions included


# graphs, log transitions, log-likelihoods (T, P) of each -> the best path through each, or None
Search = Callable[[Sequence[Graph], Floats, Iterable[Floats]], "list[BestPath | None]"]


@dataclass(frozen=True)
class AlignConfig:
    """``conf/align.yaml``."""

    num_cepstra: Annotated[int, Range(1, 1024)]  # of the filters; with first and second differences
    delta_window: Annotated[int, Range(1, 100)]  # frames either side that a difference looks at
    states: Annotated[int, Range(1, 20)]  # HMM states of a phone
    components: Annotated[int, Range(1, 4096)]  # Gaussians of a state: 1, 2, 4, 8, ...
    rounds: Annotated[int, Range(1, 1000)]  # of alignment and estimation for each number of components
    min_frames: Annotated[int, Range(1, 1000000)]  # that a Gaussian is estimated from
    variance_floor: Annotated[float, Range(above=0, most=1)]  # of the variance of all frames
    optional_silence: bool  # before, between and after the words
    max_minutes: Annotated[float, Range(above=0)]  # of speech that is trained on

    def __post_init__(self) -> None:
        """Refuse values that cannot work."""
        if self.components & (self.components - 1):
            raise ValueError(f"components must be 1, 2, 4, 8, ..., got {self.components}")


@dataclass(frozen=True)
class PhoneModel:
    """A trained acoustic model."""

    phones: tuple[str, ...]
    num_states: int
    mixtures: gmm.Mixtures
    log_transitions: Floats  # (1 + 2P,), see ser.align.hmm.Graph

    @property
    def pdfs(self) -> dict[str, int]:
        """Phone -> its first pdf."""
        return first_pdfs(self.phones, self.num_states)

    def save(self, path: Path) -> None:
        """Write it as an archive of arrays.

        Raises:
            DataError: a mean or a variance is no finite number.
        """
        if not (np.isfinite(self.mixtures.means).all() and np.isfinite(self.mixtures.variances).all()):
            raise DataError(f"{path}: would hold NaN or infinity; raise variance_floor in conf/align.yaml")
        with whole_file(path, "wb") as stream:
            np.savez(
                stream,
                phones=np.array(self.phones),
                num_states=np.array(self.num_states),
                log_transitions=self.log_transitions,
                **{name: getattr(self.mixtures, name) for name in ("log_weights", "means", "variances")},
            )


def load(path: Path) -> PhoneModel:
    """Read a model; nothing is unpickled.

    Raises:
        DataError: it is not there, or no such model.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            mixtures = gmm.Mixtures(arrays["log_weights"], arrays["means"], arrays["variances"])
            phones = tuple(str(phone) for phone in arrays["phones"])
            return PhoneModel(phones, int(arrays["num_states"]), mixtures, arrays["log_transitions"])
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file; run steps/train_phones.sh") from error
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"{path}: is no phone model ({error}); run steps/train_phones.sh again") from error


def first_pdfs(phones: Sequence[str], num_states: int) -> dict[str, int]:
    """Phone -> number of its first pdf."""
    return {phone: index * num_states for index, phone in enumerate(phones)}


@dataclass(frozen=True)
class Example:
    """An utterance to train on."""

    name: str
    frames: Floats  # (T, D)
    graph: Graph
    start: Ints  # (T,), the pdfs of its flat start


def train(
    examples: Sequence[Example],
    phones: Sequence[str],
    settings: AlignConfig,
    search: Search,
    progress: Callable[[Iterable[int], str], Iterable[int]],
) -> PhoneModel:
    """Estimate all densities and transitions: from equally long states, then by Viterbi training.

    Args:
        examples: the utterances; each has as many frames as its graph needs.
        phones: all that the graphs use.
        settings: numbers of states, components, rounds.
        search: finds the best path through graphs.
        progress: goes through the rounds, and shows that.
    """
    frames = np.concatenate([item.frames for item in examples])
    num_pdfs = len(phones) * settings.states
    floor = settings.variance_floor * frames.var(axis=0, dtype=np.float64)
    mixtures = gmm.flat(num_pdfs, frames)
    paths = [item.start for item in examples]
    log_transitions = hmm.log_transitions([], num_pdfs)
    sizes = [1 << power for power in range(settings.components.bit_length())]
    for number in progress(range(len(sizes) * settings.rounds), "train"):
        size = sizes[number // settings.rounds]
        if mixtures.means.shape[1] < size:
            mixtures = mixtures.split()
        mixtures = mixtures.reestimated(
            frames, np.concatenate(paths), floor=floor, min_frames=settings.min_frames
        )
        best_paths = search(
            [item.graph for item in examples],
            log_transitions,
            map(mixtures.log_likelihood, (item.frames for item in examples)),
        )
        paths = [
            item.start if best is None else best.pdfs for item, best in zip(examples, best_paths, strict=True)
        ]
        log_transitions = hmm.log_transitions(paths, num_pdfs)
        score = sum(best.score for best in best_paths if best is not None) / len(frames)
        log.info("round %d, %d components: log-likelihood %.3f a frame", number + 1, size, score)
    mixtures = mixtures.reestimated(
        frames, np.concatenate(paths), floor=floor, min_frames=settings.min_frames
    )
    return PhoneModel(tuple(phones), settings.states, mixtures, log_transitions)
