"""Any server that speaks OpenAI's chat completions: OpenAI, vLLM, Ollama, llama.cpp."""

import asyncio
import contextlib
import difflib
import email.utils
import inspect
import math
import os
import random
import time
from urllib.parse import urlsplit

from .._optional import import_optional
from ._pool import Pool, Retry, run_in_thread
from .base import ChatModel, Completion, CompletionError, LLMError, without_thinking

KEY_VARIABLES = ("OPENAI_API_KEY", "OPENAI_KEY_SAE")
URL_VARIABLE = "OPENAI_BASE_URL"
OPENAI_URL = "https://api.openai.com/v1"
LONGEST_REASON = 300
# Refusals of one prompt, which say nothing about the others.
PROMPT_ERRORS = {"context_length_exceeded", "content_filter", "content_policy_violation"}
NOT_OPTIONS = {"self", "messages", "model", "stream", "stream_options", "n", "timeout"}


class OpenAIChat(ChatModel):
    """Chat completions over HTTP, many at a time, from any OpenAI-compatible server.

    Requests that fail in a way that may pass (refused as too many, failed on the server, timed
    out, broken off, answered in the wrong form) are sent again after a growing time; the number
    under way adapts to what the server takes. What cannot pass (a wrong key, an unknown model,
    an option the server refuses) stops the run at once with the server's reason.

    Parameters
    ----------
    model : str
        The model, by the server's name for it.

    base_url : str, default=None
        Where the server is, such as ``"http://127.0.0.1:8000/v1"``. None: the environment
        variable ``OPENAI_BASE_URL``, else OpenAI.

    max_concurrency : int, default=30
        Most requests under way at a time.

    timeout : float, default=120.0
        Seconds until a request counts as failed.

    max_retries : int, default=8
        How often a failed request is sent again.

    max_outage : float, default=600.0
        Seconds to wait for a server that was there and has gone away, before what is left
        counts as failed.

    structured : bool, default=True
        Whether to have the server hold answers to the form asked for (a JSON schema, and on
        servers other than OpenAI's also vLLM's choice). A server that refuses this is asked
        without; either way answers are parsed.

    prices : (float, float), default=None
        Money per million prompt and completion tokens, for estimates and ``usage_``.

    **options
        Further options of chat completions, sent as they are: ``temperature``,
        ``reasoning_effort``, ``max_completion_tokens``, ``seed``, … What only the server
        knows goes into ``extra_body``, a dict.

    Notes
    -----
    The key is read from the environment when it is used, ``OPENAI_API_KEY`` before
    ``OPENAI_KEY_SAE``, and kept nowhere. Servers other than OpenAI's need none.

    Examples
    --------
    >>> from sklearn_hypsae.llm import OpenAIChat
    >>> OpenAIChat("gpt-5-mini", reasoning_effort="minimal")
    OpenAIChat('gpt-5-mini', reasoning_effort='minimal')
    >>> OpenAIChat("qwen3", base_url="http://127.0.0.1:8000/v1", max_concurrency=8)
    OpenAIChat('qwen3', base_url='http://127.0.0.1:8000/v1', max_concurrency=8)
    """

    batch_size = None

    def __init__(
        self,
        model,
        base_url=None,
        *,
        max_concurrency=30,
        timeout=120.0,
        max_retries=8,
        max_outage=600.0,
        structured=True,
        prices=None,
        **options,
    ):
        self.model = model
        self.base_url = base_url
        self.max_concurrency = max_concurrency
        self.timeout = timeout
        self.max_retries = max_retries
        self.max_outage = max_outage
        self.structured = structured
        self.prices = prices
        self.options = options

    def check(self):
        """Raise what is wrong with the parameters or the environment before anything is sent.

        Raises
        ------
        ImportError
            If the package openai is missing.

        ValueError
            If an option is unknown, a parameter is out of range, or there is no key.
        """
        import_optional("openai", purpose="OpenAIChat", extra="openai")
        if not isinstance(self.model, str) or not self.model:
            raise ValueError("OpenAIChat needs the name of a model, a string that is not empty.")
        for name, least in (("max_concurrency", 1), ("timeout", 0), ("max_retries", 0)):
            value = getattr(self, name)
            if not isinstance(value, int | float) or value < least or (least == 0 > value):
                raise ValueError(f"OpenAIChat got {name}={value!r}: it has to be at least {least}.")
        self._check_url()
        self._check_options()
        self._key()

    def complete(self, requests, monitor=None):
        """Answer each request; see :meth:`ChatModel.complete`.

        Parameters
        ----------
        requests : list of Request

        monitor : Monitor, default=None

        Returns
        -------
        outcomes : list of Completion, CompletionError or None

        Raises
        ------
        LLMError
            If the server refuses the key, the model or an option, or cannot be reached.
        """
        from .base import Monitor

        self.check()
        monitor = monitor or Monitor()

        @contextlib.asynccontextmanager
        async def pool():
            async with self._connect() as connection:
                call = _Call(self, connection)
                yield Pool(
                    call.send,
                    requests,
                    monitor,
                    max_concurrency=self.max_concurrency,
                    max_retries=self.max_retries,
                    max_outage=self.max_outage,
                    rng=random.Random(0),
                )

        return run_in_thread(pool) if requests else []

    def identity(self):
        """Backend, server, model and options; see :meth:`ChatModel.identity`.

        Returns
        -------
        identity : dict
        """
        return {
            "backend": "OpenAIChat",
            "base_url": self._url(),
            "model": self.model,
            "options": self.options,
            "structured": self.structured,
        }

    def _connect(self):
        openai = import_optional("openai", purpose="OpenAIChat", extra="openai")
        return openai.AsyncOpenAI(
            api_key=self._key(), base_url=self._url(), timeout=self.timeout, max_retries=0
        )

    def _url(self):
        return self.base_url or os.environ.get(URL_VARIABLE) or OPENAI_URL

    def _is_openai(self):
        host = urlsplit(self._url()).hostname or ""
        return host == "openai.com" or host.endswith(".openai.com")

    def _key(self):
        """Read the key; servers other than OpenAI's get a stand-in where there is none."""
        for variable in KEY_VARIABLES:
            key = os.environ.get(variable, "").strip()
            if key:
                return key
        if self._is_openai():
            raise ValueError(
                f"OpenAIChat found no key: set the environment variable {KEY_VARIABLES[0]} (or "
                f"{KEY_VARIABLES[1]}), or give the base_url of a server that needs none."
            )
        return "none"

    def _check_url(self):
        parts = urlsplit(self._url())
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(
                "OpenAIChat needs a base_url that begins with http:// or https:// and names a "
                'host, such as "http://127.0.0.1:8000/v1".'
            )
        if parts.username or parts.password or parts.query:
            raise ValueError(
                "OpenAIChat takes no secrets in base_url, where they would be shown: leave out "
                f"what stands before @ or after ?, and set {KEY_VARIABLES[0]}."
            )

    def _check_options(self):
        """Refuse names that chat completions do not have, and anything that looks like a key."""
        for name in self.options:
            if "key" in name.lower() and name not in _known_options():
                raise ValueError(
                    f"OpenAIChat takes no key as a parameter: set the environment variable "
                    f"{KEY_VARIABLES[0]}, which is read when it is used."
                )
            if name not in _known_options():
                near = difflib.get_close_matches(name, _known_options(), n=1)
                meant = f"did you mean {near[0]!r}? " if near else ""
                raise ValueError(
                    f"OpenAIChat got the unknown option {name!r}: {meant}Options that only the "
                    "server knows go into extra_body={...}."
                )
        headers = self.options.get("extra_headers") or {}
        if any(name.lower() in ("authorization", "api-key", "x-api-key") for name in headers):
            raise ValueError(
                "OpenAIChat takes no key in extra_headers, where it would be shown: set the "
                f"environment variable {KEY_VARIABLES[0]}."
            )

    def __repr__(self):
        """Show the model and what differs from the defaults; values of headers are hidden."""
        shown = [repr(self.model)]
        for name, parameter in inspect.signature(type(self).__init__).parameters.items():
            if name not in ("self", "model", "options") and parameter.default != getattr(
                self, name
            ):
                shown.append(f"{name}={getattr(self, name)!r}")
        for name, value in self.options.items():
            hidden = dict.fromkeys(value, "…") if name == "extra_headers" else value
            shown.append(f"{name}={hidden!r}")
        return f"{type(self).__name__}({', '.join(shown)})"


class _Call:
    """One request over one connection, and what its failures mean."""

    def __init__(self, chat, connection):
        self.chat, self.connection = chat, connection
        self.openai = import_optional("openai", purpose="OpenAIChat", extra="openai")
        self.structured = chat.structured
        self.is_openai = chat._is_openai()
        self.url = chat._url()

    async def send(self, request):
        """Send a request and read its answer."""
        openai = self.openai
        structured = self.structured and bool(request.choices)
        try:
            async with asyncio.timeout(self.chat.timeout):
                answer = await self._post(self._body(request, structured))
        except openai.APIStatusError as error:
            if structured and error.status_code in (400, 422):
                self.structured = False
                raise Retry("request", "The server cannot hold answers to a form") from None
            raise self._meaning(error) from None
        except (TimeoutError, openai.APITimeoutError):
            raise Retry("server", f"No answer within {self.chat.timeout:g} s") from None
        except openai.APIConnectionError as error:
            raise self._broken_off(error) from None
        except (ValueError, openai.APIError):
            raise Retry("server", "The server's answer was not JSON") from None
        return _read(answer)

    async def _post(self, body):
        options = {}
        extra = dict(self.chat.options)
        if extra.get("extra_headers"):
            options["headers"] = extra["extra_headers"]
        if extra.get("extra_query"):
            options["params"] = extra["extra_query"]
        return await self.connection.post(
            "/chat/completions", cast_to=object, body=body, options=options
        )

    def _body(self, request, structured):
        options = dict(request.options)
        if self.is_openai and "max_tokens" in options:
            options["max_completion_tokens"] = options.pop("max_tokens")
        options.update(self.chat.options)
        for name in ("extra_headers", "extra_query"):
            options.pop(name, None)
        extra_body = options.pop("extra_body", None) or {}
        form = self._form(request) if structured else {}
        messages = [{"role": "user", "content": request.prompt}]
        return {"model": self.chat.model, "messages": messages, **form, **options, **extra_body}

    def _form(self, request):
        """Ask the server to hold the answer to its form."""
        one_of = {"type": "string", "enum": list(request.choices)}
        if not request.n_items:
            if not self.is_openai:
                return {"structured_outputs": {"choice": list(request.choices)}}
            names = ["answer"]
        else:
            names = [str(number) for number in range(1, request.n_items + 1)]
        schema = {
            "type": "object",
            "properties": dict.fromkeys(names, one_of),
            "required": names,
            "additionalProperties": False,
        }
        json_schema = {"name": "answers", "strict": True, "schema": schema}
        return {"response_format": {"type": "json_schema", "json_schema": json_schema}}

    def _meaning(self, error):
        """Tell a refusal that may pass from one that stands."""
        status, code = error.status_code, error.code
        if status in (408, 409, 425, 429) or status >= 500:
            if code == "insufficient_quota":
                return LLMError(f"The server at {self.url} says: {self._reason(error)}")
            kind = "busy" if status == 429 else "server"
            return Retry(kind, f"The server answered {status}", _retry_after(error.response))
        if code in PROMPT_ERRORS:
            return CompletionError(f"The server refused the prompt ({code})")
        return LLMError(
            f"The server at {self.url} refused the request for model {self.chat.model!r} "
            f"({status}): {self._reason(error)}"
        )

    def _reason(self, error):
        """Give the server's words, without a key and no longer than a sentence or two."""
        body = error.body
        reason = body.get("message") if isinstance(body, dict) else body
        reason = " ".join(str(reason or error.message).split())
        return reason.replace(self.connection.api_key, "…")[:LONGEST_REASON]

    def _broken_off(self, error):
        cause = type(error.__cause__).__name__
        if cause.startswith("Connect"):
            detail = (
                f"No server answers at {self.url}: start it, wait until it is ready, or mend "
                "base_url"
            )
            return Retry("unreachable", detail)
        return Retry("server", f"The connection broke off ({cause})")


def _read(answer):
    """Read a completion out of the JSON of an answer."""
    try:
        choice = answer["choices"][0]
        text = without_thinking(choice["message"].get("content"))
        usage = answer.get("usage") or {}
        return Completion(
            text,
            int(usage.get("prompt_tokens") or 0),
            int(usage.get("completion_tokens") or 0),
            _first_probabilities(choice.get("logprobs")),
        )
    except (TypeError, KeyError, IndexError, AttributeError, ValueError):
        raise Retry("server", "The server's answer had not the form of a completion") from None


def _first_probabilities(logprobs):
    """Probabilities of the alternatives for the first token, where they were asked for."""
    tokens = (logprobs or {}).get("content") or []
    if not tokens:
        return None
    alternatives = tokens[0].get("top_logprobs") or tokens[:1]
    return {token["token"]: math.exp(token["logprob"]) for token in alternatives}


def _retry_after(response):
    """Seconds the server asks to wait; None where it does not say."""
    headers = response.headers
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        value = headers.get(name)
        if value is None:
            continue
        with contextlib.suppress(ValueError):
            return max(0.0, float(value) * unit)
        with contextlib.suppress(ValueError, TypeError):
            return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    return None


def _known_options():
    from openai.resources.chat.completions import AsyncCompletions

    return set(inspect.signature(AsyncCompletions.create).parameters) - NOT_OPTIONS
