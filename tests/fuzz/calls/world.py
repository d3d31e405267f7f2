"""One case: objects, and calls on them that are made up one by one, written down, and made."""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import random
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

import llama_ffi as lf
from llama_ffi._core import logs
from tests.fuzz.calls import arguments, performing, setups, values, wrong
from tests.fuzz.calls.performing import Counting
from tests.fuzz.calls.surface import ONCE, calls, target

CALLS = calls()
RECIPES: dict[str, list[str]] = {
    "Model": ["Model.load"],
    "Context": ["Model.context"],
    "Batch": ["Batch.from_tokens"],
    "BatchExt": ["BatchExt"],
    "MemoryEstimate": ["plan_layers"],
    "PythonSampler": ["PythonSampler"],
    "MemoryUse": ["Context.memory_breakdown"],
    "log.LogFile": ["log.to_file"],
    "Memory": ["Context.memory"],
    "Vocab": ["Model.vocab"],
    "Sampler": ["Sampler.top_k", "Sampler.dist", "Sampler.greedy", "Sampler.temp"],
    "SamplerChain": ["SamplerChain"],
    "Session": ["Model.session"],
    "Generation": ["generate", "Session.generate"],
    "ChatSession": ["ChatSession"],
    "ChatReply": ["ChatSession.say"],
    "Snapshot": ["Context.snapshot"],
    "StateStore": ["StateStore"],
    "StoredState": ["StateStore.put"],
    "StateFile": ["StateFile.save"],
    "PromptCache": ["PromptCache.save"],
    "Upload": ["StateStore.upload"],
    "LoraAdapter": ["Model.load_lora"],
    "Candidates": ["Candidates"],
    "Dataset": ["Dataset"],
    "Trainer": ["Trainer"],
    "ThreadPool": ["ThreadPool"],
    "Device": ["devices"],
    "Backend": ["Backend.all"],
    "BufferType": ["Device.buffer_type"],
    "Utf8Decoder": ["Utf8Decoder"],
    "ImportanceMatrix": ["ImportanceMatrix"],
    "ContextPerf": ["Context.perf"],
    "MemoryBreakdown": ["Context.memory_breakdown"],
    "SessionStats": ["Session.stats"],
    "SystemInfo": ["system_info"],
    "Score": ["score"],
    "Perplexity": ["perplexity"],
    "Usage": ["Generation.usage"],
    "gguf.GgufContext": ["gguf.GgufContext", "gguf.GgufContext.load"],
    "gguf.GgufFile": ["gguf.read"],
    "gguf.GgufWriter": ["gguf.GgufWriter"],
    "gguf.GgufTensor": ["gguf.read"],
    "gguf.Field": ["gguf.read"],
    "gguf.Metadata": ["gguf.read"],
}
ONE_WRONG = 1e-9
"""Wildness of a call in which one argument is wrong and all else right."""
PARTS = ("fields", "tensors", "metadata")
"""Attributes whose values are objects too."""


def places(name: str) -> list[str]:
    """Return the parameters of a call that can be given by name."""
    kinds = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
    found = [parameter.name for parameter in CALLS[name].parameters if parameter.kind not in kinds]
    return list(dict.fromkeys([*found, *arguments.BEHIND_STARS.get(name, {})]))


CLASSES = {name: target(name) for name in {each.owner for each in CALLS.values()} if name}


class World:
    """The objects of one case and what was done."""

    spent: ClassVar[set[str]] = set()
    """calls of ONCE that the process has made"""

    def __init__(self, folder: Path, models: dict[str, lf.Model], note: Callable[[Any], None]) -> None:
        self.folder = folder
        self.slots: dict[str, Any] = dict(models)
        self.classes: dict[str, list[str]] = {"Model": list(models)}
        self.note = note
        self.number = 0
        self.depth = 0
        self.outcomes: list[dict[str, Any]] = []
        self.last = setups.Ready()

    # --- making up ---

    def instance(self, cls: str, rnd: random.Random) -> Any:
        """Return an object of the class: one of the newest, else a new one; None if there is no way."""
        have = self.classes.get(cls, [])
        fresh = [each for each in have[-4:] if not getattr(self.slots.get(each), "closed", False)]
        usable = [each for each in fresh if not getattr(self.slots.get(each), "consumed", False)]
        if usable and (rnd.random() < 0.9 or self.depth > 2):
            return {"slot": rnd.choice(usable)}
        recipe = RECIPES.get(cls)
        if recipe and self.depth <= 4:
            self.call(rnd.choice(recipe), rnd)
            have = self.classes.get(cls, [])
        return {"slot": have[-1]} if have else None

    def call(self, name: str, rnd: random.Random) -> Any:
        """Make a call as a program would make it; returns the description of what came back, or None."""
        self.depth += 1
        try:
            made = self.make(name, rnd, 0.0)
            if made is None:
                return None
            self.perform(made)
        finally:
            self.depth -= 1
        slot = f"{made['id']}.0"
        if slot in self.slots and name in ("Model.context", "SamplerChain"):
            self.call("Context.decode" if name == "Model.context" else "SamplerChain.add_greedy", rnd)
        return {"slot": slot} if slot in self.slots else None

    def fresh(self, cls: str, rnd: random.Random) -> Any:
        """Return a new object of the class; None if there is no way."""
        before = len(self.classes.get(cls, []))
        self.call(rnd.choice(RECIPES[cls]), rnd)
        have = self.classes.get(cls, [])
        return {"slot": have[-1]} if len(have) > before else None

    def do(self, name: str, on: Any, /, **args: Any) -> Any:
        """Make exactly this call; returns the description of what came back, or None."""
        self.number += 1
        made = {"id": f"c{self.number}", "call": name, "on": on, "args": args}
        self.perform(made)
        slot = f"{made['id']}.0"
        return {"slot": slot} if slot in self.slots else None

    def ready(self, name: str, rnd: random.Random) -> setups.Ready | None:
        """Bring about a state in which the call can reach C, if there is a set-up for it."""
        setup = setups.SETUPS.get(name)
        ends = CALLS[name].member in ("close", "__exit__")
        share = 0.9 if setup is not None or ends or CALLS[name].owner not in RECIPES else 0.4
        setup = setup or setups.OWNERS.get(CALLS[name].owner)
        if setup is None or self.depth > 1 or rnd.random() > share:
            return None
        self.depth += 1
        try:
            return setup(self, rnd)
        except setups.Missing:
            return None
        finally:
            self.depth -= 1

    def make(
        self, name: str, rnd: random.Random, wildness: float, ready: setups.Ready | None = None
    ) -> dict[str, Any] | None:
        """Make up one call; each argument is wild with that probability."""
        call, made = CALLS[name], {}
        ready = ready or self.ready(name, rnd) or setups.Ready()
        if not self.depth:
            self.last = ready
        receiver = ready.on if call.owner else None
        if call.owner and receiver is None:
            if wildness and rnd.random() < 0.1 and self.classes.get(call.owner):
                receiver = {"slot": rnd.choice(self.classes[call.owner])}  # closed ones too
            else:
                receiver = self.instance(call.owner, rnd)
            if receiver is None:
                return None
        names = {parameter.name for parameter in call.parameters} | set(arguments.BEHIND_STARS.get(name, {}))
        for key in sorted(names & ready.args.keys()):  # a set's order is another one in each process
            made[key] = ready.args[key] if rnd.random() >= wildness else self.argument(name, key, rnd, 1.0)
        for parameter in call.parameters:
            if parameter.name in made or (parameter.name in ready.without and rnd.random() >= wildness):
                continue
            if parameter.kind is parameter.VAR_KEYWORD:
                for key, share in arguments.BEHIND_STARS.get(name, {}).items():
                    if rnd.random() < share and key not in made:
                        made[key] = self.argument(name, key, rnd, wildness)
            elif parameter.kind is not parameter.VAR_POSITIONAL:
                needed = parameter.default is parameter.empty
                share = arguments.BEHIND_STARS.get(name, {}).get(parameter.name, 0.25)
                if needed or parameter.name in arguments.ALWAYS or rnd.random() < share:
                    made[parameter.name] = self.argument(name, parameter.name, rnd, wildness)
        if wildness == ONE_WRONG and made:
            key = rnd.choice(sorted(made))
            made[key] = self.argument(name, key, rnd, 1.0)
        elif wildness and rnd.random() < 0.01:
            made["no_such_argument"] = 1
        self.number += 1
        chosen = {"chosen": "wild" if wildness else "tame"} if not self.depth else {}
        return {"id": f"c{self.number}", "call": name, "on": receiver, "args": made, **chosen}

    def argument(self, name: str, key: str, rnd: random.Random, wildness: float) -> Any:
        if rnd.random() < wildness:
            if key in wrong.BOUNDED:
                return rnd.choice(wrong.BOUNDED[key])
            if key in wrong.NEAR and rnd.random() < 0.7:
                return rnd.choice(wrong.NEAR[key])
            return wrong.wild(rnd, list(self.slots))
        make = arguments.known(name, key)
        return make(self, rnd) if make else rnd.choice((0, 1, "a", True, None, 0.5))

    def control_vector(self, rnd: random.Random) -> Any:
        if rnd.random() < 0.3:
            return None
        return {"normal": [1, rnd.choice((1, 2)), rnd.choice((32, 64, 128))]}

    def kept_tokens(self, rnd: random.Random) -> Any:
        return None if rnd.random() < 0.6 else arguments.tokens(self, rnd)

    def random_call(self, rnd: random.Random, names: list[str]) -> None:
        """Make up a call, or two at once, and perform it."""
        name = rnd.choice(names)
        if name in self.spent and rnd.random() < 0.8:
            return
        wildness = rnd.choices((0.0, ONE_WRONG, 0.15, 0.7), (10, 4, 2, 1))[0]
        made = self.make(name, rnd, wildness)
        if made is None:
            return
        ready = self.last
        if rnd.random() < 0.2:  # two threads
            same = [each for each in names if CALLS[each].owner == CALLS[name].owner]
            other = self.make(rnd.choice(same), rnd, wildness)
            if other is not None:
                if made["on"] and rnd.random() < 0.7 and other["on"]:
                    other["on"] = made["on"]
                self.perform({"pair": [made, other], "times": rnd.choice((1, 1, 1, 8))})
                return
        self.perform(made)
        for called, on, args in ready.then:
            self.do(called, {"slot": f"{made['id']}.0"} if on == setups.RESULT else on, **args)
        near = any(parameter.name in wrong.NEAR for parameter in CALLS[name].parameters)
        if ready.args and near and not ready.once:
            for _ in range(rnd.randint(0, 3)):  # in the same state, with something near or as it was
                again = self.make(name, rnd, rnd.choices((0.0, ONE_WRONG), (6, 4))[0], ready)
                if again is not None:
                    self.perform(again)

    def usual_call(self, rnd: random.Random, name: str) -> dict[str, Any] | None:
        """Make a call as a program would; returns what came of it."""
        made = self.make(name, rnd, 0.0)
        if made is None:
            return None
        at = len(self.outcomes)
        self.perform(made)
        outcome = self.outcomes[at]
        return outcome | {"returned": outcome["ended"] == "returned"}

    def odd_call(self, rnd: random.Random, name: str, key: str, value: Any) -> None:
        """Make a call as a program would, but for one argument."""
        made = self.make(name, rnd, 0.0)
        if made is not None:
            self.perform(made | {"args": made["args"] | {key: value}, "chosen": "wild"})

    def forget(self) -> None:
        """Let go of all objects but the models that the case began with."""
        self.slots = {name: each for name, each in self.slots.items() if "." not in name}
        for found in self.classes.values():
            found[:] = [name for name in found if name in self.slots]

    # --- performing ---

    def perform(self, made: dict[str, Any]) -> None:
        """Write the call down, make it, keep what came of it."""
        self.note(made)
        if "pair" in made:
            first, second = made["pair"]
            together = threading.Barrier(2)

            def several(each: dict[str, Any]) -> list[Any]:
                more = [each | {"chosen": ""}] * (made.get("times", 1) - 1)
                return [self.one(each, together), *(self.one(again, None) for again in more)]

            wait = performing.beside(lambda: several(second))
            results = [*several(first), *wait()]
        else:
            results = [self.one(made, None)]
        for outcome, result, each in results:
            self.outcomes.append(outcome)
            self.keep(each["id"], result)

    def one(self, made: dict[str, Any], together: threading.Barrier | None) -> tuple[Any, Any, Any]:
        call, result = CALLS[made["call"]], None
        try:
            args = {key: values.value(each, self.slots, self.folder) for key, each in made["args"].items()}
            receiver = values.value(made["on"], self.slots, self.folder)
        except (KeyError, OSError):  # its call was left out, or made nothing
            args = None
        if together is not None:
            together.wait(10)
        outcome = {"call": call.name, "chosen": made.get("chosen", ""), "reached": False}
        if args is None:
            return outcome | {"ended": "left out"}, None, made
        before = Counting.mine()
        try:
            if call.owner == "ComputedTensor" and isinstance(receiver, lf.Context):
                result, reached = performing.inside(call, receiver)
            else:
                result = performing.do(call, receiver, args)
                reached = Counting.mine() > before
            ended, words = "returned", ""
            if call.name in ONCE:
                self.spent.add(call.name)
        except BaseException as error:
            reached = Counting.mine() > before
            ended, words = performing.ending(error, call)
        return outcome | {"ended": ended, "words": words, "reached": reached}, result, made

    def keep(self, number: str, result: Any) -> None:
        parts: list[Any] = [result]
        if isinstance(result, list | tuple) and not hasattr(result, "_fields"):
            parts = list(result[:3])
        if dataclasses.is_dataclass(result):
            parts += [getattr(result, each.name) for each in dataclasses.fields(result)]
            parts += [part for each in parts[1:] if isinstance(each, list | tuple) for part in each[:1]]
        if isinstance(result, lf.gguf.GgufFile):
            for name in PARTS:
                held = getattr(result, name, {})
                parts += [held, *list(held.values() if hasattr(held, "values") else held)[:2]]
            parts += [each for each in result.fields.values() if each.is_array][-1:]
        for index, each in enumerate(parts):
            found = next((name for name, cls in CLASSES.items() if type(each) is cls), None)
            if found is None and isinstance(each, np.ndarray):
                found = "array"
                each.sum() if each.dtype.kind in "fiu" else None
            if found is None and hasattr(each, "__enter__") and not isinstance(each, lf.raw.ffi.CData):
                found = "manager"
            if found is not None:
                self.slots[f"{number}.{index}"] = each
                self.classes.setdefault(found, []).append(f"{number}.{index}")

    def close(self) -> None:
        lf.log.forward(None)
        with contextlib.suppress(values.OwnError):  # what it raised where nothing can be raised: in a free
            logs.reraise()
        for each in list(self.slots.values()):
            if isinstance(each, lf.log.LogFile):
                each.close()
        self.slots.clear()
