"""Find the library, open it, prove that it matches the bindings."""
