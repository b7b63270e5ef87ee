package evidence

import (
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
)

// Docker looks for a container of dockerd by its full id: below the data roots
// of a rootful daemon (also remapped, userns-remap, and of the snap) and of
// users' rootless ones. It reports false if none knows the id. Errors name the
// path.
func (r *Root) Docker(id string) (Claim, bool, error) {
	if !isHex64(id) {
		return Claim{}, false, fmt.Errorf("look up container %q: not 64 hex digits", Sanitize(id, maxText))
	}
	l := lookup{root: r, budget: maxLookup}
	for _, dir := range r.dataRoots() {
		path := filepath.Join(dir, "containers", id, "config.v2.json")
		b, ok := l.read(path, maxFile)
		if !ok {
			continue
		}
		c, err := parseDocker(b, id)
		if err == nil {
			return c, true, nil
		}
		l.note(path, err)
	}
	return Claim{}, false, errors.Join(l.errs...)
}

func (r *Root) dataRoots() []string {
	const rootful = "/var/lib/docker"
	dirs := []string{rootful, "/root/.local/share/docker", "/var/snap/docker/common/var-lib-docker"}
	dirs = append(dirs, r.users("/home", ".local/share/docker")...)
	// userns-remap keeps everything below <uid>.<gid> of the remapped root.
	for _, d := range r.users(rootful, "") {
		uid, gid, ok := strings.Cut(filepath.Base(d), ".")
		if ok && isNumber(uid) && isNumber(gid) {
			dirs = append(dirs, d)
		}
	}
	return dirs
}

func isNumber(s string) bool {
	return s != "" && len(s) <= 10 && all(s, func(c byte) bool { return '0' <= c && c <= '9' })
}

// parseDocker reads a config.v2.json, which must be that of id: the file's
// place and its content have to agree.
func parseDocker(b []byte, id string) (Claim, error) {
	var v struct {
		ID     string
		Name   string
		Config struct{ Image string }
		Image  string
	}
	if err := json.Unmarshal(b, &v); err != nil {
		return Claim{}, fmt.Errorf("parse container: %w", err)
	}
	if v.ID != id {
		return Claim{}, fmt.Errorf("parse container: it is of %q", Sanitize(v.ID, maxText))
	}
	image := v.Config.Image
	if image == "" {
		image = v.Image
	}
	return Claim{
		Runtime: RuntimeDocker,
		ID:      id,
		Name:    Sanitize(strings.TrimPrefix(v.Name, "/"), maxText),
		Image:   Sanitize(image, maxText),
		Source:  SourceDocker,
	}, nil
}
