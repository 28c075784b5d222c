"""Which of two headlines for one story is read more, and why? Offline, without a key.

    python examples/headline_pairs.py

The headlines are made up, so that the effects are known: the table can be compared with what
was planted. Put two columns of your own texts, and which of them won, in their place.
"""

import argparse

from sklearn_hypsae import HypothesisGenerator, make_hypothesis_pipeline
from sklearn_hypsae.datasets import make_planted_pairs


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n-pairs", type=int, default=600)
    args = parser.parse_args()

    tested = make_planted_pairs(args.n_pairs, effect_size=1.5, random_state=0)
    pipeline = make_hypothesis_pipeline(M=32, K=4, n_hypotheses=6, random_state=0)
    pipeline.set_params(sae__target_coef=0.3)
    generator = HypothesisGenerator(pipeline, validation_size=0.4, random_state=0)
    generator.fit(tested.pairs, tested.y)

    print(generator.to_markdown())
    print()
    for sentence in generator.sentences(subject="Headlines"):
        print(sentence)

    print("\nPlanted, as log-odds of winning for a headline that alone has the concept:")
    for name, effect in zip(tested.concept_names, tested.coef, strict=True):
        print(f"  {effect:+.1f}  {name}")

    print("\nPairs in which the headline that the first hypothesis applies to wins or loses:")
    shown = generator.get_hypothesis_info(0, tested.pairs, tested.y, n_texts=2)["texts"]
    for kind, pairs in shown.items():
        for with_it, other in pairs:
            print(f"  {kind:>5}: {with_it}\n         against: {other}")

    swapped = tested.pairs[["headline_b", "headline_a"]].set_axis(tested.pairs.columns, axis=1)
    again = HypothesisGenerator(pipeline, validation_size=0.4, random_state=0)
    again.fit(swapped, 1 - tested.y)
    is_same = again.to_markdown(digits=6) == generator.to_markdown(digits=6)
    print(f"\nThe same table with all headlines swapped: {'yes' if is_same else 'no'}.")


if __name__ == "__main__":
    main()
