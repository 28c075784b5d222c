"""What a run will cost, before it is paid for."""

from sklearn.base import clone

from .base import ChatModel, Completion
from .names import chat_model
from .runner import CHARACTERS_PER_TOKEN
from .usage import no_usage

# Words of a wording that is not known yet; real ones are about as long.
STAND_IN = "mentions something that takes about a dozen words to put into words, number"
TOKENS_PER_ANSWER = 1
TOKENS_PER_NUMBERED_ANSWER = 7


class _Counting(ChatModel):
    """Answers nothing that was asked, but knows what asking would take."""

    batch_size = None

    def __init__(self, count_tokens, thinking_tokens, prices, n_words):
        self.count_tokens, self.thinking_tokens = count_tokens, thinking_tokens
        self.prices, self.n_words = prices, n_words

    def complete(self, requests, monitor=None):
        for position, request in enumerate(requests):
            monitor.permit(request)
            monitor.record(position, self._completion(position, request))
        return [None] * len(requests)

    def _completion(self, position, request):
        if request.n_items:
            n_tokens = TOKENS_PER_NUMBERED_ANSWER * request.n_items
            numbers = ", ".join(f'"{i}": "no"' for i in range(1, request.n_items + 1))
            text = f"{{{numbers}}}"
        elif request.choices:
            text, n_tokens = request.choices[-1], TOKENS_PER_ANSWER
        else:
            text = f"{STAND_IN} {position}" if self.n_words is None else "word " * self.n_words
            n_tokens = self.count_tokens(text)
        n_prompt = self.count_tokens(request.prompt)
        return Completion(text, n_prompt, n_tokens + self.thinking_tokens)


def estimate_cost(
    interpreter, X, texts=None, *, n_annotate=None, count_tokens=None, thinking_tokens=0
):
    """Say how many requests and tokens, and how much money, a run would take.

    The run is gone through with the real prompts on the real texts, and nothing is sent. It is
    the most to expect but for what has to be sent again: nothing is taken to be in the cache,
    all candidates and neurons to get words of their own, and ``refine`` to find mistakes in
    every wording.

    Parameters
    ----------
    interpreter : LLMInterpreter or TextSummarizer
        As it would be fitted. It is left as it is.

    X : DataFrame, ndarray or CSR of shape (n_samples, n_neurons)
        What it would be fitted on.

    texts : collection of str of length n_samples, default=None
        The texts. None: the index of X.

    n_annotate : int, default=None
        Rows that will be annotated: those of transform, such as the validation part in
        HypothesisGenerator. They are taken to be like the rows of X, and distinct where there
        are more of them than rows of X. None: the rows of X; 0: only fit.

    count_tokens : callable, default=None
        ``text -> int``, such as ``lambda t: len(tokenizer.encode(t))``. None: a token for
        every four characters.

    thinking_tokens : int, default=0
        What a reasoning model uses up in thought for each answer.

    Returns
    -------
    cost : dict
        ``requests``, ``prompt_tokens``, ``completion_tokens`` and ``money``, None without
        prices on the client; and the same of the two stages under ``"fit"`` and
        ``"transform"``.

    Examples
    --------
    >>> from sklearn_hypsae import LLMInterpreter
    >>> from sklearn_hypsae.llm import OpenAIChat, estimate_cost
    >>> chat = OpenAIChat("gpt-5-mini", prices=(0.25, 2.0))
    >>> interpreter = LLMInterpreter(chat, hypotheses=["mentions a dog", "is angry"])
    >>> cost = estimate_cost(interpreter, ["my dog", "your cat"])
    >>> cost["requests"], cost["money"] < 0.001
    (4, True)
    """
    count = count_tokens or (lambda text: -(-len(text) // CHARACTERS_PER_TOKEN))
    dry = clone(interpreter).set_params(
        cache=None,
        verbose=False,
        max_requests=None,
        max_tokens_total=None,
        **_counting_clients(interpreter, count, thinking_tokens),
    )
    beside = {} if texts is None else {"texts": texts}
    dry.fit(X, **beside)
    fit = dict(dry.usage_)
    dry.usage_.update(no_usage())
    n_rows = len(X) if not hasattr(X, "shape") else X.shape[0]
    n_annotate = n_rows if n_annotate is None else n_annotate
    if n_annotate:
        beside = {name: given[:n_annotate] for name, given in beside.items()}
        dry.transform(_head(X, n_annotate), **beside)
    share = max(1.0, n_annotate / n_rows)
    transform = {name: _scaled(value, share) for name, value in dry.usage_.items()}
    stages = {"fit": _shown(fit), "transform": _shown(transform)}
    return {**_total(stages.values()), **stages}


def _counting_clients(interpreter, count, thinking_tokens):
    """Stand-ins for the clients that are set, with their prices."""
    return {
        name: _Counting(
            count,
            thinking_tokens,
            chat_model(client).prices,
            # Of a summary; a wording has a dozen.
            getattr(interpreter, "max_words", None),
        )
        for name in ("llm", "annotator_llm")
        if (client := getattr(interpreter, name, None)) is not None
    }


def _head(X, n_rows):
    return X.iloc[:n_rows] if hasattr(X, "iloc") else X[:n_rows]


def _scaled(value, share):
    return value if value is None else round(value * share, 6)


def _shown(usage):
    names = ("requests", "prompt_tokens", "completion_tokens")
    return {**{name: int(usage[name]) for name in names}, "money": usage["money"]}


def _total(stages):
    first, second = stages
    total = {name: first[name] + second[name] for name in first if name != "money"}
    known = [stage["money"] for stage in (first, second) if stage["money"] is not None]
    return {**total, "money": sum(known) if known else None}
