"""One fit: from rows and parameters to fitted attributes. Torch is loaded when training begins."""

import numpy as np
import pandas as pd
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state

from .._optional import import_optional
from .._pairs import check_pair_target
from .._targets import check_target
from .._warning import warn
from .checks import refuse_constant
from .files import save
from .records import Settings, Weights
from .sizes import resolve_sizes
from .teacher import teach

# More than this many rows would measure the validation loss no better.
N_ROWS_HELD_OUT = 20_000
# More dead neurons than this are worth a warning.
SHARE_DEAD_TO_WARN = 0.1
# Fewer active neurons a row than this share of K are worth one too.
SHARE_ACTIVE_TO_WARN = 0.8
# A neuron that fires on fewer rows has little to learn from, and few to be described by.
N_ROWS_PER_NEURON = 10


def fit_attributes(source, y, parameters, *, before, columns, streaming, caller):
    """Train an autoencoder and give what the estimator keeps of it.

    Parameters
    ----------
    source : Source

    y : array-like of shape (n_rows,) or None

    parameters : dict
        Of the estimator.

    before : dict
        Attributes of the fit to go on from; empty to begin anew.

    columns : dict
        Attributes that number and name the columns of X, for checkpoints.

    streaming : bool
        Whether this is one pass of ``partial_fit`` over more rows.

    caller : str
        Class of the estimator, named in errors.

    Returns
    -------
    attributes : dict
        Fitted attributes by name, and ``_optimizer``, the moments to go on with, if streaming.
    """
    _check_callbacks(parameters["callbacks"], caller)
    refuse_constant(source, caller)
    sizes = sizes_of(parameters | _settled_sizes(parameters, before), len(source), caller)
    targets, classes = standardised_target(y, source, parameters["target_coef"], caller)
    if streaming and before:
        _refuse_other_classes(classes, before.get("classes_"), caller)
    device = checked_device(parameters["device"], caller)
    training = import_optional("sklearn_hypsae.autoencoder.training", purpose=caller)
    rng = check_random_state(parameters["random_state"])
    targets = teach(source, targets, rng, caller)
    if before:
        weights = _weights_to_go_on(before, (sizes.M, source.n_features), targets.shape[1], caller)
    else:
        weights = training.initial_weights(source, sizes.M, sizes.K, targets.shape[1], rng)
    # Neurons know the rows they were trained on: a threshold set by those is too low for others.
    holds_out = not streaming and (parameters["patience"] is not None or parameters["batch_topk"])
    share_held_out = parameters["validation_fraction"] if holds_out else 0
    earlier = before["history_"] if streaming and before else None

    def attributes_of(trained):
        return _attributes(trained, sizes, parameters["target_coef"], classes, earlier)

    def save_snapshot(path, trained):
        save(path, parameters, columns | attributes_of(trained))

    trained = training.train(
        source,
        targets,
        weights,
        settings_of(parameters, sizes),
        validation=rows_held_out(len(source), share_held_out, rng),
        options=_options(parameters, device, rng, before, streaming) | {"save": save_snapshot},
    )
    return attributes_of(trained)


def _settled_sizes(parameters, before):
    """Sizes that an earlier call has chosen, for "auto" would choose others for other rows."""
    return {
        name: before[f"{name}_"] for name in ("M", "K") if before and parameters[name] == "auto"
    }


def _refuse_other_classes(classes, earlier, caller):
    """Refuse to go on with a read-out whose columns would mean something else."""
    if classes is None or earlier is None or np.array_equal(classes, earlier):
        return
    raise ValueError(
        f"{caller}.partial_fit has learnt the classes {earlier.tolist()}, and now got "
        f"{classes.tolist()}: pass rows of all classes in every call."
    )


def _check_callbacks(callbacks, caller):
    """Let callbacks refuse what they cannot do, before anything slow."""
    for callback in callbacks or ():
        # skorch takes pairs of name and callback too.
        callback = callback[1] if isinstance(callback, tuple) else callback
        is_checked = hasattr(callback, "check_before_training")
        # skorch makes an instance of a class, but without a path.
        if not hasattr(callback, "on_epoch_end") or (is_checked and isinstance(callback, type)):
            raise TypeError(
                f"{caller} expects callbacks to be a list of skorch callbacks, got {callback!r}: "
                "pass instances, such as Checkpoint(path)."
            )
        if is_checked:
            callback.check_before_training()


def sizes_of(parameters, n_rows, caller):
    """Resolve the sizes, and refuse those that do not fit together.

    Parameters
    ----------
    parameters : dict
        Of the estimator.

    n_rows : int

    caller : str

    Returns
    -------
    sizes : Sizes
    """
    prefix_lengths = parameters["matryoshka_prefix_lengths"]
    return resolve_sizes(parameters["M"], parameters["K"], prefix_lengths, n_rows, caller)


def checked_device(device, caller):
    """Resolve "auto", and refuse a device that is not there.

    Parameters
    ----------
    device : str

    caller : str

    Returns
    -------
    device : str
    """
    devices = import_optional("sklearn_hypsae.autoencoder.devices", purpose=caller)
    return devices.resolve_device(device, caller)


def standardised_target(y, source, target_coef, caller):
    """Standardise the target: one column, or one a class where there are more than two.

    Parameters
    ----------
    y : array-like of shape (n_rows,) or None
        Not looked at without ``target_coef``.

    source : Source

    target_coef : float

    caller : str

    Returns
    -------
    columns : ndarray of shape (n_rows, n_targets), dtype=float32

    classes : ndarray or None
        None for a continuous target, and without ``target_coef``.
    """
    if not target_coef:
        return np.zeros((len(source), 0), np.float32), None
    if source.is_signed:
        target = check_pair_target(y, n_samples=len(source), caller=caller)
        ahead = target.values if target.classes is None else 2 * target.values - 1
        return (ahead / np.sqrt(np.mean(ahead**2)))[:, None].astype(np.float32), target.classes
    target = check_target(y, n_samples=len(source), caller=caller, max_classes=None)
    columns, classes = target.values[:, None], None
    if target.task == "classification":
        classes = target.classes
        if len(classes) > 2:
            columns = columns == np.arange(len(classes))
    return ((columns - columns.mean(axis=0)) / columns.std(axis=0)).astype(np.float32), classes


def rows_held_out(n_rows, fraction, rng):
    """Draw the rows that do not train.

    Parameters
    ----------
    n_rows : int

    fraction : float
        0: none.

    rng : RandomState

    Returns
    -------
    held_out : ndarray of bool of shape (n_rows,)
    """
    held_out = np.zeros(n_rows, bool)
    if fraction:
        n_held_out = min(max(1, round(fraction * n_rows)), n_rows - 1, N_ROWS_HELD_OUT)
        held_out[rng.permutation(n_rows)[:n_held_out]] = True
    return held_out


def settings_of(parameters, sizes):
    """Resolve the defaults that depend on the sizes.

    Parameters
    ----------
    parameters : dict
        Of the estimator.

    sizes : Sizes

    Returns
    -------
    settings : Settings
    """
    return Settings(
        k=sizes.K,
        prefix_lengths=sizes.prefix_lengths,
        batch_topk=parameters["batch_topk"],
        signed=parameters["signed"],
        aux_k=min(parameters["aux_k"] or 2 * sizes.K, sizes.M),
        aux_coef=parameters["aux_coef"],
        multi_k=min(parameters["multi_k"] or 4 * sizes.K, sizes.M),
        multi_coef=parameters["multi_coef"],
        dead_after=parameters["dead_neuron_threshold_steps"],
        target_coef=parameters["target_coef"],
        encoder_precision=parameters["encoder_precision"],
    )


def _weights_to_go_on(before, shape, n_targets, caller):
    if before["components_"].shape != shape:
        raise ValueError(
            f"{caller} cannot go on from weights of shape {before['components_'].shape}, M and "
            f"n_features are now {shape}: keep M, or begin anew (fit with warm_start=False)."
        )
    return weights_of(before, n_targets)


def weights_of(fitted, n_targets=0):
    """Give the weights that fitted attributes hold.

    Parameters
    ----------
    fitted : dict
        Attributes by name.

    n_targets : int, default=0
        Columns of the read-out; it begins at zero where the attributes hold no such read-out.

    Returns
    -------
    weights : Weights
    """
    readout, bias = fitted.get("readout_weight_"), fitted.get("readout_bias_")
    if readout is None or readout.shape[1] != n_targets:
        readout = np.zeros((len(fitted["components_"]), n_targets), np.float32)
        bias = np.zeros(n_targets, np.float32)
    return Weights(
        encoder_weight=fitted["encoder_weight_"],
        encoder_bias=fitted["encoder_bias_"],
        decoder_weight=fitted["components_"],
        input_bias=fitted["input_bias_"],
        readout_weight=readout,
        readout_bias=bias,
    )


def _options(parameters, device, rng, before, streaming):
    names = (
        "n_epochs",
        "batch_size",
        "learning_rate",
        "patience",
        "clip_grad",
        "callbacks",
        "verbose",
    )
    options = {name: parameters[name] for name in names}
    if streaming:
        options["n_epochs"] = 1
    return options | {
        "device": device,
        "rng": rng,
        "optimizer_state": before.get("_optimizer") if streaming else None,
        "keep_optimizer": streaming,
    }


def _attributes(trained, sizes, target_coef, classes, earlier):
    weights = trained.weights
    history = trained.history if earlier is None else _joined(earlier, trained.history)
    attributes = {
        "M_": sizes.M,
        "K_": sizes.K,
        "components_": weights.decoder_weight,
        "encoder_weight_": weights.encoder_weight,
        "encoder_bias_": weights.encoder_bias,
        "input_bias_": weights.input_bias,
        "threshold_": trained.threshold,
        "dead_neurons_": trained.dead,
        "history_": history,
        "n_iter_": len(history),
        "best_epoch_": len(history) - len(trained.history) + trained.best_epoch,
    }
    if target_coef:
        attributes["readout_weight_"] = weights.readout_weight
        attributes["readout_bias_"] = weights.readout_bias
    if classes is not None:
        attributes["classes_"] = classes
    if trained.optimizer_state is not None:
        attributes["_optimizer"] = trained.optimizer_state
    return attributes


def _joined(earlier, history):
    history = history.assign(epoch=history["epoch"] + len(earlier))
    return pd.concat([earlier, history], ignore_index=True)


def warn_of_what_misleads(fitted, parameters, n_rows, caller):
    """Warn of the first of what makes neurons useless that is found, with what would help.

    Parameters
    ----------
    fitted : dict
        Attributes by name.

    parameters : dict
        Of the estimator.

    n_rows : int

    caller : str
    """
    M, K, history = fitted["M_"], fitted["K_"], fitted["history_"]
    fvu = history.get("validation_fvu", history["train_fvu"]).min()
    n_dead = len(fitted["dead_neurons_"])
    n_active = history["l0"].iloc[fitted["best_epoch_"] - 1]
    category = UserWarning
    if fvu > 1:
        category = ConvergenceWarning
        message = (
            f"The reconstruction of {caller} is worse than the mean of the rows (FVU {fvu:.2f}): "
            f"lower learning_rate={parameters['learning_rate']} or raise "
            f"n_epochs={parameters['n_epochs']}."
        )
    elif n_rows * K < N_ROWS_PER_NEURON * M:
        message = (
            f"M={M} neurons are many for {caller} on {n_rows} rows: with K={K}, a neuron fires on "
            f"{n_rows * K / M:.1f} rows on average, and {n_dead} fire on none: lower M."
        )
    elif n_dead > SHARE_DEAD_TO_WARN * M:
        message = (
            f"{n_dead} of {M} neurons of {caller} fire on no training row: raise aux_coef or "
            "n_epochs, or lower learning_rate or M."
        )
    elif n_active < SHARE_ACTIVE_TO_WARN * K:
        message = (
            f"Only {n_active:.1f} neurons of {caller} fire on a training row on average, not "
            f"K={K}, because no more have positive activations: lower K, or raise M={M} or "
            "n_epochs."
        )
    else:
        return
    warn(message, category)
