# Makes the virtual environments of bin/run-pipeline and bin/test. Sourced, POSIX sh.
#
# The caller sets `root`, the repository. An environment is ready when its stamp is there, was made
# for this folder, and is not older than pyproject.toml and constraints.txt. The stamp is a copy of
# what matters in them; it is begun as `.run-pipeline-partial` and renamed at the very end, so it has
# the time at which the set-up began, and an interrupted set-up is known by the partial file.

# setup VENV EXTRAS: return when VENV is ready, or end the script with 2.
setup() {
    setup_is_ready "$1" && return
    venv=$1 extras=$2 log=$1.log
    trap 'setup_unlock' EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
    setup_lock
    # Another process may have made it while this one waited.
    setup_is_ready "$venv" || setup_restamp || setup_adopt || setup_install ||
        setup_die "could not set up $venv; the last lines of $log are above." \
            "Check the network and that Python 3.11 or later is on PATH, then start again."
    setup_unlock
    trap - EXIT INT TERM
}

# No programs are started here: this is all that a later start pays.
setup_is_ready() {
    stamp=$1/.run-pipeline-stamp
    [ -x "$1/bin/python" ] && [ -f "$stamp" ] &&
        ! [ "$root/pyproject.toml" -nt "$stamp" ] && ! [ "$root/constraints.txt" -nt "$stamp" ] &&
        IFS= read -r stamped_root <"$stamp" && [ "$stamped_root" = "$root" ]
}

# What an installation depends on: not the settings of ruff or pytest, which are edited more often.
setup_stamp_text() {
    printf '%s\n' "$root" &&
        awk '/^\[/ { kept = /^\[(build-system|project|dependency-groups|tool\.hatch)/ } kept' "$root/pyproject.toml" &&
        cat "$root/constraints.txt"
}

# Newer files with the text that was installed: nothing to install.
setup_restamp() {
    [ -x "$venv/bin/python" ] && [ -f "$venv/.run-pipeline-stamp" ] &&
        setup_stamp_text | cmp -s - "$venv/.run-pipeline-stamp" && touch "$venv/.run-pipeline-stamp"
}

# An environment that someone else made (`uv sync`) and that is complete is used as it is.
setup_adopt() {
    [ -f "$venv/pyvenv.cfg" ] && [ -z "$extras" ] && [ -x "$venv/bin/run-pipeline" ] &&
        ! [ -e "$venv/.run-pipeline-partial" ] && ! [ -e "$venv/.run-pipeline-stamp" ] &&
        [ "$venv/bin/run-pipeline" -nt "$root/pyproject.toml" ] &&
        [ "$venv/bin/run-pipeline" -nt "$root/constraints.txt" ] &&
        "$venv/bin/python" -I - "$root" 2>/dev/null <<'EOF' && setup_begin && setup_finish
import importlib.metadata as metadata, pathlib, re, sys
import runner
for needed in metadata.requires("run-pipeline") or ():
    if "extra ==" not in needed:
        metadata.version(re.match(r"[\w.-]+", needed)[0])
home = pathlib.Path(runner.__file__).resolve().parent.parent
sys.exit(sys.version_info < (3, 11) or home != pathlib.Path(sys.argv[1]).resolve())
EOF
}

setup_install() {
    setup_say "setting up $venv (once; up to a minute)"
    unset PYTHONPATH PYTHONHOME __PYVENV_LAUNCHER__ VIRTUAL_ENV
    # These would make an installer put things elsewhere, or refuse.
    unset PIP_TARGET PIP_PREFIX PIP_ROOT PIP_PYTHON PIP_REQUIRE_HASHES PIP_NO_DEPS PIP_DRY_RUN PIP_NO_BINARY
    unset UV_SYSTEM_PYTHON UV_PROJECT_ENVIRONMENT UV_PYTHON
    : >"$log" || return
    setup_can_be_updated && setup_begin && setup_packages && setup_finish && return
    if command -v uv >/dev/null 2>&1; then
        setup_new_folder && setup_with_uv && setup_finish && return
        setup_say "uv could not set it up (see $log); trying pip"
    fi
    setup_new_folder && setup_venv && setup_with_pip && setup_finish && return
    tail -n 20 "$log" >&2
    return 1
}

# What a user added to a complete environment (an extra, a debugger) stays. One that was left half-made,
# was moved here (its scripts name the old folder) or whose Python is gone is made anew.
setup_can_be_updated() {
    [ -f "$venv/pyvenv.cfg" ] && ! [ -e "$venv/.run-pipeline-partial" ] || return
    ! [ -f "$venv/.run-pipeline-stamp" ] ||
        { IFS= read -r stamped_root <"$venv/.run-pipeline-stamp" && [ "$stamped_root" = "$root" ]; } || return
    setup_python_is_good "$venv/bin/python"
}

setup_begin() { setup_stamp_text >"$venv/.run-pipeline-partial" && rm -f "$venv/.run-pipeline-stamp"; }

setup_finish() {
    for package in runner jobs; do
        ! [ -d "$root/$package" ] || "$venv/bin/python" -I -m compileall -q "$root/$package" >>"$log" 2>&1
    done
    mv "$venv/.run-pipeline-partial" "$venv/.run-pipeline-stamp"
}

setup_new_folder() { rm -rf "$venv" && mkdir "$venv" && setup_begin; }

setup_packages() {
    if command -v uv >/dev/null 2>&1; then setup_uv_install; else setup_with_pip; fi
}

setup_with_uv() {
    uv venv --quiet --allow-existing --python "${RUN_PIPELINE_PYTHON:->=3.11,<3.15}" "$venv" \
        >>"$log" 2>&1 </dev/null && setup_uv_install
}

setup_uv_install() (
    cd "$root" && uv pip install --quiet --python "$venv/bin/python" --compile-bytecode \
        --constraint constraints.txt --build-constraint constraints.txt --editable ".$extras" >>"$log" 2>&1 </dev/null
)

# The constraint goes by the environment too, since only that reaches the build of the project itself;
# the path is relative, since pip splits the variable at spaces. Wheels only: a Python for which there
# are none yet should fail at once, not compile for an hour. (forbiddenfruit, for blockbuster, has none.)
setup_with_pip() (
    cd "$root" && PIP_USER=0 PIP_CONSTRAINT=constraints.txt "$venv/bin/python" -I -m pip \
        --disable-pip-version-check --no-input --quiet install --compile --only-binary :all: \
        --no-binary forbiddenfruit --constraint constraints.txt --editable ".$extras" >>"$log" 2>&1 </dev/null
)

# The newest Python first; one that cannot make an environment (Debian without python3-venv) is passed over.
setup_venv() {
    if [ -n "${RUN_PIPELINE_PYTHON:-}" ]; then
        setup_python_is_good "$RUN_PIPELINE_PYTHON" || echo "RUN_PIPELINE_PYTHON is no Python 3.11 or later." >>"$log"
        "$RUN_PIPELINE_PYTHON" -I -m venv "$venv" >>"$log" 2>&1 </dev/null
        return
    fi
    for name in python3.14 python3.13 python3.12 python3.11 python3; do
        old_ifs=$IFS IFS=:
        for folder in $PATH; do
            IFS=$old_ifs
            [ -x "$folder/$name" ] && setup_python_is_good "$folder/$name" || continue
            "$folder/$name" -I -m venv "$venv" >>"$log" 2>&1 </dev/null && return
            setup_new_folder || return
        done
        IFS=$old_ifs
    done
    echo "No Python 3.11 or later with venv and pip on PATH." >>"$log"
    return 1
}

setup_python_is_good() {
    "$1" -I -c 'import sys; assert sys.version_info >= (3, 11); import venv, ensurepip' >/dev/null 2>&1 </dev/null
}

# One set-up at a time. flock frees itself when its holder dies; without it (macOS) a symbolic link
# that names its holder is made, which is atomic, and is broken when that process is gone.
setup_lock() {
    [ -w "$root" ] || setup_die "cannot write into $root: let its owner start this once."
    if command -v flock >/dev/null 2>&1; then
        exec 9>"$venv.lock"
        flock -n 9 || { setup_say "waiting for another set-up of $venv" && flock 9; }
        return
    fi
    waited=
    until ln -s "$$" "$venv.lock.pid" 2>/dev/null; do
        holder=$(readlink "$venv.lock.pid") || continue
        if kill -0 "$holder" 2>/dev/null; then
            [ -n "$waited" ] || setup_say "waiting for another set-up of $venv (process $holder)"
            waited=yes
            sleep 1
        else
            mv "$venv.lock.pid" "$venv.lock.pid.$$" 2>/dev/null && rm -f "$venv.lock.pid.$$"
        fi
    done
}

setup_unlock() {
    exec 9>&-
    [ "$(readlink "$venv.lock.pid" 2>/dev/null)" != "$$" ] || rm -f "$venv.lock.pid"
}

setup_say() { printf '%s: %s\n' "${0##*/}" "$*" >&2; }

setup_die() {
    for line; do setup_say "$line"; done
    exit 2
}
