"""From a sealed session to verified discs."""
