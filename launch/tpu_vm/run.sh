#!/usr/bin/env bash
# Runs a command on every worker of a TPU until it is done, then deletes it.
#
#   run.sh --name NAME --zone ZONE --accelerator-type TYPE \
#     --runtime-version VERSION --max-hours N [--restarts R] [--requeues Q] \
#     [--nfs HOST:/SHARE] [--mount DIR] [--project PROJECT] [--on-demand] \
#     [--keep] [--dry-run] -- wsjax run --config FILE --workdir DIR
#
# Queues the TPU and installs the last commit on it; a TPU of that name that is
# there is used as it is. When it is preempted, it is deleted and queued again,
# at most Q times (20). When a process fails, all start again, at most R times
# (3). After N hours, by Ctrl-C or SIGTERM, and at any other end the processes
# are asked to save and the TPU is deleted; --keep leaves it.
#
# Exit status: 0 done, 2 wrong input, 75 saved and stopped (hours over, or
# SIGTERM), 130 Ctrl-C, else that of the command when the budget is spent.

here=$(dirname "${BASH_SOURCE[0]}")
# shellcheck source=common.sh
source "$here/common.sh"
takes+=(accelerator-type runtime-version max-hours restarts requeues nfs mount)
flags+=(on-demand keep)
opt[restarts]=3
opt[requeues]=20
parse "$@"
need name zone accelerator-type runtime-version
need_number max-hours 1
need_number restarts 0
need_number requeues 0
((${#words[@]})) || die 'there is no command; give it after --.'

grace_seconds=120
# Where a worker notes its process; a new worker has none.
pid_file=/tmp/wsjax.pid
# A worker whose connection broke may still run; it saves before we start anew.
# shellcheck disable=SC2016 # The workers expand it.
printf -v stop_line '%s' \
  "old=\$(cat $pid_file 2>/dev/null) && kill \$old 2>/dev/null" \
  " && { timeout $grace_seconds tail --pid=\$old -f /dev/null" \
  ' || kill -9 $old; }; true'
printf -v command_line '%q ' "${words[@]}"
# shellcheck disable=SC2016
printf -v run_line '%s' "$stop_line; " \
  'cd ~/wsjax && PATH=$HOME/wsjax/.venv/bin:$PATH' \
  " && echo \$\$ > $pid_file && exec ${command_line% }"

running=
finish() {
  local status=$?
  trap - EXIT
  trap '' INT TERM # Nobody stays behind because we were asked twice.
  if [[ -n $running ]]; then
    kill "$running" 2>/dev/null || true
    say 'the workers save'
    on_workers "$stop_line" || true
  fi
  if [[ -n ${opt[keep]:-} ]]; then
    say "${opt[name]} stays; delete.sh --name ${opt[name]} ends what it costs"
  elif ! delete && [[ $(state) != ABSENT ]]; then
    say "${opt[name]} COULD NOT BE DELETED AND COSTS MONEY: call delete.sh"
  fi
  exit "$status"
}
trap 'exit 130' INT
trap 'exit "$saved"' TERM
trap finish EXIT

requeues=0 restarts=0 resumes=0
max_requeues=${opt[requeues]} max_restarts=${opt[restarts]}
requeue() { # Why.
  say "$1"
  ((++requeues <= max_requeues)) || {
    say 'that was the last time'
    exit 1
  }
  delete || true
  nap "$poll_seconds"
}

# Makes sure that there is a TPU with our code: 0, or 1 if it did not come.
ready() {
  local now=ABSENT
  [[ -n ${opt[dry-run]:-} ]] || now=$(state)
  case $now in
    ACTIVE) return 0 ;;
    ABSENT)
      # Refused at the first try, it will be refused again.
      create || { ((requeues)) && return 1 || exit 1; }
      ;;
  esac
  await && setup
}

if [[ -n ${opt[dry-run]:-} ]]; then
  ready
  on_workers "$run_line"
  exit 0
fi

mapfile -t options < <(where)
while true; do
  if (($(seconds_left) <= 0)); then
    say "${opt[max-hours]} h are over; the same command goes on from here"
    exit "$saved"
  elif ! ready; then
    (($(seconds_left) <= 0)) || requeue "${opt[name]} did not come"
    continue
  fi
  left=$(seconds_left)
  ((left > 0)) || continue # For timeout, 0 s are for ever.
  status=0
  # In the background, so that a signal to us is handled at once.
  timeout --kill-after=30 "$left" gcloud compute tpus tpu-vm ssh \
    "${opt[name]}" --worker=all "${options[@]}" --command="$run_line" &
  running=$!
  wait "$running" || status=$?
  (($(seconds_left) > 0)) || continue # The workers may still run.
  running=
  say "the command ended with $status"
  if ((status == 0 || status == wrong)); then
    exit "$status"
  elif preempted; then
    requeue "${opt[name]} was preempted"
  elif ((status == saved && resumes < 1000)); then
    ((++resumes))
  elif ((restarts < max_restarts)); then
    say "all start again ($((++restarts)) of $max_restarts)"
  else
    exit "$status"
  fi
done
