"""What the full release holds: counts, seconds and digests, the one place where they stand.

They were found from two public label tables that agree with each other, not from the recordings.
"""

from __future__ import annotations

DIALOGS = {"1": 28, "2": 30, "3": 32, "4": 30, "5": 31}

# turns by session and the release's label
LABEL_ORDER = ("neu", "hap", "exc", "ang", "sad", "fru", "sur", "fea", "dis", "oth", "xxx")
LABELS = {
    "1": (384, 135, 143, 229, 194, 280, 25, 12, 1, 1, 415),
    "2": (362, 117, 210, 137, 197, 325, 17, 9, 0, 1, 436),
    "3": (320, 135, 151, 240, 305, 382, 28, 2, 1, 0, 572),
    "4": (258, 65, 238, 327, 143, 481, 19, 7, 0, 1, 564),
    "5": (384, 143, 299, 170, 245, 381, 18, 10, 0, 0, 520),
}
STYLES = {"improvised": 4784, "scripted": 5255}
SPEAKERS = {
    "Ses01_F": 873, "Ses01_M": 946, "Ses02_F": 859, "Ses02_M": 952, "Ses03_F": 1048,
    "Ses03_M": 1088, "Ses04_F": 987, "Ses04_M": 1116, "Ses05_F": 1033, "Ses05_M": 1137,
}  # fmt: skip
INTERVAL_S = {"1": 8358.9, "2": 8172.2, "3": 9459.3, "4": 9280.7, "5": 9503.9}  # sum of end - start
ALL_INTERVAL_S = 44775.0

# the four classes (exc counted as hap): turns and seconds of recordings
CLASS_ORDER = ("ang", "hap", "neu", "sad")
CLASSES_OF_SPEAKER = {
    "Ses01_F": (147, 132, 171, 78), "Ses01_M": (82, 146, 213, 116),
    "Ses02_F": (67, 166, 135, 113), "Ses02_M": (70, 161, 227, 84),
    "Ses03_F": (92, 128, 130, 172), "Ses03_M": (148, 158, 190, 133),
    "Ses04_F": (205, 185, 76, 62), "Ses04_M": (122, 118, 182, 81),
    "Ses05_F": (78, 159, 221, 132), "Ses05_M": (92, 283, 163, 113),
}  # fmt: skip
SECONDS_OF_SPEAKER = {
    "Ses01_F": 2362.4, "Ses01_M": 2770.5, "Ses02_F": 2044.7, "Ses02_M": 2741.9, "Ses03_F": 2189.8,
    "Ses03_M": 2923.2, "Ses04_F": 2158.8, "Ses04_M": 2404.4, "Ses05_F": 2213.3, "Ses05_M": 3351.4,
}  # fmt: skip
SECONDS = {"train": 19595.7, "test": 5564.7, "all": 25160.4}
STYLE_CLASSES = {"improvised": (289, 947, 1099, 608), "scripted": (814, 689, 609, 476)}
SAMPLES = 402_566_933

# turns of the four classes with fewer than so many frames (25 ms every 10 ms): (all, test)
SHORTER_THAN = {
    50: (0, 0), 60: (1, 0), 70: (1, 0), 80: (6, 1), 90: (16, 4), 100: (33, 10), 110: (71, 26), 120: (126, 51),
}  # fmt: skip

UNALIGNED = ("Ses03F_impro07_M030", "Ses03M_impro03_M001")
PHONES = 52

# SHA-256 of lines "<turn> <value>\n" (or "<turn>\n") in byte order
DIGESTS = {
    "turns": "cc2d0fd090a6603d9b25ae60ebb85268851281340d46735aad0b6373da31ef87",
    "labels": "214d662b304164fd185619f21aa62bde82d754aa68feef80129a0ea4e69ec249",
    "classes of all": "d77e8e3576bf030217bdffc87179c976648d31c3970d47743931f4841e922095",
    "classes of train": "26c86cad492e29c1688d6e2d7b730a162ef895ef1f0e606f6a345ba60b428d19",
    "classes of test": "ddb8de5b96a8429d145a0966652efaf95eb4df5a1ea4d4a53648f12954ab3e16",
    "samples of all": "0d0061e1959bdf1ab663c42b70364b9a2884b27134f7926c3010795fbfdafbf7",
    "samples of train": "b20f3d4dbb5d01601f265354d333504c40dc952cbbf1905ed9c3ffec6cf02b17",
    "samples of test": "4299888d324d58fa3290cc8042d080843fed7dee2bef4820a19f1b2e3bbe7738",
}
