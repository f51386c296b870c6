"""`frmdn density compare`, `fit` and `sample`: their arguments. What they do stands in the room of the densities."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ..density.names import COMPARED, DATA, FILES, MODELS, SLIDES, WRITERS
from .options import add_command, add_device, add_set, natural, positive, whole

DESCRIPTION = """Density models without reinforcement learning: p(next vector | what came before), trained on toy data,
speech, pictures or the latents of a run folder, and measured by negative log likelihood (NLL) on held-out sequences.
NLL is in nats per dimension; lower is better; it is negative where the density exceeds 1, and that is no fault."""
TOP = """examples:
  frmdn density compare --data inverse-sine --out results/density      the curve with several answers, in minutes
  frmdn density fit --data speech --model frmdn-diagonal --budget 600 --out runs/voice
  frmdn density sample --run runs/voice --out voice.wav                hear what it has learnt
"""
DATA_HELP = """data:
  inverse-sine   points of a curve read the wrong way round: one x, up to five answers y
  speech         frames of 200 samples at 16 kHz; --path a folder of WAV, FLAC, MP3 or SPHERE files
                 (pip install 'frmdn[speech]'); without --path a built-in synthesiser of vowels and fricatives
  images         rows of pictures; --path MNIST's IDX or CIFAR-10's binary files; without --path the digits
                 of scikit-learn (pip install 'frmdn[images]')
  latents        --path a run folder: what its vision sees, as posterior samples (latents-sampled) and as
                 means (latents-mean)
  kanji          KanjiVG's 6,413 characters, stroke by stroke (pip install 'frmdn[strokes]')
  handwriting    words in many hands of two single-line fonts; --path IAM-OnDB's XML or InkML with texts
  touch          five-second performances on a screen, with times, drawn by seed; --path MicroJam's CSV
  drawings       --path a file or folder of drawings: .svg .inkml .xml (IAM-OnDB) .ndjson (Quick, Draw!) .npz
                 (SketchRNN); --data FILE says the same of .svg .inkml .xml and .ndjson
  FILE           a series of your own, in any units: .csv, .parquet (pip install 'frmdn[parquet]'), .npy [time, columns]
                 or .npz (one array for each sequence; or one and `lengths`). Columns of arrays are named 0, 1, 2 ...
                 What is modelled: p(target row | target rows before, context columns up to this row)
"""
COMPARE = (
    DATA_HELP
    + f"""
models (default: all):
  factorized         one mixture per dimension (Ha's own code)
  rmdn               LSTM and one joint mixture, diagonal: the baseline
  rmdn-low-rank      its precisions D + U U^T
  frmdn-*            behind two coupling blocks: diagonal, semi-tied, low-rank; spline instead of affine;
                     conditional: flows that see the LSTM's state
  {", ".join(SLIDES)}   on inverse-sine only: the networks of the MDN slides with 286 and 510 parameters, trained as
                     there (RMSprop, batch 128, 200 epochs), whatever the budget

Every model gets the same data, the same learning rate, and the same --budget of training time in seconds (validation
and measuring not counted), with a cosine schedule over that time. What is measured on the test split is the state that
did best on the validation split. DIR/density.json collects all data sets; DIR/<data>/ holds curves, pictures and
weights. Kill it anywhere and call it again: finished runs stay, the run under way goes on after its last check.

examples:
  frmdn density compare --data images --seeds 5 --budget 60 --out results/density
  frmdn density compare --data latents --path runs/car --models rmdn frmdn-diagonal --out results/density --json
"""
)
FIT = (
    DATA_HELP
    + """
  synthesis          handwriting only: a soft window over the text (Graves 2013); --set model.end=NAME: its density
  sketch-vae         drawings without times: an encoder, one vector, and a decoder (Ha and Eck 2017); model.latent

Leaves model.safetensors, model.json, result.json and history.jsonl in DIR. Call it again after a kill: it goes on.

examples:
  frmdn density fit --data speech --path recordings --model frmdn-conditional --budget 3600 --out runs/voice
  frmdn density fit --data power.csv --target load price --context hour holiday --budget 300 --out runs/power
  frmdn density fit --data handwriting --model synthesis --steps 2500 --learning-rate 0.003 --out runs/writer
  frmdn density fit --data kanji --model sketch-vae --steps 3000 --learning-rate 0.002 --out runs/kanji
  frmdn density fit --data touch --model rmdn-low-rank --budget 600 --out runs/touch
  frmdn density fit --data latents-mean --path runs/car --model rmdn --steps 2000 --out runs/dream-density
"""
)
SAMPLE = """what comes out:
  speech         a WAV file, --seconds long
  images         a PNG of --count pictures under as many real ones
  inverse-sine   a PNG of the density over the data
  latents-*      a PNG: an episode as recorded, and dreamed on with the same actions (needs the run folder)
  a file's       --count ways in which a held-out sequence might go on, --length rows each, beside how it went: a PNG,
                 or their numbers in the file's units as .csv or .npz (needs the file)
  drawings       an SVG, PNG or GIF (it draws itself) of --count drawings. With --prime they go on where what is given
                 ends: a word in that hand (synthesis), an answer to that call (touch), the other half of that drawing
                 (sketch-vae)

examples:
  frmdn density sample --run runs/voice --out voice.wav --seconds 4 --temperature 0.8
  frmdn density sample --run results/density/images/frmdn-spline/seed-0 --out digits.png
  frmdn density sample --run runs/power --out power.csv --count 100 --length 48
  frmdn density sample --run runs/writer --text "world models" --bias 1 --count 4 --out words.svg
  frmdn density sample --run runs/kanji --temperature 0.2 0.5 1 --out kanji.svg
  frmdn density sample --run runs/touch --prime 3 --out answer.gif
"""


MEASURE = """what is measured:
  synthesis      200 held-out words are written, and read back by the nearest glyphs of the fonts under dynamic time
                 warping: the share of characters that are right, beside that of the same words as the set has them
  sketch-vae     reconstruction loss and KL as SketchRNN reports them (L_R, L_KL)
  others         points, strokes, ink, seconds, speeds and waits of drawings: real ones beside sampled ones

examples:
  frmdn density measure --run runs/writer --bias 1 --json
  frmdn density measure --run runs/touch
"""


def add_density(commands: Any) -> None:
    """The command `density` with its own commands."""
    density = add_command(commands, "density", "train and compare density models of sequences, by themselves", TOP, run)
    density.description = DESCRIPTION
    inner = density.add_subparsers(title="commands", metavar="command", required=True)
    for name, help, epilog, add in (
        ("compare", "train several models on the same data and budget, and measure them", COMPARE, _add_compare),
        ("fit", "train one model and keep it", FIT, _add_fit),
        ("sample", "draw from a trained model: a WAV to hear, a picture to see", SAMPLE, _add_sample),
        ("measure", "what samples of a model of drawings are worth", MEASURE, _add_measure),
    ):
        command = add_command(inner, name, help, epilog, run)
        command.set_defaults(command=f"density {name}")
        add(command)


def _add_compare(compare: argparse.ArgumentParser) -> None:
    _add_data(compare, COMPARED)
    names, default = MODELS + WRITERS + SLIDES, "default: all of the catalogue"
    compare.add_argument("--models", nargs="+", metavar="NAME", choices=names, help=default)
    compare.add_argument("--seeds", type=whole, default=5, metavar="N", help="runs of each model (default: 5)")
    _add_training(compare)


def _add_fit(fit: argparse.ArgumentParser) -> None:
    _add_data(fit, (*DATA[:3], *DATA[4:]))
    names = MODELS + WRITERS + SLIDES
    fit.add_argument("--model", choices=names, default="frmdn-diagonal", metavar="NAME", help=_models())
    fit.add_argument("--seed", type=natural, default=0, metavar="N", help="of weights and batches (default: 0)")
    _add_training(fit)


def _add_sample(sample: argparse.ArgumentParser) -> None:
    sample.add_argument("--run", type=Path, required=True, metavar="DIR", help="a folder that `fit` or `compare` made")
    sample.add_argument("--out", type=Path, required=True, metavar="FILE", help="the file to write; see below")
    tamer = "below 1: tamer (default: 1); several: a row of drawings for each"
    sample.add_argument("--temperature", type=positive, nargs="+", default=[1.0], metavar="T", help=tamer)
    sample.add_argument("--seconds", type=positive, default=3.0, metavar="S", help="of speech (default: 3)")
    sample.add_argument(
        "--count", type=whole, default=12, metavar="N", help="of pictures or continuations (default: 12)"
    )
    sample.add_argument("--length", type=whole, metavar="N", help="rows of a continuation (default: up to 100)")
    sample.add_argument("--seed", type=natural, default=0, metavar="N", help="of the noise (default: 0)")
    drawn = sample.add_argument_group("drawings, handwriting and touches")
    drawn.add_argument("--text", metavar="TEXT", help="what synthesis writes")
    drawn.add_argument("--bias", type=float, default=0.0, metavar="B", help="neater: 1 is neat (default: 0)")
    prime = "what is given: drawing N of the test split, or the first of a file; see below"
    drawn.add_argument("--prime", metavar="N|FILE", help=prime)
    ways = "sketch-vae: --count drawings on the way from one of the test split to another"
    drawn.add_argument("--between", nargs=2, type=natural, metavar=("N", "M"), help=ways)
    drawn.add_argument(
        "--animate", action="store_true", help="an SVG whose strokes draw themselves; a .gif always does"
    )
    add_device(sample)


def _add_measure(measure: argparse.ArgumentParser) -> None:
    measure.add_argument("--run", type=Path, required=True, metavar="DIR", help="a folder that `fit` or `compare` made")
    measure.add_argument("--count", type=whole, default=200, metavar="N", help="of words or drawings (default: 200)")
    measure.add_argument("--bias", type=float, default=0.0, metavar="B", help="of the samples (default: 0)")
    measure.add_argument("--seed", type=natural, default=0, metavar="N", help="of the noise (default: 0)")
    measure.add_argument("--json", action="store_true", help="print the figures as JSON on stdout")


def _add_training(command: argparse.ArgumentParser) -> None:
    command.add_argument("--path", type=Path, metavar="P", help="files or run folder to read the data from; see below")
    command.add_argument(
        "--protocol",
        choices=("40-frames", "whole-utterance"),
        default="40-frames",
        help="of speech: segments of half a second, or files whole (default: 40-frames)",
    )
    length = command.add_mutually_exclusive_group()
    steps = "training steps instead: repeatable bit for bit"
    length.add_argument("--budget", metavar="S", dest="recipe.budget", help="seconds of training a run (default: 60)")
    length.add_argument("--steps", metavar="N", dest="recipe.steps", help=steps)
    add_device(command)
    command.add_argument("--components", metavar="K", dest="model.components", help="of each mixture (default: 5)")
    command.add_argument("--hidden", metavar="H", dest="model.hidden", help="units of the LSTM (default: 256)")
    command.add_argument("--learning-rate", metavar="R", dest="recipe.learning_rate", help="at first (default: 0.001)")
    add_set(command, "KEY=VALUE", "change one setting under model or recipe of run.json, e.g. recipe.clip=0.5")
    command.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of the results")
    command.add_argument("--json", action="store_true", help="print the results as JSON on stdout, all else on stderr")


def _add_data(command: argparse.ArgumentParser, names: tuple[str, ...]) -> None:
    def data(text: str) -> str:
        if text not in names and Path(text).suffix.lower() not in FILES:
            raise argparse.ArgumentTypeError(
                f"must be one of {', '.join(names)}, or a file that ends with {', '.join(FILES)}, not {text!r:.80}"
            )
        return text

    listed = ", ".join(names)
    command.add_argument("--data", type=data, required=True, metavar="DATA", help=f"{listed}, or a file; see below")
    file = command.add_argument_group("a file of your own")
    file.add_argument("--target", nargs="+", default=[], metavar="COL", help="columns to model (default: all others)")
    file.add_argument(
        "--context", nargs="+", default=[], metavar="COL", help="columns known beforehand (default: none)"
    )
    file.add_argument("--sequence", metavar="COL", help="column of csv or parquet that names the sequence of a row")
    file.add_argument(
        "--held-out",
        type=positive,
        default=0.1,
        metavar="SHARE",
        help="for validation, and again for the test: whole sequences if there are enough, or the end (default: 0.1)",
    )
    file.add_argument(
        "--missing",
        choices=("refuse", "skip"),
        default="refuse",
        help="skip: rows with a missing number are not measured (default: refuse)",
    )


def _models() -> str:
    return ", ".join(MODELS + WRITERS + SLIDES) + " (default: frmdn-diagonal)"


def run(options: argparse.Namespace) -> int:
    """Whichever command was asked for."""
    from ..density import study

    commands = {
        "density compare": study.compare,
        "density fit": study.fit,
        "density sample": study.sample,
        "density measure": study.measure,
    }
    return commands[options.command](options)
