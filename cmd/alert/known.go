package main

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"

	"gatewatch/internal/accesslog/normalise"
	"gatewatch/internal/clickhouse"
	"gatewatch/internal/owner"
)

// publish makes what the files say visible to dashboards. Evaluation does not
// wait for that.
func (k *knowledge) publish(ctx context.Context, store *clickhouse.Conn, log *slog.Logger) {
	known, err := k.known()
	if err == nil {
		err = store.PublishKnown(ctx, known)
	}
	if err != nil {
		log.Error("dashboards show no objectives and owners", "err", err)
	}
}

// known returns what dashboards show of the files: objectives with their owners,
// maintenances, documented operations, and who answers for services.
func (k *knowledge) known() (clickhouse.Known, error) {
	known := clickhouse.Known{SLOs: slices.Clone(k.set.SLOs), Maintenances: k.set.Maintenances}
	services := map[string]bool{}
	for i := range known.SLOs {
		s := &known.SLOs[i]
		s.Owner = k.lookup(*s).Team.Name
		services[s.Service] = true
	}
	if dir := k.config.Alert.Catalog; dir != "" {
		docs, err := owner.Documents(os.DirFS(dir))
		if err != nil {
			return known, inFolder(dir, err)
		}
		for _, d := range docs {
			list, err := normalise.OpenAPIRoutes(d.Text)
			if err != nil {
				return known, inFolder(dir, fmt.Errorf("%s: %w", d.File, err))
			}
			services[d.Service] = true
			for _, r := range list {
				method, template, _ := strings.Cut(r, " ")
				team := k.owners.Lookup(owner.Question{Service: d.Service, Method: method, Route: template}, k.config.Alert.DefaultOwner).Team
				known.Routes = append(known.Routes, clickhouse.OwnedRoute{Service: d.Service, Method: method, Route: template, Owner: team.Name})
			}
		}
	}
	for s := range services {
		if s == "" {
			continue
		}
		team := k.owners.Lookup(owner.Question{Service: s}, k.config.Alert.DefaultOwner).Team
		known.Owners = append(known.Owners, clickhouse.ServiceOwner{Service: s, Owner: team.Name, Contact: cmp.Or(team.Chat, team.OnCall, team.Email)})
	}
	return known, nil
}
