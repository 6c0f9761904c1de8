"""The pinned Python packages: build.txt, run.txt and dev.txt, each with the hashes of its files; and what follows from them.

``pins`` reads them, ``ages`` tells since when each version is pinned (since.toml), ``sbom`` makes docs/sbom.cdx.json.
"""
