"""Shared foundations: parameters, files, processes, device, errors."""
