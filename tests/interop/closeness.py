"""How near an answer has to be: the golden networks' measure, and equality of bits."""

import numpy

from checks import expect

TOLERANCE = 1e-5


def near(got, want, what):
    """Within 1e-5 of the largest absolute value, or absolute where that is below 1; other types exactly."""
    expect(got is not None, f"{what}: no such output")
    expect(tuple(got.shape) == tuple(want.shape), f"{what}: shape {got.shape}, expected {want.shape}")
    expect(got.dtype == want.dtype, f"{what}: type {got.dtype}, expected {want.dtype}")
    if want.dtype.kind != "f":
        expect(numpy.array_equal(got, want), f"{what}: values differ")
        return
    if not want.size:
        return
    same = (got == want) | (numpy.isnan(got) & numpy.isnan(want))
    with numpy.errstate(invalid="ignore"):
        apart = float(numpy.where(same, 0.0, numpy.abs(got.astype("float64") - want)).max())
    finite = numpy.abs(want[numpy.isfinite(want)])
    scale = max(1.0, float(finite.max()) if finite.size else 1.0)
    expect(apart <= TOLERANCE * scale, f"{what}: off by {apart / scale:.2e}")


def same_bits(got, want, what):
    expect(got is not None, f"{what}: no such output")
    expect(got.dtype == want.dtype and got.shape == want.shape and got.tobytes() == want.tobytes(),
           f"{what}: not the same bits")
