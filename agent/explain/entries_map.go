package explain

import (
	"slices"

	"github.com/eyas-agent/eyas/agent/doctor"
)

// mapEntries are errors of writing id maps: newuidmap and its files.
func mapEntries() []Entry {
	return []Entry{
		{
			ID: "newuidmap-not-permitted", Error: "newuidmap: write to uid_map failed: Operation not permitted",
			Match: []string{
				"newuidmap … write to uid_map failed operation not permitted",
				"newgidmap … write to gid_map failed operation not permitted",
				"write to uid_map failed operation not permitted",
				"write to gid_map failed operation not permitted",
			},
			Cause: "The kernel refused the id map. Either a range of /etc/subuid or /etc/subgid lies outside the ids that the container itself has (100000:65536 in a pod of 65536 ids), " +
				"or newuidmap has no capability there: its file capabilities are lost (setuid alone does not do inside a container), or no_new_privs is on.",
			Fix: "In the image: echo dev:1001:64535 | tee /etc/subuid /etc/subgid   (ranges within 0..65535)\n" +
				"In the image: setcap cap_setuid+ep /usr/bin/newuidmap && setcap cap_setgid+ep /usr/bin/newgidmap\n" +
				"In the pod: allowPrivilegeEscalation: true, and capabilities: {add: [SETUID, SETGID]}\n" +
				"eyas writes fitting ranges for pods with the annotation eyas.dev/sandbox: \"true\".",
			Seen:   []string{"podman#27411"},
			Checks: inside(doctor.Fail, "subuid", "subgid", "newuidmap", "newgidmap", "no-new-privs", "capabilities"), Covered: true,
		},
		{
			ID: "newuidmap-set-caps", Error: "newuidmap: Could not set caps",
			Match: []string{"newuidmap … could not set caps", "newgidmap … could not set caps"},
			Cause: "newuidmap could not take the capability it needs: no_new_privs is on (allowPrivilegeEscalation: false sets it), the file has neither setuid nor file capabilities, or the capability is not in the container's bounding set.",
			Fix: "In the pod: allowPrivilegeEscalation: true, and capabilities: {add: [SETUID, SETGID]}\n" +
				"In the image: setcap cap_setuid+ep /usr/bin/newuidmap && setcap cap_setgid+ep /usr/bin/newgidmap",
			Seen:   []string{"buildkit#1671", "buildkit#1904"},
			Checks: inside(doctor.Fail, "no-new-privs", "newuidmap", "newgidmap", "capabilities"), Covered: true,
		},
		{
			ID: "newuidmap-range-not-allowed", Error: "newuidmap: uid range [1-65536) -> [100000-165535) not allowed",
			Match: []string{"newuidmap … uid range … not allowed", "newgidmap … gid range … not allowed"},
			Cause: "/etc/subuid (for gids /etc/subgid) gives the user no range that holds the ids asked for. Beyond these files a user may map nothing but its own id.",
			Fix: "Add the range for that user, by name or uid, in both files: echo dev:1001:64535 | tee -a /etc/subuid /etc/subgid\n" +
				"If the lines are there, see that /etc/nsswitch.conf has no other source: grep subid /etc/nsswitch.conf",
			Seen:   []string{"shadow: newuidmap(1)"},
			Checks: inside(doctor.Warn, "subuid", "subgid"),
		},
		{
			ID: "newuidmap-different-user", Error: "newuidmap: Target process 42 is owned by a different user",
			Match: []string{"target process … is owned by a different user", "target … is owned by a different user uid … pw_uid … st_uid"},
			Cause: "newuidmap compares the caller's uid and gid with /etc/passwd and with the owner of the process. The primary group is mostly what differs: the pod runs the user with another gid than its entry in /etc/passwd has.",
			Fix: "Run with the gid of the user's passwd entry: runAsUser: 1000, runAsGroup: 1000\n" +
				"Or allow other groups, in shadow 4.9 and later: echo GRANT_AUX_GROUP_SUBIDS yes >> /etc/login.defs",
			Seen:  []string{"apptainer#1751", "shadow#308"},
			Blind: "doctor does not compare the container's gid with its /etc/passwd",
		},
		{
			ID: "no-subid-ranges", Error: "no subuid ranges found for user dev in /etc/subuid",
			Match: []string{"no subuid ranges found for user", "no subgid ranges found for user", "no subuid range for user", "no subgid range for user"},
			Cause: "The user has no line in /etc/subuid or /etc/subgid, so the engine has a single id to give away.",
			Fix: "echo dev:1001:64535 | tee -a /etc/subuid /etc/subgid   (in the container, ranges that it has)\n" +
				"For pods with the annotation eyas.dev/sandbox: \"true\" eyas mounts both files.",
			Seen:   []string{"rootlesskit", "podman: rootless tutorial"},
			Checks: inside(doctor.Warn, "subuid", "subgid"), Covered: true,
		},
		{
			ID: "newuidmap-missing", Error: "exec: \"newuidmap\": executable file not found in $PATH",
			Match: []string{
				"exec newuidmap executable file not found", "exec newgidmap executable file not found",
				"newuidmap command not found", "newgidmap command not found", "newuidmap not found in path", "newgidmap not found in path",
			},
			Cause: "The image lacks the tool that writes id maps of more than one id for users who are not root.",
			Fix: "Debian, Ubuntu: apt-get install uidmap; Alpine: apk add shadow-uidmap; Fedora: dnf install shadow-utils\n" +
				"Then: setcap cap_setuid+ep /usr/bin/newuidmap && setcap cap_setgid+ep /usr/bin/newgidmap",
			Seen:   []string{"podman: troubleshooting"},
			Checks: inside(doctor.Fail, "newuidmap", "newgidmap"), Covered: true,
		},
		{
			ID: "newuidmap-no-filecaps", Error: "cannot set up namespace using \"/usr/bin/newuidmap\": should have setuid or have filecaps setuid",
			Match: []string{"cannot set up namespace using … should have setuid or have filecaps", "should have setuid or have filecaps"},
			Cause: "newuidmap has neither setuid nor file capabilities: they were lost when the image was built or copied (COPY --from, a tar without xattrs, a layer squashed).",
			Fix: "In the image, as the last step: RUN setcap cap_setuid+ep /usr/bin/newuidmap && setcap cap_setgid+ep /usr/bin/newgidmap\n" +
				"Or reinstall the package: dnf reinstall shadow-utils, apt-get install --reinstall uidmap",
			Seen:   []string{"podman: troubleshooting"},
			Checks: inside(doctor.Fail, "newuidmap", "newgidmap"), Covered: true,
		},
		{
			ID: "keep-id-too-small", Error: "not enough unused IDs in user namespace",
			Match: []string{"not enough unused ids in user namespace"},
			Cause: "--userns=keep-id, or auto, already uses all ids that the user has, so none are left for a further container.",
			Fix: "Say how many: podman run --userns=keep-id:size=65536, or --userns=auto:size=1024\n" +
				"Or give the user more ids in /etc/subuid and /etc/subgid, then: podman system migrate",
			Seen:   []string{"podman: podman-run(1)"},
			Checks: slices.Concat(inside(doctor.Warn, "subuid", "subgid"), inside(doctor.Warn, "userns")),
		},
	}
}
