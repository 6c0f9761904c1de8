"""How bytes become durable: small files, locks, journals, growing files, and typed reading.

``durable`` replaces a small file so that it survives a power cut, ``journal`` chains lines by their hashes, ``sink`` hashes a
file while it grows, ``typed`` refuses a JSON file with wrong fields. Nothing here knows a session or a medium.
"""
