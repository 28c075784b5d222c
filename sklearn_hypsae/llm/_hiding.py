"""Where a client's secrets may be, and what a repr may show of its parameters."""

import os
import re

HIDDEN = "…"
# Not max_tokens, stop_token_ids, tokenizer or prompt_cache_key, which are common and no secrets.
SECRET_NAME = re.compile(
    r"(?<!cache_)key|secret|auth(?!ors?(?:$|[_-]))|passw|credential|cookie|token(?!s$|s_|_id|iz)",
    re.I,
)
# What keys look like whatever they are called.
SECRET_VALUE = re.compile(r"bearer\s|sk-", re.I)


def shown(name, value):
    """Give a parameter's value without what may be a secret in it.

    Parameters
    ----------
    name : str
        The parameter.

    value : object

    Returns
    -------
    value : object
        Hidden where the name is that of a key, token or the like, also inside dicts and lists,
        and as the user, password or query of a URL.

    Examples
    --------
    >>> from sklearn_hypsae.llm._hiding import shown
    >>> shown("base_url", "http://me:word@host/v1"), shown("api_key", "sk-x")
    ('http://…@host/v1', '…')
    >>> shown("extra_body", {"hf_token": "x", "max_tokens": 3})
    {'hf_token': '…', 'max_tokens': 3}
    """
    if value is None or isinstance(value, bool):
        return value
    if SECRET_NAME.search(name):
        return HIDDEN
    if name in ("extra_headers", "extra_query") and isinstance(value, dict):
        # A secret may travel under any name there.
        return dict.fromkeys(value, HIDDEN)
    if isinstance(value, dict):
        return {key: shown(str(key), inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        inside = [shown(name, inner) for inner in value]
        return tuple(inside) if isinstance(value, tuple) else inside
    if isinstance(value, str) and SECRET_VALUE.match(value):
        return HIDDEN
    if isinstance(value, str) and ("://" in value or name.endswith("url")):
        return _without_secrets(value)
    return value


def secret_in(value, keys=(), *, is_secret=False):
    """Find what has the name of a secret, looks like one, or is one.

    Parameters
    ----------
    value : object
        A parameter's value; dicts and lists are searched.

    keys : collection of str, default=()
        Keys that are in use.

    is_secret : bool, default=False
        Whether the name it goes by is that of a secret.

    Returns
    -------
    name : str or None
        Of the first one found, empty outside a dict; None where there is none. What begins
        with ``$`` names an environment variable, as in ``{"X-Api-Key": "$MY_KEY"}``.

    Examples
    --------
    >>> from sklearn_hypsae.llm._hiding import secret_in
    >>> secret_in({"top_k": 5, "lora": [{"hf_token": "hf_x"}]})
    'hf_token'
    >>> secret_in({"X-Api-Key": "$MY_KEY"})
    """
    if isinstance(value, str):
        looks_so = SECRET_VALUE.match(value) or any(key in value for key in keys)
        return "" if looks_so or (is_secret and not value.startswith("$")) else None
    if isinstance(value, list | tuple):
        found = (secret_in(inner, keys, is_secret=is_secret) for inner in value)
        return next((name for name in found if name is not None), None)
    if not isinstance(value, dict):
        return None
    for name, inner in value.items():
        # A JSON schema has names of what is to be answered, not of what is passed.
        is_schema = isinstance(inner, dict) and "type" in inner
        is_named_so = not is_schema and (is_secret or bool(SECRET_NAME.search(str(name))))
        found = secret_in(inner, keys, is_secret=is_named_so)
        if found is not None:
            return found or str(name)
    return None


def read_variables(headers):
    """Read header values that name an environment variable.

    Parameters
    ----------
    headers : dict of str to str or None

    Returns
    -------
    headers : dict of str to str
        With the values that begin with ``$`` replaced.

    Raises
    ------
    ValueError
        If a variable is not set, or holds what no header can.

    Examples
    --------
    >>> from sklearn_hypsae.llm._hiding import read_variables
    >>> read_variables({"X-Team": "linguistics"})
    {'X-Team': 'linguistics'}
    """
    read = dict(headers or {})
    for header, value in read.items():
        if value.startswith("$"):
            read[header] = os.environ.get(value[1:], "").strip()
        if (value and not read[header]) or not all(" " <= c <= "~" for c in read[header]):
            what = f"the environment variable {value[1:]}" if value.startswith("$") else "its value"
            raise ValueError(
                f"The header {header!r} cannot hold {what}: set it to characters that a header "
                "can have (letters without accents, digits, signs)."
            )
    return read


def _without_secrets(url):
    url = re.sub(r"^(\w+://)?.*@", rf"\1{HIDDEN}@", url)
    return re.sub(r"\?.*", f"?{HIDDEN}", url)
