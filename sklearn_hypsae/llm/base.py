"""The interface of a language model: a batch of requests in, one outcome each out, in order."""

from typing import NamedTuple

from ._hiding import shown


class Request(NamedTuple):
    """One question for a language model.

    Attributes
    ----------
    prompt : str
        The whole prompt.

    choices : tuple of str, default=()
        Answers the model has to choose from; empty: free text.

    n_items : int, default=0
        With ``choices``: how many numbered questions the prompt asks. The answer is then a
        JSON object ``{"1": choice, "2": choice, …}``. 0: one question, answered in one word.

    options : tuple of (str, value) pairs, default=()
        Options of this request, such as ``("temperature", 0.0)`` or ``("max_tokens", 20)``. A
        client's own options win over them.
    """

    prompt: str
    choices: tuple = ()
    n_items: int = 0
    options: tuple = ()


class Completion(NamedTuple):
    """What a language model answered.

    Attributes
    ----------
    text : str
        The answer, without thinking before it.

    prompt_tokens, completion_tokens : int, default=0
        What it took, as the model counts it.

    probabilities : dict of str to float or None, default=None
        Probability of each alternative for the first token, where the model tells.
    """

    text: str
    prompt_tokens: int = 0
    completion_tokens: int = 0
    probabilities: dict | None = None


class LLMError(RuntimeError):
    """No request can succeed: the run stops with this reason."""


class Refused(LLMError):
    """A server refused a request for good: this one, or any other as well.

    Where others like it were answered it is this one, which is then a :class:`CompletionError`.

    Parameters
    ----------
    reason : str
        Why, if no request can succeed.

    of_this_one : str
        What to say if it is this one. It quotes no text.
    """

    def __init__(self, reason, of_this_one):
        super().__init__(reason)
        self.of_this_one = of_this_one


class CompletionError(RuntimeError):
    """One request failed for good; the others go on."""


class Monitor:
    """What a run tells a client, and a client tells the run, about each request.

    This one lets everything pass. Clients that send requests one by one ask
    :meth:`permit` before each sending, retry answers that :meth:`accept` refuses, and hand
    over each outcome through :meth:`record` as soon as it is there, so that nothing that was
    paid for is lost when the run is killed.
    """

    def permit(self, request):
        """Whether one more request may be sent.

        False once a budget is spent; None while what is under way may spend it, and has to be
        answered before that can be told.
        """
        return True

    def accept(self, request, text):
        """Whether an answer has the form that was asked for."""
        return True

    def record(self, position, outcome):
        """Take the outcome of ``requests[position]``: a Completion or CompletionError."""

    def retried(self, request, wasted=None):
        """Take note that a request fails for now; ``wasted`` is a refused answer to it."""

    def withdrawn(self, request):
        """Take note that a request was refused unread, and is sent again in another form."""


class ChatModel:
    """Base class of language-model clients.

    A client is a small picklable object of parameters, stored as attributes under their own
    names; connections, keys and weights live elsewhere. A subclass needs :meth:`complete`
    only.

    Examples
    --------
    >>> from sklearn_hypsae.llm import ChatModel, Completion
    >>> class Agreeable(ChatModel):
    ...     def complete(self, requests, monitor=None):
    ...         return [Completion("Yes") for _ in requests]
    >>> Agreeable().complete([])
    []
    """

    #: Requests handed to :meth:`complete` at once; answers are kept batch by batch. None: all,
    #: for clients that record outcomes as they come.
    batch_size = 256

    #: Money per million prompt and completion tokens, or None.
    prices = None

    def check(self):
        """Raise what can be known to be wrong before anything is sent."""

    def reach(self):
        """Raise LLMError where no request can be answered, without sending one if possible.

        Called before other clients of a run are paid, whose answers this one is to work on.
        """

    def complete(self, requests, monitor=None):
        """Answer each request.

        Parameters
        ----------
        requests : list of Request

        monitor : Monitor, default=None
            Follows the run; clients may ignore it.

        Returns
        -------
        outcomes : list of Completion, CompletionError or None
            In the order of the requests; None where ``monitor`` did not permit to send.

        Raises
        ------
        LLMError
            If no request can succeed.
        """
        raise NotImplementedError(f"{type(self).__name__} has to define complete().")

    def forget(self, requests):
        """Take note that the outcomes of a batch are kept.

        Called with what :meth:`complete` was given. A client that remembers what is under way,
        for the next run after one that was killed, need not remember these any more.
        """

    def identity(self):
        """Everything that decides what the model answers, for the key of cached answers.

        Returns
        -------
        identity : dict of str to JSON-compatible values
        """
        return {"backend": type(self).__qualname__, **vars(self)}

    def __repr__(self):
        """Name the client and its parameters, without what may be a secret."""
        parts = [f"{name}={shown(name, value)!r}" for name, value in vars(self).items()]
        return f"{type(self).__name__}({', '.join(parts)})"


def without_thinking(text):
    """Drop what a reasoning model wrote before ``</think>``.

    Parameters
    ----------
    text : str or None

    Returns
    -------
    answer : str
        Empty where the thinking was not finished, so that nothing of it is taken for an
        answer.

    Examples
    --------
    >>> from sklearn_hypsae.llm.base import without_thinking
    >>> without_thinking("<think>Hm, no.</think> Yes"), without_thinking("<think>Hm, no.")
    ('Yes', '')
    """
    text = text or ""
    if "</think>" in text:
        text = text.rpartition("</think>")[2]
    elif "<think>" in text:
        return ""
    return text.strip()


def if_finished(text, request):
    """Keep an answer that reached the token limit only where it is surely whole.

    The thinking of many models begins in their chat template and is marked only where it ends:
    what was cut off may be a thought, however it begins.

    Parameters
    ----------
    text : str

    request : Request

    Returns
    -------
    text : str
        Empty unless it is one of the choices and nothing more, or the JSON object asked for,
        half of which nothing reads.

    Examples
    --------
    >>> from sklearn_hypsae.llm.base import Request, if_finished
    >>> asked = Request("Is it a dog?", ("yes", "no"))
    >>> if_finished("Yes", asked), if_finished("No, wait. Let me", asked)
    ('Yes', '')
    """
    is_choice = text.strip(" .*\n\"'").lower() in {choice.lower() for choice in request.choices}
    return text if is_choice or (request.choices and text.startswith("{")) else ""
