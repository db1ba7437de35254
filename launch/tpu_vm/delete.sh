#!/usr/bin/env bash
# Deletes a request and its TPU, in whatever state they are.
#
#   delete.sh --name NAME --zone ZONE [--project PROJECT] [--dry-run]

here=$(dirname "${BASH_SOURCE[0]}")
# shellcheck source=common.sh
source "$here/common.sh"
parse "$@"
need name zone
delete
