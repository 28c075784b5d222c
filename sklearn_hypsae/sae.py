"""Sparse autoencoder: embeddings in, sparse activations of interpretable neurons out."""

import warnings
from numbers import Integral, Real

import numpy as np
import pandas as pd
from scipy import sparse
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from ._optional import import_optional
from ._sklearn import Interval, StrOptions, check_feature_names_in, fit_context
from ._targets import check_target
from ._texts import like_input
from .autoencoder.files import pack, read, unpack, write
from .autoencoder.sizes import (
    refuse_constant,
    refuse_non_finite,
    refuse_unlike_shards,
    resolve_sizes,
)
from .autoencoder.source import Source, as_shards
from .autoencoder.teacher import teach

# More than this many rows would measure the validation loss no better.
N_ROWS_HELD_OUT = 20_000
# More dead neurons than this are worth a warning.
SHARE_DEAD_TO_WARN = 0.1
# A neuron that fires on fewer rows has little to learn from.
N_ROWS_PER_NEURON = 20


class SparseAutoencoderTransformer(TransformerMixin, BaseEstimator):
    """Sparse autoencoder with K of M neurons active per row.

    Each neuron fires on the rows that share something; what that is, the next steps of the
    method put into words. The encoder is a linear map and a top-k selection, the decoder a
    dictionary of unit rows.

    Parameters
    ----------
    M : int or "auto", default="auto"
        Number of neurons. "auto" follows the paper's rule of thumb by rows: 64 for about a
        thousand, 256 for about ten thousand, 1024 for about a hundred thousand.

    K : int or "auto", default="auto"
        Number of neurons active per row. "auto": 4, 8 and 8 in turn, but not above ``M``.

    matryoshka_prefix_lengths : list of int, default=None
        Lengths of nested dictionaries, increasing and ending in ``M``. The first neurons
        then have to reconstruct on their own and learn the general concepts [1]_.

    batch_topk : bool, default=False
        Whether the ``K * batch_size`` largest activations of a batch are kept instead of the K
        largest of each row [2]_. ``transform`` then uses ``threshold_``, and the number
        of active neurons varies from row to row.

    aux_k : int, default=None
        How many dead neurons at most are asked to explain what the living ones left [3]_.
        None: ``2 * K``.

    aux_coef : float, default=1/32
        Weight of that term. 0 turns it off.

    multi_k : int, default=None
        Active neurons of a second, less sparse reconstruction. None: ``4 * K``.

    multi_coef : float, default=0.0
        Weight of the second reconstruction. 0 turns it off.

    dead_neuron_threshold_steps : int, default=256
        Training steps without firing after which a neuron counts as dead.

    target_coef : float, default=0.0
        Weight of the squared error of a linear read-out of the target from the sparse
        activations, beside reconstruction [4]_. What is read out is not y itself, whose noise
        the neurons would learn by heart, but what a cross-validated ridge probe of the rows
        passed to ``fit`` says about y (standardised; one column a class for more than two
        classes). With 0.3 to 1 a few neurons say nearly all that the embeddings say about the
        target, at a reconstruction that is a little worse; neurons then also overlap
        more. 0: y is not looked at, and the neurons describe the texts, not the target.

    signed : bool, default=False
        Whether neurons also fire negatively: the K largest by magnitude. For differences of
        embeddings.

    n_epochs : int, default=100
        Largest number of passes over the rows.

    batch_size : int, default=512
        Rows per training step; with fewer rows, all of them.

    learning_rate : float, default=5e-4
        Step size of Adam.

    patience : int or None, default=3
        Epochs without a better validation loss after which training ends; the best weights
        are kept. None: no early stopping, every row trains.

    validation_fraction : float, default=0.1
        Share of rows held out for early stopping.

    clip_grad : float or None, default=1.0
        Largest norm of the gradient.

    sparse_output : bool, default=False
        Whether ``transform`` returns a CSR array. The dense matrix is then never built.

    device : str, default="auto"
        Device of torch that trains and encodes. "auto": a CUDA GPU where there is one.

    random_state : int, RandomState instance or None, default=None
        First weights, held-out rows and order of the batches. An int gives the same result,
        bit for bit, from run to run on one machine.

    warm_start : bool, default=False
        Whether ``fit`` begins with the weights of the previous call.

    callbacks : list, default=None
        More callbacks for skorch.

    verbose : bool, default=False
        Whether to show a progress bar.

    Attributes
    ----------
    M_, K_ : int
        Neurons in all, and active per row.

    components_ : ndarray of shape (M, n_features), dtype=float32
        The dictionary: of each neuron, the unit direction it adds to a reconstruction.

    encoder_weight_ : ndarray of shape (M, n_features), dtype=float32
        The direction each neuron looks for.

    encoder_bias_ : ndarray of shape (M,), dtype=float32

    input_bias_ : ndarray of shape (n_features,), dtype=float32
        Subtracted before encoding, added after decoding.

    threshold_ : float or None
        Activations above it are kept in ``transform``. None unless ``batch_topk``.

    dead_neurons_ : ndarray of int
        Neurons that fire on no training row.

    n_iter_ : int
        Epochs that were run.

    history_ : DataFrame
        One row an epoch: ``epoch``, ``train_loss``, ``validation_loss``, ``train_fvu``,
        ``validation_fvu``, ``l0``, ``dead_fraction``; the validation columns with early
        stopping only.

    readout_weight_ : ndarray of shape (M, n_targets)
        Of the standardised target (one column a class for more than two classes). With
        ``target_coef`` only.

    classes_ : ndarray of shape (n_classes,)
        With ``target_coef`` and a target of classes only.

    n_features_in_ : int

    feature_names_in_ : ndarray of str
        Where X had column names.

    References
    ----------
    .. [1] Bussmann, Nabeshima, Karvonen and Nanda (2025), "Learning multi-level features
       with Matryoshka sparse autoencoders", arXiv 2503.17547.
    .. [2] Bussmann, Leask and Nanda (2024), "BatchTopK sparse autoencoders", arXiv 2412.06410.
    .. [3] Gao et al. (2024), "Scaling and evaluating sparse autoencoders", arXiv 2406.04093.
    .. [4] Mairal, Bach, Ponce, Sapiro and Zisserman (2008), "Supervised dictionary learning",
       NeurIPS.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_hypsae.sae import SparseAutoencoderTransformer
    >>> X = np.random.default_rng(0).normal(size=(200, 16))
    >>> sae = SparseAutoencoderTransformer(M=32, K=4, n_epochs=5, random_state=0).fit(X)
    >>> activations = sae.transform(X)
    >>> activations.shape, int((activations > 0).sum(axis=1).max())
    ((200, 32), 4)
    >>> sae.inverse_transform(activations).shape
    (200, 16)
    """

    _parameter_constraints: dict = {
        "M": [Interval(Integral, 1, None, closed="left"), StrOptions({"auto"})],
        "K": [Interval(Integral, 1, None, closed="left"), StrOptions({"auto"})],
        "matryoshka_prefix_lengths": ["array-like", None],
        "batch_topk": ["boolean"],
        "aux_k": [Interval(Integral, 1, None, closed="left"), None],
        "aux_coef": [Interval(Real, 0, None, closed="left")],
        "multi_k": [Interval(Integral, 1, None, closed="left"), None],
        "multi_coef": [Interval(Real, 0, None, closed="left")],
        "dead_neuron_threshold_steps": [Interval(Integral, 1, None, closed="left")],
        "target_coef": [Interval(Real, 0, None, closed="left")],
        "signed": ["boolean"],
        "n_epochs": [Interval(Integral, 1, None, closed="left")],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "learning_rate": [Interval(Real, 0, None, closed="neither")],
        "patience": [Interval(Integral, 1, None, closed="left"), None],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "clip_grad": [Interval(Real, 0, None, closed="neither"), None],
        "sparse_output": ["boolean"],
        "device": [str],
        "random_state": ["random_state"],
        "warm_start": ["boolean"],
        "callbacks": [list, tuple, None],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        M="auto",
        K="auto",
        *,
        matryoshka_prefix_lengths=None,
        batch_topk=False,
        aux_k=None,
        aux_coef=1 / 32,
        multi_k=None,
        multi_coef=0.0,
        dead_neuron_threshold_steps=256,
        target_coef=0.0,
        signed=False,
        n_epochs=100,
        batch_size=512,
        learning_rate=5e-4,
        patience=3,
        validation_fraction=0.1,
        clip_grad=1.0,
        sparse_output=False,
        device="auto",
        random_state=None,
        warm_start=False,
        callbacks=None,
        verbose=False,
    ):
        self.M = M
        self.K = K
        self.matryoshka_prefix_lengths = matryoshka_prefix_lengths
        self.batch_topk = batch_topk
        self.aux_k = aux_k
        self.aux_coef = aux_coef
        self.multi_k = multi_k
        self.multi_coef = multi_coef
        self.dead_neuron_threshold_steps = dead_neuron_threshold_steps
        self.target_coef = target_coef
        self.signed = signed
        self.n_epochs = n_epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.patience = patience
        self.validation_fraction = validation_fraction
        self.clip_grad = clip_grad
        self.sparse_output = sparse_output
        self.device = device
        self.random_state = random_state
        self.warm_start = warm_start
        self.callbacks = callbacks
        self.verbose = verbose

    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None):
        """Train the autoencoder.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Embeddings. A ``numpy.memmap``, or a list of two-dimensional arrays (shards, memory
            maps too), is streamed where it takes more than half a gigabyte.

        y : array-like of shape (n_samples,), default=None
            Target; used only if ``target_coef`` is above 0.

        Returns
        -------
        self : SparseAutoencoderTransformer

        Raises
        ------
        ValueError
            If X has NaN or inf, ``K`` exceeds ``M``, the prefixes do not increase to ``M``,
            or training diverges.
        """
        return self._fit(X, y, keep_weights=self.warm_start)

    @fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X, y=None):
        """Train one pass over more rows, going on from the present weights.

        No row is held out. ``M="auto"`` is settled by the first call, ``threshold_`` and
        ``dead_neurons_`` refer to the rows of the last one.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Embeddings, best in batches of many times ``batch_size``.

        y : array-like of shape (n_samples,), default=None
            Target; used only if ``target_coef`` is above 0.

        Returns
        -------
        self : SparseAutoencoderTransformer
        """
        return self._fit(X, y, keep_weights=True, streaming=True)

    def _fit(self, X, y, *, keep_weights, streaming=False):
        name = type(self).__name__
        goes_on = keep_weights and hasattr(self, "components_")
        source = self._checked(X, reset=not (streaming and goes_on), training=True)
        refuse_constant(source, name)
        sizes = self._sizes(len(source), settled=streaming and goes_on)
        targets = self._targets(y, len(source))
        training = import_optional("sklearn_hypsae.autoencoder.training", purpose=name)
        rng = check_random_state(self.random_state)
        targets = teach(source, targets, rng, name)
        if goes_on:
            weights = self._weights_to_go_on(sizes, source, targets.shape[1])
        else:
            weights = training.initial_weights(source, sizes.M, sizes.K, targets.shape[1], rng)
        held_out = np.zeros(len(source), bool) if streaming else self._held_out(len(source), rng)
        trained = training.train(
            source,
            targets,
            weights,
            self._settings(sizes),
            validation=held_out,
            options=self._options(rng, streaming),
        )
        self._keep(trained, sizes, goes_on=streaming and goes_on)
        if not streaming:
            self._warn_of_dead_neurons(len(source))
        return self

    def transform(self, X):
        """Give the activations of the neurons.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        activations : ndarray, DataFrame or CSR array of shape (n_samples, M), dtype=float32
            A frame with the same index for a frame; CSR with ``sparse_output``.
        """
        check_is_fitted(self)
        codes = self._codes(self._checked(X, reset=False))
        if self.sparse_output:
            return codes
        return like_input(codes.toarray(), X, self)

    def inverse_transform(self, X):
        """Reconstruct embeddings from activations.

        Parameters
        ----------
        X : {array-like, sparse array} of shape (n_samples, M)

        Returns
        -------
        reconstruction : ndarray or DataFrame of shape (n_samples, n_features)
            A frame with the same index for a frame.
        """
        check_is_fitted(self)
        values = X if sparse.issparse(X) else np.asarray(X)
        if values.ndim != 2 or values.shape[1] != self.M_:
            raise ValueError(
                f"{type(self).__name__}.inverse_transform expects activations of {self.M_} "
                f"neurons, got an array of shape {values.shape}: pass what transform returns."
            )
        reconstruction = self._decoded(values)
        if not isinstance(X, pd.DataFrame):
            return reconstruction
        names = getattr(self, "feature_names_in_", None)
        return pd.DataFrame(reconstruction, index=X.index, columns=names)

    def score(self, X, y=None):
        """Give the fraction of variance explained, 1 - FVU.

        FVU is the sum of squared errors over the sum of squared distances to the mean of X.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        y : None
            Ignored.

        Returns
        -------
        score : float
        """
        check_is_fitted(self)
        source = self._checked(X, reset=False)
        codes = self._codes(source)
        error = sum(
            np.square(
                rows - self._decoded(codes[start : start + len(rows)]), dtype=np.float64
            ).sum()
            for start, rows in source.blocks()
        )
        total = len(source) * source.root_variance() ** 2
        if total == 0:
            raise ValueError(
                f"{type(self).__name__}.score needs at least two different rows in X: the "
                "variance is zero."
            )
        return float(1 - error / total)

    def save(self, path):
        """Save the fitted autoencoder as one safetensors file, its parameters as JSON in it.

        Nothing is pickled. ``callbacks`` and a ``random_state`` that is not an int are left
        out. The file appears whole or not at all.

        Parameters
        ----------
        path : str or Path
        """
        check_is_fitted(self)
        parameters = self.get_params(deep=False) | {"callbacks": None}
        if not isinstance(self.random_state, Integral):
            parameters["random_state"] = None
        fitted = {name: value for name, value in vars(self).items() if name.endswith("_")}
        write(path, *pack(parameters, fitted))

    @classmethod
    def load(cls, path):
        """Load an autoencoder that :meth:`save` wrote.

        Parameters
        ----------
        path : str or Path

        Returns
        -------
        sae : SparseAutoencoderTransformer

        Raises
        ------
        ValueError
            If the file is not one that :meth:`save` wrote.
        """
        parameters, fitted = unpack(*read(path))
        sae = cls(**parameters)
        vars(sae).update(fitted)
        return sae

    def get_feature_names_out(self, input_features=None):
        """Give the names of the neurons, ``neuron_0`` to ``neuron_{M - 1}``.

        Parameters
        ----------
        input_features : array-like of str, default=None
            Only checked against the names seen in ``fit``.

        Returns
        -------
        names : ndarray of shape (M,), dtype=object
        """
        check_is_fitted(self)
        check_feature_names_in(self, input_features)
        return np.array([f"neuron_{i}" for i in range(self.M_)], dtype=object)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float32"]
        return tags

    def _check_before_fit(self, n_samples):
        """Refuse sizes that do not fit together, for a caller that checks before it works."""
        self._sizes(n_samples)

    def _checked(self, X, *, reset, training=False):
        """Give X as a source of finite rows; what may exceed memory is not copied."""
        name = type(self).__name__
        shards = as_shards(X)
        if shards is None:
            X = validate_data(
                self,
                X,
                reset=reset,
                dtype=np.float32,
                order="C",
                ensure_all_finite=False,
                ensure_min_samples=2 if training else 1,
            )
            shards = [X]
        else:
            refuse_unlike_shards(shards, name)
            validate_data(self, shards[0], reset=reset, skip_check_array=True)
        source = Source(shards)
        refuse_non_finite(source, name)
        return source

    def _sizes(self, n_rows, settled=False):
        M, K = (self.M_, self.K_) if settled else (self.M, self.K)
        return resolve_sizes(M, K, self.matryoshka_prefix_lengths, n_rows, type(self).__name__)

    def _targets(self, y, n_rows):
        """Standardise the target: one column, or one a class where there are more than two."""
        for name in ("classes_", "readout_weight_"):
            vars(self).pop(name, None)
        if not self.target_coef:
            return np.zeros((n_rows, 0), np.float32)
        target = check_target(y, n_samples=n_rows, caller=type(self).__name__, max_classes=None)
        columns = target.values[:, None]
        if target.task == "classification":
            self.classes_ = target.classes
            if len(target.classes) > 2:
                columns = columns == np.arange(len(target.classes))
        return ((columns - columns.mean(axis=0)) / columns.std(axis=0)).astype(np.float32)

    def _weights_to_go_on(self, sizes, source, n_targets):
        shape = (sizes.M, source.n_features)
        if self.components_.shape != shape:
            raise ValueError(
                f"{type(self).__name__} cannot warm-start from weights of shape "
                f"{self.components_.shape}, M and n_features are now {shape}: keep M, or set "
                "warm_start=False."
            )
        return self._weights(n_targets)

    def _decoded(self, codes):
        return codes @ self.components_ + self.input_bias_

    def _weights(self, n_targets=0):
        from .autoencoder.module import Weights

        readout = getattr(self, "readout_weight_", None)
        bias = getattr(self, "readout_bias_", None)
        if readout is None or readout.shape[1] != n_targets:
            readout, bias = np.zeros((self.M_, n_targets)), np.zeros(n_targets)
        return Weights(
            self.encoder_weight_,
            self.encoder_bias_,
            self.components_,
            self.input_bias_,
            np.asarray(readout, np.float32),
            np.asarray(bias, np.float32),
        )

    def _settings(self, sizes):
        from .autoencoder.module import Settings

        return Settings(
            k=sizes.K,
            prefix_lengths=sizes.prefix_lengths,
            batch_topk=self.batch_topk,
            signed=self.signed,
            aux_k=min(self.aux_k or 2 * sizes.K, sizes.M),
            aux_coef=self.aux_coef,
            multi_k=min(self.multi_k or 4 * sizes.K, sizes.M),
            multi_coef=self.multi_coef,
            dead_after=self.dead_neuron_threshold_steps,
            target_coef=self.target_coef,
        )

    def _held_out(self, n_rows, rng):
        held_out = np.zeros(n_rows, bool)
        if self.patience is not None:
            n_held_out = min(max(1, round(self.validation_fraction * n_rows)), n_rows - 1)
            n_held_out = min(n_held_out, N_ROWS_HELD_OUT)
            held_out[rng.permutation(n_rows)[:n_held_out]] = True
        return held_out

    def _options(self, rng, streaming):
        return {
            "n_epochs": 1 if streaming else self.n_epochs,
            "batch_size": self.batch_size,
            "learning_rate": self.learning_rate,
            "patience": self.patience,
            "clip_grad": self.clip_grad,
            "device": self.device,
            "rng": rng,
            "callbacks": self.callbacks,
            "optimizer_state": getattr(self, "_optimizer", None) if streaming else None,
            "keep_optimizer": streaming,
            "verbose": self.verbose,
        }

    def _keep(self, trained, sizes, goes_on):
        self.M_, self.K_ = sizes.M, sizes.K
        self.components_ = trained.weights.decoder_weight
        self.encoder_weight_ = trained.weights.encoder_weight
        self.encoder_bias_ = trained.weights.encoder_bias
        self.input_bias_ = trained.weights.input_bias
        if self.target_coef:
            self.readout_weight_ = trained.weights.readout_weight
            self.readout_bias_ = trained.weights.readout_bias
        vars(self).pop("_optimizer", None)
        if trained.optimizer_state is not None:
            self._optimizer = trained.optimizer_state
        self.threshold_ = trained.threshold
        self.dead_neurons_ = trained.dead
        history = trained.history
        if goes_on:
            history = history.assign(epoch=history["epoch"] + self.n_iter_)
            history = pd.concat([self.history_, history], ignore_index=True)
        self.n_iter_ = len(history)
        self.history_ = history

    def _warn_of_dead_neurons(self, n_rows):
        n_dead = len(self.dead_neurons_)
        if n_dead <= SHARE_DEAD_TO_WARN * self.M_:
            return
        advice = (
            f"lower M: with {n_rows} rows and K={self.K_}, a neuron fires on "
            f"{n_rows * self.K_ / self.M_:.0f} rows on average"
            if n_rows * self.K_ < N_ROWS_PER_NEURON * self.M_
            else "raise aux_coef or n_epochs, or lower learning_rate or M"
        )
        warnings.warn(
            f"{n_dead} of {self.M_} neurons of {type(self).__name__} fire on no training row: "
            f"{advice}.",
            UserWarning,
            stacklevel=4,
        )

    def _codes(self, X):
        inference = import_optional(
            "sklearn_hypsae.autoencoder.inference", purpose=type(self).__name__
        )
        return inference.encode(
            X,
            self._weights(),
            k=self.K_,
            threshold=self.threshold_,
            signed=self.signed,
            device=self.device,
        )
