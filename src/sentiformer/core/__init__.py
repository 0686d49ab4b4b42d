"""What decides nothing about a model: parameters, files, processes, device, errors."""
