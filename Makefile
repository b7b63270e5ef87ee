# Two commands set everything up on a fresh Debian machine with Go:
#   make run     builds eyas and starts the agent here
#   make test    installs what the tests need and runs them
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
CACHE   := $(or $(EYAS_CACHE),$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/eyas)
GO      := CGO_ENABLED=0 go
LDFLAGS := -s -w -X github.com/eyas-agent/eyas/agent/command.version=$(VERSION)

LINT_VERSION := v2.15.0
LINT         := $(CACHE)/bin/golangci-lint-$(LINT_VERSION)/golangci-lint

# Tests of a whole agent depend on what else the machine does: those that fail, a
# few at most, run once more, alone, and both runs are shown.
GOTESTSUM := go run gotest.tools/gotestsum@v1.13.0 --format standard-quiet --rerun-fails=1 --rerun-fails-max-failures=3

SCRIPTS = .ci/run test/deps test/demo test/image test/peers/build test/kubelet/run test/kubelet/guest-node test/render/run $(addprefix test/vm/,prepare run selfcheck suite bench build-kernels build-rootfs build-store mkoci guest-init guest-suite guest-check logs initramfs-init)

.PHONY: build image run demo test test-unit test-host test-otlp test-logs-vm test-kube test-kubelet test-dashboards test-vm pictures bench bench-vm lint generate generate-docs check-generated clean deps-test

build: ## bin/eyas, static
	$(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/eyas ./agent

image: ## dist/eyas-ARCH.oci.tar for amd64 and arm64, reproducible, without a registry
	@test/deps image
	VERSION=$(VERSION) test/image amd64 arm64

run: build ## start the agent on this machine
	@test "$$(id -u)" = 0 || { echo "make run: the agent loads BPF programs: run it as root (sudo make run)" >&2; exit 1; }
	@echo "metrics:  http://127.0.0.1:9817/metrics"
	@echo "look:     bin/eyas tree; bin/eyas ps; bin/eyas map; bin/eyas whois pid N   (in another terminal)"
	exec bin/eyas agent

demo: build ## a real nested sandbox, and a walk through whois, ps, tree
	@test/deps demo
	test/demo

deps-test:
	@test/deps test

# The order is from quick to slow: what is wrong shows early.
test: deps-test check-generated lint test-unit test-host test-dashboards test-vm ## all tests that this machine can run

test-unit: ## pure tests: no root, no kernel
	go vet ./... && go vet -tags host ./...
	go test $$(go list ./... | grep -v /test/) ./test/sbom

test-host: deps-test ## privileged tests on this machine's kernel
	go test ./test/storm/...
	$(GOTESTSUM) --packages "./bpf/... ./collectors/... ./agent/... ./test/host/..." -- -count=1 -timeout 20m -tags host
	@test/peers/build containerd
	$(GOTESTSUM) --packages ./test/starts/... -- -count=1 -timeout 20m -tags host

# Apart from test: to build a Collector takes minutes, once.
test-otlp: deps-test ## log lines to a real OpenTelemetry Collector
	@test/peers/build otelcol
	$(GOTESTSUM) --packages ./test/otlp/... -- -count=1 -timeout 20m -tags host

test-dashboards: deps-test ## what dashboards and alerts ask, of a real Prometheus
	promtool test rules manifests/alerts/eyas.rules.test.yaml
	$(GOTESTSUM) --packages ./test/dashboards/... -- -count=1 -timeout 20m -tags host

# Apart from test: a hundred thousand lines of each runtime take long under emulation;
# test-vm has two thousand.
test-logs-vm: ## many log lines of all runtimes in a sandbox, to a real OpenTelemetry Collector
	test/deps vm && test/vm/logs

# Apart from test: to build an API server takes minutes, once.
test-kube: deps-test ## a real Kubernetes API server, with etcd
	@test/deps kube
	@test/peers/build kube
	$(GOTESTSUM) --packages ./test/kube/... -- -count=1 -timeout 20m -tags host

# Apart from test: to build Kubernetes takes minutes, once.
test-kubelet: deps-test ## the manifests, applied to a real cluster with kubelet
	@test/deps kube && test/deps image && test/deps vm && test/vm/prepare
	test/kubelet/run

test-vm: ## the same on other kernels, in virtual machines
	@if [ -x test/vm/suite ]; then test/deps vm && test/vm/suite; else echo "test-vm: no suite yet"; fi

# Apart from test: Grafana's libraries take minutes to install, once.
pictures: deps-test ## docs/pictures: the dashboards of a real cluster, as Grafana draws them
	@test/deps render && test/deps kube && test/deps image && test/deps vm && test/vm/prepare
	rm -rf $(CACHE)/pictures && mkdir -p $(CACHE)/pictures docs/pictures
	EYAS_RECORD=$(CACHE)/pictures test/kubelet/run
	test/render/run $(CACHE)/pictures docs/pictures sandbox.namespace=eyas-dev sandbox.pod=devenv-0

bench: deps-test ## costs, as ratios in one run
	@test/deps bench
	go test -count=1 -timeout 20m -tags host -run '^$$' -bench . -benchtime 1x ./test/host/...
	@test/peers/build containerd
	go test -count=1 -timeout 20m -tags host -run '^$$' -bench . -benchtime 1x ./test/starts/...
	go test -run '^$$' -bench . $$(go list ./... | grep -v /test/)

bench-vm: ## costs of programs that this machine's kernel may refuse, as instructions
	test/deps vm && test/vm/bench

$(LINT):
	GOBIN=$(dir $@) go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(LINT_VERSION)

lint: deps-test $(LINT) ## Go, C and shell
	$(LINT) run
	clang-format-19 --dry-run --Werror bpf/*.c bpf/*.h
	shellcheck -x -P SCRIPTDIR $(SCRIPTS)

generate: deps-test ## BPF objects and their Go types
	go generate ./bpf

generate-docs: ## docs/metrics.md, the dashboards, and the operator's rules
	go test ./agent/daemon ./manifests/dashboards -run 'TestReference$$|TestFiles|TestPrometheusRule' -update

check-generated: deps-test ## the committed objects are those of the source, byte for byte
	@cp -r bpf $(CURDIR)/.bpf-committed && trap 'rm -rf $(CURDIR)/.bpf-committed' EXIT && \
	go generate ./bpf && for f in bpf/*_bpfel.o bpf/*_bpfel.go; do \
		cmp "$$f" ".bpf-committed/$$(basename "$$f")" || { echo "check-generated: $$f is not what the source gives: run make generate and commit" >&2; exit 1; }; \
	done && echo "check-generated: ok"

clean:
	rm -rf bin dist
