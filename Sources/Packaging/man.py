#!/usr/bin/env python3
"""man.py VERSION FOLDER: makes manual pages, millrace.1 and one per command, from the JSON that
`millrace --experimental-dump-help` prints, read from standard input."""
import json
import os
import re
import sys


def escaped(text: str) -> str:
    """Text for roff."""
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return re.sub(r"^([.'])", r"\\&\1", text, flags=re.M)


def paragraphs(text: str) -> list[str]:
    """Prose; lines that are indented stay as they are."""
    lines: list[str] = []
    for part in re.split(r"\n\s*\n", text):
        lines.append(".PP")
        literal = False
        for line in part.split("\n"):
            if line.startswith("  ") != literal:
                literal = not literal
                lines.append(".nf" if literal else ".fi")
            lines.append(escaped(line))
        if literal:
            lines.append(".fi")
    return lines


def label(argument: dict) -> str:
    """`-f, --foreground`, `--cache-dir CACHE-DIR` or `SOURCE`."""
    value = argument.get("valueName", "").upper()
    if argument["kind"] == "positional":
        return "\\fI" + escaped(value) + "\\fR"
    dashes = {"short": "-", "long": "--", "longWithSingleDash": "-"}
    names = sorted((dashes[name["kind"]] + name["name"] for name in argument["names"]), key=len)
    text = ", ".join("\\fB" + escaped(name) + "\\fR" for name in names)
    return text + (" \\fI" + escaped(value) + "\\fR" if argument["kind"] == "option" else "")


def synopsis(words: str, command: dict) -> list[str]:
    """The command and its positional arguments."""
    line = "\\fB" + escaped(words) + "\\fR"
    if any(one["kind"] != "positional" for one in shown(command)):
        line += " [options]"
    for one in shown(command):
        if one["kind"] == "positional":
            name = "\\fI" + escaped(one["valueName"].upper()) + "\\fR" + (" ..." if one["isRepeating"] else "")
            line += " " + (f"[{name}]" if one["isOptional"] else name)
    if command.get("subcommands"):
        line += " \\fICOMMAND\\fR"
    return [line]


def shown(command: dict) -> list[dict]:
    return [one for one in command.get("arguments", []) if one.get("shouldDisplay", True)]


def arguments(command: dict) -> list[str]:
    """The arguments under their sections' titles."""
    sections: dict[str, list[dict]] = {}
    for one in shown(command):
        title = "ARGUMENTS" if one["kind"] == "positional" else one.get("sectionTitle") or "OPTIONS"
        sections.setdefault(title.upper(), []).append(one)
    lines = []
    for title in sorted(sections, key=lambda title: title != "ARGUMENTS"):
        lines.append(f'.SH "{escaped(title)}"')
        for one in sections[title]:
            default = f" Default: {one['defaultValue']}." if one.get("defaultValue") else ""
            lines += [".TP", label(one), escaped(" ".join((one.get("abstract", "") + default).split()))]
    return lines


def page(words: str, command: dict, version: str, others: list[tuple[str, str]]) -> str:
    """One manual page. `others`: names and abstracts of the commands, for the overview."""
    name = words.replace(" ", "-")
    about = command.get("abstract", "")
    lines = [f'.TH {escaped(name).upper()} 1 "" "millrace {version}" "Millrace"']
    lines += [".SH NAME", escaped(f"{name} - {about[:1].lower()}{about[1:].rstrip('.')}").replace(" \\- ", " \\- ", 1)]
    lines += [".SH SYNOPSIS", *synopsis(words, command), ".SH DESCRIPTION", escaped(about)]
    lines += paragraphs(command["discussion"]) if command.get("discussion") else []
    if others:
        lines.append(".SH COMMANDS")
        for other, abstract in others:
            lines += [".TP", f".BR {escaped(other.replace(' ', '-'))} (1)", escaped(abstract)]
    lines += arguments(command)
    lines += [".SH SEE ALSO", ".BR millrace (1)," if others == [] else "", ".BR mount.millrace (8)"]
    return "\n".join(line for line in lines if line) + "\n"


def main() -> None:
    version, folder = sys.argv[1:]
    root = json.load(sys.stdin)["command"]
    commands = [one for one in root["subcommands"] if one.get("shouldDisplay", True) and one["commandName"] != "help"]
    pages = {}
    for one in commands:
        pages[f"millrace {one['commandName']}"] = one
        for inner in one.get("subcommands", []):
            if inner["commandName"] != "help":
                pages[f"millrace {one['commandName']} {inner['commandName']}"] = inner
    overview = [(words, one.get("abstract", "")) for words, one in pages.items()]
    for words, one in [("millrace", root), *pages.items()]:
        with open(os.path.join(folder, words.replace(" ", "-") + ".1"), "w", encoding="utf-8") as file:
            file.write(page(words, one, version, overview if words == "millrace" else []))


main()
