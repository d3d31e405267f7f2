"""A hundred JSON schemas: some written by hand, as people write them, the others by a program with a seed."""

from __future__ import annotations

import random
from typing import Any

Schema = dict[str, Any]

COUNT = 100

FORMATS = ("date", "time", "date-time", "duration", "email", "ipv4", "ipv6", "uuid", "hostname", "uri")


def text(longest: int = 12, **more: Any) -> Schema:
    return {"type": "string", "maxLength": longest, **more}


def record(properties: Schema, optional: tuple[str, ...] = (), **more: Any) -> Schema:
    required = [name for name in properties if name not in optional]
    return {
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": False,
        **more,
    }


INTEGER = {"type": "integer", "minimum": -1000, "maximum": 1000}

BY_HAND: dict[str, Schema] = {
    "person": record({"name": text(), "age": {"type": "integer", "minimum": 0, "maximum": 130}}),
    "optional": record({"name": text(), "nick": text(), "mail": text()}, optional=("nick", "mail")),
    "address": record(
        {
            "street": text(20),
            "zip": {"type": "string", "pattern": "^[0-9]{5}$"},
            "country": {"enum": ["DE", "FR", "IT", "US"]},
            "where": record({"lat": {"type": "number", "minimum": -90, "maximum": 90}, "lon": INTEGER}),
        }
    ),
    "boolean": {"type": "boolean"},
    "null": {"type": "null"},
    "empty object": record({}),
    "empty array": {"type": "array", "maxItems": 0},
    "constant": {"const": {"a": [1, 2.5, None, True, 'x\n"\\/\u20ac']}},
    "enum of everything": {"enum": [1, "one", None, [1, 2], {"k": "v"}, False, -2.5e3]},
    "type list": {"type": ["integer", "null", "boolean"]},
    "type list in a property": record({"a": {"type": ["string", "null"], "maxLength": 5}}),
    "nullable": record({"a": {"anyOf": [INTEGER, {"type": "null"}], "default": None}}),
    "matrix": {
        "type": "array",
        "minItems": 2,
        "maxItems": 3,
        "items": {"type": "array", "minItems": 2, "maxItems": 2, "items": INTEGER},
    },
    "tuple": {
        "type": "array",
        "prefixItems": [text(5), INTEGER, {"type": "boolean"}],
        "items": False,
        "minItems": 3,
    },
    "tuple with a rest": {
        "type": "array",
        "prefixItems": [text(5)],
        "items": {"type": "boolean"},
        "minItems": 1,
        "maxItems": 4,
    },
    "integer bounds": {"type": "integer", "minimum": -7, "exclusiveMaximum": 12},
    "exclusive bounds": {"type": "integer", "exclusiveMinimum": 99, "exclusiveMaximum": 102},
    "number bounds": {"type": "number", "minimum": 0.25, "maximum": 0.75},
    "number above": {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1},
    "negative numbers": {"type": "number", "minimum": -3.5, "maximum": -1.25},
    "large integers": {"type": "integer", "minimum": 10**12, "maximum": 10**15},
    "multiple of three": {"type": "integer", "multipleOf": 3, "minimum": 0, "maximum": 999},
    "cents": {"type": "number", "multipleOf": 0.25, "minimum": 0, "maximum": 100},
    "length": {"type": "string", "minLength": 3, "maxLength": 6},
    "one length": {"type": "string", "minLength": 4, "maxLength": 4},
    "pattern": {"type": "string", "pattern": "^[A-Z]{2}-[0-9]{4}(-x)?$"},
    "pattern with alternatives": {"type": "string", "pattern": "^(red|green|blue|#[0-9a-f]{6})$"},
    "pattern and length": {"type": "string", "pattern": "^[a-z]+$", "minLength": 2, "maxLength": 8},
    "discriminated union": {
        "anyOf": [
            record({"kind": {"const": "circle"}, "radius": INTEGER}),
            record({"kind": {"const": "square"}, "side": INTEGER}),
            record({"kind": {"const": "text"}, "text": text()}),
        ]
    },
    "oneOf of constants": {"oneOf": [{"const": "low"}, {"const": "middle"}, {"const": "high"}]},
    "oneOf of types": {"oneOf": [text(6), {"type": "integer", "minimum": 0, "maximum": 9}]},
    "allOf": {
        "allOf": [
            {"type": "object", "properties": {"a": INTEGER}, "required": ["a"]},
            {"type": "object", "properties": {"b": text(4)}, "required": ["b"]},
        ],
    },
    "reference": {
        "$defs": {"point": record({"x": INTEGER, "y": INTEGER})},
        **record({"from": {"$ref": "#/$defs/point"}, "to": {"$ref": "#/$defs/point"}}),
    },
    "old definitions": {
        "definitions": {"id": {"type": "string", "pattern": "^[a-f0-9]{8}$"}},
        **record({"id": {"$ref": "#/definitions/id"}}),
    },
    "linked list": {
        "$defs": {
            "node": record(
                {"value": INTEGER, "next": {"anyOf": [{"type": "null"}, {"$ref": "#/$defs/node"}]}}
            )
        },
        "$ref": "#/$defs/node",
    },
    "tree": {
        "$defs": {
            "node": record(
                {"name": text(4), "sons": {"type": "array", "maxItems": 1, "items": {"$ref": "#/$defs/node"}}}
            )
        },
        "$ref": "#/$defs/node",
    },
    "map": {
        "type": "object",
        "additionalProperties": INTEGER,
        "minProperties": 1,
        "maxProperties": 3,
    },
    "pattern properties": {
        "type": "object",
        "patternProperties": {"^x_[a-z]{1,4}$": INTEGER},
        "additionalProperties": False,
        "maxProperties": 2,
    },
    "tool call": record(
        {
            "name": {"enum": ["get_weather", "get_time"]},
            "arguments": record({"city": text(16), "unit": {"enum": ["C", "F"]}}, optional=("unit",)),
        }
    ),
    "any JSON": {},
    "any object": {"type": "object"},
    "any array": {"type": "array"},
    "any string": {"type": "string"},
    "any numbers": {"type": "array", "items": {"type": "number"}, "minItems": 2},
    "open object": {"type": "object", "properties": {"a": INTEGER}, "required": ["a"]},
    "titles and descriptions": {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "https://example.com/thing",
        "title": "Thing",
        "description": "What is written about a schema changes nothing.",
        **record({"a": {**INTEGER, "title": "A", "description": "a number", "examples": [1], "default": 1}}),
    },
    "names that need escapes": record(
        {'quote"': INTEGER, "back\\slash": INTEGER, "tab\t": {"type": "null"}, "ü€😀": INTEGER}
    ),
}
"""Names of the tests, and what people write."""


class Writer:
    """Writes schemas of any shape."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.defs: dict[str, Schema] = {}

    def schema(self) -> Schema:
        """Return a schema, with what it refers to."""
        result = self.record(3)
        return {"$defs": self.defs, **result} if self.defs else result

    def any(self, depth: int) -> Schema:
        flat = (self.string, self.format, self.integer, self.number, self.enum, self.flag)
        deep = (self.record, self.array, self.union, self.reference)
        if depth <= 0 or self.random.random() < 0.5:
            return self.random.choice(flat)()
        return self.random.choice(deep)(depth - 1)

    def record(self, depth: int) -> Schema:
        names = self.random.sample(["id", "name", "size", "tags", "when", "kind", "Größe", "a b"], 4)
        names = names[: self.random.randint(1, 4)]
        optional = tuple(name for name in names if self.random.random() < 0.3)
        return record({name: self.any(depth - 1) for name in names}, optional)

    def array(self, depth: int) -> Schema:
        least = self.random.randint(0, 2)
        most = least + self.random.randint(0, 3)
        return {"type": "array", "items": self.any(depth), "minItems": least, "maxItems": most}

    def union(self, depth: int) -> Schema:
        return {"anyOf": [self.any(depth) for _ in range(self.random.randint(2, 3))]}

    def reference(self, depth: int) -> Schema:
        name = f"part{len(self.defs)}"
        self.defs[name] = {}  # taken
        self.defs[name] = self.any(depth)
        return {"$ref": f"#/$defs/{name}"}

    def string(self) -> Schema:
        least = self.random.randint(0, 4)
        return {"type": "string", "minLength": least, "maxLength": least + self.random.randint(0, 12)}

    def format(self) -> Schema:
        return {"type": "string", "format": self.random.choice(FORMATS)}

    def integer(self) -> Schema:
        least = self.random.randint(-(10**6), 10**6)
        bounds = {"type": "integer", "minimum": least, "maximum": least + self.random.randint(0, 10**6)}
        if self.random.random() < 0.3:
            bounds["multipleOf"] = self.random.randint(1, 9)
            bounds["maximum"] = bounds["minimum"] + 10
        return bounds

    def number(self) -> Schema:
        least = round(self.random.uniform(-1000, 1000), self.random.randint(0, 4))
        return {"type": "number", "minimum": least, "maximum": least + self.random.randint(1, 1000)}

    def enum(self) -> Schema:
        values = ["red", "green", 1, 2.5, None, True, 'a"b', ["x"], {"y": 1}]
        return {"enum": self.random.sample(values, self.random.randint(1, 5))}

    def flag(self) -> Schema:
        return {"type": self.random.choice(["boolean", "null"])}


def all_schemas() -> dict[str, Schema]:
    """Return the hundred, by name."""
    written = {
        f"written {seed}": Writer(seed).schema() for seed in range(COUNT - len(BY_HAND) - len(FORMATS))
    }
    formats = {f"format {name}": {"type": "string", "format": name} for name in FORMATS}
    return {**BY_HAND, **formats, **written}
