package main

import (
	"fmt"
	"strings"

	"github.com/grafana/grafana-foundation-sdk/go/bargauge"
	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/cog/variants"
	"github.com/grafana/grafana-foundation-sdk/go/common"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/grafana/grafana-foundation-sdk/go/heatmap"
	"github.com/grafana/grafana-foundation-sdk/go/prometheus"
	"github.com/grafana/grafana-foundation-sdk/go/stat"
	"github.com/grafana/grafana-foundation-sdk/go/table"
	"github.com/grafana/grafana-foundation-sdk/go/timeseries"
)

// A kind is how a panel draws.
type kind int

const (
	aStat kind = iota
	lines
	stacked // areas on top of each other
	bars    // stacked bars
	aTable
	aHeatmap
	aGauge // horizontal bars of a table's rows
)

// A panel is one of ours: a query over views with all that a reader needs.
type panel struct {
	id    uint32 // within its board; never used again for another panel
	kind  kind
	title string
	about string // what it is, how it is computed, when to worry
	unit  string
	needs string // capability of v_setup without which it is empty
	fine  string // what it means that it is empty although that is there
	w, h  uint32
	sql   string
	prom  []expression // instead of sql

	warn, page float64 // thresholds, above which is worse; 0 is none
	low        bool    // below is worse
	max        float64
	columns    []column
	links      []link
	name       string  // of the one series, where the query gives none
	letters    float64 // size of a figure's digits; 0 fills the panel
}

// An expression is a PromQL query with the name of its series.
type expression struct{ promQL, legend string }

// A column says how a column of a table, or a series by its name, looks.
type column struct {
	name   string
	unit   string
	title  string
	link   link
	colour string
	width  float64
	warn   float64 // colours the cell from there on
	page   float64
	low    bool
	bar    bool // draws a bar in the cell
	right  bool // of a series: the axis on the right, faint bars
	hidden bool // there for links only
	digits int  // behind the point; 0 is what fits
	wrap   bool
}

// Colours that people who see colours differently tell apart (Okabe and Ito).
const (
	blue, orange, green, vermilion = "#0072B2", "#E69F00", "#009E73", "#D55E00"
	sky, purple, yellow, grey      = "#56B4E9", "#CC79A7", "#F0E442", "#8E8E8E"
)

// size returns the panel's size on the grid, 24 columns wide.
func (p *panel) size() (w, h uint32) {
	w, h = p.w, p.h
	if h == 0 {
		h = map[kind]uint32{aStat: 4, aTable: 9, aHeatmap: 9}[p.kind]
		if h == 0 {
			h = 8
		}
	}
	return w, h
}

// noValue is what an empty panel says: what that means, and what to set up if
// there never is anything. A figure has room for a few words, the rest is in its
// description.
func (p *panel) noValue() string {
	switch {
	case p.kind != aStat && p.fine != "":
		return p.fine + p.never()
	case p.kind != aStat:
		return "Nothing in this range" + p.never()
	case p.fine != "":
		return p.fine
	}
	return "no " + p.needs + ": see Set-up"
}

func (p *panel) never() string {
	step, ok := nextSteps[p.needs]
	if !ok {
		panic(fmt.Sprintf("panel %q needs %q, which v_setup does not know", p.title, p.needs))
	}
	return ". Never anything? " + step
}

// empty is what a cell or a point without a value says, instead of the panel's text.
func empty() []dashboard.DynamicConfigValue {
	return []dashboard.DynamicConfigValue{{Id: "noValue", Value: "–"}}
}

func (p *panel) thresholds() cog.Builder[dashboard.ThresholdsConfig] {
	return thresholds(p.warn, p.page, p.low)
}

func thresholds(warn, page float64, low bool) cog.Builder[dashboard.ThresholdsConfig] {
	list := []dashboard.Threshold{{Color: green}}
	switch {
	case warn == 0 && page == 0:
		list[0].Color = blue
	case low:
		list = []dashboard.Threshold{{Color: vermilion}, {Value: &page, Color: orange}, {Value: &warn, Color: green}}
	default:
		list = append(list, dashboard.Threshold{Value: &warn, Color: orange}, dashboard.Threshold{Value: &page, Color: vermilion})
	}
	return dashboard.NewThresholdsConfigBuilder().Mode(dashboard.ThresholdsModeAbsolute).Steps(list)
}

// targets are the panel's queries.
func (p *panel) targets() []target {
	var list []target
	for i, e := range p.prom {
		q := prometheus.NewDataqueryBuilder().RefId(string(rune('A' + i))).Expr(e.promQL).LegendFormat(e.legend).Datasource(prometheusRef())
		if p.kind == aStat {
			q = q.Instant()
		} else {
			q = q.Range()
		}
		list = append(list, q)
	}
	if p.sql != "" {
		format := asSeries
		if p.kind == aStat || p.kind == aTable || p.kind == aGauge {
			format = asTable
		}
		list = append(list, sqlQuery("A", format, p.sql))
	}
	return list
}

func (p *panel) datasource() common.DataSourceRef {
	if len(p.prom) > 0 {
		return prometheusRef()
	}
	return clickhouseRef()
}

// overrides are the properties of columns, by their names.
func (p *panel) overrides() (list []override) {
	for _, c := range p.columns {
		var props []dashboard.DynamicConfigValue
		add := func(id string, v any) { props = append(props, dashboard.DynamicConfigValue{Id: id, Value: v}) }
		if c.unit != "" {
			add("unit", c.unit)
		}
		if c.title != "" {
			add("displayName", c.title)
		}
		if c.width > 0 {
			add("custom.width", c.width)
		}
		if c.link.url != "" {
			add("links", []map[string]any{{"title": c.link.title, "url": c.link.url}})
		}
		if c.colour != "" {
			add("color", map[string]any{"mode": "fixed", "fixedColor": c.colour})
		}
		if c.warn != 0 || c.page != 0 {
			t, _ := thresholds(c.warn, c.page, c.low).Build()
			add("thresholds", t)
			add("color", map[string]any{"mode": "thresholds"})
			if p.kind == aTable {
				add("custom.cellOptions", map[string]any{"type": "color-text"})
			}
		}
		if c.bar {
			add("custom.cellOptions", map[string]any{"type": "gauge", "mode": "basic", "valueDisplayMode": "text"})
			add("color", map[string]any{"mode": "fixed", "fixedColor": sky})
			add("min", 0)
		}
		if c.digits > 0 {
			add("decimals", c.digits)
		}
		if c.wrap {
			add("custom.cellOptions", map[string]any{"type": "auto", "wrapText": true})
			add("custom.wrapText", true)
		}
		if c.hidden {
			add("custom.hidden", true)
		}
		if c.right {
			add("custom.axisPlacement", "right")
			add("custom.drawStyle", "bars")
			add("custom.fillOpacity", 12)
			add("custom.lineWidth", 0)
			add("unit", "short")
			add("color", map[string]any{"mode": "fixed", "fixedColor": grey})
		}
		list = append(list, override{c.name, props})
	}
	return list
}

type (
	target   = cog.Builder[variantsQuery]
	override struct {
		name  string
		props []dashboard.DynamicConfigValue
	}
)

// build makes the library's panel.
func (p *panel) build() cog.Builder[dashboard.Panel] {
	switch p.kind {
	case aStat:
		return p.stat()
	case aTable:
		return p.table()
	case aHeatmap:
		return p.heatmap()
	case aGauge:
		return p.gauge()
	default:
		return p.series()
	}
}

// A filler is a builder of any kind of panel.
type filler[B any] interface {
	WithTarget(query cog.Builder[variants.Dataquery]) B
	OverrideByName(name string, properties []dashboard.DynamicConfigValue) B
}

// filled adds the queries and the overrides of p.
func filled[B filler[B]](b B, p *panel) B {
	for _, t := range p.targets() {
		b = b.WithTarget(t)
	}
	for _, o := range p.overrides() {
		b = b.OverrideByName(o.name, o.props)
	}
	return b
}

func (p *panel) stat() cog.Builder[dashboard.Panel] {
	w, h := p.size()
	b := stat.NewPanelBuilder().Id(p.id).Title(p.title).Description(strings.TrimSuffix(p.about, ".") + p.never()).Datasource(p.datasource()).Unit(p.unit).NoValue(p.noValue()).
		Thresholds(p.thresholds()).Span(w).Height(h).Orientation(common.VizOrientationAuto).ColorMode(common.BigValueColorModeValue).
		GraphMode(common.BigValueGraphModeNone).TextMode(common.BigValueTextModeAuto).
		ReduceOptions(common.NewReduceDataOptionsBuilder().Calcs([]string{"lastNotNull"}).Fields("")).
		DataLinks(p.dataLinks())
	if p.letters > 0 {
		b = b.Text(common.NewVizTextDisplayOptionsBuilder().ValueSize(p.letters).TitleSize(12))
	}
	return filled(b, p)
}

func (p *panel) table() cog.Builder[dashboard.Panel] {
	w, h := p.size()
	b := table.NewPanelBuilder().Id(p.id).Title(p.title).Description(p.about).Datasource(p.datasource()).NoValue(p.noValue()).
		Thresholds(p.thresholds()).Span(w).Height(h).ShowHeader(true).CellHeight(common.TableCellHeightSm).Filterable(true).
		OverrideByRegexp(".*", empty())
	if p.unit != "" {
		b = b.Unit(p.unit)
	}
	return filled(b, p)
}

func (p *panel) gauge() cog.Builder[dashboard.Panel] {
	w, h := p.size()
	b := bargauge.NewPanelBuilder().Id(p.id).Title(p.title).Description(p.about).Datasource(p.datasource()).Unit(p.unit).NoValue(p.noValue()).
		Thresholds(p.thresholds()).Span(w).Height(h).Orientation(common.VizOrientationHorizontal).DisplayMode(common.BarGaugeDisplayModeBasic).
		ValueMode(common.BarGaugeValueModeText).ShowUnfilled(true).Min(0).
		ReduceOptions(common.NewReduceDataOptionsBuilder().Values(true).Calcs([]string{"lastNotNull"})).DataLinks(p.dataLinks()).
		Text(common.NewVizTextDisplayOptionsBuilder().ValueSize(16).TitleSize(12)).OverrideByRegexp(".*", empty())
	if p.max > 0 {
		b = b.Max(p.max)
	}
	return filled(b, p)
}

func (p *panel) heatmap() cog.Builder[dashboard.Panel] {
	w, h := p.size()
	b := heatmap.NewPanelBuilder().Id(p.id).Title(p.title).Description(p.about).Datasource(p.datasource()).Unit(p.unit).NoValue(p.noValue()).Span(w).Height(h).
		Color(heatmap.NewHeatmapColorOptionsBuilder().Mode(heatmap.HeatmapColorModeScheme).Scheme("Blues").Scale(heatmap.HeatmapColorScaleExponential).Exponent(0.5).Steps(64).Reverse(false)).
		RowsFrame(heatmap.NewRowsHeatmapOptionsBuilder().Layout(common.HeatmapCellLayoutLe)).
		CellGap(1).Tooltip(heatmap.NewHeatmapTooltipBuilder().Mode(common.TooltipDisplayModeSingle)).ShowLegend().
		YAxis(heatmap.NewYAxisConfigBuilder().AxisPlacement(common.AxisPlacementLeft))
	return filled(b, p)
}

func (p *panel) series() cog.Builder[dashboard.Panel] {
	w, h := p.size()
	b := timeseries.NewPanelBuilder().Id(p.id).Title(p.title).Description(p.about).Datasource(p.datasource()).Unit(p.unit).NoValue(p.noValue()).
		Thresholds(p.thresholds()).Span(w).Height(h).LineWidth(1.5).ShowPoints(common.VisibilityModeAuto).PointSize(4).
		ColorScheme(dashboard.NewFieldColorBuilder().Mode(dashboard.FieldColorModeIdPaletteClassic)).
		Legend(common.NewVizLegendOptionsBuilder().ShowLegend(true).DisplayMode(common.LegendDisplayModeList).Placement(common.LegendPlacementBottom).Calcs([]string{})).
		Tooltip(common.NewVizTooltipOptionsBuilder().Mode(common.TooltipDisplayModeMulti).Sort(common.SortOrderDescending)).
		DataLinks(p.dataLinks()).OverrideByRegexp(".*", empty())
	if len(p.prom) == 0 {
		b = b.DisplayName(p.displayName())
	}
	if p.warn != 0 || p.page != 0 {
		b = b.ThresholdsStyle(common.NewGraphThresholdsStyleConfigBuilder().Mode(common.GraphThresholdsStyleModeDashed))
	}
	if p.max > 0 {
		b = b.Max(p.max)
	}
	switch p.kind {
	case stacked:
		b = b.Min(0).FillOpacity(60).LineWidth(0.5).ShowPoints(common.VisibilityModeNever).Stacking(common.NewStackingConfigBuilder().Mode(common.StackingModeNormal).Group("A"))
	case bars:
		b = b.Min(0).DrawStyle(common.GraphDrawStyleBars).FillOpacity(70).LineWidth(0).Stacking(common.NewStackingConfigBuilder().Mode(common.StackingModeNormal).Group("A"))
	default:
		if !p.low {
			b = b.AxisSoftMin(0)
		}
		if p.unit == "percentunit" && !p.low {
			b = b.AxisSoftMax(0.01)
		}
	}
	return filled(b, p)
}

// displayName is the label of a series, or the name of the one there is.
func (p *panel) displayName() string {
	if p.name != "" {
		return p.name
	}
	return "${__field.labels.series}"
}

func (p *panel) dataLinks() []cog.Builder[dashboard.DashboardLink] {
	list := []cog.Builder[dashboard.DashboardLink]{}
	for _, l := range p.links {
		list = append(list, dashboard.NewDashboardLinkBuilder(l.title).Type(dashboard.DashboardLinkTypeLink).Url(l.url))
	}
	return list
}
