// A data source for the scenes: it asks Prometheus' API from the browser, and gives
// frames as Grafana's own data source does: labels as fields of a table, one frame per
// series of a graph.
import { createDataFrame, DataSourceApi, FieldType, LoadingState } from '@grafana/data';
import { from } from 'rxjs';

const scrape = 5; // seconds between scrapes (test/kubelet): what the data source is told in Grafana

export class Prometheus extends DataSourceApi {
  constructor(url, interpolate) {
    super({ id: 1, uid: 'prometheus', type: 'prometheus', name: 'Prometheus', meta: { id: 'prometheus' }, jsonData: {} });
    this.url = url;
    this.interpolate = interpolate;
  }

  async ask(path, parameters) {
    const answer = await fetch(`${this.url}/api/v1/${path}?${new URLSearchParams(parameters)}`);
    const { status, data, error } = await answer.json();
    if (status !== 'success') {
      throw new Error(`${error}: ${JSON.stringify(parameters)}`);
    }
    return data;
  }

  // Values of a variable: label_values(selector, label).
  async metricFindQuery({ query }, { scopedVars }) {
    const [, selector, label] = query.match(/^label_values\((.*), (\w+)\)$/);
    const values = await this.ask(`label/${label}/values`, { 'match[]': this.fill(selector, scopedVars) });
    return values.map((text) => ({ text }));
  }

  fill(expr, scopedVars) {
    return this.interpolate(expr, scopedVars, (v) => (Array.isArray(v) ? v.join('|') : v));
  }

  async query({ targets, range, intervalMs, scopedVars }) {
    const [start, end] = [range.from.unix(), range.to.unix()];
    const step = Math.max(1, Math.round(intervalMs / 1000));
    const vars = {
      ...scopedVars,
      __rate_interval: { value: `${Math.max(step + scrape, 4 * scrape)}s` },
      __range: { value: `${end - start}s` },
    };
    const frames = targets.map(async (t) => {
      const query = this.fill(t.expr, vars);
      if (!t.instant) {
        // Steps lie at multiples of themselves, so that graphs do not tremble.
        const { result } = await this.ask('query_range', { query, start: start - (start % step), end, step });
        return result.map((s) => series(t, s, s.values));
      }
      const { result } = await this.ask('query', { query, time: end });
      return t.format === 'table' ? [table(t, result, targets.length)] : result.map((s) => series(t, s, [s.value]));
    });
    return { data: (await Promise.all(frames)).flat() };
  }
}

function series({ refId, legendFormat }, { metric }, points) {
  const all = Object.entries(metric).filter(([k]) => k !== '__name__');
  const auto = all.map(([k, v]) => `${k}="${v}"`).join(', ');
  const name = legendFormat === '__auto' ? auto || 'Value' : legendFormat.replace(/{{\s*(\w+)\s*}}/g, (_, label) => metric[label] ?? '');
  return createDataFrame({
    refId,
    name,
    fields: [
      { name: 'Time', type: FieldType.time, values: points.map(([at]) => at * 1000) },
      { name: 'Value', type: FieldType.number, labels: metric, values: points.map(([, v]) => Number(v)), config: { displayNameFromDS: name } },
    ],
  });
}

function table({ refId }, result, of) {
  const labels = [...new Set(result.flatMap(({ metric }) => Object.keys(metric)))].sort();
  return createDataFrame({
    refId,
    fields: [
      { name: 'Time', type: FieldType.time, values: result.map(({ value }) => value[0] * 1000) },
      ...labels.map((name) => ({ name, type: FieldType.string, values: result.map(({ metric }) => metric[name] ?? '') })),
      { name: of > 1 ? `Value #${refId}` : 'Value', type: FieldType.number, values: result.map(({ value }) => Number(value[1])) },
    ],
  });
}

// run is what Grafana's core gives to the scenes to run a query.
export function run(source, request) {
  const answer = async () => {
    const common = { timeRange: request.range, request, annotations: [] };
    try {
      const { data } = await source.query(request);
      return { ...common, state: LoadingState.Done, series: data };
    } catch (error) {
      console.error(String(error));
      return { ...common, state: LoadingState.Error, series: [], errors: [{ message: String(error) }] };
    }
  };
  return from(answer());
}
