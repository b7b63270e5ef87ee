package dashboards

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Runbooks is where the pages of alerts are.
const Runbooks = "https://github.com/eyas-agent/eyas/blob/main/docs/runbooks/"

// query is one of Prometheus; legend has labels in {{}}.
type query struct{ expr, legend string }

// step is a threshold: the color from a value on.
type step struct {
	color string
	from  any // nil: the lowest
}

// panel is one picture. Width is in 24ths of the page.
type panel struct {
	kind, title, about string
	unit               string
	width, height      int
	queries            []query
	steps              []step
	runbook            string            // name of the alert
	columns            map[string]string // of a table: titles by field, the others are hidden
	link               string            // of a table's first column
	sort               string            // of a table: the title of the column to sort by
	stack              bool
	most               any // of the axis
}

var (
	calm  = []step{{"green", nil}}
	plain = []step{{"blue", nil}}
	none  = []step{{"green", nil}, {"red", 1}} // one is too many
	share = []step{{"green", nil}, {"orange", 0.8}, {"red", 0.9}}
	rest  = []step{{"red", nil}, {"orange", 0.1}, {"green", 0.25}} // of what is left
)

// states are the colors of what the column State of a table may say.
var states = map[string]any{
	"fail": object("color", "red"), "warn": object("color", "orange"),
	"missing": object("color", "red"), "silent": object("color", "red"), "unproven": object("color", "blue"),
}

var source = map[string]any{"type": "prometheus", "uid": "${datasource}"}

func line(title, unit, about string, q ...query) panel {
	return panel{kind: "timeseries", title: title, unit: unit, about: about, queries: q, width: 8, height: 9, steps: calm}
}

func number(title, unit, about string, steps []step, expr string) panel {
	return panel{kind: "stat", title: title, unit: unit, about: about, queries: []query{{expr, ""}}, width: 4, height: 4, steps: steps}
}

func bars(title, unit, about string, steps []step, q query) panel {
	return panel{kind: "bargauge", title: title, unit: unit, about: about, queries: []query{q}, width: 12, height: 9, steps: steps, most: 1}
}

func table(title, about string, columns map[string]string, exprs ...string) panel {
	p := panel{kind: "table", title: title, about: about, columns: columns, width: 24, height: 9, unit: "short", steps: calm}
	for _, e := range exprs {
		p.queries = append(p.queries, query{expr: e})
	}
	return p
}

func (p panel) wide(w int) panel        { p.width = w; return p }
func (p panel) stacked() panel          { p.stack = true; return p }
func (p panel) alert(name string) panel { p.runbook = name; return p }
func (p panel) to(url string) panel     { p.link = url; return p }
func (p panel) by(c string) panel       { p.sort = c; return p }
func (p panel) upTo(most int) panel     { p.most = most; return p }
func (p panel) instant() bool           { return p.kind != "timeseries" }
func letter(i int) string               { return string(rune('A' + i)) }
func object(kv ...any) (m map[string]any) {
	m = map[string]any{}
	for i := 0; i < len(kv); i += 2 {
		m[kv[i].(string)] = kv[i+1]
	}
	return m
}

func (p panel) targets() (all []any) {
	for i, q := range p.queries {
		t := object("datasource", source, "expr", q.expr, "refId", letter(i), "legendFormat", q.legend, "editorMode", "code")
		if q.legend == "" {
			t["legendFormat"] = "__auto"
		}
		if p.instant() {
			t["instant"], t["range"] = true, false
		}
		if p.kind == "table" {
			t["format"] = "table"
		}
		all = append(all, t)
	}
	return all
}

func (p panel) json(id, x, y int) map[string]any {
	steps := []any{}
	for _, s := range p.steps {
		steps = append(steps, object("color", s.color, "value", s.from))
	}
	defaults := object("unit", p.unit, "thresholds", object("mode", "absolute", "steps", steps), "min", 0)
	if p.most != nil {
		defaults["max"] = p.most
	}
	out := object("id", id, "type", p.kind, "title", p.title, "description", p.about, "datasource", source, "targets", p.targets(),
		"gridPos", object("x", x, "y", y, "w", p.width, "h", p.height))
	config := object("defaults", defaults, "overrides", []any{})
	switch p.kind {
	case "timeseries":
		defaults["color"] = object("mode", "palette-classic")
		defaults["custom"] = object("fillOpacity", 10, "lineWidth", 1, "showPoints", "never", "spanNulls", false)
		if p.stack {
			defaults["custom"] = object("fillOpacity", 40, "lineWidth", 1, "showPoints", "never", "stacking", object("mode", "normal", "group", "A"))
		}
		out["options"] = object("tooltip", object("mode", "multi", "sort", "desc"),
			"legend", object("displayMode", "table", "placement", "bottom", "showLegend", true, "calcs", []string{"lastNotNull", "max"}, "sortBy", "Max", "sortDesc", true))
	case "stat":
		out["options"] = object("colorMode", "value", "graphMode", "none", "textMode", "value", "reduceOptions", object("calcs", []string{"lastNotNull"}))
	case "bargauge":
		out["options"] = object("orientation", "horizontal", "displayMode", "basic", "showUnfilled", true, "namePlacement", "top",
			"sizing", "manual", "minVizWidth", 8, "minVizHeight", 16, "maxVizHeight", 40, "text", object("titleSize", 13, "valueSize", 16), "reduceOptions", object("calcs", []string{"lastNotNull"}))
	case "table":
		out["options"] = object("showHeader", true, "cellHeight", "sm", "sortBy", []any{})
		if p.sort != "" {
			out["options"] = object("showHeader", true, "cellHeight", "sm", "sortBy", []any{object("displayName", p.sort, "desc", false)})
		}
		out["transformations"], config["overrides"] = p.columnsOf()
	}
	out["fieldConfig"] = config
	if p.runbook != "" {
		out["links"] = []any{object("title", "Runbook: "+p.runbook, "url", Runbooks+p.runbook+".md", "targetBlank", true)}
	}
	return out
}

// columnsOf puts the answers into one table of the columns that have titles. They are
// in the order of their titles' first letters, which are taken off: "1 Pod".
func (p panel) columnsOf() (transformations, overrides []any) {
	index, titles := object(), object()
	overrides = []any{}
	for _, field := range slices.Sorted(maps.Keys(p.columns)) {
		title := p.columns[field]
		at, name, _ := strings.Cut(title, " ")
		index[field], titles[field] = int(at[0]-'0'), name
		if !strings.HasPrefix(field, "Value") { // else an id of digits alone is shown as a number
			overrides = append(overrides, object("matcher", object("id", "byName", "options", name),
				"properties", []any{object("id", "unit", "value", "string")}))
		}
		if at == "1" && p.link != "" {
			overrides = append(overrides, object("matcher", object("id", "byName", "options", name),
				"properties", []any{object("id", "links", "value", []any{object("title", "Show", "url", p.link)})}))
		}
	}
	overrides = append(overrides, object("matcher", object("id", "byName", "options", "State"), "properties", []any{
		object("id", "mappings", "value", []any{object("type", "value", "options", states)}),
		object("id", "custom.cellOptions", "value", object("type", "color-text")),
	}))
	shown := slices.Sorted(maps.Keys(p.columns))
	return []any{
		object("id", "merge", "options", object()),
		object("id", "filterFieldsByName", "options", object("include", object("names", shown))),
		object("id", "organize", "options", object("excludeByName", object(), "indexByName", index, "renameByName", titles)),
	}, overrides
}

// section is a row of panels with a title.
type section struct {
	title  string
	panels []panel
}

// board lays sections out from the top, each as full lines of 24.
func board(uid, title, about string, variables []any, sections ...section) map[string]any {
	panels, id, y := []any{}, 0, 0
	for _, s := range sections {
		id++
		panels = append(panels, object("id", id, "type", "row", "title", s.title, "collapsed", false, "panels", []any{}, "gridPos", object("x", 0, "y", y, "w", 24, "h", 1)))
		y++
		x, high := 0, 0
		for _, p := range s.panels {
			if x+p.width > 24 {
				x, y, high = 0, y+high, 0
			}
			id++
			panels = append(panels, p.json(id, x, y))
			x, high = x+p.width, max(high, p.height)
		}
		y += high
	}
	return object("uid", uid, "title", title, "description", about, "tags", []string{"eyas"}, "schemaVersion", 39, "version", 1, "editable", true,
		"timezone", "browser", "graphTooltip", 1, "refresh", "30s", "time", object("from", "now-1h", "to", "now"),
		"annotations", object("list", []any{}), "templating", object("list", variables), "panels", panels,
		"links", []any{
			object("type", "dashboards", "title", "eyas", "tags", []string{"eyas"}, "asDropdown", false, "includeVars", true, "keepTime", true),
			object("type", "link", "title", "Runbooks", "url", strings.TrimSuffix(Runbooks, "/"), "targetBlank", true, "icon", "doc"),
		})
}

// variables are the choices at the top: the source, then labels, each within those before.
func variables(metric string, labels ...string) []any {
	all := []any{object("name", "datasource", "label", "Data source", "type", "datasource", "query", "prometheus", "refresh", 1, "hide", 0)}
	within := []string{}
	for _, l := range labels {
		q := fmt.Sprintf("label_values(%s{%s}, %s)", metric, strings.Join(within, ","), l)
		all = append(all, object("name", l, "label", strings.ToUpper(l[:1])+l[1:], "type", "query", "datasource", source, "definition", q,
			"query", object("query", q, "refId", "labels"), "refresh", 2, "sort", 1, "multi", true, "includeAll", true, "allValue", ".*",
			"current", object("text", "All", "value", "$__all"), "hide", 0))
		within = append(within, fmt.Sprintf(`%s=~"$%[1]s"`, l))
	}
	return all
}
