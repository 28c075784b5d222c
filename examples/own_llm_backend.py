"""A language-model backend of one's own: any model that transformers can run, in this process.

A backend needs ``complete``: requests in, one completion or error each out, in order. Cache,
budgets, counting, and asking again where an answer is not in its form, come with it.

    python examples/own_llm_backend.py HuggingFaceTB/SmolLM2-1.7B-Instruct
"""

import sys

from sklearn_hypsae import LLMInterpreter
from sklearn_hypsae.llm import ChatModel, Completion


class TransformersChat(ChatModel):
    """Chat with a model in a transformers pipeline."""

    batch_size = 16

    def __init__(self, model, max_new_tokens=60):
        self.model = model
        self.max_new_tokens = max_new_tokens

    def complete(self, requests, monitor=None):
        """Answer each request."""
        from transformers import pipeline

        generate = pipeline("text-generation", model=self.model)
        completions = []
        for request in requests:
            messages = [{"role": "user", "content": request.prompt}]
            (output,) = generate(
                messages, max_new_tokens=self.max_new_tokens, return_full_text=False
            )
            completions.append(
                Completion(
                    output["generated_text"],
                    prompt_tokens=len(generate.tokenizer(request.prompt).input_ids),
                    completion_tokens=len(generate.tokenizer(output["generated_text"]).input_ids),
                )
            )
        return completions


if __name__ == "__main__":
    interpreter = LLMInterpreter(TransformersChat(sys.argv[1]), hypotheses=["mentions an animal"])
    print(interpreter.fit_transform(["My dog barked all night.", "The soup was cold."]))
    print(interpreter.usage_)
