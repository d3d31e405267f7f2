"""LangChain's LlamaCpp, ChatLlamaCpp and LlamaCppEmbeddings: calls, streams, grammars.

`python langchain_stream.py MODEL ENCODER`
"""

from __future__ import annotations

import asyncio
import sys
import warnings

warnings.simplefilter("ignore")  # langchain-community announces its end

from langchain_community.chat_models import ChatLlamaCpp  # noqa: E402
from langchain_community.embeddings import LlamaCppEmbeddings  # noqa: E402
from langchain_community.llms import LlamaCpp  # noqa: E402
from langchain_core.messages import HumanMessage  # noqa: E402
from langchain_core.prompts import PromptTemplate  # noqa: E402

import llama_ffi as lf  # noqa: E402

path = sys.argv[1]
same = {
    "n_ctx": 512,
    "n_threads": 1,
    "temperature": 0.0,
    "max_tokens": 24,
    "verbose": False,
    "seed": 1,
    "repeat_penalty": 1.0,
}

llm = LlamaCpp(model_path=path, **same)
whole = llm.invoke("Once upon a time")
pieces = list(llm.stream("Once upon a time"))
assert len(pieces) > 5 and "".join(pieces) == whole
assert whole == "".join(lf.generate("Once upon a time", model=path, max_tokens=24, temp=0.0, n_threads=1))
print("LlamaCpp:", len(pieces), "pieces:", repr(whole))

chain = PromptTemplate.from_template("Once upon a {what}") | llm
assert chain.invoke({"what": "time"}) == whole


async def slowly() -> str:
    return "".join([piece async for piece in llm.astream("Once upon a time")])


assert asyncio.run(slowly()) == whole
assert llm.invoke("Once upon a time", stop=["."]) == whole.split(".")[0]
print("chain, async, stop")

chat = ChatLlamaCpp(model_path=path, **same)
answer = chat.invoke([HumanMessage("What colour is grass?")]).content
chunks = [chunk.content for chunk in chat.stream([HumanMessage("What colour is grass?")])]
assert answer and "".join(chunks) == answer and len(chunks) > 2
print("ChatLlamaCpp:", repr(answer))

vectors = LlamaCppEmbeddings(model_path=sys.argv[2], n_ctx=512, n_threads=1, verbose=False)
rows = vectors.embed_documents(["a brave boy", "a tiny tunnel"])
assert len(rows) == 2 and len(rows[0]) == len(vectors.embed_query("a")) > 8
print("LlamaCppEmbeddings:", len(rows[0]))
