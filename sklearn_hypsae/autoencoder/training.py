"""From rows to trained weights: scaling, first weights, the fit itself, what it left behind."""

from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from skorch.callbacks import Callback, EarlyStopping
from skorch.helper import predefined_split
from skorch.utils import noop

from . import kernels
from .adam import ClippedAdam
from .devices import own_modes, threads_for
from .iterators import Rows, StreamedRows
from .module import SparseAutoencoder
from .net import AutoencoderNet
from .patterns import topk_pattern
from .records import Weights
from .source import signs_of_rows

N_ROWS_FOR_CENTRE = 4096
# A read-out of sparse, small activations has far to go, and has to follow them as they move.
READOUT_SPEED = 3
HISTORY_COLUMNS = {
    "epoch": "epoch",
    "train_loss": "train_loss",
    "valid_loss": "validation_loss",
    "train_fvu": "train_fvu",
    "valid_fvu": "validation_fvu",
    "train_l0": "l0",
    "dead_fraction": "dead_fraction",
    "train_target_error": "train_target_error",
    "valid_target_error": "validation_target_error",
}


class Trained(NamedTuple):
    """What training leaves behind.

    Attributes
    ----------
    weights : Weights
        In the units of the rows.
    history : DataFrame, one row an epoch
    threshold : float or None
        Of BatchTopK.
    dead : ndarray of int
        Neurons that fire on no training row.
    best_epoch : int
        The epoch that ended with these weights.
    optimizer_state : dict or None
        Moments of the optimiser, for going on where this left off.
    """

    weights: Weights
    history: pd.DataFrame
    threshold: float | None
    dead: np.ndarray
    best_epoch: int
    optimizer_state: dict | None


@own_modes(training=False)
def initial_weights(source, n_neurons, k, n_targets, rng):
    """Draw first weights: each neuron looks in the direction of some training row.

    Rows instead of random directions: measured on film reviews (M=256, K=8), the held-out FVU
    falls from .65 to .63, hardly a neuron dies, and two seeds agree better. The encoder is
    tied to the decoder (2406.04093) up to a factor, the one that reconstructs best.

    Parameters
    ----------
    source : Source

    n_neurons, k, n_targets : int

    rng : RandomState

    Returns
    -------
    weights : Weights
    """
    sample = source.take(rng.permutation(len(source))[: max(N_ROWS_FOR_CENTRE, n_neurons)])
    # Squares of very large or small numbers would leave float32.
    scale = np.float32(source.root_variance)
    sample /= scale
    if source.is_signed:
        centre = np.zeros(source.n_features, np.float32)
        sample = sample * signs_of_rows(sample)
    else:
        centre = geometric_median(sample)
        sample = sample - centre
    directions = _unit_rows(sample[np.arange(n_neurons) % len(sample)])
    # A little noise tells the neurons of duplicate rows apart, and gives a row without
    # a direction one.
    directions += 0.1 * _unit_rows(rng.standard_normal(directions.shape).astype(np.float32))
    directions = _unit_rows(directions)
    return Weights(
        encoder_weight=directions
        * _best_factor(sample[:N_ROWS_FOR_CENTRE], directions, k, is_signed=source.is_signed),
        encoder_bias=np.zeros(n_neurons, np.float32),
        decoder_weight=directions,
        input_bias=centre,
        readout_weight=np.zeros((n_neurons, n_targets), np.float32),
        readout_bias=np.zeros(n_targets, np.float32),
    ).scaled(scale)


def _unit_rows(X):
    norms = np.linalg.norm(X, axis=1, keepdims=True)
    return X / np.where(norms == 0, 1, norms)


def _best_factor(centred, directions, k, *, is_signed):
    """Least-squares factor of the reconstruction: K directions that overlap say too much."""
    centred, directions = torch.from_numpy(centred), torch.from_numpy(directions)
    activations = centred @ directions.T
    pattern = topk_pattern(activations.abs() if is_signed else activations, k)
    values = activations.reshape(-1)[pattern.positions]
    reconstruction = kernels.decode(values if is_signed else values.relu(), directions, pattern)
    total = reconstruction.square().sum()
    return np.float32((reconstruction * centred).sum() / total if total else 1.0)


def geometric_median(X, *, n_iterations=20):
    """Find the point with the least sum of distances to the rows (Weiszfeld's iteration).

    Parameters
    ----------
    X : ndarray of shape (n_rows, d)

    n_iterations : int, default=20
        At most: it ends where float32 has no more to say.

    Returns
    -------
    median : ndarray of shape (d,)
    """
    # With torch like all products here: threads of two libraries would wait for work at the same
    # time, and the first steps of training take twice as long beside them.
    X = torch.from_numpy(X)
    median = X.mean(dim=0)
    for _ in range(n_iterations):
        distance = torch.linalg.vector_norm(X - median, dim=1)
        farthest = distance.max()
        weight = 1 / distance.clamp(min=1e-6 * float(farthest or 1.0))
        before, median = median, weight @ X / weight.sum()
        if torch.linalg.vector_norm(median - before) <= 1e-6 * farthest:
            break
    return median.numpy()


@own_modes(training=True)
def train(source, y, weights, settings, *, validation, options):
    """Train an autoencoder.

    Parameters
    ----------
    source : Source
        The rows.

    y : ndarray of shape (n_rows, n_targets), dtype=float32
        Standardised target; no columns without one.

    weights : Weights
        Where to begin, in the units of the rows.

    settings : Settings

    validation : ndarray of bool of shape (n_rows,)
        Rows that are held out for early stopping; none for no early stopping.

    options : dict
        ``n_epochs``, ``batch_size``, ``learning_rate``, ``patience``, ``clip_grad``, ``device``,
        ``rng``, ``callbacks``, ``optimizer_state``, ``keep_optimizer``, ``verbose``, and
        ``save``, which takes a path and what training would leave behind if it ended now.

    Returns
    -------
    trained : Trained
    """
    device = options["device"]
    scale = source.root_variance
    rows = _training_rows(source, ~validation, scale, y, device)
    held_out = None
    if validation.any():
        held_out = _in_memory(source, np.flatnonzero(validation), scale, y, device)
    module = SparseAutoencoder(weights.scaled(1 / scale), settings)
    if settings.signed:
        module.keep_odd()
    net = _net(module, held_out, options, device)

    def left_behind(ended):
        threshold = None
        if settings.batch_topk:
            # Of rows that are held out, since neurons know those that they were trained on.
            threshold = calibrated_threshold(
                net.module_, held_out.X if held_out is not None else _sample(rows)
            )
        keep_optimizer = ended and options["keep_optimizer"]
        return Trained(
            weights=net.module_.weights().scaled(scale),
            history=_history(net),
            threshold=None if threshold is None else threshold * scale,
            dead=_never_active(net.module_, source, ~validation, scale, threshold),
            best_epoch=_restored_epoch(net) if ended else len(net.history),
            optimizer_state=net.optimizer_.moments() if keep_optimizer else None,
        )

    net.save_snapshot = lambda path, *, ended=False: options["save"](path, left_behind(ended))
    with threads_for(min(len(rows), net.batch_size), *weights.encoder_weight.T.shape):
        net.initialize()
        if options["optimizer_state"] is not None:
            net.optimizer_.restore(options["optimizer_state"])
        net.learn_from(rows)
        return left_behind(ended=True)


def _restored_epoch(net):
    """Find the epoch whose weights the module has after training."""
    last = len(net.history)
    restored = [
        stopping.best_epoch_
        for stopping in net.early_stopping()
        if stopping.load_best and stopping.best_model_weights_ is not None
    ]
    return next((epoch for epoch in reversed(restored) if epoch != last), last)


def _training_rows(source, kept, scale, y, device):
    if source.fits_in_memory:
        return _in_memory(source, np.flatnonzero(kept), scale, y, device)
    return StreamedRows(source, kept, scale, y, device)


def _in_memory(source, positions, scale, y, device):
    X = torch.from_numpy(source.take(positions) / np.float32(scale))
    return Rows(X.to(device), torch.from_numpy(y[positions]).to(device))


def _sample(rows):
    """Rows to set the threshold by, where none are held out."""
    if isinstance(rows, Rows):
        return rows.X
    return next(rows.pools(np.random.RandomState(0)))[0]


@torch.no_grad()
def calibrated_threshold(module, X, *, n_rows=65536):
    """Find the threshold that K neurons a row pass on average.

    An average kept during training lags behind the weights and begins at nothing, so that
    early stopping leaves it far too low; given the final weights it is a plain quantile.

    Parameters
    ----------
    module : SparseAutoencoder

    X : Tensor of shape (n_rows, d)

    n_rows : int, default=65536
        How many rows to use at most.

    Returns
    -------
    threshold : float
    """
    module.eval()
    X = X[:n_rows]
    k = module.settings.k
    tops = []
    # Far more than K of a row hardly ever belong to the K * n largest of all rows.
    n_kept = min(8 * k, len(module.encoder_bias))
    for start in range(0, len(X), 2048):
        _, dense = module(X[start : start + 2048])
        tops.append(torch.topk(module.scores(dense), n_kept, sorted=False).values)
    positive = torch.cat(tops).reshape(-1)
    positive = positive[positive > 0].sort(descending=True).values
    n_wanted = k * len(X)
    if len(positive) <= n_wanted:
        return 0.0
    return float((positive[n_wanted - 1] + positive[n_wanted]) / 2)


@torch.no_grad()
def _never_active(module, source, kept, scale, threshold):
    module.eval()
    device = module.encoder_bias.device
    active = torch.zeros(len(module.encoder_bias), dtype=torch.bool, device=device)
    for start, rows in source.blocks():
        chosen = rows[kept[start : start + len(rows)]] / np.float32(scale)
        centred, dense = module(torch.from_numpy(chosen).to(device))
        code = module.code(centred, dense, module.pattern(dense, threshold))
        active[code.pattern.neurons[code.values != 0]] = True
        if active.all():
            break
    return np.flatnonzero(~active.cpu().numpy())


def _net(module, valid_rows, options, device):
    return AutoencoderNet(
        module,
        shuffle=options["rng"],
        batch_size=options["batch_size"],
        max_epochs=options["n_epochs"],
        lr=options["learning_rate"],
        optimizer=ClippedAdam,
        optimizer__max_norm=options["clip_grad"],
        optimizer__param_groups=[("readout_*", {"lr": READOUT_SPEED * options["learning_rate"]})],
        train_split=predefined_split(valid_rows) if valid_rows is not None else None,
        device=device,
        callbacks=_callbacks(valid_rows, options),
        # They read a loss per batch off the device; the net records an epoch's at once.
        callbacks__train_loss=None,
        callbacks__valid_loss=None,
        callbacks__print_log=None,
        verbose=0,
    )


def _callbacks(valid_rows, options):
    callbacks = [("stop_if_divergent", StopIfDivergent())]
    if valid_rows is not None and options["patience"] is not None:
        stopping = EarlyStopping(patience=options["patience"], load_best=True, sink=noop)
        callbacks.append(("early_stopping", stopping))
    if options["verbose"]:
        callbacks.append(("progress", Progress()))
    return callbacks + list(options["callbacks"] or [])


class StopIfDivergent(Callback):
    """End training at the first epoch whose loss is not a number."""

    def on_epoch_end(self, net, **kwargs):
        """Look at the loss of the epoch."""
        if not np.isfinite(net.history[-1, "train_loss"]):
            raise ValueError(
                f"Training diverged in epoch {len(net.history)} (the loss is not finite): lower "
                f"learning_rate={net.lr}, or set clip_grad if it is None."
            )


class Progress(Callback):
    """A progress bar over epochs."""

    def on_train_begin(self, net, **kwargs):
        """Open the bar."""
        from tqdm.auto import tqdm

        self.bar_ = tqdm(total=net.max_epochs, desc="sparse autoencoder", unit="epoch")

    def on_epoch_end(self, net, **kwargs):
        """Advance the bar and show how far training has come."""
        last = net.history[-1]
        shown = {"FVU": last.get("valid_fvu", last["train_fvu"]), "dead": last["dead_fraction"]}
        self.bar_.set_postfix({name: f"{value:.3f}" for name, value in shown.items()})
        self.bar_.update()

    def on_train_end(self, net, **kwargs):
        """Close the bar."""
        self.bar_.close()


def _history(net):
    rows = [
        {ours: row[theirs] for theirs, ours in HISTORY_COLUMNS.items() if theirs in row}
        for row in net.history
    ]
    return pd.DataFrame(rows)
