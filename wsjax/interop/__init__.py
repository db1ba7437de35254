"""Networks of others in, and ours out; one file for each format.

A checkpoint is read (`checkpoint`), its tensors become parameters of a model by names and shapes
(`layout`), and a zoo is made of it (`importing`); `exporting` goes the other way.
"""

from wsjax.interop.checkpoint import checkpoints, read
from wsjax.interop.exporting import FORMATS, export
from wsjax.interop.importing import import_checkpoints

__all__ = ['FORMATS', 'checkpoints', 'export', 'import_checkpoints', 'read']
