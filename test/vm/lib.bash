# shellcheck shell=bash
# Shared by prepare, run and selfcheck: where things are kept and how each
# build step is made idempotent. Sourced, never run.

# The kernels of the matrix, each named as `run -k` spells it, and the Debian
# suite whose cloud kernel stands for it.
# shellcheck disable=SC2034 # read by the scripts that source this file
vm_kernels=(6.1 6.12 7.2)
declare -A vm_suite=([6.1]=bookworm [6.12]=trixie [7.2]=sid)
vm_rootfs_suite=sid

vm_scripts=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
vm_cache=${EYAS_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/eyas}/vm

say() { printf '%s: %s\n' "${0##*/}" "$*" >&2; }

# die MESSAGE: the harness itself cannot go on. 125, as env(1) and timeout(1)
# use it, so that it is told apart from most statuses a command returns.
die() {
	say "$*"
	exit 125
}

# vm_hash WORD...: one hash over the words and over the files among them, which
# is what decides whether a step must be done again.
vm_hash() {
	local word
	for word; do
		printf '%s\n' "${word##*/}"
		[[ -f $word ]] && cat "$word"
	done | sha256sum | cut -c1-32
}

# vm_fresh NAME HASH: has step NAME already been done from exactly this input?
vm_fresh() { [[ -e $vm_cache/$1 && $(cat "$vm_cache/$1.stamp" 2>/dev/null) == "$2" ]]; }

# vm_commit NEW NAME HASH: put what was built aside in its place. The stamp goes
# first and comes back last: an interrupted build is never taken for a whole one.
vm_commit() {
	rm -f "$vm_cache/$2.stamp"
	rm -rf "${vm_cache:?}/$2"
	mv -T "$1" "$vm_cache/$2"
	printf '%s\n' "$3" >"$vm_cache/$2.stamp"
}

# vm_mirror: the archive this machine itself installs Debian from.
vm_mirror() {
	local codename mirror
	codename=$(. /etc/os-release && printf '%s' "$VERSION_CODENAME")
	# shellcheck disable=SC2016 # apt expands these, not the shell
	mirror=$(apt-get indextargets --format '$(REPO_URI)' "Codename: $codename" 'Component: main' 'Created-By: Packages')
	mirror=${mirror%%$'\n'*}
	[[ -n $mirror ]] || die "find a Debian mirror: no main component of $codename in this machine's apt sources"
	printf '%s' "$mirror"
}

# vm_virtiofsd: the path of the program, which no suite keeps in PATH.
vm_virtiofsd() {
	local path
	for path in /usr/libexec/virtiofsd /usr/lib/qemu/virtiofsd; do
		[[ -x $path ]] && printf '%s' "$path" && return
	done
	return 1
}
