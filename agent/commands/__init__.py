"""What each subcommand of `room-agent` does. A module imports nothing heavy; a command that needs it imports it itself."""
