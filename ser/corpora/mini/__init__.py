"""The embedded corpus ``mini``: synthetic emotional speech in IEMOCAP's own layout.

It is made on the user's machine from a seed, so nothing has to be downloaded or licensed, and the same
code prepares it that prepares IEMOCAP.  :func:`ser.corpora.mini.release.make_release` makes it.

::

    design      speakers, speaking styles, dialogs and labels: what is to be said by whom and how
    espeak      engine 1: the espeak-ng library (the wheel espeakng-loader, GPL, optional)
    formant     engine 2: additive formant synthesis in numpy alone
    phones      both engines' phones in the 52 symbols of IEMOCAP's alignments
    audio       resampling, spectral tilt, room, noise, laughter
    conditions  silence, level, noise and microphone of real recordings
    align       .phseg .wdseg .syseg
    ratings     what the raters say of a turn
    dialog      EmoEvaluation, transcriptions, dialog/wav
    release     the whole folder, in parallel, whole or not at all
"""

from __future__ import annotations

from ser.corpora.base import Corpus

CORPUS = Corpus(
    "ser.corpora.iemocap:prepare_iemocap",
    release="folder of the mini corpus",
    make="ser.corpora.mini.release:make_release",
    check="ser.corpora.iemocap:check_iemocap",
)
