"""What a repr may show of a client's parameters."""

import re

HIDDEN = "…"
# Not max_tokens, stop_token_ids or tokenizer, which are common and no secrets.
SECRET_NAME = re.compile(r"key|secret|auth|passw|credential|cookie|token(?!s$|s_|_id|iz)", re.I)


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
    if name == "extra_headers" and isinstance(value, dict):
        # A secret may travel in a header of any name.
        return dict.fromkeys(value, HIDDEN)
    if isinstance(value, dict):
        return {key: shown(str(key), inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        inside = [shown(name, inner) for inner in value]
        return tuple(inside) if isinstance(value, tuple) else inside
    if isinstance(value, str) and ("://" in value or name.endswith("url")):
        return _without_secrets(value)
    return value


def _without_secrets(url):
    url = re.sub(r"^(\w+://)?.*@", rf"\1{HIDDEN}@", url)
    return re.sub(r"\?.*", f"?{HIDDEN}", url)
