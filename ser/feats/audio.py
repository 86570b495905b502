"""Recordings as samples: one channel at one rate, or a message that says what is wrong with the file."""

from __future__ import annotations

import math
import os
from pathlib import Path

import numpy as np
import soundfile

from ser.data.audio_meta import missing_bytes
from ser.data.corpus import AudioConfig
from ser.errors import DataError
from ser.feats.base import Floats

_COPY = "copy it again from the release"


def load_samples(path: Path, audio: AudioConfig) -> Floats:
    """Read one channel of a recording, in any format that libsndfile knows (WAV, FLAC, MP3, OGG, ...).

    Args:
        path: the recording.
        audio: its rate, its channel, and whether other rates are converted.

    Returns:
        Samples in [-1, 1] at ``audio.sampling_rate_hz``, (N,).

    Raises:
        DataError: missing, empty, cut short, no audio, of another rate or number of channels than
            ``audio`` allows, or with values that are no numbers.
    """
    _check_file(path)
    try:
        with soundfile.SoundFile(path) as sound:
            rate, promised = sound.samplerate, sound.frames
            _check_layout(path, rate, sound.channels, audio)
            frames = sound.read(dtype="float32", always_2d=True)  # (N, channels)
    except soundfile.LibsndfileError as error:
        raise DataError(
            f"{path}: is no audio that can be read ({error.error_string.rstrip('. ')}); {_COPY}"
        ) from error
    if len(frames) == 0:
        raise DataError(f"{path}: has no samples; {_COPY}")
    if len(frames) < promised:
        raise DataError(f"{path}: is cut short, it has {len(frames)} of {promised} samples; {_COPY}")
    samples: Floats = np.ascontiguousarray(frames[:, audio.channel or 0])
    if not np.isfinite(samples).all():
        count = np.count_nonzero(~np.isfinite(samples))
        raise DataError(f"{path}: {count} of {len(samples)} samples are NaN or infinite; {_COPY}")
    return samples if rate == audio.sampling_rate_hz else _resample(samples, rate, audio.sampling_rate_hz)


def _check_file(path: Path) -> None:
    if str(path).endswith("|"):
        raise DataError(f"{path}: is a command; wav.scp must name files, so write its output to one")
    if path.is_symlink() and not path.exists():
        raise DataError(f"{path}: is a link to {os.readlink(path)}, which does not exist; repair the link")
    if not path.exists():
        raise DataError(
            f"{path}: no such file; is the corpus where stage 0 found it? If not, run stage 0 again"
        )
    if not path.is_file():
        raise DataError(f"{path}: is no file; name a recording")
    if not os.access(path, os.R_OK):
        raise DataError(f"{path}: may not be read (no permission); change it with chmod")
    if path.stat().st_size == 0:
        raise DataError(f"{path}: is empty (0 bytes); {_COPY}")
    missing = missing_bytes(path)
    if missing:
        raise DataError(f"{path}: is cut short, {missing} bytes of its samples are not there; {_COPY}")


def _check_layout(path: Path, rate: int, channels: int, audio: AudioConfig) -> None:
    if audio.channel is None and channels > 1:
        raise DataError(
            f"{path}: has {channels} channels; set audio.channel in conf/corpus.yaml to the one to use, "
            f"0 to {channels - 1}"
        )
    if (audio.channel or 0) >= channels:
        number = "1 channel" if channels == 1 else f"{channels} channels"
        allowed = "0" if channels == 1 else f"0 to {channels - 1}"
        raise DataError(
            f"{path}: has {number}, so there is no channel {audio.channel}; "
            f"set audio.channel in conf/corpus.yaml to {allowed}"
        )
    if rate != audio.sampling_rate_hz and audio.resample == "refuse":
        raise DataError(
            f"{path}: is sampled at {rate} Hz, audio.sampling_rate_hz says {audio.sampling_rate_hz}; "
            "set audio.resample in conf/corpus.yaml to convert, or name the right rate"
        )


def _resample(samples: Floats, rate_hz: int, target_hz: int) -> Floats:
    """Polyphase resampling, to ceil(N * target / rate) samples."""
    from scipy.signal import resample_poly

    common = math.gcd(rate_hz, target_hz)
    converted: Floats = resample_poly(samples, target_hz // common, rate_hz // common).astype(np.float32)
    return converted
