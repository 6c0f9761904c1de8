"""The room's hardware, one module a kind of device; vendor libraries are imported here and nowhere else."""
