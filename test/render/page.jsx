// The page: window.draw(dashboard, Prometheus, from, to) draws one dashboard,
// window.pending() says what it still waits for, and window.extent() what it takes.
import {
  createTheme,
  EventBusSrv,
  standardEditorsRegistry,
  standardFieldConfigEditorRegistry,
  standardTransformers,
  standardTransformersRegistry,
  ThemeContext,
} from '@grafana/data';
import { initPluginTranslations } from '@grafana/i18n';
import { config, setAppEvents, setDataSourceSrv, setPluginImportUtils, setRunRequest } from '@grafana/runtime';
import { loadResources, sceneGraph, sceneUtils, VizPanel } from '@grafana/scenes';
import { GlobalStyles, LinkButton, PortalContainer } from '@grafana/ui';
import { createRoot } from 'react-dom/client';
import { MemoryRouter } from 'react-router-dom';

import { plugins, standard } from './panels.jsx';
import { Prometheus, run } from './prometheus.js';
import { scene } from './scene.jsx';

const { mergeTransformer, filterFieldsByNameTransformer, organizeFieldsTransformer } = standardTransformers;

function set(source) {
  config.theme2 = createTheme({ colors: { mode: 'light' } });
  standardFieldConfigEditorRegistry.setInit(() => standard);
  standardEditorsRegistry.setInit(() => []);
  standardTransformersRegistry.setInit(() =>
    [mergeTransformer, filterFieldsByNameTransformer, organizeFieldsTransformer].map((x) => ({ id: x.id, name: x.name, transformation: async () => x }))
  );
  setPluginImportUtils({ importPanelPlugin: async (id) => Promise.reject(new Error(`no panel ${id}`)), getPanelPluginFromCache: () => undefined });
  plugins().forEach(sceneUtils.registerRuntimePanelPlugin);
  setRunRequest(run);
  setAppEvents(new EventBusSrv());
  const settings = { uid: source.uid, name: source.name, type: source.type, meta: source.meta };
  setDataSourceSrv({ get: async () => source, getList: () => [settings], getInstanceSettings: () => settings });
}

let root;

const Link = ({ title, type }) => (
  <LinkButton variant="secondary" size="sm" icon={type === 'dashboards' ? 'apps' : 'file-alt'} href="#" style={{ marginLeft: 8 }}>
    {title}
  </LinkButton>
);

window.draw = async (dashboard, url, from, to) => {
  const source = new Prometheus(url, (text, vars, format) => sceneGraph.interpolate(root, text, vars, format));
  set(source);
  await initPluginTranslations('grafana-scenes', [loadResources]);
  root = scene(dashboard, { from, to });
  const { theme2 } = config;
  document.body.style.background = theme2.colors.background.canvas;
  createRoot(document.getElementById('root')).render(
    <ThemeContext.Provider value={theme2}>
      <GlobalStyles />
      <MemoryRouter>
        <div style={{ display: 'flex', padding: '12px 16px 0' }}>
          <h1 style={{ flexGrow: 1, fontSize: 20, margin: 0 }}>{dashboard.title}</h1>
          {dashboard.links.map((link) => (
            <Link key={link.title} {...link} />
          ))}
        </div>
        <div style={{ padding: '8px 16px 16px' }}>
          <root.Component model={root} />
        </div>
        <PortalContainer />
      </MemoryRouter>
    </ThemeContext.Provider>
  );
};

// Titles of panels that are not there yet, or have no answer.
window.pending = () =>
  sceneGraph
    .findAllObjects(root, (o) => o instanceof VizPanel)
    .filter((p) => !document.querySelector(`[data-viz-panel-key="${p.state.key}"]`) || sceneGraph.getData(p).state.data?.state !== 'Done')
    .map((p) => p.state.title);

window.extent = () => ({ x: 0, y: 0, width: window.innerWidth, height: Math.ceil(document.getElementById('root').getBoundingClientRect().bottom) });
