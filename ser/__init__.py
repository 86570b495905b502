"""Speech emotion recognition with attention: BLSTMATT and CSA (Jalal, Milner & Hain, Interspeech 2020).

What one can run are the modules at this level (``python3 -m ser.<verb>``, or ``ser <verb>``); what they
are made of are the sub-packages, which import downwards only: learn > models, scoring > feats > data >
config > errors.
"""

__version__ = "0.1.0"
