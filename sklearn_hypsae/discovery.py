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

from ._pipeline_parts import (
    annotate,
    check_rows,
    check_steps,
    cut,
    joined,
    settle_task,
    take,
    takes_numbers,
    texts_beside,
)
from ._probe import probe_signal, warn_no_signal
from ._sklearn import Interval, fit_context
from ._splitting import linked_rows, split_units, text_fingerprints
from ._targets import check_groups, check_target
from ._texts import (
    like_input,
    mark_fit_rows,
    row_keys,
)
from .embedding import EmbeddingTransformer
from .interpretation import LLMInterpreter
from .sae import SparseAutoencoderTransformer
from .selection import NeuronSelector
from .validation import HypothesisValidator


def make_hypothesis_pipeline(
    *,
    model="all-MiniLM-L6-v2",
    M="auto",
    K="auto",
    n_hypotheses=20,
    selection_method="correlation",
    llm=None,
    annotator_llm=None,
    task="auto",
    memory=None,
    random_state=None,
    verbose=False,
):
    """Build a stock scikit-learn Pipeline of the five steps.

    Parameters
    ----------
    model : str, callable or object, default="all-MiniLM-L6-v2"
        Embedding model, see :class:`EmbeddingTransformer`.

    M, K : int or "auto", default="auto"
        Neurons of the autoencoder in all, and active in each row; see
        :class:`SparseAutoencoderTransformer`.

    n_hypotheses : int, default=20
        Neurons to select and put into words.

    selection_method : {"correlation", "balanced_correlation", "lasso", "separation_score"} or \
            callable, default="correlation"
        See :class:`NeuronSelector`.

    llm, annotator_llm : None, str or client, default=None
        Language models that write and check hypotheses; see :class:`LLMInterpreter`. None:
        keyphrases, without any language model.

    task : {"auto", "classification", "regression"}, default="auto"
        Kind of target. Set it to "classification" where folds are to be stratified.

    memory : str, joblib.Memory or None, default=None
        Where the Pipeline caches fitted steps.

    random_state : int, RandomState instance or None, default=None
        Given to every step that draws at random.

    verbose : bool, default=False
        Whether the steps show progress bars.

    Returns
    -------
    pipeline : sklearn.pipeline.Pipeline
        Steps ``embed``, ``sae``, ``select``, ``interpret`` and ``validate``. With
        ``pipeline.set_params(interpret="passthrough")`` the validator works on the raw
        activations, so that a search over ``sae__M`` and ``sae__K`` costs no language model
        call.

    Examples
    --------
    >>> from sklearn_hypsae import make_hypothesis_pipeline
    >>> pipeline = make_hypothesis_pipeline(M=64, K=4, random_state=0)
    >>> list(pipeline.named_steps)
    ['embed', 'sae', 'select', 'interpret', 'validate']
    >>> pipeline.get_params()["sae__M"]
    64
    """
    return Pipeline(
        [
            ("embed", EmbeddingTransformer(model, verbose=verbose)),
            (
                "sae",
                SparseAutoencoderTransformer(M, K, random_state=random_state, verbose=verbose),
            ),
            (
                "select",
                NeuronSelector(
                    n_hypotheses, method=selection_method, task=task, random_state=random_state
                ),
            ),
            (
                "interpret",
                LLMInterpreter(llm, annotator_llm, random_state=random_state, verbose=verbose),
            ),
            ("validate", HypothesisValidator(task)),
        ],
        memory=memory,
    )


def _validator_has(method):
    """Whether the last step of the pipeline offers a method."""

    def check(generator):
        pipeline = getattr(generator, "pipeline_", generator.pipeline)
        final = HypothesisValidator() if pipeline is None else pipeline.steps[-1][1]
        getattr(final, method)
        return True

    return check


class HypothesisGenerator(TransformerMixin, BaseEstimator):
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
        Scores of all hypotheses together; see :class:`HypothesisValidator`.

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
    def fit(self, X, y, groups=None):
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

        Returns
        -------
        self : HypothesisGenerator

        Raises
        ------
        ValueError
            If texts, target, groups or a step's parameters cannot work; said before any
            embedding or training.
        """
        rng = check_random_state(self.random_state)
        pipeline = self._seeded_pipeline(rng)
        X = check_rows(X, pipeline)
        target = _check_target(y, X, pipeline)
        settle_task(pipeline, target.task)
        groups = check_groups(groups, n_samples=len(X), caller=type(self).__name__)
        self._split(X, target, groups, rng)
        check_steps(pipeline, n_discovery=len(self.discovery_rows_))
        discovery, held_out = self.discovery_rows_, self.validation_rows_
        y = np.asarray(y).ravel()

        parts = cut(pipeline)
        embedded = parts.embed.fit_transform(take(X, discovery), y[discovery])
        embedded_held_out = parts.embed.transform(take(X, held_out))
        neurons = parts.select.fit_transform(embedded, y[discovery])
        if parts.interpret is not None:
            # Not fit_transform: annotating the rows that discovered would be paid for in vain.
            texts = texts_beside(neurons, X, discovery)
            parts.interpret.fit(neurons, y[discovery], texts=texts)
        self.pipeline_ = joined(parts, pipeline)
        self._set_input_features(X)
        self._discovery_fingerprints = text_fingerprints(row_keys(X)[discovery])

        groups = None if groups is None else groups[held_out]
        annotations = annotate(parts, embedded_held_out, take(X, held_out))
        self._test(annotations, y[held_out], groups)
        self.signal_ = None
        if np.ndim(embedded) == 2:
            self.signal_ = probe_signal(
                (embedded, target.values[discovery]),
                (embedded_held_out, target.values[held_out]),
                task=target.task,
                groups=groups,
                rng=rng,
            )
            warn_no_signal(self.signal_)
        return self

    def validate(self, X, y, groups=None):
        """Test the same hypotheses on other rows.

        Parameters
        ----------
        X : list, Series or 1-D array of str, or DataFrame
            Texts that discovery did not see.

        y : array-like of shape (n_samples,)
            Their target.

        groups : array-like of shape (n_samples,), default=None
            Rows that belong together.

        Returns
        -------
        validator : HypothesisValidator
            Fitted on these rows: its ``hypotheses_`` is the table, ``metrics_`` the scores.
            Rows whose text discovery saw are warned of, and mark it ``in_sample``.
        """
        check_is_fitted(self)
        X = check_rows(X, self.pipeline_)
        self._check_same_classes(_check_target(y, X, self.pipeline_))
        groups = check_groups(groups, n_samples=len(X), caller=type(self).__name__)
        n_seen = self._n_seen_by_discovery(X)
        if n_seen:
            warnings.warn(
                f"{n_seen} of the {len(X)} rows have a text that discovery saw, so their "
                "p-values are not honest: pass rows that were not used to fit.",
                UserWarning,
                stacklevel=2,
            )
        annotations = mark_fit_rows(self._annotations(X), bool(n_seen))
        return clone(self._validator).fit(annotations, y, groups=groups)

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

    def _seeded_pipeline(self, rng):
        """Clone the pipeline and seed the steps that have no seed."""
        if self.pipeline is None:
            return make_hypothesis_pipeline(random_state=_draw_seed(rng))
        pipeline = clone(self.pipeline)
        if not isinstance(pipeline.steps[-1][1], HypothesisValidator):
            raise ValueError(
                "HypothesisGenerator needs a pipeline that ends in a HypothesisValidator, got "
                f"{type(pipeline.steps[-1][1]).__name__} as its last step: append one."
            )
        unseeded = [
            name
            for name, value in pipeline.get_params().items()
            if name.endswith("__random_state") and value is None
        ]
        return pipeline.set_params(**{name: _draw_seed(rng) for name in sorted(unseeded)})

    def _split(self, X, target, groups, rng):
        keys = [row_keys(X)] if groups is None else [row_keys(X), groups]
        self.discovery_rows_, self.validation_rows_ = split_units(
            linked_rows(*keys),
            target.values,
            validation_size=self.validation_size,
            stratify=target.task == "classification",
            rng=rng,
        )
        if groups is not None and len(np.unique(groups[self.validation_rows_])) < 2:
            raise ValueError(
                "HypothesisGenerator has only one group to test on, and standard errors need "
                "several: pass more groups, or a larger validation_size."
            )

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

    def _test(self, annotations, y, groups):
        validator = self._validator.fit(annotations, y, groups=groups)
        self.hypotheses_ = validator.hypotheses_
        self.metrics_ = validator.metrics_
        if hasattr(validator, "classes_"):
            self.classes_ = validator.classes_

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


def _draw_seed(rng):
    return rng.randint(np.iinfo(np.int32).max)


def _check_target(y, X, pipeline):
    task = pipeline.steps[-1][1].task
    return check_target(y, task=task, n_samples=len(X), caller="HypothesisGenerator")
