package evidence

import (
	"strings"
	"testing"
)

func TestBelowContainer(t *testing.T) {
	ids := []string{"web", idA}
	for path, want := range map[string]string{
		"/web/db":                                "/db",
		"/slice/web/default/db":                  "/default/db",
		"/web/web/db":                            "/db",
		"/web/" + idA + "/init/db":               "/init/db",
		"/web":                                   "",
		"/web/":                                  "/",
		"/website/db":                            "",
		"//db":                                   "",
		"":                                       "",
		"/web/" + strings.Repeat("x", 2*maxPath): "/" + strings.Repeat("x", maxPath-len("/web/")),
	} {
		if got := BelowContainer(path, ids); got != want {
			t.Errorf("%.80q: %.80q, want %.80q", path, got, want)
		}
	}
	// The path alone does not say that web is a container.
	if refs := ParseCgroupPath("/slice/web/db"); len(refs) != 0 {
		t.Errorf("%v", refs)
	}
	if refs := ParseCgroupPath(BelowContainer("/slice/web/db", ids)); len(refs) != 1 || refs[0].ID != "db" || !refs[0].Weak {
		t.Errorf("%v", refs)
	}
}
