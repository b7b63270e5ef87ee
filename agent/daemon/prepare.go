package daemon

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"time"

	"github.com/rs/zerolog"

	"github.com/eyas-agent/eyas/agent/prepare"
	"github.com/eyas-agent/eyas/agent/subid/sources"
	"github.com/eyas-agent/eyas/collectors/cgroups"
	"github.com/eyas-agent/eyas/collectors/hostfs"
	"github.com/eyas-agent/eyas/collectors/identity"
	"github.com/eyas-agent/eyas/collectors/tracker"
	"github.com/eyas-agent/eyas/exporter/api"
)

// LeasesDir is where the leases are, below the state directory.
func LeasesDir(stateDir string) string { return filepath.Join(stateDir, "leases") }

// openPreparer takes the leases of this node, whose root directory is root, for this
// process.
func openPreparer(c Config, root, boot string, h *cgroups.Hierarchy, known func() ([]sources.Namespace, error), log zerolog.Logger) (*prepare.Preparer, error) {
	if h == nil {
		return nil, cgroups.ErrNoHierarchy
	}
	return prepare.Open(prepare.Options{
		Dir: LeasesDir(c.StateDir), Files: filepath.Join(c.StateDir, "subids"), Mount: h.Mount(), Sys: "/sys", Boot: boot,
		Host: sources.Host{Node: hostfs.Root{Path: root}, Etc: "/etc", Kubelet: c.KubeletRoot, Proc: c.ProcRoot, Own: "eyas"},
		Pool: c.pool(), Profiles: c.preparerProfiles(), Default: c.DefaultProfile,
		Known: known, Log: log,
	})
}

// namespacesOf is what the identity table knows of user namespaces: also of
// those that no process is in right now.
func namespacesOf(t *tracker.Tracker) func() ([]sources.Namespace, error) {
	return func() (all []sources.Namespace, err error) {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := t.Refresh(ctx); err != nil {
			return nil, err
		}
		t.View(func(table *identity.Table, _ map[string]int) {
			for _, u := range table.UserNamespaces() {
				if u.Partial {
					err = errors.Join(err, fmt.Errorf("user namespace %d has more extents than this kernel lets eyas read", u.Key.Inum))
				}
				all = append(all, sources.Namespace{Name: "user:[" + fmt.Sprint(u.Key.Inum) + "]", UIDs: u.UIDs, GIDs: u.GIDs})
			}
		})
		return all, err
	}
}

// reconcileLeases is how often what has ended is looked for.
const reconcileLeases = time.Minute

// runPreparer takes back what containers that have ended were lent, until ctx
// ends.
func runPreparer(ctx context.Context, p *prepare.Preparer, ready <-chan struct{}, log zerolog.Logger) error {
	select {
	case <-ready:
	case <-ctx.Done():
		return nil
	}
	tick := time.NewTicker(reconcileLeases)
	defer tick.Stop()
	for {
		switch rep, err := p.Reconcile(ctx); {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			log.Error().Err(err).Msg("some leases could not be taken back; they stay taken and are tried again")
		case len(rep.Released) > 0:
			log.Info().Strs("released", rep.Released).Strs("waiting", rep.Waiting).Int("live", rep.Live).Msg("leases taken back")
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// withPreparer adds the paths of a Preparer to the query API. Without one they
// say why there is none.
func withPreparer(queries http.Handler, p *prepare.Preparer, why error) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/", queries)
	var h http.Handler
	if p != nil {
		h = prepare.Handler(p)
	} else {
		h = prepare.Handler(unavailable{why})
	}
	for _, path := range []string{prepare.PathPrepare, prepare.PathRelease, prepare.PathLeases} {
		mux.Handle(path, h)
	}
	return mux
}

// unavailable is a Service that cannot serve.
type unavailable struct{ why error }

func (u unavailable) err() error {
	return fmt.Errorf("this agent cannot prepare containers: %w", u.why)
}

func (u unavailable) PreparePID(context.Context, prepare.PIDRequest) (prepare.Result, error) {
	return prepare.Result{}, u.err()
}

func (u unavailable) Release(context.Context, string, prepare.ReleaseOptions) (prepare.Result, error) {
	return prepare.Result{}, u.err()
}

func (u unavailable) Leases(context.Context) (prepare.Leases, error) {
	return prepare.Leases{}, u.err()
}

// Preparer returns who prepares containers on this machine: the agent behind
// the socket, by its own configuration, or, when none answers, this process by
// c, with a snapshot of its own as witness. The caller calls the function
// returned when done.
func Preparer(ctx context.Context, c Config, log zerolog.Logger) (prepare.Service, func() error, error) {
	remote, _, err := api.Dial(ctx, c.Socket)
	if err == nil {
		remote.Close()
		return prepare.NewRemote(c.Socket), func() error { return nil }, nil
	}
	if !errors.Is(err, api.ErrDown) {
		return nil, nil, err
	}
	answers, closeLook, err := Look(ctx, c.StateDir)
	if err != nil {
		return nil, nil, err
	}
	boot, err := BootID(c.ProcRoot)
	if err != nil {
		return nil, nil, errors.Join(err, closeLook())
	}
	h, err := cgroups.Open(c.ProcRoot)
	if err != nil {
		return nil, nil, errors.Join(err, closeLook())
	}
	root, _ := HostRoot(c.ProcRoot) // with an error nothing below it can be read, which says so
	p, err := openPreparer(c, root, boot, h, namespacesOf(answers.Tracker), log)
	if err != nil {
		return nil, nil, errors.Join(err, h.Close(), closeLook())
	}
	return p, func() error { return errors.Join(p.Close(), h.Close(), closeLook()) }, nil
}
