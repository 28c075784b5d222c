"""The five steps put together, and hypotheses tested on rows that discovery never saw."""

import warnings
from numbers import Real

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.pipeline import Pipeline
from sklearn.utils import check_random_state, get_tags
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from ._discovery_run import check_target_of, checked_rows, discover, seeded_pipeline
from ._held_out import check_covariates, share_of_ceiling
from ._hypothesis_info import check_info_request, hypothesis_info
from ._pipeline_parts import (
    annotate,
    annotate_neurons,
    check_rows,
    check_steps,
    cut,
    joined,
    settle_task,
    takes_numbers,
)
from ._probe import warn_no_signal
from ._sklearn import Interval, fit_context
from ._splitting import split_units, text_fingerprints
from ._stock_pipeline import make_hypothesis_pipeline
from ._tables import TablesMixin
from ._targets import check_groups
from ._texts import like_input, mark_fit_rows, row_keys
from .validation import HypothesisValidator

__all__ = ["HypothesisGenerator", "make_hypothesis_pipeline"]


def _validator_has(method):
    """Whether the last step of the pipeline offers a method."""

    def check(generator):
        pipeline = getattr(generator, "pipeline_", generator.pipeline)
        final = HypothesisValidator() if pipeline is None else pipeline.steps[-1][1]
        getattr(final, method)
        return True

    return check


class HypothesisGenerator(TablesMixin, TransformerMixin, BaseEstimator):
    """Discover hypotheses on some rows and test them on the others.

    p-values computed on the rows that chose the hypotheses are worthless: on pure noise most
    of them fall below .05. This estimator fits all steps but the last on the discovery rows
    and the last, the validator, once on the validation rows.

    Parameters
    ----------
    pipeline : Pipeline, default=None
        Steps that end in a :class:`HypothesisValidator`. None: what
        :func:`make_hypothesis_pipeline` builds. It is cloned, and steps whose
        ``random_state`` is None get one drawn from ``random_state``.

    validation_size : float, default=0.25
        Share of the rows (of the groups, where given) that is held out to test the
        hypotheses.

    random_state : int, RandomState instance or None, default=None
        Splits the rows, seeds the steps that have no seed of their own, and draws the
        bootstrap samples of ``signal_``.

    Attributes
    ----------
    pipeline_ : Pipeline
        The fitted steps; the validator's coefficients predict.

    hypotheses_ : DataFrame of shape (n_hypotheses, n_statistics)
        One tested hypothesis a row; see :class:`HypothesisValidator`.

    metrics_ : dict
        Scores of all hypotheses together, see :class:`HypothesisValidator`, and

        - share_of_ceiling : how much of what the embeddings say about y the hypotheses say:
          ``(score - chance) / (ceiling - chance)``. The ceiling is the score of ``signal_``,
          the other score auc_cv or r2_cv of the hypotheses alone, whatever the covariates.
          Below 0 where they predict worse than chance. NaN where the ceiling does not exceed
          chance, or there is none.

    covariates_ : DataFrame of shape (n_covariates, n_statistics)
        Coefficients of the covariates; empty without covariates.

    signal_ : dict or None
        How well a ridge or logistic probe of the raw embeddings predicts the validation rows,
        the ceiling for any hypotheses: ``metric``, ``score``, ``ci_low``, ``ci_high`` (95%
        bootstrap interval, by groups where given) and ``chance``. None where the pipeline
        embeds nothing.

    discovery_rows_, validation_rows_ : ndarray of int
        Positions of the rows in X that found and that tested the hypotheses.

    classes_ : ndarray of shape (2,)
        Labels in sorted order; only for classification.

    See Also
    --------
    make_hypothesis_pipeline : The pipeline used by default.

    References
    ----------
    .. [1] Movva, Peng, Garg, Kleinberg and Pierson (2025), "Sparse Autoencoders for
       Hypothesis Generation", arXiv 2502.04382.

    Examples
    --------
    >>> from sklearn_hypsae import HypothesisGenerator, make_hypothesis_pipeline
    >>> from sklearn_hypsae.datasets import load_movie_reviews
    >>> reviews = load_movie_reviews("rotten_tomatoes", n_samples=400, random_state=0)
    >>> pipeline = make_hypothesis_pipeline(M=16, K=4, n_hypotheses=3, random_state=0)
    >>> generator = HypothesisGenerator(pipeline, random_state=0)
    >>> generator = generator.fit(reviews.texts, reviews.y)
    >>> len(generator.validation_rows_)
    100
    >>> generator.metrics_["n_rows"], generator.metrics_["in_sample"]
    (100, False)
    >>> sorted(generator.get_hypothesis_info(0, reviews.texts, reviews.y, n_texts=1))
    ['candidates', 'effect', 'fidelity', 'hypothesis', 'neuron', 'texts']
    """

    _parameter_constraints = {
        "pipeline": [Pipeline, None],
        "validation_size": [Interval(Real, 0, 1, closed="neither")],
        "random_state": ["random_state"],
    }

    def __init__(self, pipeline=None, *, validation_size=0.25, random_state=None):
        self.pipeline = pipeline
        self.validation_size = validation_size
        self.random_state = random_state

    @fit_context(prefer_skip_nested_validation=False)
    def fit(self, X, y, groups=None, *, covariates=None):
        """Split the rows, discover hypotheses on one part and test them on the other.

        Parameters
        ----------
        X : list, Series or 1-D array of str, or DataFrame
            Texts; where the pipeline starts from embeddings, a frame whose index is the texts.

        y : array-like of shape (n_samples,)
            Target: numbers, or two classes.

        groups : array-like of shape (n_samples,), default=None
            Rows that belong together (chunks of one document, reviews by one author). They
            stay on one side of the split, and the table is cluster-robust.

        covariates : DataFrame, array-like of shape (n_samples, n_covariates), str or list of \
                str, default=None
            What else may explain y: hypotheses are tested given it, on the validation rows;
            discovery does not see it. See :meth:`HypothesisValidator.fit`.

        Returns
        -------
        self : HypothesisGenerator

        Raises
        ------
        ValueError
            If texts, target, groups, covariates or a step's parameters cannot work; said before
            any embedding or training.
        """
        rng = check_random_state(self.random_state)
        pipeline = seeded_pipeline(self.pipeline, rng)
        rows = checked_rows(X, y, pipeline, groups=groups, covariates=covariates)
        settle_task(pipeline, rows.target.task)
        split = self._split(rows, rng)
        check_steps(pipeline, n_discovery=len(split[0]))
        held_out, discovery = self._discover(pipeline, rows, split, rng)
        self._test(held_out, discovery)
        if self.signal_ is not None:
            warn_no_signal(self.signal_)
        return self

    def validate(self, X, y, groups=None, *, covariates=None):
        """Test the same hypotheses on other rows.

        Parameters
        ----------
        X : list, Series or 1-D array of str, or DataFrame
            Texts that discovery did not see.

        y : array-like of shape (n_samples,)
            Their target.

        groups : array-like of shape (n_samples,), default=None
            Rows that belong together.

        covariates : DataFrame, array-like of shape (n_samples, n_covariates), str or list of \
                str, default=None
            What else may explain y in these rows, as for :meth:`fit`.

        Returns
        -------
        validator : HypothesisValidator
            Fitted on these rows: its ``hypotheses_`` is the table, ``metrics_`` the scores.
            Rows whose text discovery saw are warned of, and mark it ``in_sample``.
        """
        check_is_fitted(self)
        X = check_rows(X, self.pipeline_)
        self._check_same_classes(check_target_of(y, X, self.pipeline_))
        groups = check_groups(groups, n_samples=len(X), caller=type(self).__name__)
        covariates = check_covariates(covariates, X)
        n_seen = self._n_seen_by_discovery(X)
        if n_seen:
            warnings.warn(
                f"{n_seen} of the {len(X)} rows have a text that discovery saw, so their "
                "p-values are not honest: pass rows that were not used to fit.",
                UserWarning,
                stacklevel=2,
            )
        annotations = mark_fit_rows(self._annotations(X), bool(n_seen))
        return clone(self._validator).fit(annotations, y, groups=groups, covariates=covariates)

    def get_hypothesis_info(self, i, X=None, y=None, n_texts=3):
        """Tell all there is about one hypothesis, with texts it applies to.

        Parameters
        ----------
        i : int
            Its position in ``hypotheses_``, from 0.

        X : list, Series or 1-D array of str, or DataFrame, default=None
            Texts to choose from, as for :meth:`predict`. Fit keeps no texts, so without X none
            are shown. They are annotated with this hypothesis only: keyphrases are looked up
            without embedding anything; a language model is asked once for each text that its
            cache does not know, which ``usage_`` of the interpreter counts, so pass few.

        y : array-like of shape (n_samples,), default=None
            The target of X; sorts its texts.

        n_texts : int, default=3
            Most texts to show of each kind.

        Returns
        -------
        info : dict
            - hypothesis : str, the wording.
            - neuron : name of the neuron, None for the user's own hypotheses.
            - candidates : list of str, the wordings it was chosen from.
            - fidelity : dict, how well the wording fits the neuron; the other columns of
              ``interpretations_`` of :class:`LLMInterpreter`.
            - effect : Series, its row of ``hypotheses_``.
            - texts : None without X. Else a dict of lists of distinct texts to which the
              hypothesis applies, keyed by the labels in ``classes_``, in the order of X; for a
              regression "low" and "high", with y up to the median of X (lowest first) and
              above it (highest first); "all" without y. In texts that keyphrases annotated,
              the phrases found are marked, as in ``the waiter was **rude**``.

            Where the pipeline has no :class:`LLMInterpreter` right before the validator, there
            is no neuron, candidate or fidelity, and a text counts if its column is above 0.

        Raises
        ------
        IndexError
            If there is no such position.

        ValueError
            If y comes without X, X has no texts, or X and y do not fit together.
        """
        check_is_fitted(self)
        check_info_request(i, X, y, n_texts, n_hypotheses=len(self.hypotheses_))
        target = None
        if X is not None:
            X = check_rows(X, self.pipeline_)
            if y is not None:
                target = check_target_of(y, X, self.pipeline_)
                self._check_same_classes(target)
        return hypothesis_info(
            i, X, target, n_texts, table=self.hypotheses_, parts=cut(self.pipeline_)
        )

    def predict(self, X):
        """Predict the target from the hypotheses that the texts satisfy.

        Parameters
        ----------
        X : list, Series or 1-D array of str, or DataFrame
            Texts.

        Returns
        -------
        y : ndarray of shape (n_samples,)
            Labels for a classification, numbers for a regression.
        """
        check_is_fitted(self)
        return self._validator.predict(self._annotations(X))

    @available_if(_validator_has("predict_proba"))
    def predict_proba(self, X):
        """Predict the probability of each class.

        Parameters
        ----------
        X : list, Series or 1-D array of str, or DataFrame
            Texts.

        Returns
        -------
        probabilities : ndarray of shape (n_samples, 2)
        """
        check_is_fitted(self)
        return self._validator.predict_proba(self._annotations(X))

    def score(self, X, y):
        """Score the predictions: AUC for a classification, R² for a regression.

        Parameters
        ----------
        X : list, Series or 1-D array of str, or DataFrame
            Texts.

        y : array-like of shape (n_samples,)
            Target.

        Returns
        -------
        score : float
        """
        check_is_fitted(self)
        return self._validator.score(self._annotations(X), y)

    def transform(self, X):
        """Annotate texts with the significant hypotheses.

        Parameters
        ----------
        X : list, Series or 1-D array of str, or DataFrame
            Texts.

        Returns
        -------
        annotations : DataFrame or ndarray of shape (n_samples, n_significant)
            What the validator's transform gives: 1 present, 0 absent.
        """
        check_is_fitted(self)
        kept = self._validator.transform(self._annotations(X))
        return like_input(np.asarray(kept), kept, self)

    def get_feature_names_out(self, input_features=None):
        """Name the columns of the output: the significant hypotheses.

        Parameters
        ----------
        input_features : None
            Ignored, as texts have no feature names.

        Returns
        -------
        names : ndarray of shape (n_significant,), dtype=object
        """
        check_is_fitted(self)
        return self._validator.get_feature_names_out()

    def _split(self, rows, rng):
        discovery, validation = split_units(
            rows.units,
            rows.target.values,
            validation_size=self.validation_size,
            stratify=rows.target.task == "classification",
            rng=rng,
        )
        if rows.groups is not None and len(np.unique(rows.groups[validation])) < 2:
            raise ValueError(
                "HypothesisGenerator has only one group to test on, and standard errors need "
                "several: pass more groups, or a larger validation_size."
            )
        return discovery, validation

    def _discover(self, pipeline, rows, split, rng):
        """Find hypotheses on the first part of a split; give what testing them needs."""
        self.discovery_rows_, self.validation_rows_ = split
        found, held_out = (rows.take(part) for part in split)
        discovery = discover(pipeline, found, held_out, rng)
        self.pipeline_ = joined(discovery.parts, pipeline)
        self.signal_ = discovery.signal
        self._set_input_features(rows.X)
        self._discovery_fingerprints = text_fingerprints(row_keys(found.X))
        return held_out, discovery

    def _test(self, rows, discovery):
        """Annotate the rows held out and fit the validator on them."""
        annotations = annotate_neurons(discovery.parts, discovery.neurons_held_out, rows.X)
        validator = self._validator.fit(
            annotations, rows.y, groups=rows.groups, covariates=rows.covariates
        )
        self.hypotheses_ = validator.hypotheses_
        self.covariates_ = validator.covariates_
        self.metrics_ = dict(validator.metrics_)
        if hasattr(validator, "classes_"):
            self.classes_ = validator.classes_
        unadjusted = self.metrics_
        if rows.covariates is not None:
            with warnings.catch_warnings():
                # Whatever is wrong with these rows was said above.
                warnings.simplefilter("ignore")
                unadjusted = clone(validator).fit(annotations, rows.y, groups=rows.groups).metrics_
        self.metrics_["share_of_ceiling"] = share_of_ceiling(unadjusted, self.signal_)

    def _set_input_features(self, X):
        self.n_features_in_ = X.shape[1] if isinstance(X, pd.DataFrame) else 1
        if isinstance(X, pd.DataFrame):
            self.feature_names_in_ = X.columns.to_numpy(dtype=object)

    def _check_same_classes(self, target):
        if target.classes is not None and not np.array_equal(target.classes, self.classes_):
            raise ValueError(
                "HypothesisGenerator was fitted on other classes than y now has: pass the same two "
                "labels, or the signs of all effects would mean something else."
            )

    @property
    def _validator(self):
        return self.pipeline_.steps[-1][1]

    def _n_seen_by_discovery(self, X):
        """Count the rows that had a say in the hypotheses; none has in the user's own."""
        interpret = cut(self.pipeline_).interpret
        if interpret is not None and interpret.hypotheses is not None:
            return 0
        return np.isin(text_fingerprints(row_keys(X)), self._discovery_fingerprints).sum()

    def _annotations(self, X):
        """Annotations of new rows, from the fitted steps."""
        X = check_rows(X, self.pipeline_)
        parts = cut(self.pipeline_)
        return annotate(parts, parts.embed.transform(X), X)

    def __sklearn_is_fitted__(self):
        return hasattr(self, "metrics_")

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        pipeline = getattr(self, "pipeline_", self.pipeline)
        if pipeline is not None:
            final = get_tags(pipeline.steps[-1][1])
            tags.estimator_type = final.estimator_type
            tags.classifier_tags = final.classifier_tags
            tags.regressor_tags = final.regressor_tags
        starts_from_texts = pipeline is None or not takes_numbers(pipeline)
        tags.input_tags.two_d_array = not starts_from_texts
        tags.input_tags.string = starts_from_texts
        tags.target_tags.required = True
        return tags
