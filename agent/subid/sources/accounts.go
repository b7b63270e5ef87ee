package sources

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/eyas-agent/eyas/agent/subid"
	"github.com/eyas-agent/eyas/collectors/identity"
)

// user is a line of /etc/passwd; group, of /etc/group.
type user struct {
	name     string
	uid, gid uint32
	line     int
}

type group struct {
	name string
	gid  uint32
	line int
}

// parsePasswd reads name:password:uid:gid:… (passwd(5)). Lines of compat mode
// (+name, -name) hold no id.
func parsePasswd(text []byte) ([]user, badLines, error) {
	var out []user
	var bad badLines
	err := eachLine(text, func(n int, line []byte) error {
		if skipAccount(line) {
			return nil
		}
		f := bytes.SplitN(line, []byte(":"), 5)
		if len(f) < 4 {
			bad.add(n, errors.New("fewer than four fields"))
			return nil
		}
		uid, err1 := number(f[2])
		gid, err2 := number(f[3])
		if err := errors.Join(err1, err2); err != nil {
			bad.add(n, err)
			return nil
		}
		out = append(out, user{string(f[0]), uid, gid, n})
		return nil
	})
	return out, bad, err
}

// parseGroup reads name:password:gid:members (group(5)).
func parseGroup(text []byte) ([]group, badLines, error) {
	var out []group
	var bad badLines
	err := eachLine(text, func(n int, line []byte) error {
		if skipAccount(line) {
			return nil
		}
		f := bytes.SplitN(line, []byte(":"), 4)
		if len(f) < 3 {
			bad.add(n, errors.New("fewer than three fields"))
			return nil
		}
		gid, err := number(f[2])
		if err != nil {
			bad.add(n, err)
			return nil
		}
		out = append(out, group{string(f[0]), gid, n})
		return nil
	})
	return out, bad, err
}

func skipAccount(line []byte) bool { return line[0] == '#' || line[0] == '+' || line[0] == '-' }

func userClaims(users []user, path string) []subid.Claim {
	var out []subid.Claim
	for _, u := range users {
		out = append(out, one(u.uid, "user", u.name, path, u.line)...)
		if u.gid != u.uid {
			out = append(out, one(u.gid, "group of user", u.name, path, u.line)...)
		}
	}
	return out
}

func groupClaims(groups []group, path string) []subid.Claim {
	var out []subid.Claim
	for _, g := range groups {
		out = append(out, one(g.gid, "group", g.name, path, g.line)...)
	}
	return out
}

func one(id uint32, kind, name, path string, line int) []subid.Claim {
	if id == identity.NoID {
		return nil
	}
	return []subid.Claim{{Range: subid.Range{Start: id, Count: 1}, Source: fmt.Sprintf("%s %s (%s line %d)", kind, quote(name), path, line)}}
}
