package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"gatewatch/internal/clickhouse"
	"gatewatch/internal/devstack/panelcheck"
)

// shared are the tables in which nothing is a tenant's.
var shared = []string{"completeness", "derived_window", "kpi_definition", "workflow_route", "schema_migration"}

// A tenant's user sees its own rows in every table and view, and no others.
func testTenants(t *testing.T, d *demo) {
	owner := d.stack.Store
	rows, err := owner.Query(t.Context(), `SELECT t.name, has(groupArray(c.name), 'tenant') FROM system.tables AS t INNER JOIN system.columns AS c ON c.database = t.database AND c.table = t.name
		WHERE t.database = 'gatewatch' AND endsWith(t.engine, 'MergeTree') GROUP BY t.name ORDER BY t.name`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	tables := map[string]bool{} // whether it has a column tenant
	for rows.Next() {
		var name string
		var has bool
		if err := rows.Scan(&name, &has); err != nil {
			t.Fatal(err)
		}
		tables[name] = has
	}
	if err := rows.Err(); err != nil || len(tables) < 25 {
		t.Fatalf("%d tables: %v", len(tables), err)
	}
	for name, has := range tables {
		if !has {
			continue
		}
		for _, tenant := range []string{theTenant, "rival"} {
			time := "time"
			switch name {
			case "access_log", "span", "workflow_call":
				time = "ts"
			case "workflow_run":
				time = "start"
			}
			if err := owner.Exec(t.Context(), fmt.Sprintf("INSERT INTO %s (%s, tenant) VALUES (now(), '%s')", name, time, tenant)); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
		}
	}
	file := d.stack.Settings + ".tenant-password"
	writeFile(t, file, loginPassword)
	db, err := panelcheck.Open(clickhouse.Config{Address: d.stack.Engine.Addr, Database: "gatewatch", Username: "gatewatch_" + theTenant, PasswordFile: file})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for name, has := range tables {
		switch {
		case slices.Contains(shared, name):
		case has:
			if n := count(t, db, "SELECT countIf(tenant = '"+theTenant+"') FROM "+name); n == 0 {
				t.Errorf("%s: the tenant does not see its own rows", name)
			}
			if n := count(t, db, "SELECT countIf(tenant != '"+theTenant+"') FROM "+name); n > 0 {
				t.Errorf("%s: the tenant sees %d rows of others", name, n)
			}
		default:
			if n := count(t, db, "SELECT count() FROM "+name); n > 0 {
				t.Errorf("%s: the tenant sees %d rows", name, n)
			}
		}
	}
	for _, v := range clickhouse.Dictionary() {
		if slices.ContainsFunc(v.Columns, func(c clickhouse.DictionaryColumn) bool { return c.Name == "tenant" }) {
			if n := count(t, db, "SELECT countIf(tenant != '"+theTenant+"') FROM "+v.Name); n > 0 {
				t.Errorf("%s: the tenant sees %d rows of others", v.Name, n)
			}
		}
	}
	for _, write := range []string{"INSERT INTO setting (name) VALUES ('x')", "DROP TABLE access_log", "SELECT * FROM system.users"} {
		if _, err := db.ExecContext(t.Context(), write); err == nil || strings.Contains(err.Error(), "Syntax") {
			t.Errorf("%s: %v", write, err)
		}
	}
}
