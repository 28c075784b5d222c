"""The five steps put together as a stock scikit-learn Pipeline."""

from sklearn.pipeline import Pipeline

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
    target_coef=1.0,
    n_hypotheses=20,
    selection_method="balanced_correlation",
    llm=None,
    annotator_llm=None,
    task="auto",
    pairs=False,
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

    target_coef : float, default=1.0
        How much the autoencoder cares about the target beside the reconstruction; 0 leaves the
        target out. On reviews, hypotheses in words predict held-out rows better with it, and
        planted concepts are recovered better (see ``benchmarks/README.md``), for a few percent
        more unexplained variance. It learns from the rows that are fitted alone, so p-values on
        held-out rows stay honest. Set it to 0 where neurons are to describe the texts rather
        than the target, or one autoencoder is to serve several targets.

    n_hypotheses : int, default=20
        Neurons to select and put into words.

    selection_method : {"balanced_correlation", "correlation", "lasso", "separation_score", \
            "forward", "mrmr"} or callable, default="balanced_correlation"
        See :class:`NeuronSelector`. Balanced, since with a skewed target (stars) the strongest
        neurons may all speak for its rare side.

    llm, annotator_llm : None, str or client, default=None
        Language models that write and check hypotheses; see :class:`LLMInterpreter`. None:
        keyphrases, without any language model.

    task : {"auto", "classification", "regression"}, default="auto"
        Kind of target. Set it to "classification" where folds are to be stratified.

    pairs : bool, default=False
        Whether X will be pairs: a frame of two columns of texts. The autoencoder is then
        ``signed``. :class:`HypothesisGenerator` sees to that itself.

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
                SparseAutoencoderTransformer(
                    M,
                    K,
                    target_coef=target_coef,
                    signed=pairs,
                    random_state=random_state,
                    verbose=verbose,
                ),
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
