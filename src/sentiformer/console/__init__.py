"""What a person sees at the terminal: lines, progress, errors. It does not affect results."""
