// Package otlp proves that log lines arrive in a real OpenTelemetry Collector,
// which test/peers/build builds. Its tests need the build tag host, because of
// that build, and no privilege.
package otlp
