"""From what a user passes as ``llm`` to a client."""

from .openai_chat import OpenAIChat
from .vllm_chat import VLLMChat

BACKENDS = {"openai": OpenAIChat, "vllm": VLLMChat}


def chat_model(llm):
    """Give the client that a name stands for.

    Parameters
    ----------
    llm : str or client
        "openai:NAME" or a bare name is :class:`OpenAIChat`, "vllm:NAME" is
        :class:`VLLMChat`. Other prefixes belong to the name: Ollama's models are called
        "llama3:8b".

    Returns
    -------
    client : ChatModel

    Examples
    --------
    >>> from sklearn_hypsae.llm.names import chat_model
    >>> chat_model("openai:gpt-5-mini")
    OpenAIChat('gpt-5-mini')
    """
    if not isinstance(llm, str):
        return llm
    backend, _, model = llm.partition(":")
    if backend in BACKENDS and model:
        return BACKENDS[backend](model)
    return OpenAIChat(llm)
