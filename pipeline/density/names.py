"""The names of data sets and models, as the command line takes them. Light: no torch."""

DATA = ("inverse-sine", "speech", "images", "latents", "latents-sampled", "latents-mean")
COMPARED = DATA[:4]
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
FILES = (".npy", ".npz", ".csv", ".parquet")  # a file of one's own, instead of a name of DATA
SLIDES = ("squared-error", "mdn")  # of inverse-sine only
