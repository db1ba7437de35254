# shellcheck shell=bash
# What the scripts of this folder share. Sourced, not run.
#
# A script names its options in `takes` (with a value) and `flags`, and calls
# `parse "$@"`; the values are in the array `opt`, what follows -- in `words`.

set -euo pipefail

declare -A opt=()
words=()
takes=(name zone project)
flags=(dry-run)
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
# Seconds between two looks at a queue.
poll_seconds=${WSJAX_POLL_SECONDS:-30}
# Exit statuses of wsjax: wrong input, and saved and stopped.
export wrong=2 saved=75

say() { printf '[launch] %s\n' "$*" >&2; }

die() {
  printf '%s: %s\n' "${0##*/}" "$*" >&2
  exit "$wrong"
}

# The comment at the head of the script.
usage() { sed -n '2,/^$/s/^# \{0,1\}//p' "$0"; }

parse() {
  local key value
  while (($#)); do
    key=${1#--}
    case $1 in
      --help)
        usage
        exit 0
        ;;
      --)
        shift
        # shellcheck disable=SC2034 # For the script.
        words=("$@")
        return
        ;;
      --*=*)
        value=${key#*=}
        key=${key%%=*}
        ;;
      --*)
        value=yes
        if [[ " ${takes[*]} " == *" $key "* ]]; then
          (($# > 1)) || die "--$key needs a value; see --help."
          value=$2
          shift
        fi
        ;;
      *) die "did not expect '$1'; a command follows --. See --help." ;;
    esac
    [[ " ${takes[*]} ${flags[*]} " == *" $key "* ]] ||
      die "there is no option --$key; see --help."
    opt[$key]=$value
    shift
  done
}

# Ends unless all of these options were given.
need() {
  local key
  for key in "$@"; do
    [[ -n ${opt[$key]:-} ]] || die "--$key is missing; see --help."
  done
}

# Ends unless an option is a whole number, at least $2.
need_number() {
  need "$1"
  if ! [[ ${opt[$1]} =~ ^(0|[1-9][0-9]{0,5})$ ]] || ((${opt[$1]} < $2)); then
    die "--$1 is '${opt[$1]}'; it must be a whole number, at least $2."
  fi
}

# Runs a command; with --dry-run prints its words, as a shell reads them.
call() {
  if [[ -n ${opt[dry-run]:-} ]]; then
    local line
    printf -v line '%q ' "$@"
    printf '%s\n' "${line% }"
  else
    "$@"
  fi
}

# Options that every call takes.
where() {
  printf -- '--zone=%s\n' "${opt[zone]}"
  [[ -z ${opt[project]:-} ]] || printf -- '--project=%s\n' "${opt[project]}"
}

queue() { # Verb, name, options.
  local options
  mapfile -t options < <(where)
  call gcloud compute tpus queued-resources "$@" "${options[@]}"
}

on_workers() { # Command for every worker.
  local options
  mapfile -t options < <(where)
  call gcloud compute tpus tpu-vm ssh "${opt[name]}" --worker=all \
    "${options[@]}" --command="$1"
}

create() {
  local options=(
    "--node-id=${opt[name]}"
    "--accelerator-type=${opt[accelerator-type]}"
    "--runtime-version=${opt[runtime-version]}"
    # A request that waited longer than we would use it is not worth having.
    "--valid-until-duration=${opt[max-hours]}h"
  )
  [[ -n ${opt[on-demand]:-} ]] || options+=(--spot)
  queue create "${opt[name]}" "${options[@]}"
}

delete() { queue delete "${opt[name]}" --force --quiet; }

# State of the request; ABSENT if there is none, UNKNOWN if we cannot tell.
state() {
  local text
  if text=$(queue describe "${opt[name]}" '--format=value(state.state)' 2>&1)
  then
    printf '%s\n' "${text##*$'\n'}"
  elif grep -qiE 'not[ _]?found' <<<"$text"; then
    echo ABSENT
  else
    echo UNKNOWN
  fi
}

seconds_left() { echo $((${opt[max-hours]} * 3600 - SECONDS)); }

# Sleeps, but so that a signal to us is handled at once.
nap() {
  sleep "$1" &
  wait $!
}

# Waits until the TPU is there: 0, or 1 if it will not come.
await() {
  local now before=
  [[ -z ${opt[dry-run]:-} ]] || return 0
  while (($(seconds_left) > 0)); do
    now=$(state)
    [[ $now == "$before" ]] || say "${opt[name]} is $now"
    before=$now
    case $now in
      ACTIVE) return 0 ;;
      FAILED | SUSPENDING | SUSPENDED | DELETING | ABSENT) return 1 ;;
    esac
    nap "$poll_seconds"
  done
  return 1
}

# Whether the TPU was taken away: the request can still say ACTIVE for a while.
preempted() {
  local options
  [[ $(state) == ACTIVE ]] || return 0
  mapfile -t options < <(where)
  [[ $(gcloud compute tpus tpu-vm describe "${opt[name]}" \
    '--format=value(state)' "${options[@]}" 2>/dev/null) != READY ]]
}

# Copies the last commit to every worker and installs it.
setup() {
  local archive="${TMPDIR:-/tmp}/wsjax-${opt[name]}.tar.gz" options
  local mount nfs steps='set -eu'
  printf -v mount %q "${opt[mount]:-/mnt/wsjax}"
  printf -v nfs %q "${opt[nfs]:-}"
  mapfile -t options < <(where)
  call git -C "$root" archive --format=tar.gz "--output=$archive" HEAD ||
    return
  call gcloud compute tpus tpu-vm scp "$archive" "${opt[name]}:wsjax.tar.gz" \
    --worker=all "${options[@]}" || return
  if [[ -n ${opt[nfs]:-} ]]; then
    steps+='; sudo apt-get -qq update'
    steps+='; sudo apt-get -qq --yes install nfs-common'
    steps+="; sudo mkdir -p $mount"
    steps+="; mountpoint -q $mount || sudo mount -t nfs $nfs $mount"
  fi
  steps+='; mkdir -p ~/wsjax; tar -xzf ~/wsjax.tar.gz -C ~/wsjax; cd ~/wsjax'
  steps+='; python3 -m pip install --quiet --user uv; uv=~/.local/bin/uv'
  # shellcheck disable=SC2016 # The workers expand it.
  steps+='; $uv venv --quiet --allow-existing --python 3.12 .venv'
  # The lock holds the version of jax; the extra adds the runtime of the TPU.
  # shellcheck disable=SC2016
  steps+='; $uv pip install --quiet --python .venv/bin/python --require-hashes'
  steps+=' -r launch/requirements-cpu.txt'
  # shellcheck disable=SC2016
  steps+='; $uv pip install --quiet --python .venv/bin/python'
  steps+=" -c launch/requirements-cpu.txt 'jax[tpu]'"
  # shellcheck disable=SC2016
  steps+='; $uv pip install --quiet --python .venv/bin/python --no-deps -e .'
  on_workers "$steps"
}
