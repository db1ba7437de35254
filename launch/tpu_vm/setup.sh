#!/usr/bin/env bash
# Copies the last commit to every worker of a TPU and installs it there.
#
#   setup.sh --name NAME --zone ZONE [--project PROJECT] \
#     [--nfs HOST:/SHARE] [--mount DIR] [--dry-run]
#
# --nfs mounts a share on every worker, at /mnt/wsjax unless --mount says
# otherwise. A workdir belongs there: the disk of a worker goes with the TPU.

here=$(dirname "${BASH_SOURCE[0]}")
# shellcheck source=common.sh
source "$here/common.sh"
takes+=(nfs mount)
parse "$@"
need name zone
setup
