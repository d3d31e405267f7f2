"""Tools for who works on this repository: what is covered, how docstrings look, pages from them.

They read the package and its tests; nothing of them is shipped.
"""
