// Command termsvg draws what a terminal shows as an SVG picture. It reads text
// with colour codes, as `tmux capture-pane -e -p` prints a screen:
//
//	tmux capture-pane -e -p -t demo | go run ./internal/devtools/termsvg > docs/demo.svg
package main

import (
	"bufio"
	"fmt"
	"html"
	"io"
	"os"
	"strconv"
	"strings"
	"unicode/utf8"
)

func main() {
	if err := draw(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "termsvg:", err)
		os.Exit(1)
	}
}

// Sizes of a character cell and of the frame, in SVG units.
const (
	cellWidth  = 8.4
	cellHeight = 18.0
	padding    = 14.0
	background = "#101418"
	foreground = "#d5dae0"
)

// A style is how characters look.
type style struct {
	colour    string
	bold, dim bool
}

// palette holds the 16 colours of a terminal, chosen to be told apart by colour-blind people too.
var palette = [16]string{
	"#4a5158", "#ff7b72", "#7ee08a", "#e6b450", "#6cb6ff", "#d2a8ff", "#56d4dd", foreground,
	"#7d8590", "#ffa198", "#a5f0ae", "#f2cc60", "#9ecbff", "#e2c5ff", "#8ae8ee", "#ffffff",
}

func draw(in io.Reader, out io.Writer) error {
	var lines []string
	columns := 0
	sc := bufio.NewScanner(in)
	st := style{colour: foreground}
	for sc.Scan() {
		line, width := spans(sc.Text(), &st)
		lines = append(lines, line)
		columns = max(columns, width)
	}
	if err := sc.Err(); err != nil {
		return err
	}
	for len(lines) > 0 && lines[len(lines)-1] == "" {
		lines = lines[:len(lines)-1]
	}
	w := bufio.NewWriter(out)
	width, height := float64(columns)*cellWidth+2*padding, float64(len(lines))*cellHeight+2*padding
	fmt.Fprintf(w, `<svg xmlns="http://www.w3.org/2000/svg" width="%.0f" height="%.0f" viewBox="0 0 %.0f %.0f">`+"\n", width, height, width, height)
	fmt.Fprintf(w, `<rect width="100%%" height="100%%" rx="8" fill="%s"/>`+"\n", background)
	fmt.Fprintf(w, `<g font-family="ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace" font-size="14" fill="%s">`+"\n", foreground)
	for i, line := range lines {
		if line != "" {
			fmt.Fprintf(w, `<text y="%.0f">%s</text>`+"\n", padding+float64(i)*cellHeight+14, line)
		}
	}
	fmt.Fprintln(w, "</g>\n</svg>")
	return w.Flush()
}

// spans turns a line with SGR codes (ECMA-48 §8.3.117) into tspans and returns its width in cells.
func spans(line string, st *style) (svg string, width int) {
	var b strings.Builder
	for line != "" {
		text, rest, found := strings.Cut(line, "\x1b[")
		if text != "" {
			fmt.Fprintf(&b, `<tspan x="%.1f" textLength="%.1f"%s>%s</tspan>`, padding+float64(width)*cellWidth,
				float64(utf8.RuneCountInString(text))*cellWidth, st.attributes(), strings.ReplaceAll(html.EscapeString(text), " ", "\u00a0")) // renderers fold other spaces
			width += utf8.RuneCountInString(text)
		}
		if !found {
			break
		}
		end := strings.IndexFunc(rest, func(r rune) bool { return r >= '@' && r <= '~' })
		if end < 0 {
			break
		}
		if rest[end] == 'm' {
			st.apply(rest[:end])
		}
		line = rest[end+1:]
	}
	if strings.TrimSpace(html.UnescapeString(stripTags(b.String()))) == "" {
		return "", 0
	}
	return b.String(), width
}

func stripTags(s string) string {
	var b strings.Builder
	for part := range strings.SplitSeq(s, "<") {
		_, text, _ := strings.Cut(part, ">")
		b.WriteString(text)
	}
	return b.String()
}

func (st *style) apply(codes string) {
	for code := range strings.SplitSeq(codes, ";") {
		n, _ := strconv.Atoi(code) // an empty code is 0
		switch {
		case n == 0:
			*st = style{colour: foreground}
		case n == 1:
			st.bold = true
		case n == 2:
			st.dim = true
		case n == 22:
			st.bold, st.dim = false, false
		case n >= 30 && n <= 37:
			st.colour = palette[n-30]
		case n == 39:
			st.colour = foreground
		case n >= 90 && n <= 97:
			st.colour = palette[n-90+8]
		}
	}
}

func (st *style) attributes() string {
	var b strings.Builder
	if st.colour != foreground {
		fmt.Fprintf(&b, ` fill="%s"`, st.colour)
	}
	if st.bold {
		b.WriteString(` font-weight="bold"`)
	}
	if st.dim {
		b.WriteString(` opacity="0.65"`)
	}
	return b.String()
}
