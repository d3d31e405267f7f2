"""One emitter, one file: each turns the analysed headers into the text of one generated file."""
