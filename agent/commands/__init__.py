"""What each subcommand of ``room-agent`` does for the person who types it.

A command that changes something asks the agent's gate first. A module here imports nothing heavy; a command that needs a heavy
library imports it itself.
"""
