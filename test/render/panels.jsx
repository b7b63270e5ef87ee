// The panels that the dashboards have. Grafana's core, which is no library, makes them
// of the same components.
import { cacheFieldDisplayNames, getDisplayValueAlignmentFactors, getFieldDisplayValues, identityOverrideProcessor, PanelPlugin, renderMarkdown } from '@grafana/data';
import { config } from '@grafana/runtime';
import { BarGauge, BigValue, TimeSeries, VizRepeater } from '@grafana/ui';
import { TableNG } from '@grafana/ui/unstable';

const Graph = ({ data, width, height, timeRange, timeZone, options }) => (
  <TimeSeries frames={data.series} structureRev={data.structureRev} {...{ width, height, timeRange, timeZone }} legend={options.legend} options={options} />
);

// values draws each value that is left of the series, in the room that there is.
function values(draw, room) {
  return function Values({ data, width, height, timeZone, options, fieldConfig, replaceVariables, renderCounter }) {
    const theme = config.theme2;
    const get = () => getFieldDisplayValues({ data: data.series, reduceOptions: options.reduceOptions, fieldConfig, replaceVariables, theme, timeZone });
    return (
      <VizRepeater
        {...{ width, height, renderCounter, ...room(options) }}
        source={data}
        getValues={get}
        orientation={options.orientation ?? 'auto'}
        getAlignmentFactors={getDisplayValueAlignmentFactors}
        renderValue={({ value, count, ...p }) => draw({ theme, width: p.width, height: p.height, alignmentFactors: p.alignmentFactors, value: value.display }, value, options, count)}
      />
    );
  };
}

const Stat = values(
  (common, _, { colorMode, graphMode, textMode }, count) => <BigValue {...common} {...{ colorMode, graphMode, textMode, count }} />,
  () => ({ autoGrid: true })
);

const Bars = values(
  (common, { field, view, colIndex }, { displayMode, orientation, showUnfilled, namePlacement, text }) => (
    <BarGauge {...common} field={field} display={view?.getFieldDisplayProcessor(colIndex ?? 0)} {...{ displayMode, orientation, showUnfilled, namePlacement, text }} />
  ),
  ({ minVizWidth, minVizHeight, maxVizHeight }) => ({ itemSpacing: 8, minVizWidth, minVizHeight, maxVizHeight })
);

function Table({ data, width, height, timeRange, options, fieldConfig }) {
  cacheFieldDisplayNames(data.series); // the table shows names only from there
  return (
    <TableNG
      data={data.series[0]}
      {...{ width, height, timeRange, fieldConfig }}
      noHeader={!options.showHeader}
      cellHeight={options.cellHeight}
      sortBy={options.sortBy}
      structureRev={data.structureRev}
    />
  );
}

const Text = ({ options }) => <div dangerouslySetInnerHTML={{ __html: renderMarkdown(options.content) }} />;

const orNoData = (Panel) => (props) =>
  props.data.series.some((frame) => frame.length > 0) ? (
    <Panel {...props} />
  ) : (
    <div style={{ display: 'grid', placeContent: 'center', height: props.height, color: config.theme2.colors.text.secondary }}>No data</div>
  );

// A field's settings reach its picture only if the plugin knows them.
const custom = ['drawStyle', 'fillOpacity', 'lineWidth', 'lineInterpolation', 'showPoints', 'spanNulls', 'stacking', 'axisSoftMax', 'width', 'align', 'cellOptions'];

const property = (isCustom) => (path) => ({
  id: isCustom ? `custom.${path}` : path,
  path,
  isCustom,
  name: path,
  process: identityOverrideProcessor,
  shouldApply: () => true,
  settings: {},
});

export const standard = ['unit', 'decimals', 'min', 'max', 'displayName', 'noValue', 'color', 'thresholds', 'mappings', 'links'].map(property(false));

function plugin(component) {
  const p = new PanelPlugin(component).useFieldConfig({});
  for (const x of custom.map(property(true))) {
    p.fieldConfigRegistry.register(x);
  }
  return p;
}

const panels = { timeseries: orNoData(Graph), stat: orNoData(Stat), bargauge: orNoData(Bars), table: orNoData(Table), text: Text };

export const plugins = () => Object.entries(panels).map(([pluginId, component]) => ({ pluginId, plugin: plugin(component) }));
