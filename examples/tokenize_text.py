"""Text to tokens and back. A piece is bytes: one character can be spread over several tokens."""

import llama_ffi as lf

text = "Once upon a time, 中文 😀"

with lf.Model.load(lf.tiny_model_path(), vocab_only=True) as model:
    vocab = model.vocab
    tokens = vocab.tokenize(text, add_special=False)
    print(f"{len(text)} characters, {len(tokens)} tokens of {vocab.n_tokens}")
    for token in tokens:
        print(f"{token:6}  {vocab.piece(token)!r}")

    assert vocab.detokenize(tokens).strip() == text

    # Joined one by one, as a stream would: a character appears when its last byte is there.
    decoder = lf.Utf8Decoder()
    print("streamed:", [decoder.feed(vocab.piece(token)) for token in tokens], decoder.flush())
