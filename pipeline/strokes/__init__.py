"""Strokes: prediction, synthesis and sketches behind `frmdn density`."""
