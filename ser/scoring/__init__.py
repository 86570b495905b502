"""Metrics, significance, fusion, tables of results; starts without torch."""
