"""The pinned llama.cpp: which version it is (`PIN.toml`), where it comes from and how it is verified."""
