"""The names of data sets and models, as the command line takes them. Light: no torch."""

from ..strokes.names import DRAWN, SKETCH, STROKES, SYNTHESIS

DATA = ("inverse-sine", "speech", "images", "latents", "latents-sampled", "latents-mean", *STROKES)
COMPARED = (*DATA[:4], *STROKES)
MODELS = (
    "factorized",
    "rmdn",
    "rmdn-low-rank",
    "frmdn-diagonal",
    "frmdn-semi-tied",
    "frmdn-low-rank",
    "frmdn-spline",
    "frmdn-conditional",
)
FILES = (".npy", ".npz", ".csv", ".parquet", *DRAWN)  # a file of one's own, instead of a name of DATA
WRITERS = (SYNTHESIS, SKETCH)  # of strokes only
SLIDES = ("squared-error", "mdn")  # of inverse-sine only
