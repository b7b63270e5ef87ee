package evidence

import (
	"strconv"
	"strings"
)

// Containerenv reads /run/.containerenv of the container's own root. podman
// makes the file for every container and fills it for privileged ones only,
// buildah fills it for every RUN step; an image or a tenant can write anything
// there. It reports false if there is no such file.
func (r *Root) Containerenv() (Claim, bool, error) {
	b, err := r.read("/run/.containerenv", maxFile)
	if absent(err) {
		return Claim{}, false, nil
	}
	if err != nil {
		return Claim{}, false, err
	}
	return parseContainerenv(string(b)), true, nil
}

// parseContainerenv reads lines of key="value", quoted by Go's %q. An empty file
// is podman's.
func parseContainerenv(s string) Claim {
	c := Claim{Source: SourceContainerenv}
	if strings.TrimSpace(s) == "" {
		c.Runtime = RuntimePodman
	}
	const maxLines = 64
	for i := 0; i < maxLines && s != ""; i++ {
		var line string
		line, s, _ = strings.Cut(s, "\n")
		key, value, ok := strings.Cut(strings.TrimSpace(line), "=")
		if !ok {
			continue
		}
		if u, err := strconv.Unquote(value); err == nil {
			value = u
		}
		switch key {
		case "engine":
			engine, _, _ := strings.Cut(value, "-")
			if engine == RuntimePodman || engine == RuntimeBuildah {
				c.Runtime = engine
			}
		case "name":
			c.Name = Sanitize(value, maxText)
		case "image":
			c.Image = Sanitize(value, maxText)
		case "id":
			if isHex64(value) {
				c.ID = value
			}
		}
	}
	return c
}
