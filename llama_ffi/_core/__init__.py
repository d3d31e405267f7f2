"""What every safe class leans on: loading, handles, callbacks, checks, text, arrays."""
