"""The control plane: commands of people come in here, and the room's health goes out.

``app`` puts the agent's process together; ``cli`` finds the command that is meant. Only this package knows the
configuration. Nothing is recorded here.
"""
