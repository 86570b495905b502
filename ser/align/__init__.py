"""Forced alignment: phone models, their training and search, lexicons, CTM and TextGrid sources."""
