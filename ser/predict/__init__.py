"""A trained model on recordings: classes, posteriors, attention, emotion over time."""
