"""Step three: keep the neurons that say something about the target."""

from numbers import Integral, Real

import numpy as np
from scipy.sparse import issparse
from sklearn.base import BaseEstimator
from sklearn.feature_selection import SelectorMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from ._distinct_neurons import distinct_neurons
from ._fit_rows import fit_rows, mark_fit_rows, mark_own_rows
from ._forward_selection import forward_scores, mrmr_scores, target_columns
from ._pairs import check_pair_target, mirrored
from ._ranking import correlation_scores, lasso_scores, separation_scores
from ._sklearn import Interval, StrOptions, fit_context
from ._targets import check_target, targets_of
from ._texts import has_pair_index, like_input, refuse_texts
from ._warning import warn

# Methods that choose neurons one after another, and so bring their own order.
STEPWISE = {"forward": forward_scores, "mrmr": mrmr_scores}


class NeuronSelector(SelectorMixin, BaseEstimator):
    """Select the neurons of a sparse autoencoder that predict the target.

    Parameters
    ----------
    n_select : int, default=20
        How many neurons to keep. Neurons that never vary are not kept, however many are asked
        for.

    method : {"correlation", "balanced_correlation", "lasso", "separation_score", "forward", \
            "mrmr"} or callable, default="correlation"
        How a neuron is scored. "correlation", "balanced_correlation" and "separation_score"
        look at each neuron alone, and so may keep several that say the same; "lasso",
        "forward" and "mrmr" account for the others. Of these, take "forward" where the kept
        neurons together are to predict y as well as so few can, and "mrmr" where they are to
        be different ideas, each of which goes with y by itself.

        - "correlation": Pearson correlation of activation and target.
        - "balanced_correlation": the same score, but neurons that go with a larger and with a
          smaller target are kept in turn. With a skewed target (most reviews have four or
          five stars) the strongest neurons may all speak for the rare side, and nothing is
          learned about the other.
        - "lasso": coefficient in the L1-penalised least squares fit that keeps ``n_select``
          neurons, on standardised activations; squared error also for a binary target, as
          [1]_ recommend for speed. Accounts for what the other neurons already explain.
        - "separation_score": mean of the target over the ``n_top_activating`` rows that fire
          most, less its mean over rows that do not fire.
        - "forward": forward stepwise least squares (orthogonal least squares, [2]_; close to
          orthogonal matching pursuit, [3]_). Each step takes the neuron that adds most to the
          share of the variance of y explained by those already chosen.
        - "mrmr": minimum redundancy, maximum relevance ([4]_; with correlations, as a
          difference, [5]_). Each step takes the neuron with the largest absolute correlation
          with y less its mean absolute correlation with those already chosen.
        - a callable ``(activations, y) -> scores`` that takes activations of shape
          (n_samples, M), dense or CSR as they were given, and y of shape (n_samples,) in
          numbers, and returns M scores; the largest in magnitude are kept.

        "forward" and "mrmr" never keep a copy of a chosen neuron (or, "forward", a linear
        combination of them), and "forward" stops where nothing more can be explained: fewer
        than ``n_select`` are then kept, with a warning.

        With more than two classes each one against the rest is a target of 0 and 1. "forward"
        and "mrmr" average explained shares (squared correlations, for "mrmr") over the
        standardised targets; the other methods score a neuron for each target and take the
        score that is largest in magnitude. "balanced_correlation" then takes the classes in
        turn.

    n_top_activating : int, default=100
        Rows that count as the top, for "separation_score". Where fewer fire, all that fire.

    n_zero_activating : int, default=None
        Silent rows to draw for "separation_score". None: all of them.

    alpha : float, default=None
        Penalty for "lasso". None: the largest that keeps ``n_select`` neurons.

    max_correlation : float, default=0.8
        With methods that look at each neuron alone (and a callable), a neuron whose activations
        correlate more than this with those of one kept before it is passed over for the next:
        both fire on the same rows, and would become the same hypothesis. 1: none is.

    max_iter : int, default=1000
        Largest number of steps on the lasso path.

    task : {"auto", "classification", "regression"}, default="auto"
        Kind of target. "auto" takes two distinct values or a non-numeric y for
        classification.

    random_state : int, RandomState instance or None, default=None
        Draws the silent rows where ``n_zero_activating`` is set.

    Attributes
    ----------
    scores_ : ndarray of shape (M,)
        Signed score of every neuron; positive where firing goes with a larger target (for
        two classes, the second in sorted order; for more, for the class with which the neuron
        goes most strongly, in either direction). With "forward" the semi-partial correlation:
        its square is the gain in R², for a kept neuron at the step that took it (over the
        kept neurons the squares sum to R²), for the others at the step that would come next.
        With "mrmr" the correlation with y, for kept neurons and others alike.

    selected_ : ndarray of shape (n_selected,)
        Indices of the kept neurons, strongest first; with "forward" and "mrmr" in the order
        chosen, which need not be that of the scores. The columns of the output keep the order
        of the input.

    redundant_ : dict of int to int
        Neurons passed over because of ``max_correlation``, each with the kept one it repeats.

    n_iter_ : int
        Steps taken on the lasso path, or neurons chosen one by one ("forward", "mrmr"); 1 for
        the other methods.

    n_features_in_ : int
        Number of neurons seen in fit, M.

    feature_names_in_ : ndarray of shape (M,)
        Names of the neurons; only where X has column names.

    References
    ----------
    .. [1] Movva, Peng, Garg, Kleinberg and Pierson (2025), "Sparse Autoencoders for
       Hypothesis Generation", arXiv 2502.04382.
    .. [2] Chen, Billings and Luo (1989), "Orthogonal least squares methods and their
       application to non-linear system identification", International Journal of Control 50.
    .. [3] Pati, Rezaiifar and Krishnaprasad (1993), "Orthogonal matching pursuit: recursive
       function approximation with applications to wavelet decomposition", Asilomar Conference
       on Signals, Systems and Computers.
    .. [4] Peng, Long and Ding (2005), "Feature selection based on mutual information: criteria
       of max-dependency, max-relevance, and min-redundancy", IEEE Transactions on Pattern
       Analysis and Machine Intelligence 27.
    .. [5] Ding and Peng (2005), "Minimum redundancy feature selection from microarray gene
       expression data", Journal of Bioinformatics and Computational Biology 3.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_hypsae import NeuronSelector
    >>> activations = np.array([[0, 2, 0], [0, 1, 5], [3, 0, 0], [4, 0, 5]], dtype=float)
    >>> selector = NeuronSelector(n_select=2).fit(activations, [1, 1, 5, 5])
    >>> selector.selected_
    array([0, 1])
    >>> selector.scores_.round(2)
    array([ 0.98, -0.9 ,  0.  ])

    A copy of a chosen neuron is passed over:

    >>> copied = activations[:, [0, 0, 1, 2]]
    >>> selector = NeuronSelector(n_select=2).fit(copied, [1, 1, 5, 5])
    >>> selector.selected_, selector.redundant_
    (array([0, 2]), {1: 0})
    >>> NeuronSelector(n_select=2, method="forward").fit(copied, [1, 1, 5, 5]).selected_
    array([0, 3])
    """

    _parameter_constraints = {
        "n_select": [Interval(Integral, 1, None, closed="left")],
        "method": [
            StrOptions(
                {"correlation", "balanced_correlation", "lasso", "separation_score", *STEPWISE}
            ),
            callable,
        ],
        "n_top_activating": [Interval(Integral, 1, None, closed="left")],
        "n_zero_activating": [Interval(Integral, 1, None, closed="left"), None],
        "alpha": [Interval(Real, 0, None, closed="neither"), None],
        "max_correlation": [Interval(Real, 0, 1, closed="right")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "task": [StrOptions({"auto", "classification", "regression"})],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        n_select=20,
        *,
        method="correlation",
        n_top_activating=100,
        n_zero_activating=None,
        alpha=None,
        max_correlation=0.8,
        max_iter=1000,
        task="auto",
        random_state=None,
    ):
        self.n_select = n_select
        self.method = method
        self.n_top_activating = n_top_activating
        self.n_zero_activating = n_zero_activating
        self.alpha = alpha
        self.max_correlation = max_correlation
        self.max_iter = max_iter
        self.task = task
        self.random_state = random_state

    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y):
        """Score every neuron and choose the strongest.

        Parameters
        ----------
        X : DataFrame, ndarray or CSR of shape (n_samples, M)
            Activations.

        y : array-like of shape (n_samples,)
            Target: numbers, or classes. Of pairs of texts (the index of X is "text_a" and
            "text_b"), which text wins or by how much, as for :class:`HypothesisValidator`; all
            scores, a callable's too, are then of every pair both ways round, so that it does not
            matter which text comes first.

        Returns
        -------
        self : NeuronSelector

        Raises
        ------
        ValueError
            If no neuron varies over the rows, or the target cannot be used.
        """
        activations = self._checked(X, reset=True)
        n_samples, n_neurons = activations.shape
        if has_pair_index(X):
            activations, target = self._both_ways_round(activations, y)
        else:
            target = check_target(
                y,
                task=self.task,
                n_samples=n_samples,
                caller=type(self).__name__,
                max_classes=None,
            )
        varies = _varies(activations)
        if not varies.any():
            raise ValueError(
                f"NeuronSelector found no neuron that varies over the {n_samples} rows: all "
                f"{n_neurons} are dead or constant; train the autoencoder on more rows, for "
                "longer or with a smaller M."
            )
        if self._is_stepwise():
            self.scores_, order = self._choose_stepwise(activations, target)
        else:
            self.scores_, kinds = self._score_alone(activations, target)
            order = self._strongest(varies, kinds)
        self.redundant_ = {}
        if not self._accounts_for_others() and self.max_correlation < 1:
            order, self.redundant_ = distinct_neurons(
                activations,
                order,
                n_select=self.n_select,
                max_correlation=self.max_correlation,
            )
        self.selected_ = self._kept(order)
        self._fit_rows = fit_rows(X)
        return self

    def fit_transform(self, X, y):
        """Fit, and return the selected activations of the same rows.

        Parameters
        ----------
        X : DataFrame, ndarray or CSR of shape (n_samples, M)
            Activations.

        y : array-like of shape (n_samples,)
            Target.

        Returns
        -------
        X_selected : DataFrame, ndarray or CSR of shape (n_samples, n_selected)
            A frame is marked as holding the rows that chose its columns.
        """
        return mark_own_rows(self.fit(X, y).transform(X), self._fit_rows)

    def transform(self, X):
        """Keep the columns of the selected neurons.

        Parameters
        ----------
        X : DataFrame, ndarray or CSR of shape (n_samples, M)
            Activations.

        Returns
        -------
        X_selected : DataFrame, ndarray or CSR of shape (n_samples, n_selected)
            The selected neurons in the order of the input's columns.
        """
        check_is_fitted(self)
        activations = self._checked(X, reset=False)
        selected = like_input(activations[:, self.get_support()], X, self)
        return mark_fit_rows(selected, self._fit_rows)

    def _checked(self, X, *, reset):
        step = "SparseAutoencoderTransformer"
        refuse_texts(X, caller=type(self).__name__, expected="activations", step=step)
        activations = validate_data(
            self, X, accept_sparse="csr", dtype=[np.float64, np.float32], reset=reset
        )
        if issparse(activations) and not activations.has_canonical_format:
            # Entries that stand for one number together are one, or squares come out wrong.
            activations = activations.copy()
            activations.sum_duplicates()
        return activations

    def _both_ways_round(self, activations, y):
        """Give every pair of texts in either order, so that nothing depends on the order."""
        target = check_pair_target(
            y, task=self.task, n_samples=activations.shape[0], caller=type(self).__name__
        )
        about = 0.5 if target.task == "classification" else 0.0
        values = mirrored(target.values, about=about)
        return mirrored(activations), target._replace(values=values)

    def _is_stepwise(self):
        return isinstance(self.method, str) and self.method in STEPWISE

    def _accounts_for_others(self):
        return self._is_stepwise() or self.method == "lasso"

    def _choose_stepwise(self, activations, target):
        targets = target_columns(target.values, target.n_classes)
        scores, order = STEPWISE[self.method](activations, targets, n_select=self.n_select)
        self.n_iter_ = len(order)
        return scores, order

    def _score_alone(self, activations, target):
        """Score each neuron; with several classes for the one it goes with most strongly.

        Also give what kind of neuron it is: its direction, or the number of that class.
        """
        self.n_iter_ = 1
        targets = targets_of(target.values, target.n_classes)
        scores = np.array([self._score(activations, y) for y in targets])
        # A score that is not a number is no score; where all are, argmax gives the first.
        best = np.argmax(np.nan_to_num(np.abs(scores), nan=-1.0), axis=0)
        scores = np.take_along_axis(scores, best[None], axis=0)[0]
        if self.method == "separation_score":
            self._warn_few_firing(scores, np.asarray((activations > 0).sum(axis=0)).ravel())
        return scores, np.sign(scores) if len(targets) == 1 else best

    def _score(self, activations, y):
        if callable(self.method):
            return self._check_scores(self.method(activations, y), activations.shape[1])
        if self.method == "lasso":
            scores, n_iter = lasso_scores(
                activations, y, n_select=self.n_select, alpha=self.alpha, max_iter=self.max_iter
            )
            self.n_iter_ = max(self.n_iter_, n_iter)
            return scores
        if self.method == "separation_score":
            return separation_scores(
                activations,
                y,
                n_top_activating=self.n_top_activating,
                n_zero_activating=self.n_zero_activating,
                rng=check_random_state(self.random_state),
            )
        return correlation_scores(activations, y)

    def _check_scores(self, scores, n_neurons):
        scores = np.asarray(scores, dtype=np.float64)
        if scores.shape != (n_neurons,):
            raise ValueError(
                f"The method given to NeuronSelector returned scores of shape {scores.shape} for "
                f"{n_neurons} neurons: return one score a neuron."
            )
        return scores

    def _warn_few_firing(self, scores, n_firing):
        candidates = np.argsort(-np.abs(scores), kind="stable")[: self.n_select]
        few = candidates[n_firing[candidates] < self.n_top_activating]
        if len(few):
            warn(
                f"{len(few)} of the {len(candidates)} neurons with the largest separation score "
                f"fire on fewer than n_top_activating={self.n_top_activating} rows (the fewest: "
                f"{n_firing[few].min()}), so their scores average all rows that fire: set "
                "n_top_activating lower, or pass more rows.",
            )

    def _strongest(self, varies, kinds):
        """Rank the neurons that vary and have a score."""
        # A lasso coefficient of zero is not a weak score: the neuron is not in the model.
        usable = varies & ((self.scores_ != 0) | (self.method != "lasso"))
        strength = np.where(usable & ~np.isnan(self.scores_), np.abs(self.scores_), -1.0)
        order = np.argsort(-strength, kind="stable")
        if self.method == "balanced_correlation":
            order = _in_turn(order, np.where(self.scores_ == 0, np.nan, kinds))
        return order[: np.count_nonzero(strength >= 0)]

    def _kept(self, order):
        """Keep the first of the ranked neurons; warn where they are too few."""
        n_neurons = len(self.scores_)
        if self.n_select > n_neurons:
            warn(
                f"n_select={self.n_select} is larger than the number of neurons, "
                f"{n_neurons}: all of them that vary are kept.",
            )
        selected = order[: self.n_select]
        if not len(selected):
            mend = "lower alpha, or mend the callable that scores"
            if self._is_stepwise():
                mend = "none is correlated with the target, so pass more rows or another target"
            raise ValueError(
                f"NeuronSelector found no neuron with a score by {self.method!r}: {mend}."
            )
        if len(selected) < min(self.n_select, n_neurons):
            warn(
                f"Only {len(selected)} of the {n_neurons} neurons {self._reason_to_keep()}, fewer "
                f"than n_select={self.n_select}: the others are left out.",
            )
        return selected

    def _reason_to_keep(self):
        if self._is_stepwise():
            return "add something to those already chosen"
        reason = "vary over the rows and have a score"
        return f"{reason} and fire on other rows than the rest" if self.redundant_ else reason

    def _get_support_mask(self):
        check_is_fitted(self)
        mask = np.zeros(len(self.scores_), dtype=bool)
        mask[self.selected_] = True
        return mask

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        tags.input_tags.sparse = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


def _in_turn(order, kinds):
    """Merge the strongest neurons of each kind in turn; those of no kind (NaN) come last."""
    kinds = kinds[order]
    rank = np.full(len(order), len(order))
    for kind in np.unique(kinds[~np.isnan(kinds)]):
        rank[kinds == kind] = np.arange(np.count_nonzero(kinds == kind))
    return order[np.argsort(rank, kind="stable")]


def _varies(activations):
    """Whether each column has at least two distinct values."""
    lowest, highest = activations.min(axis=0), activations.max(axis=0)
    lowest = lowest.toarray().ravel() if hasattr(lowest, "toarray") else lowest
    highest = highest.toarray().ravel() if hasattr(highest, "toarray") else highest
    return np.asarray(lowest != highest)
