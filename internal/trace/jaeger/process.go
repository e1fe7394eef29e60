package jaeger

import (
	"gatewatch/internal/accesslog/jsonscan"
)

// ownProcess reads the process inside a span.
func (d *JSON) ownProcess(p *spanParts) error {
	n := len(d.processes)
	if err := d.process(""); err != nil {
		return err
	}
	if len(d.processes) > n {
		own := &d.processes[n]
		p.span.Service = own.service
		p.span.Attrs = append(p.span.Attrs, own.attrs...)
		d.processes = d.processes[:n]
	}
	return nil
}

// process reads {"serviceName": …, "tags": []} under an id.
func (d *JSON) process(id string) error {
	if entered, err := d.scan.Enter('{'); err != nil || !entered {
		return err
	}
	if len(d.processes) < cap(d.processes) {
		d.processes = d.processes[:len(d.processes)+1]
	} else {
		d.processes = append(d.processes, process{})
	}
	p := &d.processes[len(d.processes)-1]
	*p = process{id: id, attrs: p.attrs[:0]}
	for {
		key, ok, err := d.scan.Key()
		if err != nil || !ok {
			return err
		}
		switch key {
		case "tags":
			err = d.tags(&p.attrs)
		default:
			var v jsonscan.Value
			if v, err = d.scan.Value(); key == "serviceName" {
				p.service = v.Text
			}
		}
		if err != nil {
			return err
		}
	}
}

// processMap reads {"p1": {…}, …}, or the list of {"processId", "process"} that a model's trace has.
func (d *JSON) processMap() error {
	if d.scan.Peek() == '[' {
		return d.processList()
	}
	if entered, err := d.scan.Enter('{'); err != nil || !entered {
		return err
	}
	for {
		key, ok, err := d.scan.Key()
		if err != nil || !ok {
			return err
		}
		if err := d.process(key); err != nil {
			return err
		}
	}
}

func (d *JSON) processList() error {
	if err := d.scan.Open('['); err != nil {
		return err
	}
	for {
		more, err := d.scan.More(']')
		if err != nil || !more {
			return err
		}
		if entered, err := d.scan.Enter('{'); err != nil {
			return err
		} else if !entered {
			continue
		}
		if err := d.mapping(); err != nil {
			return err
		}
	}
}

func (d *JSON) mapping() error {
	id, n := "", len(d.processes)
	for {
		key, ok, err := d.scan.Key()
		if err != nil {
			return err
		}
		if !ok {
			if len(d.processes) > n {
				d.processes[n].id = id
			}
			return nil
		}
		if key == "process" {
			if err := d.process(""); err != nil {
				return err
			}
			continue
		}
		v, err := d.scan.Value()
		if err != nil {
			return err
		}
		if key == "processId" || key == "processID" {
			id = v.Text
		}
	}
}
