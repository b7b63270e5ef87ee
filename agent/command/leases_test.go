package command

import (
	"context"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/eyas-agent/eyas/agent/prepare"
	"github.com/eyas-agent/eyas/exporter/api"
)

// preparer is an agent that prepares, and keeps what it was asked for.
type preparer struct {
	prepare.Service
	asked []prepare.PIDRequest
}

func (p *preparer) PreparePID(_ context.Context, r prepare.PIDRequest) (prepare.Result, error) {
	p.asked = append(p.asked, r)
	return prepare.Result{}, nil
}

// An agent decides by its own configuration what a profile is; the file given
// only tells where it listens.
func TestPrepareAsksTheAgent(t *testing.T) {
	dir := t.TempDir()
	socket, file, bad := filepath.Join(dir, "s"), filepath.Join(dir, "eyas.yaml"), filepath.Join(dir, "bad.yaml")
	for path, text := range map[string]string{file: "socket: " + socket + "\n", bad: "sandbox-profiles: {ci: {sise: 1}}\n"} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	l, err := api.Listen(socket)
	if err != nil {
		t.Fatal(err)
	}
	p := &preparer{}
	mux := http.NewServeMux()
	mux.Handle("/", api.Handler(&agent{}, api.Status{}, zerolog.Nop()))
	mux.Handle(prepare.PathPrepare, prepare.Handler(p))
	s := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	done := make(chan struct{})
	go func() { defer close(done); _ = s.Serve(l) }() // ends when closed
	defer func() { s.Close(); <-done }()

	for _, args := range [][]string{
		{"--socket", socket, "--profile", "theirs"}, {"--socket", socket}, {"--config", file, "--profile", "true"},
	} {
		if code, _, errs := run(t, append([]string{"prepare", "--pid", "7"}, args...)...); code != exitOK {
			t.Errorf("%q: %d, %s", args, code, errs)
		}
	}
	same(t, "asked", []prepare.PIDRequest{{PID: 7, Profile: "theirs"}, {PID: 7}, {PID: 7, Profile: "true"}}, p.asked)

	for _, command := range [][]string{{"prepare", "--pid", "7"}, {"release", "x"}} {
		code, _, errs := run(t, append(command, "--config", bad)...)
		if code != exitFailed || !strings.Contains(errs, `bad.yaml: line 1: unknown key "sandbox-profiles.ci.sise"`) {
			t.Errorf("%q: %d, %s", command, code, errs)
		}
	}
}
