"""Files that are written in one step: old or new, never half."""

import os
import pathlib


def replace(path: pathlib.Path, content: str | bytes) -> None:
  """Puts a file in place; for one writer at a time.

  Args:
    path: of the file; an older one is replaced.
    content: of it; text is UTF-8.

  Raises:
    OSError: if it cannot be written; an older one is as it was.
  """
  # Always the same name: what a killed process leaves is written over.
  draft = path.with_name(f'.{path.name}.tmp')
  with open(draft, 'wb') as file:
    file.write(content.encode() if isinstance(content, str) else content)
    file.flush()
    os.fsync(file.fileno())
  os.replace(draft, path)
