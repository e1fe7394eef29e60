package main

import (
	"context"
	"fmt"
	"syscall"
	"time"

	"gatewatch/internal/devstack/proxy"
)

// A kind is one kind of fault.
type kind struct {
	name       string
	times      int  // repetitions at scale 1
	proxyKafka bool // clients reach Kafka through the proxy only
	nodes      int  // of kfake; 1 if zero
	broker     string
	run        func(ctx context.Context, r *rig, times int) (runs int, err error)
}

func kinds() []kind {
	return []kind{
		{name: "kill_random", times: 100, run: killRandom},
		{name: "kill_rows_visible", times: 20, run: killRowsVisible},
		{name: "kill_intent_only", times: 10, run: killIntentOnly},
		{name: "sigterm", times: 15, run: sigterm},
		{name: "zombie", times: 5, run: zombie},
		{name: "members_come_and_go", times: 10, run: members},
		{name: "broker_killed", times: 5, run: brokerKilled(false)},
		{name: "broker_other_port", times: 3, run: brokerKilled(true)},
		{name: "leaders_move", times: 20, nodes: 3, broker: brokerKfake, run: leadersMove},
		{name: "commit_answer_lost", times: 15, proxyKafka: true, run: commitAnswerLost},
		{name: "kafka_cut", times: 30, proxyKafka: true, run: kafkaCut},
		{name: "engine_killed_mid_insert", times: 20, run: engineKilled},
		{name: "engine_down_60s", times: 1, run: engineDown},
		{name: "engine_down_30min", times: 1, run: engineDownSimulated},
		{name: "engine_slow", times: 1, run: engineSlow},
		{name: "engine_cut_to_server", times: 30, run: engineCut(proxy.ToServer)},
		{name: "engine_cut_to_client", times: 30, run: engineCut(proxy.ToClient)},
		{name: "insert_answer_lost", times: 15, run: insertAnswerLost},
		{name: "disk_full", times: 2, run: refused("min_free_disk_bytes_to_perform_insert = 1000000000000000", "NOT_ENOUGH_SPACE")},
		{name: "too_many_parts", times: 2, run: refused("parts_to_throw_insert = 1, parts_to_delay_insert = 1, max_delay_to_insert = 1", "TOO_MANY_PARTS")},
		{name: "clock_steps", times: 8, run: clockSteps},
		{name: "poison", times: 5, run: poison},
		{name: "transactions_aborted", times: 20, run: aborted},
	}
}

// begin starts live load and one member, and waits until it stores.
func begin(ctx context.Context, r *rig) (*member, error) {
	r.live(ctx, ordinaryRate)
	m, err := r.join()
	if err != nil {
		return nil, err
	}
	// The first progress includes making the schema.
	err = r.progress(ctx, time.Now())
	r.recovery = nil
	return m, err
}

func (r *rig) random(most time.Duration) time.Duration {
	return time.Duration(r.rnd.Int64N(int64(most)))
}

// again starts a killed member and waits until something is stored.
func (m *member) again(ctx context.Context) error {
	since := time.Now()
	if err := m.start(); err != nil {
		return err
	}
	return m.rig.progress(ctx, since)
}

func killRandom(ctx context.Context, r *rig, times int) (runs int, err error) {
	m, err := begin(ctx, r)
	for ; runs < times && err == nil; runs++ {
		if err = pause(ctx, r.random(600*time.Millisecond)); err == nil {
			m.kill()
			err = m.again(ctx)
		}
	}
	return runs, err
}

// killRowsVisible kills when the rows are visible and the offset is not committed.
func killRowsVisible(ctx context.Context, r *rig, times int) (runs int, err error) {
	m, err := begin(ctx, r)
	for ; runs < times && err == nil; runs++ {
		err = m.holdAnswer(ctx, func() error {
			m.kill()
			return nil
		})
		if err == nil {
			err = m.again(ctx)
		}
	}
	return runs, err
}

// holdAnswer calls f while the answer to an INSERT of requests is held back
// whose rows are visible already, and cuts the connection then.
func (m *member) holdAnswer(ctx context.Context, f func() error) error {
	before, err := m.rig.visible(ctx)
	if err != nil {
		return err
	}
	release := make(chan struct{})
	defer close(release)
	err = m.inserts.arm(ctx, "access_log", proxy.ToClient, blockBegun, func() proxy.Verdict {
		<-release
		return proxy.Cut
	})
	if err != nil {
		return err
	}
	for waited := time.Now(); ; {
		n, err := m.rig.visible(ctx)
		if err != nil {
			return err
		}
		if n > before {
			return f()
		}
		if time.Since(waited) > 10*time.Second {
			return fmt.Errorf("rows do not become visible while the answer is held")
		}
	}
}

func (r *rig) visible(ctx context.Context) (int64, error) {
	totals, err := r.stack.Store.RequestTotals(ctx)
	return totals["access_log"], err
}

// killIntentOnly kills when a batch is announced and nothing of it is inserted.
func killIntentOnly(ctx context.Context, r *rig, times int) (runs int, err error) {
	m, err := begin(ctx, r)
	for ; runs < times && err == nil; runs++ {
		release := make(chan struct{})
		err = m.inserts.arm(ctx, "access_log", proxy.ToServer, 0, func() proxy.Verdict {
			<-release
			return proxy.Cut
		})
		if err == nil {
			m.kill()
			close(release)
			err = m.again(ctx)
		}
	}
	return runs, err
}

func sigterm(ctx context.Context, r *rig, times int) (runs int, err error) {
	m, err := begin(ctx, r)
	for ; runs < times && err == nil; runs++ {
		if err = pause(ctx, r.random(600*time.Millisecond)); err == nil {
			err = m.stop()
		}
		if err == nil {
			err = m.again(ctx)
		}
	}
	return runs, err
}

// zombie stops a member with a batch half sent until the other has its
// partitions, and lets it go on.
func zombie(ctx context.Context, r *rig, times int) (runs int, err error) {
	m, err := begin(ctx, r)
	if err != nil {
		return 0, err
	}
	other, err := r.join()
	if err != nil {
		return 0, err
	}
	for ; runs < times && err == nil; runs++ {
		if err = pause(ctx, 3*sessionTimeout); err != nil { // both have partitions
			break
		}
		release := make(chan struct{})
		err = m.inserts.arm(ctx, "access_log", proxy.ToServer, 1, func() proxy.Verdict {
			<-release
			return proxy.Pass
		})
		if err != nil {
			break
		}
		if err = m.signal(syscall.SIGSTOP); err == nil {
			err = pause(ctx, 4*sessionTimeout)
		}
		close(release)
		since := time.Now()
		if serr := m.signal(syscall.SIGCONT); err == nil {
			err = serr
		}
		if err == nil {
			err = r.progress(ctx, since)
		}
		m, other = other, m
	}
	return runs, err
}

// members lets a second member join and leave every two seconds.
func members(ctx context.Context, r *rig, times int) (runs int, err error) {
	if _, err := begin(ctx, r); err != nil {
		return 0, err
	}
	other, err := r.join()
	for ; runs < times && err == nil; runs++ {
		if err = pause(ctx, 2*time.Second); err != nil {
			break
		}
		if err = other.stop(); err == nil {
			err = pause(ctx, 2*time.Second)
		}
		if err == nil {
			err = other.again(ctx)
		}
	}
	return runs, err
}

// brokerKilled kills the broker while a backlog is read.
func brokerKilled(newPorts bool) func(ctx context.Context, r *rig, times int) (int, error) {
	return func(ctx context.Context, r *rig, times int) (runs int, err error) {
		if err := r.past(ctx, 10*time.Minute, 50_000*(times+1)); err != nil {
			return 0, err
		}
		m, err := r.join()
		if err != nil {
			return 0, err
		}
		slowly(m)
		for ; runs < times && err == nil; runs++ {
			if err = r.progress(ctx, time.Now()); err == nil {
				err = pause(ctx, r.random(time.Second))
			}
			if err != nil {
				break
			}
			r.recovery = r.recovery[:runs] // the wait for the first progress is none
			r.broker.Kill()
			if err = r.broker.Start(ctx, newPorts); err == nil {
				r.kafka.Retarget(r.broker.Addr())
				err = r.progress(ctx, time.Now())
			}
		}
		m.store.Judge(nil)
		return runs, err
	}
}

// slowly makes a member's inserts take longer, so that its backlog lasts.
func slowly(m *member) {
	m.store.Judge(func(c proxy.Chunk) proxy.Verdict {
		if c.Direction == proxy.ToClient {
			time.Sleep(30 * time.Millisecond)
		}
		return proxy.Pass
	})
}

// leadersMove moves partitions and coordinators between three nodes.
func leadersMove(ctx context.Context, r *rig, times int) (runs int, err error) {
	if _, err := begin(ctx, r); err != nil {
		return 0, err
	}
	for ; runs < times && err == nil; runs++ {
		since := time.Now()
		if err = r.broker.Move(); err == nil {
			err = r.progress(ctx, since)
		}
		if err == nil {
			err = pause(ctx, r.random(time.Second))
		}
	}
	return runs, err
}
