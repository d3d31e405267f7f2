"""outlines on llama.cpp: JSON by a schema, a choice, a pattern, a stream; what comes out is validated.

`python outlines_json.py MODEL`
"""

from __future__ import annotations

import copy
import json
import re
import sys
from typing import Any, Literal

import jsonschema
import llama_cpp
import outlines
from pydantic import BaseModel, Field

llama = llama_cpp.Llama(model_path=sys.argv[1], n_ctx=512, n_threads=1, seed=1, verbose=False)
model = outlines.from_llamacpp(llama, chat_mode=False)


class Pet(BaseModel):
    name: str = Field(max_length=8)
    age: int
    kind: Literal["cat", "dog"]


SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 8},
        "age": {"type": "integer"},
        "tags": {"type": "array", "items": {"enum": ["red", "blue"]}, "minItems": 1, "maxItems": 3},
    },
    "required": ["name", "age", "tags"],
    "additionalProperties": False,
}
BOUNDED = copy.deepcopy(SCHEMA)
BOUNDED["properties"]["age"] |= {"minimum": 0, "maximum": 99}  # outlines_core leaves bounds out

for backend, schema in (("outlines_core", SCHEMA), ("llguidance", BOUNDED)):
    generate = outlines.Generator(model, outlines.json_schema(json.dumps(schema)), backend=backend)
    for seed in range(4):
        llama.set_seed(seed)
        text = generate("A pet: ", max_tokens=300, temperature=1.0)
        jsonschema.validate(json.loads(text), schema)
    print(f"JSON by schema, {backend}:", " ".join(text.split()))
llama.set_seed(1)
pet = Pet.model_validate_json(model("A pet: ", Pet, max_tokens=300))
print("a pydantic class:", pet)

text = model("A pet: ", outlines.regex(r'\{"name":"[a-z]{1,6}","age":[1-9]\}'), max_tokens=60)
assert re.fullmatch(r'\{"name":"[a-z]{1,6}","age":[1-9]\}', text), text
word = model("Is it? ", Literal["yes", "no"], max_tokens=8)
assert word in ("yes", "no")
print("pattern and choice:", text, word)

number = "".join(model.stream("A number: ", outlines.regex("[0-9]{5}"), max_tokens=8))
assert re.fullmatch("[0-9]{5}", number)
print("stream:", number)

chat = outlines.from_llamacpp(llama)
text = chat("Tell me about a pet", outlines.regex("[a-z]{3,9}"), max_tokens=12)
assert re.fullmatch("[a-z]{3,9}", text)
print("chat:", text)
