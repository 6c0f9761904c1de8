"""The control plane: session, self-check, health feed, console; the only package that knows the configuration."""
