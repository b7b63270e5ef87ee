//go:build host

package kubelet

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// span is how long is recorded.
const span = 4 * time.Minute

// work is what a user of the sandbox does meanwhile: a server that is asked, a store that
// writes and is refused something, a job that takes more memory than it may, and builds.
const work = `
start() { name=$1; shift; podman run -d --name $name --network none "$@"; }
start web --memory 64m --pids-limit 50 docker.io/library/busybox sh -c 'while :; do echo "GET /index.html 200"; cat /bin/busybox | md5sum >/dev/null; sleep 0.3; done'
start store --memory 64m --pids-limit 20 docker.io/library/busybox sh -c 'while :; do
	for i in 1 2 3 4 5 6 7 8; do head -c 262144 /dev/zero >/segment$i; mknod /disk b 8 0; chown 70000 /segment$i; sleep 0.4; done; rm /segment*; done'
start report --memory 32m --pids-limit 20 docker.io/library/busybox sh -c 'while :; do sleep 25; tail /dev/zero; done'
while :; do
	podman run --rm --name build --network none docker.io/library/busybox sh -c '
		chmod 700 /bin/busybox /etc/*; for i in $(seq 30); do echo step $i; head -c 100000 /bin/busybox >/out$i; cat /out* >/dev/null; done; rm /out*; exit 3' || true
done
`

// forward leads to the agent's port. It ends if somebody hangs up early, as Prometheus
// does when an answer takes too long.
const forward = `trap exit TERM; trap 'kill $(jobs -p)' EXIT
while :; do kubectl -n eyas-system port-forward ds/eyas 9817 & wait $! || sleep 1; done`

// The job is that of manifests/overlays/scrape, but for how the agent is found.
const prometheusConfig = `
global: {scrape_interval: 5s, scrape_timeout: 5s, evaluation_interval: 5s}
rule_files: [%q]
scrape_configs:
  - job_name: eyas
    honor_labels: true
    static_configs: [{targets: ["127.0.0.1:9817"], labels: {cluster: test, node: node-1, instance: node-1}}]
`

// record leaves what a real Prometheus has scraped while the sandbox works in the
// directory that EYAS_RECORD names, if it does: to draw the dashboards of.
func (s *sandbox) record() {
	s.Helper()
	dir := os.Getenv("EYAS_RECORD")
	if dir == "" {
		return
	}
	rules, err := filepath.Abs("../../manifests/alerts/eyas.rules.yaml")
	if err != nil {
		s.Fatal(err)
	}
	s.Setenv("KUBECONFIG", s.path("kubeconfig"))
	defer s.start("forward", "bash", "-c", forward)()
	defer s.start("work", kubectl(), "-n", "eyas-dev", "exec", "devenv-0", "--", "bash", "-ec", work)()
	const listen = "127.0.0.1:9090"
	defer s.start("prometheus", "prometheus", "--config.file", s.write("prometheus.yml", fmt.Sprintf(prometheusConfig, rules)),
		"--storage.tsdb.path", dir, "--web.listen-address", listen, "--log.level", "warn")()
	enough := fmt.Sprintf(`sum_over_time(up{job="eyas"}[1h]) >= %d`, int(span.Seconds())/5*4/5)
	s.eventually("Prometheus has recorded enough", func() error {
		r, err := http.Get("http://" + listen + "/api/v1/query?query=" + url.QueryEscape(enough))
		if err != nil {
			return err
		}
		defer r.Body.Close()
		text, err := io.ReadAll(r.Body)
		if err == nil && !strings.Contains(string(text), `"value"`) {
			err = fmt.Errorf("not yet: %s", text)
		}
		return err
	})
}
