package evidence

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
)

const (
	maxStoreFile = 4 << 20 // bytes of a containers.json; a record takes some 500
	maxRecords   = 16384
	maxHomes     = 64 // users of a sandbox, or directories of one listing
	maxHints     = 16
)

// Podman looks for a container of podman, buildah or CRI-O by its full id in
// the stores of containers/storage below the root: in the graph roots given as
// hints (GraphRoots of the container's own mountinfo), then in the default ones
// of root and of users. It reports false if no store knows the id.
//
// Errors name the path; a store that cannot be read hides no other.
func (r *Root) Podman(id string, hints []string) (Claim, bool, error) {
	if !isHex64(id) {
		return Claim{}, false, fmt.Errorf("look up container %q: not 64 hex digits", Sanitize(id, maxText))
	}
	l := lookup{root: r, budget: maxLookup}
	for _, dir := range r.graphRoots(hints) {
		for _, driver := range [...]string{"overlay", "vfs"} {
			// Newer containers/storage keeps the records of --rm containers, and
			// with --transient-store all, in a file of their own.
			for _, file := range [...]string{"containers.json", "volatile-containers.json"} {
				path := filepath.Join(dir, driver+"-containers", file)
				b, ok := l.read(path, maxStoreFile)
				if !ok || len(b) == 0 {
					continue
				}
				c, ok, err := parsePodman(bytes.NewReader(b), id)
				if ok {
					return c, true, nil
				}
				l.note(path, err)
			}
		}
	}
	return Claim{}, false, errors.Join(l.errs...)
}

// graphRoots lists where stores may be: at most maxHints hints, and the fixed
// and the users' places.
func (r *Root) graphRoots(hints []string) []string {
	var dirs []string
	for _, h := range hints[:min(len(hints), maxHints)] {
		if plainPath(h) {
			dirs = append(dirs, h)
		}
	}
	dirs = append(dirs, "/var/lib/containers/storage", "/root/.local/share/containers/storage",
		"/run/containers/storage") // the run root: stores of --transient-store
	dirs = append(dirs, r.users("/home", ".local/share/containers/storage")...)
	return append(dirs, r.users("/run/user", "containers")...)
}

// users appends sub to each directory of dir, at most maxHomes of them. A
// listing that fails is an empty one: most sandboxes have no users.
func (r *Root) users(dir, sub string) []string {
	names, err := r.list(dir, maxHomes)
	if err != nil {
		return nil
	}
	for i, n := range names {
		names[i] = filepath.Join(dir, n, sub)
	}
	return names
}

// plainPath takes an absolute path that is already clean.
func plainPath(p string) bool {
	return len(p) <= maxPath/2 && filepath.IsAbs(p) && filepath.Clean(p) == p && strings.IndexByte(p, 0) < 0
}

// parsePodman finds the record of id in a containers.json: a JSON array, whose
// records' metadata is again JSON in a string. Records are decoded one by one,
// so that the memory is bounded by the file's size and not by what it unfolds to.
func parsePodman(in io.Reader, id string) (Claim, bool, error) {
	d := json.NewDecoder(in)
	if t, err := d.Token(); err != nil {
		return Claim{}, false, fmt.Errorf("parse containers: %w", err)
	} else if t != json.Delim('[') {
		return Claim{}, false, errors.New("parse containers: not an array")
	}
	for n := 0; d.More(); n++ {
		if n == maxRecords {
			return Claim{}, false, fmt.Errorf("parse containers: more than %d records", maxRecords)
		}
		var rec struct {
			ID       string          `json:"id"`
			Names    json.RawMessage `json:"names"`
			Image    string          `json:"image"`
			Metadata string          `json:"metadata"`
		}
		if err := d.Decode(&rec); err != nil {
			return Claim{}, false, fmt.Errorf("parse container %d: %w", n, err)
		}
		if rec.ID == id {
			return podmanClaim(id, rec.Names, rec.Image, rec.Metadata), true, nil
		}
	}
	if _, err := d.Token(); err != nil {
		return Claim{}, false, fmt.Errorf("parse containers: %w", err)
	}
	return Claim{}, false, nil
}

func podmanClaim(id string, names json.RawMessage, image, metadata string) Claim {
	c := Claim{Runtime: RuntimePodman, ID: id, Image: image, Source: SourcePodman}
	var meta struct {
		ImageName string `json:"image-name"`
		Name      string `json:"name"`
		PodID     string `json:"pod-id"`
	}
	switch err := json.Unmarshal([]byte(metadata), &meta); {
	case metadata == "":
		c.Runtime = RuntimeBuildah // which keeps its own file beside, and writes none here
	case err == nil && meta.PodID != "":
		c.Runtime = RuntimeCRIO
	}
	if meta.ImageName != "" {
		c.Image = meta.ImageName
	}
	c.Name = meta.Name
	if c.Name == "" {
		c.Name = firstString(names)
	}
	c.Name, c.Image = Sanitize(c.Name, maxText), Sanitize(c.Image, maxText)
	return c
}

// firstString is the first element of a JSON array, if that is a string.
func firstString(array json.RawMessage) string {
	d := json.NewDecoder(bytes.NewReader(array))
	if t, err := d.Token(); err != nil || t != json.Delim('[') {
		return ""
	}
	t, _ := d.Token()
	s, _ := t.(string)
	return s
}
