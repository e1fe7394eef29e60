package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"

	"gatewatch/internal/clickhouse"
	"gatewatch/internal/owner"
)

// record adds edits since the last start to the list of changes.
func (k *knowledge) record(ctx context.Context, store *clickhouse.Conn, log *slog.Logger) {
	list, err := k.declarations()
	if err == nil {
		err = store.RecordDeclared(ctx, list)
	}
	if err != nil {
		log.Error("edits of objectives and owners are not in the list of changes", "err", err)
	}
}

// declarations returns the objectives and the owners of their services, so that an
// edit of either is in the list of changes.
func (k *knowledge) declarations() ([]clickhouse.Declared, error) {
	var list []clickhouse.Declared
	var services []string
	for _, s := range k.set.SLOs {
		content := s
		content.File, content.Line = "", 0
		text, err := json.Marshal(content)
		if err != nil {
			return nil, fmt.Errorf("slo %s: %w", s.Name, err)
		}
		sum := sha256.Sum256(text)
		list = append(list, clickhouse.Declared{
			Kind: "slo", Name: s.Name, Service: s.Service, Digest: hex.EncodeToString(sum[:8]),
			Text: fmt.Sprintf("%s, target %.6g %%", s.SLI.Kind, 100*s.Target),
		})
		services = append(services, s.Service)
	}
	slices.Sort(services)
	for _, service := range slices.Compact(services) {
		team := k.owners.Lookup(owner.Question{Service: service}, k.config.Alert.DefaultOwner).Team.Name
		list = append(list, clickhouse.Declared{Kind: "owner", Name: service, Service: service, Text: team})
	}
	return list, nil
}
