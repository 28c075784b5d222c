"""From what a user passes as ``llm`` to a client."""

from .openai_chat import OpenAIChat


def chat_model(llm):
    """Give the client that a name stands for.

    Parameters
    ----------
    llm : str or client
        "openai:NAME" or a bare name is :class:`OpenAIChat`. Other prefixes belong to the
        name: Ollama's models are called "llama3:8b".

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
    if backend == "openai":
        return OpenAIChat(model)
    if backend == "vllm":
        raise ValueError(
            f"The model {llm!r} asks for vLLM in process, which this version does not have: start "
            'vllm serve and give OpenAIChat(model, base_url="http://127.0.0.1:8000/v1").'
        )
    return OpenAIChat(llm)
