"""Fuzzing: every parser of bytes that come from outside is given broken ones, and may only do what it promises.

``mutation`` breaks good examples. ``target`` says what a parser is, and what counts as a crash. ``network``, ``cameras``,
``devices``, ``files`` and ``evidence`` name the parsers, and ``running`` tries them. ``corpus/<parser>/`` holds inputs that once
crashed one, or that are worth beginning with; each is tried at every ``./check``. ``./check --fuzz`` goes on, guided by the lines
that inputs reach.
"""
