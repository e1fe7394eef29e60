package clickhouse

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"

	"github.com/ClickHouse/ch-go"
	"github.com/ClickHouse/clickhouse-go/v2"

	"gatewatch/internal/ingest"
)

// ClickHouse's error codes that we tell apart (src/Common/ErrorCodes.cpp).
const (
	codeNoSuchColumn    = 16
	codeUnknownIdent    = 47
	codeTypeMismatch    = 53
	codeUnknownTable    = 60
	codeUnknownDatabase = 81
	codeAccessDenied    = 497
	codeAuthFailed      = 516
	codeUnknownSetting  = 115
	codeNotImplemented  = 48
	codeNumberOfColumns = 7
)

// ErrorCode returns the server's error code, or 0 if err is not from the server.
func ErrorCode(err error) int {
	if e, ok := errors.AsType[*clickhouse.Exception](err); ok {
		return int(e.Code)
	}
	if e, ok := ch.AsException(err); ok {
		return int(e.Code)
	}
	return 0
}

// Unreachable reports whether err means that the server could not be talked to.
func Unreachable(err error) bool {
	if ErrorCode(err) != 0 || errors.Is(err, context.Canceled) {
		return false
	}
	_, isNet := errors.AsType[net.Error](err)
	return isNet || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, clickhouse.ErrAcquireConnTimeout)
}

// Explain puts a server's error into one clear line with its remedy.
func Explain(c Config, err error) error {
	switch ErrorCode(err) {
	case codeAuthFailed:
		return fmt.Errorf("ClickHouse at %s refuses user %q: check clickhouse.username and clickhouse.password_file: %w", c.Address, c.Username, err)
	case codeAccessDenied:
		return fmt.Errorf("user %q may not do this in ClickHouse at %s: %w", c.Username, c.Address, err)
	case codeUnknownDatabase:
		return fmt.Errorf("ClickHouse at %s has no database %q: run gatewatch-ingest migrate: %w", c.Address, c.Database, err)
	case codeUnknownTable:
		return fmt.Errorf("database %q lacks a table: run gatewatch-ingest migrate: %w", c.Database, err)
	}
	if Unreachable(err) {
		return fmt.Errorf("ClickHouse at %s can't be reached: %w", c.Address, err)
	}
	return err
}

// permanent wraps the errors that no retry mends as ingest.PermanentError.
func permanent(err error) error {
	switch ErrorCode(err) {
	case codeNoSuchColumn, codeUnknownIdent, codeTypeMismatch, codeUnknownTable, codeUnknownDatabase,
		codeAccessDenied, codeAuthFailed, codeUnknownSetting, codeNotImplemented, codeNumberOfColumns:
		return &ingest.PermanentError{Err: err}
	}
	return err
}

// Denied reports whether the server refuses the user or what it wants to do.
func Denied(err error) bool {
	code := ErrorCode(err)
	return code == codeAuthFailed || code == codeAccessDenied
}

// Ready returns nil if the server answers and has the schema that this build
// reads, else the reason in one line.
func (c *Conn) Ready(ctx context.Context, conf Config) error {
	if err := c.CheckSchema(ctx); err != nil {
		return Explain(conf, err)
	}
	return nil
}

// Hopeless reports whether err stays as it is however long one waits: the
// server refuses the user, or its schema is newer than this build.
func Hopeless(err error) bool {
	e, ok := errors.AsType[*SchemaError](err)
	return ok && e.Have > e.Want || Denied(err)
}
