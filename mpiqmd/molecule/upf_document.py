"""The XML of a UPF file, version 2, and access to it by name, so that every complaint can say where."""

from __future__ import annotations

import math
import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from mpiqmd.errors import DataFileError

_FLAGS = {"T": True, "TRUE": True, "F": False, "FALSE": False, "": False}
_REFERENCE = r"&(?!(?:amp|lt|gt|quot|apos|#[0-9]+|#x[0-9a-fA-F]+);)"


class UpfDocument:
    """The elements of a file. Not collective.

    Parameters
    ----------
    path
        The file, for messages.
    content
        Its bytes.

    Raises
    ------
    DataFileError
        It is not UPF version 2, or not well-formed even after its comment section is left out and bare ``&`` and ``<`` in
        attributes, which real files have, are escaped.
    """

    def __init__(self, path: Path, content: bytes) -> None:
        self.path = path
        text = content.decode("utf-8-sig", errors="replace")
        if not re.search(r"<UPF\s+version\s*=", text):
            old = "it looks like UPF version 1" if "<PP_HEADER>" in text else "it has no element <UPF version=...>"
            raise self.error(f"{old}; UPF version 2 is expected. Convert it (Quantum ESPRESSO's upfconv does).", "")
        # without a document type there are no entities to expand
        if "<!DOCTYPE" in text or "<!ENTITY" in text:
            raise self.error("it declares a document type or entities; none are allowed.")
        self.root = self._parsed(_without_info(text))
        version = self.root.get("version", "")
        if self.root.tag != "UPF" or not version.strip().startswith("2."):
            raise self.error(f"it is <{self.root.tag[:30]}> version {version[:20]!r}; UPF version 2 is expected.")

    def _parsed(self, text: str) -> ElementTree.Element:
        try:
            return ElementTree.fromstring(text)
        except (ElementTree.ParseError, ValueError, LookupError):
            pass
        try:
            return ElementTree.fromstring(_repaired(text))
        except (ElementTree.ParseError, ValueError, LookupError) as problem:
            raise self.error(f"it is not well-formed XML ({problem}); a complete UPF file is expected.") from None

    def error(self, message: str, remedy: str = "Get the file again, or use another one.") -> DataFileError:
        """Return an error that names the file."""
        return DataFileError(f"pseudopotential file {self.path}: {message} {remedy}".rstrip())

    def has(self, name: str) -> bool:
        """Return whether an element is there and holds something."""
        element = self.root.find(name)
        return element is not None and bool(len(element) or (element.text or "").strip())

    def find(self, name: str) -> ElementTree.Element:
        """Return the only element of a name.  Raises DataFileError if there is none, or more than one."""
        elements = self.root.findall(name)
        if len(elements) != 1:
            raise self.error(f"there is {f'{len(elements)} times' if elements else 'no'} {name}; one is expected.")
        return elements[0]

    def attribute(self, element: ElementTree.Element, name: str) -> str:
        """Return an attribute without the blanks around it.  Raises DataFileError if there is none."""
        value = element.get(name)
        if value is None:
            raise self.error(f"{element.tag} has no attribute {name}; one is expected.")
        return value.strip()

    def number(self, element: ElementTree.Element, name: str) -> float:
        """Return an attribute as a finite number.  Raises DataFileError."""
        text = self.attribute(element, name)
        try:
            value = _real(text)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise self.error(f"{element.tag} {name} is {text[:30]!r}; a finite number is expected.")
        return value

    def integer(self, element: ElementTree.Element, name: str, lowest: int, highest: int) -> int:
        """Return an attribute as a whole number in a range.  Raises DataFileError."""
        value = self.number(element, name)
        if value != int(value) or not lowest <= value <= highest:
            raise self.error(f"{element.tag} {name} is {value:g}; a whole number from {lowest} to {highest} is expected.")
        return int(value)

    def flag(self, element: ElementTree.Element, name: str) -> bool:
        """Return a logical attribute in any spelling of Fortran, false if absent.  Raises DataFileError for others."""
        text = element.get(name, "F").strip().strip(".").upper()
        if text not in _FLAGS:
            raise self.error(f"{element.tag} {name} is {text[:20]!r}; T or F is expected.")
        return _FLAGS[text]

    def table(self, name: str, length: int) -> np.ndarray:
        """Return the finite numbers of an element, shape (length,), in the unit of the file.  Raises DataFileError."""
        fields = (self.find(name).text or "").split()
        if len(fields) != length:
            raise self.error(f"{name} holds {len(fields)} numbers; {length} are expected.")
        try:
            values = np.array([_real(field) for field in fields], dtype=float)
        except ValueError as problem:
            raise self.error(f"{name}: {str(problem)[:80]}; numbers are expected.") from None
        if not np.isfinite(values).all():
            raise self.error(f"{name} holds NaN or infinity; finite numbers are expected.")
        return values


def _real(text: str) -> float:
    return float(text.replace("D", "E").replace("d", "e"))


def _without_info(text: str) -> str:
    """Return the file without its comment section, which is often not well-formed XML."""
    start, end = text.find("<PP_INFO"), text.rfind("</PP_INFO>")
    return text[:start] + text[end + len("</PP_INFO>") :] if 0 <= start < end else text


def _repaired(text: str) -> str:
    """Return a file whose attributes hold ``&`` or ``<`` as they must be written."""
    quoted = re.sub(r'="[^"]*"', lambda match: match[0].replace("<", "&lt;"), text)
    return re.sub(_REFERENCE, "&amp;", quoted)
