# SIMULATED: reads and writes JSON with the words and the spelling of Go's encoding/json.
"""nvidia-ctk is a Go program: its errors and its output are compared byte by byte."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

_LITERALS = {"true": True, "false": False, "null": None}
_ESCAPES = {'"': '"', "\\": "\\", "/": "/", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_SPACE = " \t\r\n"
_DIGITS = "0123456789"
_HEX = _DIGITS + "abcdefABCDEF"


class GoError(ValueError):
    """What Go's decoder would say."""


class _Decoder:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def decode(self) -> Any:
        """The first value. What follows it is not looked at, as by Go's Decoder.Decode."""
        if not self._text.strip(_SPACE):
            raise GoError("EOF")
        return self._value()

    def _peek(self) -> str:
        while self._at < len(self._text) and self._text[self._at] in _SPACE:
            self._at += 1
        return self._here()

    def _here(self) -> str:
        if self._at >= len(self._text):
            raise GoError("unexpected EOF")
        return self._text[self._at]

    def _refuse(self, context: str) -> GoError:
        character = self._text[self._at]
        quoted = {"'": "'\\''", '"': "'\"'"}.get(character)
        if quoted is None:
            quoted = f"'{character}'" if character.isprintable() else repr(character)
        return GoError(f"invalid character {quoted} {context}")

    def _value(self) -> Any:
        first = self._peek()
        if first == "{":
            return self._object()
        if first == "[":
            return self._array()
        if first == '"':
            return self._string()
        if first == "-" or first in _DIGITS:
            return self._number()
        for word, value in _LITERALS.items():
            if first == word[0]:
                return self._literal(word, value)
        raise self._refuse("looking for beginning of value")

    def _literal(self, word: str, value: Any) -> Any:
        for expected in word:
            if self._here() != expected:
                raise self._refuse(f"in literal {word} (expecting {expected!r})")
            self._at += 1
        return value

    def _number(self) -> float:
        start = self._at
        if self._here() == "-":
            self._at += 1
            if self._here() not in _DIGITS:
                raise self._refuse("in numeric literal")
        if self._here() == "0":
            self._at += 1  # a digit after it is no part of the number: the caller stumbles over it, as Go does
        else:
            self._digits()
        if self._text[self._at : self._at + 1] == ".":
            self._at += 1
            if self._here() not in _DIGITS:
                raise self._refuse("after decimal point in numeric literal")
            self._digits()
        if self._text[self._at : self._at + 1] in ("e", "E"):
            self._at += 1
            if self._here() in "+-":
                self._at += 1
            if self._here() not in _DIGITS:
                raise self._refuse("in exponent of numeric literal")
            self._digits()
        return float(self._text[start : self._at])

    def _digits(self) -> None:
        while self._at < len(self._text) and self._text[self._at] in _DIGITS:
            self._at += 1

    def _string(self) -> str:
        self._at += 1
        found = []
        while (character := self._here()) != '"':
            if ord(character) < 0x20:
                raise self._refuse("in string literal")
            self._at += 1
            found.append(self._escape() if character == "\\" else character)
        self._at += 1
        # Two escapes can be one character.
        return "".join(found).encode("utf-16", "surrogatepass").decode("utf-16", "replace")

    def _escape(self) -> str:
        code = self._here()
        if code in _ESCAPES:
            self._at += 1
            return _ESCAPES[code]
        if code != "u":
            raise self._refuse("in string escape code")
        digits = ""
        for _digit in range(4):
            self._at += 1
            if self._here() not in _HEX:
                raise self._refuse("in \\u hexadecimal character escape")
            digits += self._here()
        self._at += 1
        return chr(int(digits, 16))

    def _object(self) -> dict[str, Any]:
        self._at += 1
        found: dict[str, Any] = {}
        if self._peek() == "}":
            self._at += 1
            return found
        while True:
            if self._peek() != '"':
                raise self._refuse("looking for beginning of object key string")
            key = self._string()
            if self._peek() != ":":
                raise self._refuse("after object key")
            self._at += 1
            found[key] = self._value()
            if self._peek() == "}":
                self._at += 1
                return found
            if self._here() != ",":
                raise self._refuse("after object key:value pair")
            self._at += 1

    def _array(self) -> list[Any]:
        self._at += 1
        found: list[Any] = []
        if self._peek() == "]":
            self._at += 1
            return found
        while True:
            found.append(self._value())
            if self._peek() == "]":
                self._at += 1
                return found
            if self._here() != ",":
                raise self._refuse("after array element")
            self._at += 1


def decode(text: str) -> Any:
    return _Decoder(text).decode()


def kind(value: Any) -> str:
    """Go's word for a JSON value of the wrong type."""
    names = {list: "array", str: "string", bool: "bool", float: "number", dict: "object"}
    return names[type(value)]


def _number(value: float) -> str:
    shortest = repr(value)
    if value == 0 or 1e-6 <= abs(value) < 1e21:
        text = format(Decimal(shortest), "f")
        return text[:-2] if text.endswith(".0") else text
    mantissa, exponent = shortest.split("e")
    return f"{mantissa}e{exponent[0]}{exponent[1:].lstrip('0')}"


def _quote(text: str) -> str:
    short = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\b": "\\b", "\f": "\\f"}
    risky = {"<", ">", "&", "\u2028", "\u2029"}  # Go keeps JSON safe inside HTML
    parts = []
    for character in text:
        if character in short:
            parts.append(short[character])
        elif ord(character) < 0x20 or character in risky:
            parts.append(f"\\u{ord(character):04x}")
        else:
            parts.append(character)
    return '"' + "".join(parts) + '"'


def encode(value: Any, indent: int = 0) -> str:
    """As ``json.MarshalIndent(value, "", "    ")``: keys sorted, empty containers on one line."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, (int, float)):
        return _number(float(value))
    if isinstance(value, str):
        return _quote(value)
    pad = "    " * (indent + 1)
    if isinstance(value, dict):
        items = [f"{_quote(key)}: {encode(value[key], indent + 1)}" for key in sorted(value)]
        brackets = "{}"
    else:
        items = [encode(item, indent + 1) for item in value]
        brackets = "[]"
    if not items:
        return brackets
    end = "    " * indent
    return f"{brackets[0]}\n" + ",\n".join(pad + item for item in items) + f"\n{end}{brackets[1]}"
