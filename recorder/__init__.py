"""The data plane: tracks, composer, segments and journals, sealing, continuity, transcript match, verifier."""
