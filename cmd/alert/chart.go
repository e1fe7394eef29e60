package main

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"math"
	"time"

	"gatewatch/internal/evaluate"
)

const (
	chartWidth  = 1000 // of the plot, in pixels; one column each
	chartHeight = 140  // of one series
	chartMargin = 60
	chartTop    = 34  // for the name of a series
	maxCharts   = 40  // series that are drawn
	lowestBurn  = 0.1 // at the lower edge; ten times more every third part
	burnDecades = 4
)

// A chart collects burn rates and budgets during a backtest.
type chart struct {
	from   time.Time
	width  time.Duration // of a column
	order  []string
	series map[string]*line
}

// A line is one series: the highest burn rate of the last hour, and the lowest
// budget, by column.
type line struct {
	name, slo string
	factors   []float64
	burn      []float64
	budget    []float64
}

func newChart(from, to time.Time) *chart {
	return &chart{from: from, width: max(time.Second, to.Sub(from)/chartWidth), series: map[string]*line{}}
}

func (c *chart) watch(e *evaluate.Evaluator) {
	column := int(e.Tick().Sub(c.from) / c.width)
	if column < 0 {
		return
	}
	column = min(column, chartWidth-1)
	e.Each(func(st *evaluate.Status) {
		l, ok := c.series[st.Series()]
		if !ok {
			if len(c.order) >= maxCharts {
				return
			}
			l = &line{name: st.Series(), slo: st.SLO.Name, burn: make([]float64, chartWidth), budget: make([]float64, chartWidth)}
			for i := range l.budget {
				l.budget[i] = math.NaN()
			}
			for _, w := range st.SLO.Windows {
				l.factors = append(l.factors, w.Factor)
			}
			c.series[st.Series()], c.order = l, append(c.order, st.Series())
		}
		l.burn[column] = max(l.burn[column], st.SLO.Burn(st.Hour))
		l.budget[column] = st.SLO.Remaining(st.Period)
	})
}

// svg draws the burn rate of each series on a logarithmic scale, its budget, the
// factors of its windows, and what would have been raised.
func (r *backtestResult) svg() []byte {
	c := r.chart
	height := chartTop + len(c.order)*(chartHeight+chartTop) + chartMargin
	var b bytes.Buffer
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" font-size="11">`+"\n", chartWidth+2*chartMargin, height)
	fmt.Fprintf(&b, `<rect width="100%%" height="100%%" fill="white"/>`+"\n"+`<text x="%d" y="18" font-size="13">%s</text>`+"\n", chartMargin,
		escape(fmt.Sprintf("burn rate over 1 h (line), budget left (grey), pages (red) and tickets (amber), %s to %s", r.from.UTC().Format(time.RFC3339), r.to.UTC().Format(time.RFC3339))))
	for i, name := range c.order {
		y := chartTop + i*(chartHeight+chartTop) + chartTop
		c.draw(&b, c.series[name], y, r.notices, r.to)
	}
	b.WriteString("</svg>\n")
	return b.Bytes()
}

func (c *chart) draw(b *bytes.Buffer, l *line, y int, notices []evaluate.Notice, to time.Time) {
	fmt.Fprintf(b, `<text x="%d" y="%d" font-weight="bold">%s</text>`+"\n", chartMargin, y-6, escape(l.name))
	fmt.Fprintf(b, `<rect x="%d" y="%d" width="%d" height="%d" fill="none" stroke="#ccc"/>`+"\n", chartMargin, y, chartWidth, chartHeight)
	for _, n := range notices {
		series := n.SLO
		if n.Group != "" {
			series += "/" + n.Group
		}
		if series != l.name {
			continue
		}
		end := n.Until
		if end.IsZero() {
			end = to
		}
		colour := map[string]string{"page": "#d33", "ticket": "#e90"}[n.Severity.String()]
		x0, x1 := c.x(n.At), c.x(end)
		fmt.Fprintf(b, `<rect x="%.1f" y="%d" width="%.1f" height="%d" fill="%s" fill-opacity="0.25"><title>%s</title></rect>`+"\n", x0, y, max(1.5, x1-x0), chartHeight, colour,
			escape(fmt.Sprintf("%s %s: %s", n.At.UTC().Format(time.RFC3339), n.Severity, n.Reason)))
	}
	for _, f := range l.factors {
		fmt.Fprintf(b, `<line x1="%d" x2="%d" y1="%.1f" y2="%.1f" stroke="#bbb" stroke-dasharray="3 3"/><text x="4" y="%.1f">%gx</text>`+"\n", chartMargin, chartMargin+chartWidth, level(y, f), level(y, f), level(y, f)+4, f)
	}
	c.path(b, "#999", l.budget, func(v float64) float64 { return float64(y) + chartHeight*(1-min(1, max(0, v))) })
	c.path(b, "#25b", l.burn, func(v float64) float64 { return level(y, v) })
}

// level is where a burn rate is drawn.
func level(y int, burn float64) float64 {
	share := math.Log10(max(burn, lowestBurn)/lowestBurn) / burnDecades
	return float64(y) + chartHeight*(1-min(1, share))
}

func (c *chart) x(at time.Time) float64 {
	return chartMargin + min(chartWidth, max(0, float64(at.Sub(c.from))/float64(c.width)))
}

func (c *chart) path(b *bytes.Buffer, colour string, values []float64, y func(float64) float64) {
	fmt.Fprintf(b, `<polyline fill="none" stroke="%s" points="`, colour)
	for i, v := range values {
		if !math.IsNaN(v) {
			fmt.Fprintf(b, "%d,%.1f ", chartMargin+i, y(v))
		}
	}
	b.WriteString(`"/>` + "\n")
}

func escape(s string) string {
	var b bytes.Buffer
	if err := xml.EscapeText(&b, []byte(s)); err != nil {
		return ""
	}
	return b.String()
}
