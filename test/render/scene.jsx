// From a dashboard's JSON to a scene.
import {
  DataSourceVariable,
  EmbeddedScene,
  QueryVariable,
  SceneControlsSpacer,
  SceneDataTransformer,
  SceneGridItem,
  SceneGridLayout,
  SceneGridRow,
  SceneQueryRunner,
  SceneTimePicker,
  SceneTimeRange,
  SceneVariableSet,
  VariableValueSelectors,
  VizPanel,
} from '@grafana/scenes';
import { Icon, PanelChrome } from '@grafana/ui';

function variable(v) {
  if (v.type === 'datasource') {
    return new DataSourceVariable({ name: v.name, label: v.label, pluginId: v.query, value: 'prometheus', text: 'Prometheus' });
  }
  const { name, label, datasource, query, refresh, sort, multi: isMulti, includeAll, allValue, current } = v;
  return new QueryVariable({
    ...{ name, label, datasource, query, refresh, sort, isMulti, includeAll, allValue },
    defaultToAll: includeAll && current.value === '$__all',
    value: current.value,
    text: current.text,
  });
}

const Link = ({ title, url }) => (
  <PanelChrome.TitleItem href={url} title={title}>
    <Icon name="external-link-alt" />
  </PanelChrome.TitleItem>
);

function panel(p) {
  const { id, type, title, description, options, fieldConfig, targets, datasource, transformations, links = [], gridPos } = p;
  const data = new SceneQueryRunner({ datasource, queries: targets, maxDataPointsFromWidth: true, minInterval: '5s' });
  return new SceneGridItem({
    ...place(gridPos),
    body: new VizPanel({
      key: `panel-${id}`,
      pluginId: type,
      ...{ title, description, options, fieldConfig },
      titleItems: links.length > 0 ? <>{links.map((link) => <Link key={link.url} {...link} />)}</> : undefined,
      $data: transformations ? new SceneDataTransformer({ $data: data, transformations }) : data,
    }),
  });
}

const place = ({ x, y, w, h }) => ({ x, y, width: w, height: h });

// Panels after a row, up to the next, are in it.
function rows(all) {
  const out = [];
  for (const p of all) {
    if (p.type === 'row') {
      out.push(new SceneGridRow({ key: `panel-${p.id}`, title: p.title, y: p.gridPos.y, isCollapsed: p.collapsed, children: [] }));
    } else if (out.length === 0 || !(out.at(-1) instanceof SceneGridRow)) {
      out.push(panel(p));
    } else {
      const row = out.at(-1);
      row.setState({ children: [...row.state.children, panel(p)] });
    }
  }
  return out;
}

export function scene(dashboard, range) {
  return new EmbeddedScene({
    $timeRange: new SceneTimeRange({ ...range, timeZone: 'utc' }),
    $variables: new SceneVariableSet({ variables: dashboard.templating.list.map(variable) }),
    controls: [new VariableValueSelectors({}), new SceneControlsSpacer(), new SceneTimePicker({ isOnCanvas: true })],
    body: new SceneGridLayout({ isDraggable: false, isResizable: false, children: rows(dashboard.panels) }),
  });
}
