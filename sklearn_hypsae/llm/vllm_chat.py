"""vLLM in this process: no server, no requests over a network."""

import inspect
import json
import math
import threading
from numbers import Integral

from .._optional import import_optional
from ._hiding import secret_in, shown
from ._openai_protocol import answer_schema, choosing_token
from .base import (
    ChatModel,
    Completion,
    CompletionError,
    LLMError,
    if_finished,
    without_thinking,
)

# Engines by what they were started with, so that copies of a client share one: a model takes
# minutes to load and most of the memory there is.
_ENGINES = {}
# What a chat template may add to a prompt.
TEMPLATE_TOKENS = 64
SECONDS_TO_CLOSE = 1.0
_LOCK = threading.Lock()


class VLLMChat(ChatModel):
    """Chat with a model that vLLM runs in this process.

    The model is loaded when the first request comes, stays loaded for all copies of the
    client, and is released by :meth:`close` or at the end of a ``with`` block. Prefixes that
    prompts share are computed once.

    Parameters
    ----------
    model : str
        A name on the hub or a folder.

    engine : dict, default=None
        Arguments for ``vllm.LLM``, such as ``{"max_model_len": 8192,
        "gpu_memory_utilization": 0.8, "tensor_parallel_size": 2}``.

    structured : bool, default=True
        Whether to hold answers to the form asked for. A model then cannot think before it
        answers: turn this off for one that should.

    chat_template : dict, default=None
        Arguments for the model's chat template, such as ``{"enable_thinking": False}``.

    batch_size : int, default=1024
        Prompts handed to vLLM at a time; answers are kept batch by batch.

    **options
        Further arguments for ``vllm.SamplingParams``: ``temperature``, ``top_p``,
        ``max_tokens`` (None, the default: as far as the context goes), ``seed``.

    Examples
    --------
    >>> from sklearn_hypsae.llm import VLLMChat
    >>> VLLMChat("Qwen/Qwen3-8B", temperature=0.0)
    VLLMChat('Qwen/Qwen3-8B', temperature=0.0)
    """

    def __init__(
        self,
        model,
        *,
        engine=None,
        structured=True,
        chat_template=None,
        batch_size=1024,
        **options,
    ):
        self.model = model
        self.engine = engine
        self.structured = structured
        self.chat_template = chat_template
        self.batch_size = batch_size
        self.options = options

    def check(self):
        """Raise what is wrong before a model is loaded.

        Raises
        ------
        ImportError
            If vLLM is not installed.

        ValueError
            If the model is no string, or an option is unknown.
        """
        vllm = import_optional("vllm", purpose="VLLMChat", extra="vllm")
        if not isinstance(self.model, str) or not self.model:
            raise ValueError("VLLMChat needs a model, a name on the hub or a folder, as a string.")
        unknown = set(self.options) - set(inspect.signature(vllm.SamplingParams).parameters)
        if unknown:
            raise ValueError(
                f"VLLMChat got the unknown option {sorted(unknown)[0]!r}: options are those of "
                "vllm.SamplingParams; arguments of vllm.LLM go into engine={...}."
            )
        secret = secret_in(self.engine)
        if secret is not None:
            raise ValueError(
                f"VLLMChat takes no secret in engine, where {secret!r} would be kept and "
                "pickled: set an environment variable, which for the hub's token is HF_TOKEN."
            )
        if not isinstance(self.batch_size, Integral) or self.batch_size < 1:
            raise ValueError(
                f"VLLMChat got batch_size={self.batch_size!r}: it has to be a whole number, at "
                "least 1."
            )

    def complete(self, requests, monitor=None):
        """Answer each request; see :meth:`ChatModel.complete`.

        Parameters
        ----------
        requests : list of Request

        monitor : ignored

        Returns
        -------
        outcomes : list of Completion or CompletionError
        """
        if not requests:
            return []
        self.check()
        engine = self._start()
        room = engine.llm_engine.model_config.max_model_len
        tokenizer = engine.get_tokenizer()
        outcomes, fitting = [None] * len(requests), []
        for position, request in enumerate(requests):
            # One prompt beyond the context would make vLLM refuse the whole batch.
            if len(tokenizer.encode(request.prompt)) >= room - TEMPLATE_TOKENS:
                outcomes[position] = CompletionError(f"The prompt is longer than {room} tokens")
            else:
                fitting.append(position)
        try:
            answers = engine.chat(
                [[{"role": "user", "content": requests[i].prompt}] for i in fitting],
                [self._sampling(requests[i]) for i in fitting],
                use_tqdm=False,
                chat_template_kwargs=self.chat_template,
            )
        except KeyboardInterrupt:
            # What it has begun would be in the way of whatever is asked next. vLLM takes
            # seconds to end, which whoever pressed Ctrl-C need not wait for.
            closing = threading.Thread(target=self.close)
            closing.start()
            closing.join(SECONDS_TO_CLOSE)
            raise
        for position, answer in zip(fitting, answers, strict=True):
            outcomes[position] = _read(answer, requests[position])
        return outcomes

    def identity(self):
        """Backend, model and options; see :meth:`ChatModel.identity`.

        Returns
        -------
        identity : dict
        """
        return {"backend": "VLLMChat", **{k: v for k, v in vars(self).items() if k != "batch_size"}}

    def close(self):
        """Release the model and its memory; the next request loads it again."""
        with _LOCK:
            engine = _ENGINES.pop(self._engine_key(), None)
        if engine is not None:
            engine.llm_engine.engine_core.shutdown()

    def __enter__(self):
        """Use the client in a with statement."""
        return self

    def __exit__(self, *exception):
        """Release the model at the end of it."""
        self.close()

    def __repr__(self):
        """Show the model and what differs from the defaults, without what may be a secret."""
        parts = [repr(self.model)]
        for name, parameter in inspect.signature(type(self)).parameters.items():
            if name not in ("model", "options") and parameter.default != getattr(self, name):
                parts.append(f"{name}={shown(name, getattr(self, name))!r}")
        parts += [f"{name}={shown(name, value)!r}" for name, value in self.options.items()]
        return f"{type(self).__name__}({', '.join(parts)})"

    def _engine_key(self):
        return json.dumps([self.model, self.engine or {}], sort_keys=True, default=repr)

    def _start(self):
        vllm = import_optional("vllm", purpose="VLLMChat", extra="vllm")
        key = self._engine_key()
        with _LOCK:
            if key not in _ENGINES:
                arguments = {"enable_prefix_caching": True, **(self.engine or {})}
                try:
                    _ENGINES[key] = vllm.LLM(model=self.model, **arguments)
                except Exception as error:
                    reason = " ".join(str(error).split())[:300] or type(error).__name__
                    raise LLMError(
                        f"vLLM could not load the model {self.model!r}: {reason}"
                    ) from error
            return _ENGINES[key]

    def _sampling(self, request):
        vllm = import_optional("vllm", purpose="VLLMChat", extra="vllm")
        options = {"max_tokens": None, **dict(request.options), **self.options}
        if options.pop("logprobs", False):
            options["logprobs"] = options.pop("top_logprobs", 1)
        if self.structured and request.choices:
            options["structured_outputs"] = _form(request)
        return vllm.SamplingParams(**options)


def _form(request):
    sampling = import_optional("vllm.sampling_params", purpose="VLLMChat", extra="vllm")
    if request.n_items:
        return sampling.StructuredOutputsParams(json=answer_schema(request))
    return sampling.StructuredOutputsParams(choice=list(request.choices))


def _read(answer, request):
    """Turn one output of vLLM into a completion; as with a server, none that was cut off."""
    output = answer.outputs[0]
    text = without_thinking(output.text)
    if output.finish_reason == "length":
        text = if_finished(text, request)
    probabilities = None
    if output.logprobs:
        said = [
            options[token].decoded_token
            for token, options in zip(output.token_ids, output.logprobs, strict=True)
        ]
        chosen = output.logprobs[choosing_token(said, request.choices)].values()
        probabilities = {token.decoded_token: math.exp(token.logprob) for token in chosen}
    return Completion(
        text,
        len(answer.prompt_token_ids),
        len(output.token_ids),
        probabilities,
    )
