"""Which server requests go to and which key goes with them, for answers and embeddings alike."""

import os
from urllib.parse import urlsplit

KEY_VARIABLES = ("OPENAI_API_KEY", "OPENAI_KEY_SAE")
URL_VARIABLE = "OPENAI_BASE_URL"
OPENAI_URL = "https://api.openai.com/v1"
# Sent where a server needs no key.
NO_KEY = "none"


def server_url(base_url):
    """Give the server that is meant: the one named, else the environment's, else OpenAI.

    Parameters
    ----------
    base_url : str or None

    Returns
    -------
    url : str
    """
    return base_url or os.environ.get(URL_VARIABLE) or OPENAI_URL


def is_openai(url):
    """Whether a server is OpenAI's own, which needs a key.

    Parameters
    ----------
    url : str

    Returns
    -------
    is_openai : bool
    """
    host = urlsplit(url).hostname or ""
    return host == "openai.com" or host.endswith(".openai.com")


def refuse_url(url, caller):
    """Refuse what names no server, or holds what should not be shown.

    Parameters
    ----------
    url : str

    caller : str
        Named in the error; the URL is not.
    """
    if not _is_url(url):
        raise ValueError(
            f"{caller} needs a base_url that begins with http:// or https:// and names a host, "
            'such as "http://127.0.0.1:8000/v1".'
        )
    parts = urlsplit(url)
    if parts.username or parts.password or parts.query:
        raise ValueError(
            f"{caller} takes no secrets in base_url, where they would be shown: leave out what "
            f"stands before @ or after ?, and set {KEY_VARIABLES[0]}."
        )


def read_key(url, caller):
    """Read the key; servers other than OpenAI's get a stand-in where there is none.

    Parameters
    ----------
    url : str

    caller : str
        Named in the error.

    Returns
    -------
    key : str

    Raises
    ------
    ValueError
        If there is none and OpenAI is asked, or it holds what no header can; the clients'
        own errors would quote it.
    """
    for variable in KEY_VARIABLES:
        key = os.environ.get(variable, "").strip()
        if not all("!" <= character <= "~" for character in key):
            raise ValueError(
                f"The environment variable {variable} holds characters that no key has (a "
                "line break, a space or a letter with an accent): set it to the key alone."
            )
        if key:
            return key
    if is_openai(url):
        raise ValueError(
            f"{caller} found no key: set the environment variable {KEY_VARIABLES[0]} (or "
            f"{KEY_VARIABLES[1]}), or give the base_url of a server that needs none."
        )
    return NO_KEY


def _is_url(url):
    """Whether a string names a host by http or https, and a port that can be."""
    if not isinstance(url, str):
        return False
    try:
        parts = urlsplit(url)
        # A host may have letters of any language; the rest of a URL is plain.
        parts.hostname.encode("idna")
        is_plain = all("!" <= character <= "~" for character in parts.path)
        return parts.scheme in ("http", "https") and is_plain and parts.port != 0
    except (ValueError, AttributeError):
        return False
