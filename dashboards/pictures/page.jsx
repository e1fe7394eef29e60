// One page with the panels of a board, drawn by Grafana's own components.
import React from 'react';
import { createRoot } from 'react-dom/client';
import { createTheme, toDataFrame, dateTime, getDisplayProcessor, ThemeContext, FieldType, ThresholdsMode, formattedValueToString } from '@grafana/data';
import { TimeSeries, BigValue, PanelChrome, BarGauge } from '@grafana/ui';
import { TableNG } from '@grafana/ui/unstable';

const board = window.__BOARD__, theme = createTheme({ colors: { mode: 'light' } });
const range = { from: dateTime(board.from), to: dateTime(board.to), raw: { from: dateTime(board.from), to: dateTime(board.to) } };
const U = 58, H = 38;

// label fills a display name's placeholders for a field.
function label(template, field) {
  return template.replace('${__field.labels.series}', field.labels?.series ?? field.name).replace('${__field.name}', field.name);
}

function frames(p) {
  return (p.frames ?? []).map((raw) => {
    const frame = toDataFrame(raw);
    frame.fields.forEach((f, i) => {
      const d = p.fieldConfig.defaults, name = d.displayName ? label(d.displayName, f) : f.name;
      const own = {}, custom = {};
      for (const o of p.fieldConfig.overrides ?? []) {
        if (o.matcher.id !== 'byRegexp' && (o.matcher.id !== 'byName' || (o.matcher.options !== f.name && o.matcher.options !== name))) continue;
        for (const x of o.properties) {
          if (x.id.startsWith('custom.')) custom[x.id.slice(7)] = x.value;
          else own[x.id] = x.value;
        }
      }
      delete own.links;
      f.config = {
        ...d, links: undefined, ...own, displayName: own.displayName ?? name,
        custom: { drawStyle: 'line', lineWidth: 1.5, fillOpacity: 0, showPoints: 'auto', pointSize: 4, axisPlacement: 'auto', ...d.custom, ...custom },
      };
      f.config.color = own.color ?? d.color ?? { mode: p.type === 'stat' || p.type === 'bargauge' ? 'thresholds' : 'palette-classic' };
      if (f.config.thresholds) f.config.thresholds = { mode: ThresholdsMode.Absolute, steps: f.config.thresholds.steps.map((s) => ({ ...s, value: s.value ?? -Infinity })) };
      f.state = { seriesIndex: i - 1, displayName: f.config.displayName };
      f.display = getDisplayProcessor({ field: f, theme, timeZone: 'utc' });
    });
    return frame;
  });
}

function Empty({ p }) {
  return <div style={{ padding: 8, color: theme.colors.text.secondary, textAlign: 'center' }}>{p.fieldConfig.defaults.noValue}</div>;
}

function Stat({ p, frame, w, h }) {
  const fields = frame.fields.filter((f) => f.type === FieldType.number);
  return <div style={{ display: 'flex' }}>{fields.map((f) => {
    const v = f.display(f.values[frame.length - 1]);
    return <BigValue key={f.name} width={w / fields.length} height={h} theme={theme} value={{ ...v, title: fields.length > 1 ? f.config.displayName : undefined }} graphMode="none" colorMode="value" justifyMode="auto" textMode="auto" text={p.options?.text} />;
  })}</div>;
}

function Bars({ p, frame, w, h }) {
  const text = frame.fields.find((f) => f.type === FieldType.string), number = frame.fields.find((f) => f.type === FieldType.number);
  const most = p.fieldConfig.defaults.max ?? Math.max(...number.values), n = frame.length, each = Math.max(16, Math.min(38, h / n - 6));
  number.config = { ...number.config, min: 0, max: most };
  return <div>{number.values.slice(0, Math.floor(h / (each + 6))).map((v, i) => <div key={i} style={{ marginBottom: 6 }}>
    <BarGauge width={w} height={each} theme={theme} field={number.config} display={number.display} value={{ ...number.display(v), title: text?.values[i] }} orientation="horizontal" displayMode="basic" showUnfilled text={p.options?.text} /></div>)}</div>;
}

// Heat draws cells itself: Grafana's heat map is not among the published components.
function Heat({ frame, w, h }) {
  const bands = frame.fields.filter((f) => f.type === FieldType.number), left = 56, bottom = 18;
  const most = Math.max(1, ...bands.flatMap((b) => b.values)), cw = (w - left) / frame.length, ch = (h - bottom) / bands.length;
  return <svg width={w} height={h}>
    {bands.map((b, y) => <g key={b.name}><text x={left - 6} y={h - bottom - (y + 0.3) * ch} fontSize="10" textAnchor="end" fill={theme.colors.text.secondary}>{b.name}</text>
      {b.values.map((v, x) => v > 0 && <rect key={x} x={left + x * cw} y={h - bottom - (y + 1) * ch} width={Math.max(1, cw)} height={ch - 1} fill="#08519C" opacity={0.1 + 0.9 * Math.sqrt(v / most)} />)}</g>)}
  </svg>;
}

function Body({ p, w, h }) {
  const all = frames(p), frame = all[0];
  if (!frame || !frame.length) return <Empty p={p} />;
  switch (p.type) {
    case 'timeseries': return <TimeSeries frames={all} width={w} height={h} timeRange={range} timeZone="utc" structureRev={1} legend={{ calcs: [], displayMode: 'list', placement: 'bottom', showLegend: true }} options={{}}>{() => null}</TimeSeries>;
    case 'stat': return <Stat p={p} frame={frame} w={w} h={h} />;
    case 'bargauge': return <Bars p={p} frame={frame} w={w} h={h} />;
    case 'heatmap': return <Heat frame={frame} w={w} h={h} />;
    case 'table': {
      frame.fields = frame.fields.filter((f) => !f.config.custom.hidden);
      return <TableNG data={frame} width={w} height={h} structureRev={1} cellHeight="sm" />;
    }
  }
  return <div>not drawn: {p.type}</div>;
}

class Boundary extends React.Component {
  state = {};
  static getDerivedStateFromError(error) { return { error }; }
  componentDidCatch(error) { console.error('PANEL', String(error?.stack ?? error)); }
  render() { return this.state.error ? <pre>{String(this.state.error)}</pre> : this.props.children; }
}

function Page() {
  const from = board.from.slice(0, 16).replace('T', ' '), to = board.to.slice(0, 16).replace('T', ' ');
  return <ThemeContext.Provider value={theme}>
    <div style={{ position: 'relative', fontFamily: theme.typography.fontFamily, fontSize: 14, background: theme.colors.background.canvas, color: theme.colors.text.primary, height: window.__HEIGHT__, paddingLeft: 4 }}>
      <div style={{ position: 'absolute', top: 8, left: 12, right: 12, display: 'flex', justifyContent: 'space-between' }}><b style={{ fontSize: 18 }}>{board.title}</b><span>{from} to {to} UTC</span></div>
      <div style={{ position: 'absolute', top: 38, left: 12, fontSize: 12 }}>{(board.variables ?? []).map((v) => <span key={v} style={{ marginRight: 14, padding: '3px 8px', border: '1px solid ' + theme.colors.border.medium, borderRadius: 3, background: theme.colors.background.primary }}>{v}</span>)}</div>
      {board.panels.map((p) => {
        const g = p.gridPos, w = g.w * U - 8, h = g.h * H - 8, at = { position: 'absolute', left: g.x * U + 8, top: g.y * H + 70 };
        if (p.type === 'row') return <div key={p.id} style={{ ...at, fontWeight: 500, paddingTop: 8 }}>{p.collapsed ? '▸' : '▾'} {p.title}</div>;
        return <div key={p.id} style={at}><PanelChrome title={p.title} width={w} height={h}>{(iw, ih) => <Boundary><Body p={p} w={iw} h={ih} /></Boundary>}</PanelChrome></div>;
      })}
    </div>
  </ThemeContext.Provider>;
}

document.body.style.margin = 0;
createRoot(document.getElementById('root')).render(<Page />);
