package main

import (
	"context"
	"fmt"
	"regexp"
	"strings"
)

func (b *bench) scratch(ctx context.Context) error {
	var create string
	if err := b.stack.Store.QueryRow(ctx, "SHOW CREATE TABLE access_log").Scan(&create); err != nil {
		return err
	}
	type v struct{ col, typ string }
	base := map[string]string{"request_id": "String DEFAULT '' CODEC(ZSTD(1))", "ts": "DateTime64(6, 'UTC') CODEC(GCD, Delta, ZSTD(1))", "latency_us": "Nullable(UInt64) CODEC(GCD, T64, ZSTD(1))", "upstream_latency_us": "Nullable(UInt64) CODEC(GCD, T64, ZSTD(1))", "gateway_latency_us": "Nullable(UInt64) CODEC(GCD, T64, ZSTD(1))", "key_id": "LowCardinality(FixedString(16)) CODEC(ZSTD(1))"}
	sets := []map[string]string{base, base, base, base, base}
	keys := []string{"service, toStartOfHour(ts), route, ts", "service, toStartOfHour(ts), route, key_id, ts", "service, toStartOfHour(ts), key_id, route, ts", "service, toStartOfHour(ts), route, key_id, kafka_partition, kafka_offset","service, toStartOfHour(ts), route, key_id, status, ts"}
	for i, set := range sets {
		name := fmt.Sprintf("cand_%d", i)
		c := regexp.MustCompile(`^CREATE TABLE \S+`).ReplaceAllLiteralString(create, "CREATE TABLE "+name)
		for col, typ := range set {
			re := regexp.MustCompile("(?m)^    `" + col + "` .*$")
			if !re.MatchString(c) {
				return fmt.Errorf("no %s", col)
			}
			c = re.ReplaceAllLiteralString(c, "    `"+col+"` "+typ+",")
		}
		c = strings.Replace(c, "SETTINGS ", "SETTINGS allow_suspicious_low_cardinality_types=1, ", 1)
		c = strings.Replace(c, "allow_suspicious_low_cardinality_types=1, ", "", 1)
		c = orderBy.ReplaceAllLiteralString(c, "ORDER BY ("+keys[i]+")\n")
		if err := b.stack.Store.Exec(ctx, c+" "); err != nil {
			fmt.Println(err)
			c = strings.Replace(c, "`client_ip` LowCardinality(IPv6)", "`client_ip` IPv6", 1)
			if err := b.stack.Store.Exec(ctx, c); err != nil {
				return err
			}
		}
		for o := 0; o < 600000; o += 50000 {
			if err := b.stack.Store.Exec(ctx, fmt.Sprintf("INSERT INTO %s SELECT * REPLACE('=' AS request_id) FROM access_log WHERE kafka_offset >= %d AND kafka_offset < %d", name, o, o+50000)); err != nil {
				return err
			}
		}
		if err := b.merge(ctx, name); err != nil {
			return err
		}
		cols, err := b.columns(ctx, name)
		if err != nil {
			return err
		}
		sum := 0.0
		fmt.Print(keys[i], ": ")
		for _, x := range cols {
			sum += x.bytes
			if x.bytes > 0.1 {
				fmt.Printf("%s %.2f, ", x.name, x.bytes)
			}
		}
		fmt.Printf("SUM %.2f\n", sum)
	}
	return nil
}
