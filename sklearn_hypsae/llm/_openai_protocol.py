"""What is said to a server of OpenAI's kind, and what its answers mean."""

import asyncio
import contextlib
import email.utils
import json
import logging
import math
import time
from numbers import Integral, Real

from ._http import BrokenOff, Unreachable
from ._pool import Retry
from .base import (
    Completion,
    CompletionError,
    LLMError,
    Refused,
    if_finished,
    without_thinking,
)

logger = logging.getLogger(__name__)

LONGEST_REASON = 300
# More than any answer has: the count is a mistake, which no sum should trip over.
MOST_TOKENS = 10**9
# Seconds that a server may ask to wait; some ask for years.
LONGEST_ASKED = 3600.0
# Refusals of one prompt, which say nothing about the others.
PROMPT_ERRORS = {
    "content_filter",
    "content_policy_violation",
    "context_length_exceeded",
    "invalid_prompt",
    "string_above_max_length",
}
# Servers other than OpenAI's say it in words.
PROMPT_WORDS = ("context length", "context size", "maximum model length", "prompt is too long")
#: Options of chat completions, https://platform.openai.com/docs/api-reference/chat/create,
#: without those that would change what an answer is, and the three extras of OpenAI's package.
OPTIONS = {
    "extra_body",
    "extra_headers",
    "extra_query",
    "frequency_penalty",
    "logit_bias",
    "logprobs",
    "max_completion_tokens",
    "max_tokens",
    "metadata",
    "moderation",
    "presence_penalty",
    "prompt_cache_key",
    "prompt_cache_options",
    "prompt_cache_retention",
    "reasoning_effort",
    "response_format",
    "safety_identifier",
    "seed",
    "service_tier",
    "stop",
    "store",
    "temperature",
    "top_logprobs",
    "top_p",
    "user",
    "verbosity",
}


class ChatCompletions:
    """Chat completions over one HTTP connection pool.

    Parameters
    ----------
    http : DirectHTTP or ProxiedHTTP

    model : str

    options : dict
        The client's own options, which win over a request's.

    timeout : float
        Seconds a request may take.

    structured : bool
        Whether to have answers held to their form.

    is_openai : bool
        Whether the server is OpenAI's own.

    url : str
        For errors.

    secrets : list of str
        To keep out of them.
    """

    def __init__(self, http, *, model, options, timeout, structured, is_openai, url, secrets):
        self.http, self.model, self.options, self.timeout = http, model, options, timeout
        self.structured, self.is_openai = structured, is_openai
        self.url, self.secrets = url, secrets
        # Whether an answer was held to its form already, and prompts that were refused with one.
        self._has_held, self._refused_with_form = False, set()

    async def send(self, request):
        """Send a request and read its answer.

        Parameters
        ----------
        request : Request

        Returns
        -------
        completion : Completion

        Raises
        ------
        Retry, CompletionError, LLMError
        """
        is_second = request.prompt in self._refused_with_form
        structured = self.structured and bool(request.choices) and not is_second
        body = chat_body(self.model, request, self.options, structured, self.is_openai)
        content = json.dumps(body, default=plain_number).encode()
        answer = await self._exchange("POST", "/chat/completions", content)
        if answer.status != 200:
            meaning = self.meaning(answer)
            if structured and not self._has_held and isinstance(meaning, Refused):
                # The server may not know this way to hold an answer to a form.
                self._refused_with_form.add(request.prompt)
                raise Retry("request", "The server refused to hold an answer to a form")
            raise meaning
        body = _json(answer.body)
        if isinstance(body, dict) and body.get("error") and not body.get("choices"):
            # Some gateways refuse with a status of 200.
            raise self.meaning(answer._replace(status=_status_within(body)))
        self._has_held |= structured
        if is_second and not self._has_held and self.structured:
            logger.info("The server at %s cannot hold answers to a form", self.url)
            self.structured = False
        return read_completion(body, request)

    async def list_models(self, request):
        """Ask which models there are.

        Parameters
        ----------
        request : ignored

        Returns
        -------
        completion : Completion
            Their names, one a line; none where the server does not tell.

        Raises
        ------
        Retry, LLMError
            If it is not there, or refuses the key.
        """
        answer = await self._exchange("GET", "/models")
        if answer.status == 401:
            raise self.meaning(answer)
        try:
            listed = json.loads(answer.body)["data"] if answer.status == 200 else []
            return Completion("\n".join(str(model["id"]) for model in listed))
        except (ValueError, TypeError, KeyError):
            return Completion("")

    async def _exchange(self, method, path, content=b""):
        """Send, and give the answer; what may pass on the way is a Retry."""
        try:
            async with asyncio.timeout(self.timeout):
                return await self.http.request(
                    method,
                    path,
                    content,
                    params=self.options.get("extra_query"),
                )
        except TimeoutError:
            raise Retry("server", f"No answer within {self.timeout:g} s") from None
        except Unreachable as error:
            detail = (
                f"No server answers at {self.url} ({error}): start it, wait until it is ready, "
                "or mend base_url"
            )
            raise Retry("unreachable", detail) from None
        except BrokenOff as error:
            raise Retry("server", f"The connection broke off ({error})") from None

    def meaning(self, answer):
        """Tell a refusal that may pass from one that stands.

        Parameters
        ----------
        answer : Answer
            With a status other than 200.

        Returns
        -------
        error : Retry, CompletionError or LLMError
        """
        error = _error_of(answer)
        status, code = answer.status, str(error.get("code"))
        if status in (408, 409, 425, 429) or status >= 500:
            if code == "insufficient_quota":
                return LLMError(f"The server at {self.url} says: {self._reason(error, answer)}")
            kind = "busy" if status == 429 else "server"
            return Retry(kind, f"The server answered {status}", retry_after(answer.headers))
        if 300 <= status < 400:
            where = self.without_secrets(answer.headers.get("location", "no place it names"))
            return LLMError(
                f"The server at {self.url} sends requests on to {where[:LONGEST_REASON]}: set "
                "base_url to where they are answered."
            )
        reason = str(error.get("message")).lower()
        if code in PROMPT_ERRORS or any(words in reason for words in PROMPT_WORDS):
            return CompletionError("The server refused this prompt: too long, or filtered")
        reason = (
            f"The server at {self.url} refused the request for model {self.model!r} "
            f"({status}): {self._reason(error, answer)}"
        )
        if status in (400, 413, 422):
            return Refused(reason, f"The server refused this prompt ({status}), not others")
        return LLMError(reason)

    def _reason(self, error, answer):
        """Give the server's words, without secrets and no longer than a sentence or two."""
        reason = str(error.get("message") or answer.body.decode(errors="replace"))
        return " ".join(self.without_secrets(reason).split())[:LONGEST_REASON]

    def without_secrets(self, words):
        """Hide keys in a server's words."""
        for secret in self.secrets:
            words = words.replace(secret, "…")
        return words


def chat_body(model, request, options, structured, is_openai):
    """Write the JSON object of one request.

    Parameters
    ----------
    model : str

    request : Request

    options : dict
        The client's own.

    structured : bool
        Whether to ask that the answer is held to its form.

    is_openai : bool
        Whether it goes to OpenAI, whose newer models know ``max_completion_tokens`` only, and
        which does not know vLLM's ``structured_outputs``.

    Returns
    -------
    body : dict
    """
    body = {"model": model, "messages": [{"role": "user", "content": request.prompt}]}
    if structured:
        body.update(_form(request, is_openai))
    body.update(request.options)
    if "max_completion_tokens" in options:
        body.pop("max_tokens", None)
    elif is_openai and "max_tokens" in body and "max_tokens" not in options:
        body["max_completion_tokens"] = body.pop("max_tokens")
    body.update(options)
    for name in ("extra_headers", "extra_query", "extra_body"):
        body.pop(name, None)
    return {**body, **(options.get("extra_body") or {})}


def _form(request, is_openai):
    if not request.n_items and not is_openai:
        return {"structured_outputs": {"choice": list(request.choices)}}
    json_schema = {"name": "answers", "strict": True, "schema": answer_schema(request)}
    return {"response_format": {"type": "json_schema", "json_schema": json_schema}}


def answer_schema(request):
    """JSON schema of the answer to a request that has choices.

    Parameters
    ----------
    request : Request

    Returns
    -------
    schema : dict
    """
    one_of = {"type": "string", "enum": list(request.choices)}
    names = [str(number) for number in range(1, request.n_items + 1)] or ["answer"]
    return {
        "type": "object",
        "properties": dict.fromkeys(names, one_of),
        "required": names,
        "additionalProperties": False,
    }


def read_completion(answer, request):
    """Read a completion out of the JSON of an answer.

    Parameters
    ----------
    answer : object
        The JSON, of whatever form.

    request : Request
        What was asked.

    Returns
    -------
    completion : Completion
        Without text where it was cut off and may be no answer, see ``if_finished``.

    Raises
    ------
    Retry
        If it has not the form of a completion.
    """
    try:
        choice = answer["choices"][0]
        usage = answer.get("usage") or {}
        text = without_thinking(_encodable(choice["message"].get("content")))
        if choice.get("finish_reason") == "length":
            text = if_finished(text, request)
        return Completion(
            text,
            _count(usage.get("prompt_tokens")),
            _count(usage.get("completion_tokens")),
            _probabilities(choice.get("logprobs"), request.choices),
        )
    except (TypeError, KeyError, IndexError, AttributeError, ValueError, OverflowError):
        raise Retry("server", "The server's answer had not the form of a completion") from None


def _encodable(text):
    """Replace halves of characters, which models do write, and no file takes."""
    return text and text.encode("utf-8", "replace").decode()


def _count(tokens):
    return min(max(0, int(tokens or 0)), MOST_TOKENS)


def _status_within(body):
    """Read the status that an error object names, else that of a bad request."""
    code = body["error"].get("code") if isinstance(body["error"], dict) else None
    return code if isinstance(code, int) and 400 <= code < 600 else 400


def _probabilities(logprobs, choices):
    """Probabilities of the alternatives where the answer makes its choice, if they were sent."""
    tokens = (logprobs or {}).get("content") or []
    if not tokens:
        return None
    chosen = tokens[choosing_token([token["token"] for token in tokens], choices)]
    alternatives = chosen.get("top_logprobs") or [chosen]
    return {token["token"]: math.exp(token["logprob"]) for token in alternatives}


def choosing_token(tokens, choices):
    """Find the token by which an answer makes its choice.

    Parameters
    ----------
    tokens : list of str
        The answer, thinking and JSON around the choice included.

    choices : tuple of str

    Returns
    -------
    position : int
        Of the first token after the thinking that is one of the choices; else 0.

    Examples
    --------
    >>> from sklearn_hypsae.llm._openai_protocol import choosing_token
    >>> choosing_token(['{"', 'answer', '":"', 'no', '"}'], ("yes", "no"))
    3
    """
    wanted = {choice.lower() for choice in choices}
    position, written = None, ""
    for number, token in enumerate(tokens):
        written += token
        if written.rstrip().endswith("</think>"):
            position = None
        elif position is None and token.strip(' \n"').lower() in wanted:
            position = number
    return position or 0


def plain_number(value):
    """Give a number, such as one of NumPy's, as one that JSON has.

    Raises
    ------
    TypeError
        If the value is no number.
    """
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real):
        return float(value)
    raise TypeError(f"{type(value).__name__} is not a number")


def _json(body):
    try:
        return json.loads(body)
    except ValueError:
        raise Retry("server", "The server's answer was not JSON") from None


def _error_of(answer):
    """Read the error object of a refusal, in either of the forms servers use."""
    try:
        body = json.loads(answer.body)
    except ValueError:
        return {}
    error = body.get("error", body) if isinstance(body, dict) else {}
    return error if isinstance(error, dict) else {"message": error}


def retry_after(headers):
    """Seconds the server asks to wait; None where it does not say.

    Examples
    --------
    >>> from sklearn_hypsae.llm._openai_protocol import retry_after
    >>> retry_after({"retry-after": "2"}), retry_after({"retry-after-ms": "250"}), retry_after({})
    (2.0, 0.25, None)
    """
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        value = headers.get(name)
        if value is None:
            continue
        with contextlib.suppress(ValueError):
            return min(max(0.0, float(value) * unit), LONGEST_ASKED)
        with contextlib.suppress(ValueError, TypeError, OverflowError):
            until = email.utils.parsedate_to_datetime(value).timestamp()
            return min(max(0.0, until - time.time()), LONGEST_ASKED)
    return None
