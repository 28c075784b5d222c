"""Words for made-up headlines: stories, and fragments that carry a concept."""

from typing import NamedTuple


class Concept(NamedTuple):
    """Something that a headline does or does not do.

    Attributes
    ----------
    statement : str
        As a hypothesis about a text.

    valence : int
        Sign of the effect that an editor would expect.

    fragments : tuple of str
        Ways to do it.
    """

    statement: str
    valence: int
    fragments: tuple


CONCEPTS = (
    Concept(
        "asks the reader a question",
        -1,
        (
            "would anyone else have done that?",
            "is this what we wanted?",
            "who would have guessed?",
            "should others do likewise?",
            "does it change anything?",
        ),
    ),
    Concept(
        "promises a surprise",
        1,
        (
            "the ending is a shock",
            "nobody saw the twist coming",
            "prepare to be astonished",
            "what came next stunned everyone",
            "the unexpected reply says it all",
        ),
    ),
    Concept(
        "appeals to emotions",
        1,
        (
            "get the tissues ready",
            "it brought the room to tears",
            "a heartbreaking moment",
            "impossible to watch without crying",
            "it melts the coldest heart",
        ),
    ),
    Concept(
        "refers to an expert or a study",
        -1,
        (
            "researchers explain why",
            "a study backs it up",
            "according to a professor",
            "scientists have the figures",
            "an analyst weighs in",
        ),
    ),
    Concept(
        "mentions pictures or a video",
        1,
        (
            "watch the video",
            "the photos are here",
            "caught on camera",
            "see it in pictures",
            "with footage",
        ),
    ),
    Concept(
        "says that it is urgent",
        -1,
        (
            "act before midnight",
            "time is running out",
            "there is no day to lose",
            "the deadline is close",
            "hurry, it ends soon",
        ),
    ),
)

WHO = """
a school janitor|a retired nurse|two teenagers|a bus driver|the mayor|a young farmer|a librarian
|three neighbours|a former boxer|the night baker|a shy pianist|a lighthouse keeper|a taxi driver
|twin sisters|a street painter|a history teacher|the oldest postman|a fisherman|a beekeeper
|an unemployed welder|a choir|a football coach|a vet|the village doctor
"""
DID = """
{paid} the lunch debts of a school|{built} a bridge from scrap|{found} a wallet and gave it back
|{planted} nine hundred trees|{taught} refugees to swim|{opened} a free kitchen|{saved} a frozen
river|{wrote} to every soldier|{repaired} bicycles for orphans|{sold} a house for a stranger
|{walked} across the desert|{returned} a stolen statue|{turned} a prison into a theatre
|{raised} money for a playground|{rescued} a stranded whale|{counted} every bird in town
|{restored} an old cinema|{invented} a cheaper wheelchair
"""
VERBS = {
    "paid": ("paid", "settled"),
    "built": ("built", "put up"),
    "found": ("found", "came across"),
    "planted": ("planted", "set"),
    "taught": ("taught", "trained"),
    "opened": ("opened", "started"),
    "saved": ("saved", "cleaned"),
    "wrote": ("wrote", "sent letters"),
    "repaired": ("repaired", "mended"),
    "sold": ("sold", "gave up"),
    "walked": ("walked", "hiked"),
    "returned": ("returned", "brought back"),
    "turned": ("turned", "made"),
    "raised": ("raised", "collected"),
    "rescued": ("rescued", "freed"),
    "counted": ("counted", "listed"),
    "restored": ("restored", "revived"),
    "invented": ("invented", "designed"),
}
WHERE = """
Aberdeen|Bruges|Cadiz|Dresden|Esbjerg|Ferrara|Galway|Halifax|Innsbruck|Jena|Kiruna|Lyon|Malmo
|Nantes|Oulu|Porto|Quebec|Riga|Salem|Trieste|Utrecht|Verona|Windsor|York|Zagreb
"""
WHEN = """
on Monday|on Tuesday|on Wednesday|on Thursday|on Friday|on Saturday|on Sunday|this spring
|this summer|this autumn|this winter|last week|last month|last year|overnight|at dawn
"""


def alternatives(words):
    """Split a list of words by its bars."""
    return [" ".join(word.split()) for word in words.split("|")]
