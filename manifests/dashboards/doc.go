// Package dashboards makes Grafana's dashboards, the JSON files beside it, from one
// line or two per panel: what a reviewer reads. Each panel says what it shows, in a
// unit, and links to the runbook of its alert.
//
// What enters: nothing. What leaves: JSON of the schema that Grafana 11 and later
// import, of panels that come with it: timeseries, stat, bargauge, table, text.
package dashboards

// All returns the dashboards by the name of their file.
func All() map[string]map[string]any {
	return map[string]map[string]any{"fleet.json": fleet(), "sandbox.json": sandbox(), "agent.json": agent()}
}
