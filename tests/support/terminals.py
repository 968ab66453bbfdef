"""A terminal that remembers what was written to it."""

import io


class Terminal(io.StringIO):
    """A stream that says that it is a terminal; `screen()` is what somebody would see in its last line."""

    encoding = "utf-8"

    def isatty(self):
        return True

    def screen(self):
        """The last line that is not empty, as it looks now."""
        seen = []
        for line in self.getvalue().split("\n"):
            row = []
            for state in line.split("\r"):
                row[: len(state)] = state
            seen.append("".join(row).rstrip())
        return ([row for row in seen if row] or [""])[-1]
