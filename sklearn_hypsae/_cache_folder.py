"""Where the caches on disk live."""

import os
import sys
from pathlib import Path

CACHE_VARIABLE = "SKLEARN_HYPSAE_CACHE"


def cache_folder():
    """Give the user's cache folder, created where it is not there yet.

    The environment variable ``SKLEARN_HYPSAE_CACHE`` names another folder. Without it, the
    folder is ``sklearn_hypsae`` in ``XDG_CACHE_HOME`` or ``~/.cache`` (``LOCALAPPDATA`` on
    Windows, ``~/Library/Caches`` on macOS).

    Returns
    -------
    folder : Path
        Readable by its owner alone when it is created here; the mode of a folder that was
        there before is left as it is.

    Raises
    ------
    OSError
        If the folder cannot be created.
    """
    chosen = os.environ.get(CACHE_VARIABLE)
    folder = Path(chosen).expanduser() if chosen else _users_caches() / "sklearn_hypsae"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def _users_caches():
    if sys.platform == "win32":
        local = os.environ.get("LOCALAPPDATA")
        return Path(local) if local else Path.home() / "AppData" / "Local"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    xdg = os.environ.get("XDG_CACHE_HOME")
    # The XDG specification tells programs to ignore a relative path.
    return Path(xdg) if xdg and os.path.isabs(xdg) else Path.home() / ".cache"
