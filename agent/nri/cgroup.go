package nri

import (
	"fmt"
	"path"
	"strings"
)

// cgroupPath turns the cgroupsPath of an OCI spec into a path below the mount: it
// is one already, or slice:prefix:name for systemd.
func cgroupPath(s string) (string, error) {
	parts := strings.Split(s, ":")
	switch {
	case len(s) > 4096:
		return "", fmt.Errorf("cgroups path of %d bytes is too long", len(s))
	case len(parts) == 3:
		slice, err := expandSlice(parts[0])
		if err != nil {
			return "", err
		}
		unit := parts[2]
		switch {
		case unit == "" || strings.Contains(unit, "/"):
			return "", fmt.Errorf("cgroups path %.200q names no unit", s)
		case strings.HasSuffix(unit, ".slice"):
			return "", fmt.Errorf("cgroups path %.200q is a slice's, which is no container's", s)
		case parts[1] != "":
			unit = parts[1] + "-" + unit
		}
		if strings.Contains(unit, "/") {
			return "", fmt.Errorf("cgroups path %.200q names no unit", s)
		}
		return slice + "/" + unit + ".scope", nil
	case len(s) > 1 && s[0] == '/' && path.Clean(s) == s:
		return s, nil
	}
	return "", fmt.Errorf("cgroups path %.200q is neither absolute and clean nor slice:prefix:name", s)
}

// expandSlice gives the path of a systemd slice: a-b.slice is in a.slice.
func expandSlice(s string) (string, error) {
	name, ok := strings.CutSuffix(s, ".slice")
	switch {
	case s == "":
		return "/system.slice", nil
	case name == "-" && ok:
		return "", nil
	case !ok || name == "" || strings.Contains(s, "/"):
		return "", fmt.Errorf("%.200q is no systemd slice", s)
	}
	var full, prefix string
	for part := range strings.SplitSeq(name, "-") {
		if part == "" {
			return "", fmt.Errorf("%.200q is no systemd slice", s)
		}
		prefix += part
		full += "/" + prefix + ".slice"
		prefix += "-"
	}
	return full, nil
}
