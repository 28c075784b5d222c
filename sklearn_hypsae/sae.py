"""Sparse autoencoder: embeddings in, sparse activations of interpretable neurons out."""

from numbers import Integral, Real

import numpy as np
import pandas as pd
from scipy import sparse
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from ._optional import import_optional
from ._sklearn import Interval, StrOptions, check_feature_names_in, fit_context
from ._texts import like_input
from .autoencoder.checks import checked_source, columns_kept_on_failure, columns_of
from .autoencoder.files import read_estimator, save
from .autoencoder.fitting import (
    checked_device,
    fit_attributes,
    sizes_of,
    warn_of_what_misleads,
    weights_of,
)
from .autoencoder.source import unexplained

# What a fit sets or not, depending on the parameters and on y.
OPTIONAL_ATTRIBUTES = ("classes_", "readout_weight_", "readout_bias_", "_optimizer")


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
        more. More than two numbers are a continuous target: give classes as strings. 0: y is
        not looked at, and the neurons describe the texts, not the target.

    signed : bool, default=False
        Whether neurons also fire negatively: the K largest by magnitude. For differences of
        embeddings (pairs of texts): without biases and centring, so that activations change
        sign with their row and the signs of rows do not matter in fit.

    n_epochs : int, default=100
        Largest number of passes over the rows.

    batch_size : int, default=512
        Rows per training step; with fewer rows, all of them.

    learning_rate : float, default=5e-4
        Step size of Adam.

    patience : int or None, default=3
        Epochs without a better validation loss after which training ends; the best weights
        are kept. None: no early stopping, all rows train but those ``batch_topk`` needs.

    validation_fraction : float, default=0.1
        Share of rows held out for early stopping, and to set the threshold of ``batch_topk``.

    clip_grad : float or None, default=1.0
        Largest norm of the gradient.

    sparse_output : bool, default=False
        Whether ``transform`` returns a CSR array. The dense matrix is then never built.

    device : str, default="auto"
        Device of torch that trains and encodes. "auto": a CUDA GPU where there is one.

    encoder_precision : {"float32", "tf32", "bfloat16"}, default="float32"
        Precision of the large product that chooses the active neurons in training. All else is
        float32 whatever it is. "tf32" makes a difference on a CUDA GPU only.

    random_state : int, RandomState instance or None, default=None
        First weights, held-out rows and order of the batches. An int gives the same result, bit
        for bit, on one machine with as many threads (worker processes of joblib have fewer).

    warm_start : bool, default=False
        Whether ``fit`` begins with the weights of the previous call.

    callbacks : list, default=None
        More callbacks for skorch, such as :class:`~sklearn_hypsae.autoencoder.Checkpoint`,
        which saves while training goes on.

    verbose : bool, default=False
        Whether to show a progress bar.

    Attributes
    ----------
    M_, K_ : int
        Neurons in all, and active per row.

    components_ : ndarray of shape (M, n_features), dtype=float32
        The dictionary: of each neuron, the unit direction it adds to a reconstruction.

    encoder_weight_ : ndarray of shape (M, n_features), dtype=float32
        The direction each neuron looks for, of any length.

    encoder_bias_ : ndarray of shape (M,), dtype=float32
        Added to the product of that direction and the row.

    input_bias_ : ndarray of shape (n_features,), dtype=float32
        Subtracted before encoding, added after decoding.

    threshold_ : float or None
        ``transform`` keeps activations above it (with ``signed``, in magnitude): K a row on
        average, over held-out rows where there are any. None unless ``batch_topk``.

    dead_neurons_ : ndarray of int of shape (n_dead,)
        Indices of neurons that fire on none of the rows that trained.

    n_iter_ : int
        Epochs that were run, those after the best one too, or calls of ``partial_fit``.

    best_epoch_ : int
        The epoch that ended with these weights, counted from 1: with early stopping the one
        that was restored, else the last.

    history_ : DataFrame of shape (n_iter_, n_columns)
        One row an epoch. ``epoch`` counts from 1; ``train_loss`` and ``validation_loss`` are the
        sum of all terms; ``train_fvu`` and ``validation_fvu`` the fraction of variance
        unexplained; ``l0`` the active neurons per training row; ``dead_fraction`` the share of
        neurons silent for more than ``dead_neuron_threshold_steps``; ``train_target_error`` and
        ``validation_target_error``, with ``target_coef`` only, the mean squared error of the
        read-out. No validation columns where no rows are held out, and from ``partial_fit``.

    readout_weight_ : ndarray of shape (M, n_targets), dtype=float32
        Of the standardised target, a column for each class of more than two. With
        ``target_coef`` only.

    readout_bias_ : ndarray of shape (n_targets,), dtype=float32
        With ``target_coef`` only.

    classes_ : ndarray of shape (n_classes,)
        Sorted. With ``target_coef`` and a target of classes only.

    n_features_in_ : int
        Columns of X.

    feature_names_in_ : ndarray of shape (n_features,), dtype=object
        Their names. Where X had column names that are all strings only.

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
        "encoder_precision": [StrOptions({"float32", "tf32", "bfloat16"})],
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
        encoder_precision="float32",
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
        self.encoder_precision = encoder_precision
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
            Embeddings, numbers of any precision; tensors of torch and a column of vectors too. A
            ``numpy.memmap``, or a list of two-dimensional arrays (shards, memory maps too), is
            streamed where it takes more than half a gigabyte.

        y : array-like of shape (n_samples,), default=None
            Target; used only if ``target_coef`` is above 0.

        Returns
        -------
        self : SparseAutoencoderTransformer

        Raises
        ------
        ValueError
            If X has NaN or inf or is texts, ``K`` exceeds ``M``, the prefixes do not increase
            to ``M``, torch does not find ``device``, or training diverges.

        TypeError
            If X is a generator, which can be read only once.
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
            Embeddings, best in batches of many times ``batch_size``; not all the same.

        y : array-like of shape (n_samples,), default=None
            Target; used only if ``target_coef`` is above 0, with all classes in every call.

        Returns
        -------
        self : SparseAutoencoderTransformer
        """
        return self._fit(X, y, keep_weights=True, streaming=True)

    def _fit(self, X, y, *, keep_weights, streaming=False):
        name = type(self).__name__
        before = vars(self) if keep_weights and hasattr(self, "components_") else {}
        with columns_kept_on_failure(self):
            source = checked_source(self, X, reset=not (streaming and before), n_rows_at_least=2)
            attributes = fit_attributes(
                source,
                y,
                self.get_params(deep=False),
                before=before,
                columns=columns_of(self),
                streaming=streaming,
                caller=name,
            )
        for of_another_fit in OPTIONAL_ATTRIBUTES:
            vars(self).pop(of_another_fit, None)
        vars(self).update(attributes)
        if not streaming:
            warn_of_what_misleads(attributes, self.get_params(deep=False), len(source), name)
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
        codes = self._codes(checked_source(self, X, reset=False))
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
        return pd.DataFrame(reconstruction, X.index, getattr(self, "feature_names_in_", None))

    def score(self, X, y=None):
        """Give the fraction of variance explained, 1 - FVU.

        FVU is the sum of squared errors over that of squared distances to the mean of X, or to
        zero if ``signed``: then the mean depends on the signs of rows, which should not matter.

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
        source = checked_source(self, X, reset=False)
        codes = self._codes(source)
        return 1 - unexplained(
            source,
            lambda start, stop: self._decoded(codes[start:stop]),
            f"{type(self).__name__}.score",
        )

    def save(self, path):
        """Save the fitted autoencoder as one safetensors file, its parameters as JSON in it.

        Nothing is pickled. ``callbacks`` and a ``random_state`` that is not an int are left
        out. The file appears whole or not at all.

        Parameters
        ----------
        path : str or Path
        """
        check_is_fitted(self)
        save(path, self.get_params(deep=False), vars(self))

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
        parameters, fitted = read_estimator(path, parameters=cls().get_params(deep=False))
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
        """Refuse sizes and a device that will not do, for a caller that checks before it works."""
        name = type(self).__name__
        sizes_of(self.get_params(deep=False), n_samples, name)
        checked_device(self.device, name)

    def _decoded(self, codes):
        return codes @ self.components_ + self.input_bias_

    def _codes(self, source):
        name = type(self).__name__
        inference = import_optional("sklearn_hypsae.autoencoder.inference", purpose=name)
        return inference.encode(
            source,
            weights_of(vars(self)),
            k=self.K_,
            threshold=self.threshold_,
            signed=self.signed,
            device=self.device,
            caller=name,
        )
