"""The words that make_planted_texts builds restaurant reviews from.

A concept is written in many ways that share no single word, and a slot in braces is filled at
random, so that no keyword gives a concept away. Distractors say nothing about any concept.
"""

from typing import NamedTuple


class Concept(NamedTuple):
    """One thing that a review can say.

    Attributes
    ----------
    statement : str
        The concept as a hypothesis about a text.

    valence : {-1, 1}
        Whether guests like it.

    sentences : tuple of str
        Ways to say it, with slots.
    """

    statement: str
    valence: int
    sentences: tuple[str, ...]


SLOTS = {
    "long_time": (
        "forty minutes", "almost an hour", "well over an hour", "ages", "half the evening",
        "a good fifty minutes",
    ),
    "someone": ("our waiter", "the waitress", "the man who served us", "a server", "the host"),
    "boss": ("the owner", "the manager", "the hostess", "the person at the door", "the barman"),
    "dish": (
        "lamb stew", "risotto", "grilled trout", "chicken curry", "mushroom pie", "ramen",
        "steak", "lasagne", "noodle soup", "goulash", "burger", "roast duck",
    ),
    "starter": ("soup", "salad", "bread", "bruschetta", "terrine", "fish cake"),
    "company": (
        "my sister", "two colleagues", "an old friend", "my husband", "my wife", "my neighbour",
        "a friend from work", "my cousin",
    ),
    "weekday": ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"),
    "meal": ("lunch", "dinner", "supper", "an early dinner", "a late lunch"),
    "month": ("January", "March", "April", "June", "August", "October", "November"),
    "money": ("thirty dollars", "nearly forty euros", "twenty-eight pounds", "a small fortune"),
    "surface": ("table", "menu", "seat", "counter", "glass", "fork"),
    "child": ("our toddler", "my five-year-old", "the twins", "our two boys", "my little niece"),
    "street": ("the station", "the town hall", "the old market", "the bus stop", "the library"),
    "shop": ("a bookshop", "a bank", "a pharmacy", "a shoe shop", "a bicycle repair place"),
    "sweet": (
        "cheesecake", "chocolate tart", "lemon sorbet", "apple crumble", "tiramisu",
        "creme brulee", "almond cake", "pistachio ice cream",
    ),
    "lead": (
        *[""] * 20, "Honestly, ", "To be fair, ", "I should add that ",
        "As for the rest, ", "For what it is worth, ", "By the way, ", "Also, ", "This time ",
    ),
}  # fmt: skip

CONCEPTS = (
    Concept(
        "complains about slow service",
        -1,
        (
            "we waited {long_time} before anybody took our order",
            "{long_time} passed and the {dish} had still not left the kitchen",
            "it took {long_time} just to get a jug of water",
            "I had to ask three times before {someone} came back with the bill",
            "the {starter} was long gone by the time the mains finally turned up",
            "we sat down at seven and were only given plates at half past eight",
            "if you are in a hurry, do not come here, because nothing moves",
            "between the {starter} and the {dish} you could have read a newspaper",
            "{someone} forgot us in the corner for {long_time}",
            "getting anyone's attention was a test of patience",
            "the other table had come later, ate and left while our {dish} was still on its way",
        ),
    ),
    Concept(
        "praises large portions",
        1,
        (
            "the plates are enormous and we could not finish them",
            "one {dish} is easily enough for two people",
            "I took half of my {dish} home in a box and had it again the next day",
            "nobody leaves here hungry, they pile the food high",
            "the bowl of {dish} was as big as my head",
            "come with an empty stomach, the helpings are huge",
            "we ordered one {starter} to share and it fed all four of us",
            "they are very generous with the amount of food they serve",
            "I have a big appetite and even I gave up on the mountain of {dish}",
            "you get so much on your plate that a second course is out of the question",
        ),
    ),
    Concept(
        "mentions high prices",
        -1,
        (
            "{money} for a {dish} is simply too much",
            "the bill made us gasp",
            "you pay far more here than anywhere else around",
            "it is overpriced for what you get",
            "my wallet will need a month to recover",
            "they charge extra for the {starter}, which I find greedy",
            "for that amount of money I could have eaten twice elsewhere",
            "we spent {money} each and had not even had a coffee",
            "nothing on the menu is cheap, and the {dish} costs as much as a pair of shoes",
            "expect a steep total at the end of the evening",
        ),
    ),
    Concept(
        "says that the place suits children",
        1,
        (
            "{child} got crayons and a puzzle as soon as we sat down",
            "there is a corner with toys where {child} played happily",
            "they brought a high chair without being asked",
            "{child} loved the small pizza in the shape of a bear",
            "families are welcome and nobody minds a bit of shouting from the little ones",
            "the kids' menu is more than nuggets and chips",
            "there is a changing table in the bathroom and room for a pram",
            "{child} was allowed to watch the cooks roll out the dough",
            "a great spot for parents, since {child} had a playground to run around in",
            "{someone} made faces at the baby and warmed her bottle",
        ),
    ),
    Concept(
        "complains about noise",
        -1,
        (
            "we had to shout across the table to be heard",
            "the room echoes so badly that my ears were ringing afterwards",
            "you cannot hold a conversation in there",
            "it was so loud that {company} gave up talking",
            "the din from the bar next to us was unbearable",
            "chairs scrape, plates clatter, everybody yells, and the low ceiling makes it worse",
            "bring earplugs if you mean to sit near the kitchen door",
            "I understood half of what {company} said over the racket",
            "the deafening chatter gave me a headache",
            "a quiet evening is not what you will get, the volume is that of an airport",
        ),
    ),
    Concept(
        "praises the view or the outdoor seating",
        1,
        (
            "from the terrace you look straight over the water",
            "we sat outside under the old trees and watched the sun go down",
            "ask for a seat by the window, the whole valley lies in front of you",
            "the roof garden with its lanterns is lovely in the evening",
            "the panorama of the harbour alone is worth the trip",
            "there are tables in a courtyard full of flowers",
            "you can see the mountains while you eat",
            "their patio overlooks the river and its boats",
            "we had the best spot on the deck, with the skyline glowing across the bay",
            "eating in the open air between the vines was a delight",
        ),
    ),
    Concept(
        "says that the place is dirty",
        -1,
        (
            "my {surface} was sticky and had someone's crumbs on it",
            "the toilets had clearly not been cleaned for days",
            "there was a hair in my {dish}",
            "I wiped the {surface} myself because nobody else would",
            "a layer of grease covered the {surface}",
            "the floor was filthy, with old napkins under the chairs",
            "a cockroach ran along the wall while we were eating",
            "lipstick from another guest was still on my cup",
            "the bathroom smelled so bad that I washed my hands at home",
            "hygiene does not seem to be a priority, to judge by the stained tablecloth",
        ),
    ),
    Concept(
        "praises the vegetarian or vegan choice",
        1,
        (
            "there are plenty of dishes without meat",
            "as a vegan I had more to choose from than ever before",
            "half of the menu is plant-based and marked with a green leaf",
            "{company} does not eat animals and was delighted with the aubergine bake",
            "they swapped the chicken for tofu without any fuss",
            "the lentil loaf would convert any carnivore",
            "vegetarians are not fobbed off with a side salad here",
            "even the gravy comes in a version made from vegetables only",
            "the chickpea and pumpkin platter shows that you need no beef for a feast",
            "here is somebody who cooks cauliflower, beans and seitan with imagination",
        ),
    ),
    Concept(
        "complains about rude staff",
        -1,
        (
            "{someone} rolled his eyes when we asked a simple question",
            "{boss} snapped at us in front of everyone",
            "we were treated as if we were a nuisance",
            "not one person there smiled or said thank you",
            "{boss} told us to leave if we did not like it",
            "{someone} slammed the {dish} down and walked off",
            "when I pointed out a mistake, {boss} argued with me and called me a liar",
            "I have rarely met such arrogant people in a restaurant",
            "{someone} was short with {company} and downright unfriendly to me",
            "a little courtesy would not hurt the people who work here",
        ),
    ),
    Concept(
        "praises the desserts",
        1,
        (
            "leave room for the {sweet}, it is heavenly",
            "the {sweet} was the highlight of the night",
            "I still dream about that {sweet}",
            "whoever bakes their cakes is a genius",
            "we ordered a second {sweet} because the first was so good",
            "the pastry chef deserves a medal",
            "for something sweet at the end, nobody in town does it better",
            "the sugary finish, a warm {sweet}, made everyone at the table happy",
            "their puddings are made in the house and it shows",
            "my {sweet} melted on the tongue",
        ),
    ),
    Concept(
        "complains that the food arrived cold",
        -1,
        (
            "my {dish} was barely lukewarm when it came",
            "the middle of the {dish} was still frozen",
            "they had to put the {dish} back in the oven because it was stone cold",
            "by the first bite there was no heat left in the food at all",
            "the sauce had already set into a chilly skin",
            "I sent the {dish} back to be warmed up",
            "our plates must have stood by an open window, so cool was everything on them",
            "the {dish} had the temperature of a fridge",
            "nothing was hot, not even the tea",
            "the fat on the {dish} had gone hard and white",
        ),
    ),
    Concept(
        "mentions live music",
        1,
        (
            "a pianist played old standards all night",
            "there was a jazz trio in the corner",
            "a young woman with a guitar sang between the courses",
            "the band started at nine and people got up to dance",
            "an accordion player went from table to table",
            "on {weekday} evenings they put on a small concert",
            "the fiddler knew every tune that {company} asked for",
            "a local choir performed while we had our {dish}",
            "somebody sat down at the drums, and the saxophone joined in",
            "the singer had a voice that made the forks stop in mid-air",
        ),
    ),
)

DISTRACTORS = (
    "I went there on a {weekday} with {company}",
    "we had booked a table for {meal}",
    "it was our first visit",
    "the place is next to {shop}",
    "it is a short walk from {street}",
    "I had the {dish} and {company} had the {dish}",
    "we started with the {starter}",
    "{company} had read about it in a magazine",
    "the menu changes every few weeks",
    "they opened in {month}, if I remember rightly",
    "it had been raining since the morning",
    "I come through this part of town about once a year",
    "we talked about {company} and the summer plans",
    "the walls are painted a dark green",
    "there are some twenty tables in two rooms",
    "we chose the {dish} because it was the special of the day",
    "they take cards as well as cash",
    "I wore my new coat that evening",
    "the restaurant used to be {shop}",
    "it was {company} who picked the place",
    "we were in town for a conference in {month}",
    "the {dish} comes with a side of rice or potatoes",
    "the name of the place is hard to spell",
    "afterwards we took the tram back to the hotel",
    "there was a football match that night",
    "I had walked past it many times on my way to {street}",
    "they close on {weekday}s",
    "{company} ordered the {starter} and the {dish}",
    "the tables are made of wood and the lamps of brass",
    "the website lists the opening hours for {month}",
)

OPENERS = (
    "",
    "",
    "A few words about last {weekday}.",
    "Visited in {month}.",
    "This is about {meal} on a {weekday}.",
    "My notes from {month}.",
    "Where to begin?",
)
