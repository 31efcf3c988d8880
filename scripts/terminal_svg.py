#!/usr/bin/env python3
"""Runs a command on a terminal of its own and writes the last screen as an SVG, for the README.

    cargo build --release
    scripts/terminal_svg.py docs/compile.svg -- target/release/bsft compile examples/intents/job.toml

The fullest progress bar of the run is kept above the end of the screen, as a person would have seen it. Plain Python 3.
"""

import html
import os
import pty
import re
import struct
import sys
import fcntl
import termios

COLUMNS, FONT, LINE = 128, 13, 18
COLOURS = {"31": "#f47067", "32": "#57ab5a", "33": "#c69026", "34": "#539bf5", "35": "#b083f0", "36": "#39c5cf"}


def run(command):
    """Everything that the command writes to its terminal."""
    child, master = pty.fork()
    if child == 0:
        os.environ["TERM"] = "xterm-256color"
        os.execvp(command[0], command)
    fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", 40, COLUMNS, 0, 0))
    output = b""
    while True:
        try:
            read = os.read(master, 65536)
        except OSError:
            break
        if not read:
            break
        output += read
    os.waitpid(child, 0)
    return output.decode(errors="replace")


def screen(output):
    """The lines as (style, text) runs. `\\r` and "erase line" begin a line again; other movements are ignored."""
    lines, line, style, bar = [], [], "", None
    for piece in re.split(r"(\x1b\[[0-9;?]*[A-Za-z]|\r\n|\n|\r)", output):
        if piece in ("\r\n", "\n"):
            lines.append(line)
            line = []
        elif piece == "\r" or piece == "\x1b[2K":
            if any("█" in text for _, text in line):
                bar = line
            line = []
        elif piece.startswith("\x1b["):
            if piece.endswith("m"):
                codes = [code for code in piece[2:-1].split(";") if code not in ("", "0")]
                style = " ".join([style] * bool(codes) + codes).strip()
        elif piece:
            line.append((style, piece))
    return ([bar] if bar else []) + lines + ([line] if line else [])


def rendered(style):
    given = style.split()
    attributes = [f'fill="{COLOURS[code]}"' for code in given if code in COLOURS][-1:]
    attributes += ['opacity="0.6"'] if "2" in given else []
    attributes += ['font-weight="bold"'] if "1" in given else []
    return " ".join(attributes)


def svg(title, lines):
    lines = [[("1", f"$ {title}")]] + [line for line in lines if "".join(text for _, text in line).strip()]
    height = LINE * (len(lines) + 1) + 12
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{COLUMNS * 8}" height="{height}" role="img" aria-label="{html.escape(title)}">',
        '<rect width="100%" height="100%" rx="6" fill="#22272e"/>',
        f'<g font-family="monospace" font-size="{FONT}" fill="#adbac7" xml:space="preserve">',
    ]
    for row, line in enumerate(lines, 1):
        spans, column = "", 0
        for style, text in line:
            if not (text := text[: COLUMNS - column]):
                continue
            column += len(text)
            spans += f"<tspan {rendered(style)}>{html.escape(text)}</tspan>".replace("<tspan >", "<tspan>")
        out.append(f'<text x="12" y="{row * LINE + 8}">{spans.rstrip()}</text>')
    return "\n".join(out + ["</g>", "</svg>", ""])


if __name__ == "__main__":
    if "--" not in sys.argv:
        sys.exit(__doc__)
    at = sys.argv.index("--")
    command = sys.argv[at + 1 :]
    shown = " ".join([os.path.basename(command[0]), *command[1:]])
    with open(sys.argv[1], "w", encoding="utf-8") as file:
        file.write(svg(shown, screen(run(command))))
