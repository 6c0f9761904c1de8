"""What the tests of the self-check share."""

from pathlib import Path

import numpy as np

from agent.config.model import Config, parse
from agent.selfcheck.judge import Luma


def config(tmp_path: Path, more: str = "") -> Config:
    """A room's configuration with its folders below tmp_path; more: further lines of [storage], then other sections."""
    return parse(f'[storage]\nroot = "{tmp_path / "数据 root"}"\nrun = "{tmp_path / "run"}"\n{more}')


def noise(seed: int, mean: float = 120.0, spread: float = 2.0, shape: tuple[int, int] = (180, 320)) -> Luma:
    return np.clip(np.random.default_rng(seed).normal(mean, spread, shape), 0, 255).astype(np.uint8)
