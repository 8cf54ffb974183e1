"""The one exception users meet: it says what is wrong, what was expected, what was found and what to do next."""


class DBAError(ValueError):
    """A problem that the user can mend.

    Args:
        what: what is wrong, one sentence.
        expected: what would have been right.
        found: what was there instead.
        next_step: what to do now.
    """

    def __init__(
        self, what: str, *, expected: object = None, found: object = None, next_step: str | None = None
    ) -> None:
        self.what = what
        self.expected = expected
        self.found = found
        self.next_step = next_step
        lines = [what]
        for label, value in (("expected", expected), ("found", found), ("next step", next_step)):
            if value is not None:
                lines.append(f"  {label}: {value}")
        super().__init__("\n".join(lines))


class AnchorError(DBAError):
    """The anchor is missing, damaged, of another format, or belongs to another base model."""
