"""LlamaIndex's LlamaCPP: completion, chat, streams.

`python llama_index_stream.py MODEL`
"""

from __future__ import annotations

import sys

from llama_index.core.llms import ChatMessage
from llama_index.llms.llama_cpp import LlamaCPP

import llama_ffi as lf

path = sys.argv[1]
llm = LlamaCPP(
    model_path=path,
    temperature=0.0,
    max_new_tokens=24,
    context_window=512,
    model_kwargs={"n_threads": 1},
    messages_to_prompt=lambda messages: "\n".join(message.content for message in messages),
    completion_to_prompt=lambda text: text,
    verbose=False,
)
assert llm.metadata.context_window == 512
whole = llm.complete("Once upon a time").text
assert whole == "".join(lf.generate("Once upon a time", model=path, max_tokens=24, temp=0.0, n_threads=1))
chunks = list(llm.stream_complete("Once upon a time"))
assert len(chunks) > 5 and chunks[-1].text == whole == "".join(each.delta for each in chunks)
print("complete:", len(chunks), "pieces:", repr(whole))

messages = [ChatMessage(role="user", content="Once upon a time")]
said = llm.chat(messages).message.content
last = list(llm.stream_chat(messages))[-1].message.content
assert said == last == whole
print("chat:", repr(said))
