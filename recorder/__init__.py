"""The data plane: what records, seals, composes and verifies.

Nothing here knows the configuration, a command line or a broker.
"""
