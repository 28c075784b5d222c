"""Optional and heavy dependencies, imported when they are first needed."""

import importlib


def import_optional(module, *, purpose, extra=None):
    """Import a module on first use, or say in one sentence how to get it.

    Parameters
    ----------
    module : str
        Name of the module, dotted if need be.

    purpose : str
        What needs it, as the subject of the error sentence.

    extra : str, default=None
        The extra of this package that installs it. None: a plain dependency.

    Returns
    -------
    module : module

    Raises
    ------
    ImportError
        If the module is not installed.

    Examples
    --------
    >>> from sklearn_hypsae._optional import import_optional
    >>> import_optional("json", purpose="This example").loads("1")
    1
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.split(".")[0]
        target = f"sklearn-hypsae[{extra}]" if extra else "sklearn-hypsae"
        raise ImportError(
            f"{purpose} needs the package {package!r}, which could not be imported ({error}): "
            f'install it with pip install "{target}".'
        ) from error
