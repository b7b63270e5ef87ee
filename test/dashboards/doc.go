// Package dashboards proves that what dashboards and alerts ask is answered: a real
// Prometheus scrapes a real agent under a nested workload, and every query is run
// through its API. Its tests need root, the build tag host, and prometheus; in a
// virtual machine EYAS_BIN and EYAS_PROMETHEUS name the programs.
package dashboards
