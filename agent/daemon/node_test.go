package daemon

import (
	"strings"
	"testing"
)

// A container's part of the hierarchy is what a runtime names, or what the
// container around it was delegated.
func TestCgroupRoot(t *testing.T) {
	web := "/kubepods/burstable/pod11111111-2222-3333-4444-555555555555/" + strings.Repeat("ab", 32)
	for _, tc := range []struct{ path, around, want string }{
		{web, "", web},
		{web + "/leaf", "", web},
		{web + "/leaf", web, web},
		{web + "/build", web, web + "/build"},
		{web + "/build/init", web, web + "/build"},
		{web + "/libpod-" + strings.Repeat("cd", 32), web, web + "/libpod-" + strings.Repeat("cd", 32)},
		{"/user.slice/x", "", "/user.slice/x"},
		{"/user.slice/x/leaf", "/user.slice/x", "/user.slice/x"},
	} {
		if got := cgroupRoot(tc.path, tc.around); got != tc.want {
			t.Errorf("%s inside %q: %s, want %s", tc.path, tc.around, got, tc.want)
		}
	}
}

func TestIsPod(t *testing.T) {
	pod := "/kubepods/burstable/pod11111111-2222-3333-4444-555555555555"
	for path, want := range map[string]bool{pod: true, "/kubepods/burstable": false, pod + "/" + strings.Repeat("ab", 32): false, pod + "/x": false, "": false, "/": false} {
		if got := isPod(path); got != want {
			t.Errorf("%s: %v", path, got)
		}
	}
}
