"""Metrics, statistical tests, figures and the report (stages evaluate and report)."""
