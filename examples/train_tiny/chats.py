"""The rules of the chats: short questions with short answers, in the form of the chat template."""

from __future__ import annotations

from .grammar import Entry, Grammar
from .lexicon import STORY_CLASSES

TURN, SEPARATOR, END = "<|im_start|>", "<|im_sep|>", "<|im_end|>"

_COLOURS = """grass green
snow white
milk white
coal black
blood red
chocolate brown
butter yellow
gold yellow
ink blue
honey golden
salt white
ash grey
mud brown
mustard yellow
ketchup red
spinach green"""

_BODIES = """lemon yellow
banana yellow
tomato red
cherry red
strawberry red
frog green
cucumber green
crow black
swan white
cloud white
flamingo pink
carrot orange
pumpkin orange
plum purple
mouse grey
sunflower yellow"""

_SOUNDS = """cow moo
dog woof
cat meow
duck quack
sheep baa
horse neigh
pig oink
frog croak
lion roar
mouse squeak
bird tweet
bee buzz
snake hiss
hen cluck
wolf howl
bear growl"""

_OPPOSITES = """hot cold
big small
fast slow
old new
happy sad
high low
light dark
wet dry
full empty
hard soft
long short
open closed
loud quiet
early late
left right
strong weak"""

_PLACES = """fish water
bird nest
bee hive
horse stable
cow barn
fox den
rabbit burrow
bear cave
king castle
lion den
monkey jungle
camel desert
whale sea
frog pond
spider web
farmer farm"""

_JOBS = """teacher teaches children
baker bakes bread
farmer grows corn
doctor helps people
pilot flies planes
sailor sails ships
painter paints pictures
tailor sews clothes
gardener plants flowers
cook cooks meals
driver drives cars
dentist mends teeth
singer sings songs
writer writes books
builder builds houses
dancer dances ballet"""

_NUMBERS = (  # of the sums
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
)
_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


def _pairs(kind: str, text: str) -> tuple[Entry, ...]:
    entries = []
    for line in text.splitlines():
        first, second = line.split()
        forms = {"Upper": first.capitalize(), "is": second, "Is": second.capitalize()}
        entries.append(Entry(first, kind, forms))
    return tuple(entries)


def _jobs() -> tuple[Entry, ...]:
    return tuple(
        Entry(job, "JOB", {"does": does, "what": what})
        for job, does, what in (line.split() for line in _JOBS.splitlines())
    )


def _sums() -> tuple[Entry, ...]:
    """Return the first summands; each holds the second ones, each of which knows the sum."""
    found = []
    for a in range(1, 7):
        seconds = tuple(
            Entry(_NUMBERS[b], "SECOND", {"sum": _NUMBERS[a + b], "Sum": _NUMBERS[a + b].capitalize()})
            for b in range(1, 7)
        )
        found.append(Entry(_NUMBERS[a], "FIRST", {"Upper": _NUMBERS[a].capitalize()}, {"seconds": seconds}))
    return tuple(found)


def _days() -> tuple[Entry, ...]:
    return tuple(
        Entry(day, "WEEKDAY", {"next": _DAYS[(i + 1) % 7], "before": _DAYS[(i - 1) % 7]})
        for i, day in enumerate(_DAYS)
    )


CHAT_CLASSES: dict[str, tuple[Entry, ...]] = {
    **STORY_CLASSES,
    "STUFF": _pairs("STUFF", _COLOURS),
    "BODY": _pairs("BODY", _BODIES),
    "VOICE": _pairs("VOICE", _SOUNDS),
    "OPPOSITE": _pairs("OPPOSITE", _OPPOSITES),
    "DWELLER": _pairs("DWELLER", _PLACES),
    "JOB": _jobs(),
    "FIRST": _sums(),
    "WEEKDAY": _days(),
}

_USER = f"{TURN} user {SEPARATOR}"
_REPLY = f"{END} {TURN} assistant {SEPARATOR}"

CHAT_RULES: dict[str, list[str]] = {
    "chat": [
        "8* @fact",
        "4* @fact @fact",
        "2* @greeting",
        "1* @greeting @fact",
        "1* @intro @recall",
        "1* @intro @fact @recall",
        "2* @tell",
        "1* @thanks",
        f"2* {TURN} system {SEPARATOR} You are a [helpful|friendly|kind] [assistant|teacher|friend] . {END} "
        "@fact",
    ],
    "fact": [
        "3* @colour",
        "2* @body",
        "2* @voice",
        "2* @opposite",
        "2* @home",
        "2* @job",
        "2* @sum",
        "1* @day",
        "1* @name",
    ],
    "greeting": [
        f"{_USER} [hi|Hi|hello|Hello|hey|Hey] @stop {_REPLY} [Hello|Hi] ! How can I help you ? {END}",
        f"{_USER} [How are you|How do you do] ? {_REPLY} I am [fine|well|happy] , thank you . {END}",
    ],
    "stop": ["[.|!]", "there [.|!]", ""],
    "thanks": [
        f"{_USER} [Thank you|Thanks] [.|!] {_REPLY} You are welcome [.|!] {END}",
        f"{_USER} [Goodbye|Bye] [.|!] {_REPLY} Goodbye ! Have a nice day . {END}",
    ],
    "intro": [
        f"{_USER} [My name is|I am] {{person=NAME}} . {_REPLY} Hello , {{person}} ! "
        f"[Nice to meet you [.|!]|How can I help you ?] {END}",
    ],
    "recall": [
        f"{_USER} [What is my name|Who am I] ? {_REPLY} [Your name is|You are] {{person}} . {END}",
    ],
    "name": [
        f"{_USER} [Who are you|What is your name|What are you] ? "
        f"{_REPLY} I am a [tiny|little|small] model . {END}",
    ],
    "colour": [
        f"{_USER} What [colour|color] is {{stuff=STUFF}} ? {_REPLY} @stuff {END}",
        f"{_USER} Is {{stuff=STUFF}} {{COLOUR}} ? {_REPLY} @stuff {END}",
    ],
    "stuff": ["3* {stuff.Upper} is {stuff.is} .", "1* It is {stuff.is} .", "1* {stuff.Is} ."],
    "body": [
        f"{_USER} What [colour|color] is a {{body=BODY}} ? "
        f"{_REPLY} [3* A {{body}} is|It is] {{body.is}} . {END}",
    ],
    "voice": [
        f"{_USER} What [sound does a {{voice=VOICE}} make|does a {{voice=VOICE}} say] ? "
        f"{_REPLY} [3* A {{voice}} says|It says] {{voice.is}} . {END}",
    ],
    "opposite": [
        f"{_USER} What is the opposite of {{opposite=OPPOSITE}} ? "
        f"{_REPLY} [3* The opposite of {{opposite}} is {{opposite.is}}|It is {{opposite.is}}] . {END}",
    ],
    "home": [
        f"{_USER} Where does a {{dweller=DWELLER}} live ? "
        f"{_REPLY} [3* A {{dweller}} lives|It lives] in the {{dweller.is}} . {END}",
    ],
    "job": [
        f"{_USER} What does a {{job=JOB}} do ? {_REPLY} A {{job}} {{job.does}} {{job.what}} . {END}",
    ],
    "sum": [
        f"{_USER} [What is|How much is] {{first=FIRST}} [plus|and] {{second=first.seconds}} ? "
        f"{_REPLY} [3* {{first.Upper}} plus {{second}} is {{second.sum}}|It is {{second.sum}}|"
        f"{{second.Sum}}] . {END}",
    ],
    "day": [
        f"{_USER} [What|Which] day comes after {{day=WEEKDAY}} ? "
        f"{_REPLY} {{day.next}} comes after {{day}} . {END}",
        f"{_USER} [What|Which] day comes before {{day=WEEKDAY}} ? "
        f"{_REPLY} {{day.before}} comes before {{day}} . {END}",
    ],
    "tell": [
        f"{_USER} [Tell me|Please tell me] a story about a {{animal=ANIMAL}} . {_REPLY} "
        "Once upon a time there was a {TRAIT} {animal} named {hero=NAME} . {hero.He} lived in the {PLACE} "
        f"and loved to {{HOBBY}} and {{PASTIME}} . {{hero}} was {{GOOD}} and {{CALM}} . {END}",
    ],
}


def chat_grammar() -> Grammar:
    """Return the grammar of the chats."""
    return Grammar(CHAT_CLASSES, CHAT_RULES, "chat")
