"""How turns are recorded: ``plain``, or under conditions as ``real`` corpora have them.

Real: some second of silence before and behind the speech, as in RAVDESS; levels that differ by speaker and
recording, 20 dB in all; background noise, near or inaudible; one of two microphones.  What is
said and how is the same as in the plain corpus of the same seed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ser.corpora.mini.align import FRAME
from ser.corpora.mini.audio import FILTER_HZ, RATE_HZ, Samples, linear_phase, pink_noise
from ser.corpora.mini.design import Turn, random_state

PLAIN, REAL = CONDITIONS = ("plain", "real")
_FRAMES_A_SECOND = RATE_HZ // FRAME


@dataclass(frozen=True)
class Microphone:
    """What turns sound into a recording.

    Attributes:
        gains_db: frequency in Hz -> gain in dB; linear over octaves between them, constant beyond.
        noise_db: root mean square of its own noise, which is white, full scale = 0.
    """

    gains_db: dict[float, float]
    noise_db: float


MICROPHONES = (
    Microphone({100.0: 0.0, 6000.0: 0.0}, -95.0),
    Microphone({60.0: -30.0, 200.0: -6.0, 800.0: 0.0, 3000.0: 6.0, 5000.0: 0.0, 7500.0: -20.0}, -85.0),
)


@dataclass(frozen=True)
class Conditions:
    """Those of one recording.

    Attributes:
        lead_frames: further silence before the speech, in frames of 10 ms, so that alignments only move.
        tail_frames: and behind it.
        gain_db: level, -20 to 0; of the speech and the background together.
        snr_db: root mean square of the speech over that of the background noise, 35 to 65.
        microphone: one of ``MICROPHONES``, which adds its own noise.
    """

    lead_frames: int
    tail_frames: int
    gain_db: float
    snr_db: float
    microphone: Microphone


def real_conditions(seed: int, turn: Turn) -> Conditions:
    """The conditions under which a turn is recorded, whatever its label."""
    speaker = random_state(seed, "conditions", turn.speaker)
    usual_s, speaker_db = speaker.uniform(0.7, 1.3), speaker.uniform(-14, 0)
    random = random_state(seed, "conditions", turn.name)
    lead_s, tail_s = usual_s * random.uniform(0.6, 1.4, 2)
    return Conditions(
        round(lead_s * _FRAMES_A_SECOND),
        round(tail_s * _FRAMES_A_SECOND),
        speaker_db + random.uniform(-6, 0),
        random.uniform(35, 65),
        MICROPHONES[random.randint(len(MICROPHONES))],
    )


def recorded(
    samples: Samples, lead: int, conditions: Conditions, random: np.random.RandomState
) -> tuple[Samples, int]:
    """A recording under real conditions.

    Args:
        samples: (N,) speech in its room, without noise.
        lead: index in it of the first sample of the speech.
        conditions: those of the recording.
        random: draws the noises.

    Returns:
        the recording and the index in it of the first sample of the speech.
    """
    before, behind = conditions.lead_frames * FRAME, conditions.tail_frames * FRAME
    speech_rms = np.sqrt((samples[samples != 0] ** 2).mean())
    whole = np.concatenate([np.zeros(before), samples, np.zeros(behind)])
    whole += pink_noise(random, len(whole)) * speech_rms * 10 ** (-conditions.snr_db / 20)
    whole *= 10 ** (conditions.gain_db / 20)
    microphone = conditions.microphone
    whole = np.convolve(whole, linear_phase(_gains_db(microphone)), "same")
    whole += random.randn(len(whole)) * 10 ** (microphone.noise_db / 20)
    return np.asarray(whole), before + lead


def _gains_db(microphone: Microphone) -> Samples:
    """The gains at ``FILTER_HZ``, (257,)."""
    octaves = np.log2(np.maximum(FILTER_HZ, 1))
    known = np.log2(list(microphone.gains_db))
    return np.asarray(np.interp(octaves, known, list(microphone.gains_db.values())))
