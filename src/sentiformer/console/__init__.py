"""What a person sees at the terminal: lines, progress, errors. It decides no byte of a result."""
