#!/usr/bin/env bash
# Queues a command as a SLURM job.
#
#   submit.sh [--dry-run] [sbatch options] -- \
#     wsjax run --config FILE --workdir DIR
#
# The job is named after the workdir. While a job of that name is queued or
# runs, nothing is queued, and jobs of one name wait for each other: two of them
# in one workdir would spoil it. So the same command can be given any number of
# times, as `wsjax sweep --via 'launch/slurm/submit.sh --'` does. Options such
# as --nodes=4 --gpus-per-node=8 --time=12:00:00 go to sbatch, which has more in
# the environment variables SBATCH_*.

set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
die() {
  printf '%s: %s\n' "${0##*/}" "$*" >&2
  exit 2
}

dry_run=
options=()
while (($#)); do
  case $1 in
    --) break ;;
    --help)
      sed -n '2,/^$/s/^# \{0,1\}//p' "$0"
      exit 0
      ;;
    --dry-run) dry_run=yes ;;
    *) options+=("$1") ;;
  esac
  shift
done
(($# > 1)) || die 'there is no command; give it after --. See --help.'
shift

workdir=
for ((i = 1; i <= $#; i++)); do
  case ${!i} in
    --workdir=*) workdir=${!i#*=} ;;
    --workdir)
      next=$((i + 1))
      workdir=${!next:-}
      ;;
  esac
done
[[ -n $workdir ]] || die "no --workdir in '$*'; jobs are named after it."
[[ $workdir == /* ]] || workdir=$PWD/$workdir
name=wsjax${workdir//[^A-Za-z0-9._]/-}

submit=(
  sbatch "--job-name=$name" --dependency=singleton
  ${options[@]+"${options[@]}"} "$here/train.sbatch" "$@"
)
if [[ -n $dry_run ]]; then
  printf -v line '%q ' "${submit[@]}"
  printf '%s\n' "${line% }"
  exit 0
fi
queued=$(squeue --noheader --me --name="$name" --format=%i)
if [[ -n $queued ]]; then
  echo "$name is queued already, as job ${queued//$'\n'/, }"
  exit 0
fi
"${submit[@]}"
