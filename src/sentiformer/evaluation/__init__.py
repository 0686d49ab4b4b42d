"""Metrics, significance, figures and the report (stages evaluate, report)."""
