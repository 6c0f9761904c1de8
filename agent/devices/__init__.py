"""One description of each kind of device that has a process: its name, its process, and how its state is judged.

Supervisor, command line, health, feed and self-check read these descriptions. A description starts nothing and sends nothing.
"""
