"""Where the files that belong to the suite lie: robot description, configuration, models."""

import os
from pathlib import Path


def share_folders() -> list[Path]:
    """Folders to look in, best first: MANIP_SHARE, each ament prefix, then the source tree."""
    folders = []
    if chosen := os.environ.get("MANIP_SHARE"):
        folders.append(Path(chosen))
    for prefix in os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep):
        if prefix:
            folders.append(Path(prefix) / "share" / "manip_bringup")
    folders.append(Path(__file__).resolve().parents[3])
    return folders


def find(relative: str | Path) -> Path:
    """The first existing ``relative`` path in `share_folders`.

    Raises:
        FileNotFoundError: It is in none of them; the message lists where it was sought.
    """
    folders = share_folders()
    for folder in folders:
        if (folder / relative).exists():
            return folder / relative
    raise FileNotFoundError(f"{relative} not found in any of: {', '.join(map(str, folders))}")
