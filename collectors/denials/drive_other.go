//go:build !amd64

package denials

func legacyCalls() []call { return nil }

func inotifyInit() error { return nil }
