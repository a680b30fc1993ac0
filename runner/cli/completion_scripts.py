"""The scripts that make a shell complete: click's protocol, with scripts that also serve a program called by its path.

click's own scripts ask the `run-pipeline` that is found on PATH, whatever was typed, and put a space after `NAME=`.
"""

from __future__ import annotations

from typing import ClassVar

import click
from click.shell_completion import BashComplete, FishComplete, ShellComplete, ZshComplete

COMPLETE_VARIABLE = "_RUN_PIPELINE_COMPLETE"

_BASH = r"""
%(complete_func)s() {
    local IFS=$'\n' answer line type value
    answer=$(env COMP_WORDS="${COMP_WORDS[*]}" COMP_CWORD="$COMP_CWORD" %(complete_var)s=bash_complete "$1" 2>/dev/null)
    COMPREPLY=()
    for line in $answer; do
        type=${line%%%%,*} value=${line#*,}
        case $type in
            dir) compopt -o dirnames 2>/dev/null ;;
            file) compopt -o default 2>/dev/null ;;
            plain)
                COMPREPLY+=("$value")
                case $value in *=) compopt -o nospace 2>/dev/null ;; esac ;;
        esac
    done
}
complete -o nosort -F %(complete_func)s %(prog_name)s 2>/dev/null || complete -F %(complete_func)s %(prog_name)s
"""

_ZSH = r"""
#compdef %(prog_name)s

%(complete_func)s() {
    local -a answer plain told open
    local program=${~words[1]} type value text
    answer=("${(@f)$(env COMP_WORDS="${(F)words}" COMP_CWORD=$((CURRENT - 1)) \
        %(complete_var)s=zsh_complete $program 2>/dev/null)}")
    for type value text in $answer; do
        case $type in
            dir) _path_files -/ ;;
            file) _path_files -f ;;
            plain)
                if [[ $value == *= ]]; then
                    open+=("$value")
                elif [[ $text == _ ]]; then
                    plain+=("$value")
                else
                    told+=("$value:$text")
                fi ;;
        esac
    done
    (( $#told )) && _describe -V unsorted told -U
    (( $#plain )) && compadd -U -V unsorted -a plain
    (( $#open )) && compadd -U -S '' -V unsorted -a open
}

if [[ $zsh_eval_context[-1] == loadautofunc ]]; then
    %(complete_func)s "$@"
else
    (( $+functions[compdef] )) || { autoload -Uz compinit && compinit; }
    compdef %(complete_func)s %(prog_name)s
fi
"""

_FISH = r"""
function %(complete_func)s
    set -l words (commandline -opc)
    set -l answer (env %(complete_var)s=fish_complete COMP_WORDS=(commandline -cp) COMP_CWORD=(commandline -t) \
        $words[1] 2>/dev/null)
    for line in $answer
        set -l parts (string split -m 1 , -- $line)
        switch $parts[1]
            case dir
                __fish_complete_directories $parts[2]
            case file
                __fish_complete_path $parts[2]
            case plain
                echo $parts[2]
        end
    end
end

complete --no-files --command %(prog_name)s --arguments "(%(complete_func)s)"
"""


class _Bash(BashComplete):
    source_template: ClassVar[str] = _BASH


class _Zsh(ZshComplete):
    source_template: ClassVar[str] = _ZSH


class _Fish(FishComplete):
    source_template: ClassVar[str] = _FISH


SHELLS: dict[str, type[ShellComplete]] = {"bash": _Bash, "zsh": _Zsh, "fish": _Fish}


def script(shell: str, app: click.Command, program: str) -> str:
    """Return the script for a shell. `program` is the name that is completed, also behind a path."""
    complete = SHELLS[shell](app, {}, program, COMPLETE_VARIABLE)
    return (complete.source_template % complete.source_vars()).lstrip("\n")
