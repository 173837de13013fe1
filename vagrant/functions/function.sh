# Sourced by every function's run (bash): from the environment's checks to the end. README.md says what is promised.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[1]}")" && pwd)
dir=${BRANCHLINE_DIR:?an empty folder of the instance}
name=$(basename "$here")
children=()

say() { echo "$name: $*" >&2; }
fail() {
  say "$*"
  exit 1
}

# need COMMAND PACKAGE
need() { command -v "$1" >/dev/null || fail "$1 is missing; install the package $2"; }

# background COMMAND...: the function works only while it runs.
background() {
  "$@" &
  children+=($!)
}

all_run() {
  local child
  for child in "${children[@]}"; do kill -0 "$child" 2>/dev/null || return 1; done
}

# until_true SECONDS COMMAND...: repeats the command until it succeeds.
until_true() {
  local deadline=$((SECONDS + $1))
  shift
  until "$@" >/dev/null 2>&1; do
    ((SECONDS < deadline)) || fail "not in time: $*"
    all_run || fail "a part of it ended: $*"
    read -rt 0.05 <> <(:) || :
  done
}

end() {
  trap - TERM INT EXIT
  ((${#children[@]} == 0)) || kill "${children[@]}" 2>/dev/null || :
  wait
  exit "$1"
}

# Answers health checks while this process lives: it ends with any of its parts.
answer_health() {
  [ -n "${BRANCHLINE_HEALTH:-}" ] || return 0
  need busybox busybox-static
  mkdir -p "$dir/health"
  echo good >"$dir/health/index.html"
  background busybox httpd -f -p "$BRANCHLINE_HEALTH" -h "$dir/health"
}

# Says that packets pass, and waits until a part ends (exit code 1) or SIGTERM (0).
serve() {
  answer_health
  # Nothing of this shell's own is left to do: without a part there is one that never ends.
  background sleep infinity
  echo ready
  wait -n "${children[@]}" || :
  say "a part of it ended"
  end 1
}

trap 'end 0' TERM INT
trap 'end $?' EXIT
