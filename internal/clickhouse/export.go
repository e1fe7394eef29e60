package clickhouse

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// An ExportColumn is a column of what is exported, with ClickHouse's type.
type ExportColumn struct{ Name, Type string }

// exportTimeout bounds an export.
const exportTimeout = 5 * time.Minute

// WriteParquet lets ClickHouse write rows as Parquet. The native protocol knows
// no formats, so that it needs the HTTP interface.
func WriteParquet(ctx context.Context, c Config, columns []ExportColumn, rows []map[string]any, w io.Writer) error {
	if c.HTTPAddress == "" {
		return errors.New("parquet is written by ClickHouse over HTTP: set clickhouse.http_address, such as clickhouse:8123")
	}
	ctx, cancel := context.WithTimeout(ctx, exportTimeout)
	defer cancel()
	body, contentType, err := exportBody(rows)
	if err != nil {
		return err
	}
	request, err := exportRequest(ctx, c, columns, body)
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", contentType)
	conn, err := Open(c)
	if err != nil {
		return err
	}
	defer conn.Close()
	request.SetBasicAuth(conn.opts.Auth.Username, conn.opts.Auth.Password)
	client := http.Client{Transport: &http.Transport{TLSClientConfig: tlsOf(conn)}}
	defer client.CloseIdleConnections()
	answer, err := client.Do(request)
	if err != nil {
		return fmt.Errorf("export over %s: %w", c.HTTPAddress, err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(answer.Body, 1000))
		return fmt.Errorf("export over %s: %s: %s", c.HTTPAddress, answer.Status, bytes.TrimSpace(text))
	}
	if _, err := io.Copy(w, answer.Body); err != nil {
		return fmt.Errorf("export over %s: %w", c.HTTPAddress, err)
	}
	return nil
}

func tlsOf(c *Conn) *tls.Config { return c.opts.TLS }

// exportBody is the rows as external data, a JSON object a line.
func exportBody(rows []map[string]any) (*bytes.Buffer, string, error) {
	body := &bytes.Buffer{}
	form := multipart.NewWriter(body)
	part, err := form.CreateFormFile("rows", "rows")
	if err != nil {
		return nil, "", err
	}
	e := json.NewEncoder(part)
	for _, row := range rows {
		if err := e.Encode(row); err != nil {
			return nil, "", err
		}
	}
	return body, form.FormDataContentType(), form.Close()
}

func exportRequest(ctx context.Context, c Config, columns []ExportColumn, body io.Reader) (*http.Request, error) {
	structure := make([]string, len(columns))
	for i, col := range columns {
		structure[i] = quoteIdent(col.Name) + " " + col.Type
	}
	scheme := "http"
	if c.Secure {
		scheme = "https"
	}
	u := url.URL{Scheme: scheme, Host: c.HTTPAddress, Path: "/", RawQuery: url.Values{
		"query": {"SELECT * FROM rows FORMAT Parquet"}, "rows_format": {"JSONEachRow"}, "rows_structure": {strings.Join(structure, ", ")},
		"date_time_input_format": {"best_effort"},
	}.Encode()}
	return http.NewRequestWithContext(ctx, http.MethodPost, u.String(), body)
}
