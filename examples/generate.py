"""Write text, as it comes: sampled, greedy, and several texts from one loaded model."""

import llama_ffi as lf

# The one-liner: it loads the model that ships and writes until the story ends.
for piece in lf.generate("Once upon a time", max_tokens=64, temp=0.8, seed=1):
    print(piece, end="", flush=True)
print("\n")

# A model that is loaded once serves many texts.
with lf.Model.load(lf.tiny_model_path()) as model:
    for seed in range(3):
        print(f"seed {seed}:", "".join(lf.generate("One day", model=model, max_tokens=24, seed=seed)))
    print("greedy:", "".join(lf.generate("One day", model=model, max_tokens=24, temp=0)))
