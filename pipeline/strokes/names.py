"""The names of stroke data and models, as the command line takes them. Light: no torch."""

STROKES = ("kanji", "handwriting", "touch", "drawings")
SYNTHESIS, SKETCH = "synthesis", "sketch-vae"
DRAWN = (".ndjson", ".xml", ".inkml", ".svg")  # a file of drawings, instead of a name of STROKES
