"""Language models: one small interface, one file per backend, cache, usage and prompts."""

from .base import ChatModel, Completion, CompletionError, LLMError, Monitor, Request
from .cache import AnswerCache
from .cost import estimate_cost
from .openai_batch import OpenAIBatch
from .openai_chat import OpenAIChat
from .vllm_chat import VLLMChat

__all__ = [
    "AnswerCache",
    "ChatModel",
    "Completion",
    "CompletionError",
    "LLMError",
    "Monitor",
    "OpenAIBatch",
    "OpenAIChat",
    "Request",
    "VLLMChat",
    "estimate_cost",
]
