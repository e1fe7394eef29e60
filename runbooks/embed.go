// Package runbooks holds the runbooks that are shipped in the binaries: one
// Markdown file for each signal. README.md is the template for more.
package runbooks

import "embed"

// FS holds the files.
//
//go:embed *.md
var FS embed.FS
