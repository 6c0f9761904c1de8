"""What a recording proves: coverage, gaps, inventory, manifest, signature.

``continuity`` finds every gap of a track, such as a silent camera, and its cause. ``inventory`` holds the files against the
journals, ``manifest`` makes the seal, ``signature`` signs it, and ``sealed_segments`` says which segments were whole at the
seal. All of it is computed from journals and files; nothing is recorded here.
"""
