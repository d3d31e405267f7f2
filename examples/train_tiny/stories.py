"""The rules of the stories: who, what happens, how it ends. Text and plots are our own."""

from __future__ import annotations

from .grammar import Grammar
from .lexicon import STORY_CLASSES

STORY_RULES: dict[str, list[str]] = {
    "story": ["@opening @plot"],
    "opening": [
        "4* Once upon a time there was a {TRAIT} {sex=SEX} named {hero=sex.names} . @habit",
        "2* Once upon a time a {TRAIT} {sex=SEX} named {hero=sex.names} lived in a {SIZE} {HOMES} . @habit",
        "3* {hero=NAME} was a {TRAIT} {hero.role} . @habit",
        "3* {hero=NAME} loves to {HOBBY} . {hero.He} is a {TRAIT} {hero.role} .",
        "2* {hero=NAME} lived in a {SIZE} {HOMES} with {hero.his} {RELATIVE} . @habit",
        "1* Long ago there lived a {TRAIT} {sex=SEX} named {hero=sex.names} . @habit",
    ],
    "habit": [
        "3* {hero.He} loved to {HOBBY} and {PASTIME} .",
        "2* {hero.He} liked to {HOBBY} with {hero.his} {RELATIVE} .",
        "2* {hero.His} {RELATIVE} taught {hero.him} to {PASTIME} .",
        "2* {hero.He} had a {TRAIT} {COLOUR} {pet=ANIMAL} .",
        "2* {hero.He} often dreamed about {DREAM} and {VISION} .",
        "1* {hero.He} was {NUMBER} years old .",
    ],
    "when": [
        "3* One {WEATHER} {PART}",
        "1* One {PART}",
        "1* Early one {WEATHER} {PART}",
    ],
    "plot": ["3* @find", "2* @animal", "2* @build", "2* @lost", "2* @cook"],
    "find": [
        "@when {hero} {WENT} to the {place=PLACE} . There {hero.he} saw a {LOOK} {COLOUR} "
        "{thing=place.things} {NEAR} a {SIZE} {SPOT} . {hero} wanted to {use=thing.verbs} the {thing} , "
        "@obstacle",
    ],
    "obstacle": [
        "3* but it was too {FAULT} . Then {friend=NAME} came and helped {hero.him} {HOW} . @together",
        "2* but it belonged to {friend=NAME} . So {hero.he} asked {HOW} , and {friend} {SHOUT} and said "
        "yes . @together",
        "1* but {hero.he} was too {FEEL} . So {hero.his} friend {friend=NAME} gave {hero.him} a {GIFT} . "
        "@together",
        "2* so {hero.he} {SHOUT} {HOW} and took it home . {hero.His} {RELATIVE} was {GOOD} . @end",
    ],
    "animal": [
        "@when {hero} met a {SIZE} {COLOUR} {animal=ANIMAL} {NEAR} a {SPOT} . The {animal} was {FEEL} and "
        "began to {CRY} . @help",
    ],
    "help": [
        "3* {hero} gave it some {animal.food} and a {GIFT} . The {animal} ate the {animal.food} {HOW} . @pet",
        "2* It could not find its {animal.home} . {hero} looked for the {animal.home} for {NUMBER} {WHILE} "
        "and found it {NEAR} a {SPOT} . @pet",
        "1* {hero} called {friend=NAME} for help . {friend} brought a {TOOL} and some {animal.food} . @pet",
    ],
    "pet": [
        "2* The {animal} was {GOOD} and followed {hero} to the {PLACE} . @end",
        "2* {hero} named the {animal} {petname=NAME} . @end",
        "1* The {animal} {SHOUT} {HOW} . @end",
    ],
    "build": [
        "@when {hero} and {hero.his} {role=RELATIVE} wanted to build a {SIZE} {build=BUILD} . "
        "They needed a {TOOL} and a {LOOK} {SPARE} . @work",
    ],
    "work": [
        "2* They worked {HOW} for {NUMBER} {WHILE} . Then the {build} fell down , and {hero} was {FEEL} . "
        "The {role} {SHOUT} {HOW} and they began again . @done",
        "2* {friend=NAME} came from the {PLACE} and brought a {COLOUR} {TOOL} . They all worked {HOW} . "
        "@done",
    ],
    "done": [
        "In the {PART} the {build} was ready . It was {SIZE} and {COLOUR} . @end",
        "After {NUMBER} {WHILE} the {build} was ready , and the {role} was {GOOD} . @end",
    ],
    "lost": [
        "@when {hero} lost {hero.his} {LOOK} {COLOUR} {thing=TOY} in the {place=PLACE} . {hero.He} was "
        "{FEEL} and looked {NEAR} every {SPOT} . @search",
    ],
    "search": [
        "2* {hero.His} {RELATIVE} helped {hero.him} for {NUMBER} {WHILE} . At last they found the {thing} "
        "{NEAR} a {SIZE} {SPOT} . @end",
        "2* Then a {SIZE} {animal=ANIMAL} came with the {thing} . {hero} gave the {animal} some "
        "{animal.food} . @pet",
        "2* {hero.His} friend {friend=NAME} found the {thing} in the {PLACE} . @together",
    ],
    "cook": [
        "@when {hero} wanted to cook {meal=MEAL} for {hero.his} {role=RELATIVE} . {hero.He} {WENT} to "
        "the {PLACE} and bought {NUMBER} {COLOUR} {FRUIT} . @kitchen",
    ],
    "kitchen": [
        "2* But the {meal} became too {TASTE} . {hero} was {FEEL} . The {role} tasted it {HOW} and {SHOUT} . "
        "@end",
        "2* {friend=NAME} stirred the {meal} {HOW} . The {role} was {GOOD} and gave {hero.him} a {GIFT} . "
        "@together",
        "1* The {meal} was ready in the {PART} . It was {TASTE} and {FLAVOUR} . @end",
    ],
    "together": [
        "2* {hero} thanked {friend} {HOW} . @end",
        "2* {hero} and {friend} {WENT} to the {PLACE} together . @end",
        "1* {friend} was {GOOD} too . @end",
    ],
    "end": [
        "2* That {NIGHT} {hero} dreamed about {DREAM} and {VISION} .",
        "2* {hero} was {GOOD} and {CALM} .",
        "1* {hero.He} was never {FEEL} again .",
        "1* Then {hero} went home and ate some {MEAL} .",
        "1* And {hero} lived {EVER} ever after .",
        "1* It was a {CHARM} and {WEATHER} {PART} .",
    ],
}


def story_grammar() -> Grammar:
    """Return the grammar of the stories."""
    return Grammar(STORY_CLASSES, STORY_RULES, "story")
