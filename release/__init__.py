"""What a release needs besides its wheels: a bill of materials in each, an index page over all, images.

`python -m release.sbom`, `python -m release.index`; the jobs in `.github/workflows` call them.
"""
