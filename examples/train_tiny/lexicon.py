"""The words of the stories: classes of equally likely words, with their forms and dependent lists."""

from __future__ import annotations

from .grammar import Entry

_BOYS = """Tom Ben Joe Sam Max Leo Tim Jack Finn Noah Oscar Hugo Adam Paul Luke Owen Felix Peter Oliver Simon
Theo David Henry Carl"""
_GIRLS = """Mia Anna Lily Sue Emma Ella Zoe Kate Nora Ruth Clara Alice Lucy Ivy Jane Molly Sara Amy Eva Rosa
Grace Julia Maria Hannah"""

# thing: three things that one may want to do with it
_THINGS = """
ball: kick throw roll
kite: fly hold mend
doll: hug dress hold
drum: hit play carry
bell: ring shake clean
book: read open borrow
map: read fold study
key: turn keep hide
box: open carry lift
lamp: light clean fix
boat: sail row paint
rope: pull climb cut
ladder: climb lift move
basket: fill carry lift
bucket: fill carry wash
apple: eat share pick
pear: eat share peel
cake: eat cut share
pie: eat bake share
bowl: fill carry wash
loaf: bake cut share
carrot: eat peel pull
pumpkin: carve roll lift
flower: smell pick water
rose: smell pick water
leaf: keep hold press
stone: throw keep roll
shell: keep hold clean
feather: keep hold hide
stick: throw break hold
nest: watch guard draw
hat: wear borrow clean
scarf: wear fold wash
coat: wear wash mend
shoe: wear clean tie
crown: wear polish hide
ring: wear polish hide
coin: keep polish hide
mirror: clean polish move
clock: wind fix hear
chair: move paint fix
table: move paint clean
gate: open close paint
bench: move paint fix
swing: push fix try
wagon: pull push fix
bike: ride push fix
sled: pull ride fix
train: ride watch hear
piano: play hear move
guitar: play tune hold
flute: play clean hear
letter: read open write
picture: draw paint hang
candle: light hold buy
lantern: light carry hang
puzzle: solve finish share
blanket: fold wash share
statue: clean touch draw
flag: wave hold raise
"""

# what one can lose
_TOYS = """ball kite doll drum bell book map key lamp rope hat scarf coat shoe crown ring coin mirror flute
letter picture lantern blanket flag"""

# place: eight things that can be there
_PLACES = """
park: ball kite bench swing bike statue stick leaf
garden: flower rose carrot pumpkin bucket gate ladder stone
forest: feather leaf stick stone nest rope lantern map
kitchen: cake pie bowl loaf table chair apple basket
village: bell gate flag drum wagon loaf clock statue
barn: wagon rope ladder bucket pumpkin lantern basket blanket
attic: mirror clock doll hat coat letter picture box
castle: crown ring coin mirror flag key candle statue
market: pear apple loaf hat scarf basket carrot candle
school: book map puzzle picture bell drum flute chair
library: book letter map lamp table clock puzzle picture
field: kite pumpkin wagon stone feather flower stick flag
meadow: flower kite feather nest rose ball blanket leaf
cave: coin key shell lantern rope box stone map
zoo: train flag bench hat picture gate ball bell
city: train clock statue bike bell lamp piano guitar
shop: doll ball drum lamp mirror shoe hat puzzle
yard: swing sled bike ball wagon ladder bucket bench
museum: crown statue picture map clock boat drum coin
orchard: apple pear ladder basket nest wagon leaf rope
harbour: boat flag rope shell bell lantern box coin
valley: flower stone nest feather sled kite bell gate
theatre: piano flute guitar drum candle crown scarf mirror
hall: piano candle table chair lamp letter key coat
"""

# animal: where it lives, what it likes to eat
_ANIMALS = """
dog bones house
cat fish house
rabbit carrots burrow
mouse cheese hole
bear honey cave
fox berries den
bird seeds nest
duck bread pond
frog flies pond
horse hay stable
cow grass barn
goat leaves hill
sheep clover meadow
pig corn barn
hen grain yard
lion meat den
monkey bananas tree
squirrel nuts tree
turtle melon pond
hedgehog worms garden
"""


def _words(kind: str, text: str) -> tuple[Entry, ...]:
    return tuple(Entry(word, kind) for word in text.split())


def _names(text: str, role: str, he: str, him: str, his: str) -> tuple[Entry, ...]:
    forms = {"role": role, "he": he, "He": he.capitalize(), "him": him, "his": his, "His": his.capitalize()}
    return tuple(Entry(word, "NAME", forms) for word in text.split())


def _things() -> dict[str, Entry]:
    found = {}
    for line in _THINGS.strip().splitlines():
        word, verbs = line.split(":")
        found[word] = Entry(word, "THING", {}, {"verbs": _words("USE", verbs)})
    return found


def _classes() -> dict[str, tuple[Entry, ...]]:
    boys = _names(_BOYS, "boy", "he", "him", "his")
    girls = _names(_GIRLS, "girl", "she", "her", "her")
    sexes = tuple(
        Entry(role, "SEX", names[0].forms, {"names": names})
        for role, names in (("boy", boys), ("girl", girls))
    )
    things = _things()
    places = []
    for line in _PLACES.strip().splitlines():
        word, inside = line.split(":")
        places.append(Entry(word, "PLACE", {}, {"things": tuple(things[thing] for thing in inside.split())}))
    animals = []
    for line in _ANIMALS.strip().splitlines():
        word, food, home = line.split()
        animals.append(Entry(word, "ANIMAL", {"food": food, "home": home}))
    return {
        "NAME": boys + girls,
        "SEX": sexes,
        "THING": tuple(things.values()),
        "PLACE": tuple(places),
        "ANIMAL": tuple(animals),
        "TOY": tuple(things[thing] for thing in _TOYS.split()),
    }


STORY_CLASSES: dict[str, tuple[Entry, ...]] = {
    **_classes(),
    **{
        kind: _words(kind, text)
        for kind, text in {
            "TRAIT": """kind brave clever shy lazy funny gentle curious happy quiet proud cheerful careful
                        lucky friendly polite clumsy patient lively lonely""",
            "SIZE": "little small big tiny huge tall round wide narrow low large great",
            "COLOUR": "red blue green yellow white black brown pink purple golden silver grey",
            "LOOK": """new shiny dusty pretty strange lovely broken heavy dirty wooden magic soft plain rare
                       wet rusty""",
            "HOBBY": "sing dance swim paint read cook run jump climb draw skate sew",
            "PASTIME": """fish bake whistle laugh camp hike knit garden dream juggle wrestle sail row
                          ski surf sketch""",
            "HOMES": "house cottage hut cabin tower palace farm flat mill boat",
            "WEATHER": "sunny windy cloudy rainy snowy warm cold foggy stormy bright misty icy mild chilly",
            "PART": "morning afternoon evening day",
            "WENT": "went walked ran hurried wandered drove cycled strolled marched skipped jogged travelled",
            "RELATIVE": "mother father sister brother grandma grandpa aunt uncle cousin teacher",
            "FEEL": "sad angry tired scared worried upset bored nervous hungry thirsty jealous grumpy",
            "GOOD": "happy glad proud thankful pleased delighted joyful cheerful relieved merry",
            "CALM": "calm safe warm tired sleepy rested wise free strong healthy",
            "SPOT": "tree bush wall roof hedge rock fence bridge",
            "NEAR": "under near behind beside by below",
            "HOW": """quickly slowly carefully gently quietly softly loudly bravely eagerly calmly proudly
                      neatly politely patiently kindly secretly""",
            "EVER": "happily quietly safely bravely merrily peacefully gladly wisely",
            "FAULT": "heavy big old small cold dirty high loud slippery dark hot difficult",
            "SHOUT": "shouted called cried laughed whispered smiled waved nodded",
            "GIFT": """biscuit sandwich toffee balloon sweater necklace medal ticket sticker marble whistle
                       present lollipop postcard magnet chocolate""",
            "WHILE": "minutes hours days weeks",
            "NUMBER": "two three four five six seven eight nine ten",
            "DREAM": "stars dragons castles pirates clouds whales rockets giants",
            "VISION": "kings queens elephants rainbows fairies robots tigers mountains",
            "MEAL": "soup pizza rice pudding salad porridge stew curry pasta custard spaghetti chili",
            "BUILD": "snowman sandcastle treehouse raft robot birdhouse fire tunnel puppet castle",
            "TOOL": "hammer spade broom saw brush bucket",
            "SPARE": "ladder rope wheel blanket plank barrel hose pole",
            "FRUIT": """apples pears plums lemons cherries grapes onions potatoes tomatoes mushrooms beans
                        eggs""",
            "TASTE": "sweet sour salty spicy sticky thick",
            "FLAVOUR": "tasty bitter crisp creamy hot fresh",
            "CHARM": "wonderful lovely perfect busy long beautiful special magic quiet merry",
            "NIGHT": "night evening",
            "CRY": "cry shake hide shiver whine sigh complain cough limp sneeze",
        }.items()
    },
}
