"""Language models: one small interface, one file per backend, cache, usage and prompts."""

from .base import ChatModel, Completion, CompletionError, LLMError, Monitor, Request
from .cache import AnswerCache
from .cost import estimate_cost
from .openai_chat import OpenAIChat

__all__ = [
    "AnswerCache",
    "ChatModel",
    "Completion",
    "CompletionError",
    "LLMError",
    "Monitor",
    "OpenAIChat",
    "Request",
    "estimate_cost",
]
