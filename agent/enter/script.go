package enter

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/eyas-agent/eyas/collectors/identity"
)

// path is where containers have their programs; the node's PATH may name other
// places.
const path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// tool is nsenter; of its names the long ones are told, which say what they do.
const tool = "nsenter"

// call fills in the call of nsenter. Its paths are relative to /proc/PID.
func (p *Plan) call(command []string) {
	if len(command) == 0 {
		command = []string{"sh"}
	}
	p.Argv = []string{tool}
	for _, k := range kinds {
		for _, n := range p.Namespaces {
			if n == k.file {
				p.Argv = append(p.Argv, k.option+"=ns/"+n)
			}
		}
	}
	// The working directory would stay that of the node: /proc/PID.
	p.Argv = append(p.Argv, "--root=root", "--wd=root", fmt.Sprintf("--setgid=%d", p.GID), fmt.Sprintf("--setuid=%d", p.UID), "--")
	p.Argv = append(p.Argv, command...)
	home := "/"
	if p.UID == 0 {
		home = "/root"
	}
	p.Env = []string{"PATH=" + path, "HOME=" + home}
}

// printsStart prints the start time of the process whose stat is here, in ticks
// (proc_pid_stat(5)). Its name, which comes before, may hold any bytes.
const printsStart = `tr '\n' ' ' <stat | LC_ALL=C sed 's/.*) //' | cut -d ' ' -f 20`

// Script is the plan for sh, to be pasted into a shell or given to sh -c: a
// subshell, so that the caller's own cgroup and directory stay as they are. In
// it echo, which shells have built in, moves the subshell itself (0).
func (p Plan) Script() string {
	var b strings.Builder
	line := func(format string, a ...any) { fmt.Fprintf(&b, format+"\n", a...) }
	line("(")
	line("cd /proc/%d || exit 1", p.PID)
	line(`[ "$(%s)" = %d ] || { echo 'pid %d has ended, or is another process by now: run eyas enter again' >&2; exit 1; }`, printsStart, p.StartTicks, p.PID)
	line(`nsenter=$(command -v %s) || { echo 'there is no nsenter here: install util-linux' >&2; exit 127; }`, tool)
	for _, dir := range p.Cgroups {
		line("echo 0 > %s || exit 1", Quote(dir+"/cgroup.procs"))
	}
	var words []string
	for _, e := range p.Env {
		words = append(words, Quote(e))
	}
	words = append(words, `TERM="${TERM-}"`, `"$nsenter"`)
	for _, a := range p.Argv[1:] {
		words = append(words, Quote(a))
	}
	line("exec env -i %s", strings.Join(words, " "))
	line(")")
	return b.String()
}

// Quote makes a word of sh of text that is somebody else's. What a terminal
// would not show as it is becomes an escape of printf, which leaves off line
// breaks at the end: those stand as they are. The known libraries that quote for
// shells print such text raw.
func Quote(s string) string {
	body := strings.TrimRight(s, "\n")
	end := s[len(body):]
	var out string
	switch {
	case body != "" && strings.Trim(body, plain) == "":
		out = body
	case strings.IndexFunc(body, hidden) < 0:
		out = "'" + strings.ReplaceAll(body, "'", `'\''`) + "'"
	default:
		out = `"$(printf '` + escapes(body) + `')"`
	}
	if end != "" {
		out += "'" + end + "'"
	}
	return out
}

// plain is what no shell takes for anything else.
const plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-+=:,./@"

func hidden(r rune) bool { return r == utf8.RuneError || !unicode.IsPrint(r) }

func escapes(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		if hidden(r) || strings.ContainsRune(`'\%`, r) {
			for _, c := range []byte(s[i : i+n]) {
				fmt.Fprintf(&b, `\%03o`, c)
			}
		} else {
			b.WriteString(s[i : i+n])
		}
		i += n
	}
	return b.String()
}

// spans tells the ids of a map, as the container has them.
func spans(m []identity.Extent) string {
	if len(m) == 0 {
		return "none"
	}
	var parts []string
	for _, e := range m[:min(len(m), 6)] {
		s := fmt.Sprint(e.First)
		if e.Count > 1 {
			s += fmt.Sprintf("-%d", uint64(e.First)+uint64(e.Count)-1)
		}
		parts = append(parts, s)
	}
	if more := len(m) - len(parts); more > 0 {
		parts = append(parts, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(parts, ", ")
}
